//! The sentences about dropped messages name settings; those must exist.

use midge::config::Config;
use midge::stats::DropReason;

#[test]
fn explanations_name_settings_that_exist() {
    let config = Config::new();
    let mut named = 0;
    for reason in DropReason::ALL {
        let sentence = reason.explanation().trim_end_matches('.');
        for key in sentence.split([' ', ',']).filter(|word| word.contains('.')) {
            assert!(config.get(key).is_ok(), "{reason}: {key}");
            named += 1;
        }
    }
    assert_eq!(named, 6);
}
