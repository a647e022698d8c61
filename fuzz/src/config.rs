//! A settings file.

use midge::config::Config;

/// Target `config`: a text is refused and changes nothing, or every setting that it gives can be read and given back.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut config = Config::new();
    let untouched = config.settings().clone();
    match config.load_text(text, "midge.toml") {
        Err(error) => {
            let sentence = error.to_string();
            assert!(sentence.starts_with("midge.toml:") && !sentence.contains('\n'), "{sentence:?}");
            assert_eq!(config.settings(), &untouched);
            assert_eq!(config.keys(), Config::new().keys());
        }
        Ok(()) => give_back(&config),
    }
}

fn give_back(config: &Config) {
    let mut copy = Config::new();
    for key in config.keys() {
        let value = config.get(&key).unwrap();
        // A listener that was given no address has none to give.
        if !(key.ends_with(".bind") && config.validate().is_err()) {
            copy.set(&key, &value).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(copy.get(&key).as_ref(), Ok(&value));
        }
    }
    if config.validate().is_ok() {
        assert_eq!(copy.settings(), config.settings());
        assert_eq!(copy.validate(), Ok(()));
    }
}
