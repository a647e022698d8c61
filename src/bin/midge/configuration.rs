//! `midge config`, and the settings of `midge serve`.

use std::path::Path;

use midge::config::Config;

use crate::arguments;
use crate::failure::Failure;

/// Prints every setting, or one.
pub(crate) fn run(arguments: &arguments::Config) -> Result<(), Failure> {
    let config = load(&arguments.settings)?;
    match &arguments.key {
        Some(key) => crate::print(&config.toml_setting(key)?),
        None => crate::print(&config.toml_document()),
    }
}

/// The settings of the file, overridden by single settings.
pub(crate) fn load(settings: &arguments::Settings) -> Result<Config, Failure> {
    let mut config = Config::new();
    if let Some(path) = settings.config.as_deref() {
        load_file(&mut config, path)?;
    }
    for (key, value) in &settings.set {
        config.set(key, value)?;
    }
    Ok(config)
}

fn load_file(config: &mut Config, path: &Path) -> Result<(), Failure> {
    if path == Path::new("-") {
        let text = std::io::read_to_string(std::io::stdin())
            .map_err(|error| Failure::usage(format!("the standard input: {error}")))?;
        return Ok(config.load_text(&text, "the standard input")?);
    }
    Ok(config.load_file(path)?)
}
