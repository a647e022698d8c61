//! Configurations: settings by key and text.

use std::ffi::{CString, c_char};
use std::path::Path;
use std::sync::OnceLock;

use crate::config::{Config, table};
use crate::embed::{Hooks, Log};
use crate::ffi::arguments::{beyond, borrowed, c_string, fill, free, given, given_mut, slot, text};
use crate::ffi::error::midge_error;
use crate::ffi::guard::guard;
use crate::ffi::status::{MIDGE_STATUS_OK, midge_status};
use crate::ffi::views::{midge_bytes, midge_setting_view};

/// The settings of a broker. It belongs to the caller, who frees it by midge_config_free. One thread at a time may
/// use it. A broker keeps a copy of its own.
pub struct midge_config {
    pub(super) config: Config,
    pub(super) hooks: Hooks,
    pub(super) log: Option<Log>,
    /// The keys as texts; made when they are asked for, forgotten when the settings change.
    keys: OnceLock<Vec<CString>>,
}

impl midge_config {
    fn new(config: Config) -> midge_config {
        midge_config { config, hooks: Hooks::new(), log: None, keys: OnceLock::new() }
    }

    /// All functions of the host.
    pub(super) fn hooks(&self) -> Hooks {
        self.hooks.clone().with_log(self.log.clone())
    }

    fn keys(&self) -> &[CString] {
        self.keys.get_or_init(|| self.config.keys().iter().map(|key| c_string(key)).collect())
    }

    /// The settings, about to be changed.
    fn change(&mut self) -> &mut Config {
        self.keys = OnceLock::new();
        &mut self.config
    }
}

/// Makes a configuration with all defaults: one listener, "tcp", on 127.0.0.1:1883.
///
/// Errors: INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_config_new(out: *mut *mut midge_config) -> midge_status {
    guard!({ Ok(slot(out, "out")?.put_handle(midge_config::new(Config::new()))) })
}

/// Makes a copy of a configuration, with the same hooks and the same log, which the caller frees by midge_config_free.
///
/// Errors: INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_config_clone(
    config: *const midge_config,
    out: *mut *mut midge_config,
) -> midge_status {
    guard!({
        let config = given(config, "config")?;
        let copy = midge_config {
            hooks: config.hooks.clone(),
            log: config.log.clone(),
            ..midge_config::new(config.config.clone())
        };
        Ok(slot(out, "out")?.put_handle(copy))
    })
}

/// Gives the setting `key` the value `value`, both as text: "listener.tcp.bind" and "127.0.0.1:0",
/// "mqtt.connect_timeout" and "5s". A listener that does not exist yet is added. A refused value changes nothing.
///
/// Errors: CONFIG with a sentence that names the key, and the nearest one for a key that does not exist;
/// INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_config_set(
    config: *mut midge_config,
    key: *const c_char,
    value: *const c_char,
    error: *mut *mut midge_error,
) -> midge_status {
    guard!({
        let config = given_mut(config, "config")?;
        config.change().set(text(key, "key")?, text(value, "value")?)?;
        Ok(MIDGE_STATUS_OK)
    }, tells error)
}

/// Reads settings from the TOML file at `path`. Settings that it does not name stay as they are; on an error nothing
/// is changed.
///
/// Errors: IO if the file cannot be read; CONFIG with line and column; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_config_load_file(
    config: *mut midge_config,
    path: *const c_char,
    error: *mut *mut midge_error,
) -> midge_status {
    guard!({
        let config = given_mut(config, "config")?;
        config.change().load_file(Path::new(text(path, "path")?))?;
        Ok(MIDGE_STATUS_OK)
    }, tells error)
}

/// Reads settings from the TOML document `toml`, as midge_config_load_file does. `origin` names the document in
/// errors.
///
/// Errors: CONFIG with line and column; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_config_load_text(
    config: *mut midge_config,
    toml: *const c_char,
    origin: *const c_char,
    error: *mut *mut midge_error,
) -> midge_status {
    guard!({
        let config = given_mut(config, "config")?;
        config.change().load_text(text(toml, "toml")?, text(origin, "origin")?)?;
        Ok(MIDGE_STATUS_OK)
    }, tells error)
}

/// The value of the setting `key` as text, which midge_config_set takes back. The text belongs to the caller, who
/// frees it by midge_string_free.
///
/// Errors: CONFIG if there is no such setting; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_config_get(
    config: *const midge_config,
    key: *const c_char,
    out: *mut *mut c_char,
    error: *mut *mut midge_error,
) -> midge_status {
    guard!({
        let out = slot(out, "out")?;
        let value = given(config, "config")?.config.get(text(key, "key")?)?;
        Ok(out.put(c_string(&value).into_raw()))
    }, tells error)
}

/// The number of keys that the configuration has, those of each listener counted. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_config_key_count(config: *const midge_config) -> usize {
    guard!({ config.as_ref().map_or(0, |config| config.keys().len()) }, else 0)
}

/// The key at `index`, from 0. It lives until the configuration changes or is freed. NULL beyond the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_config_key_at(config: *const midge_config, index: usize) -> *const c_char {
    guard!(
        { config.as_ref().and_then(|c| c.keys().get(index)).map_or(std::ptr::null(), |key| key.as_ptr()) },
        else std::ptr::null()
    )
}

/// Frees a configuration. NULL is taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_config_free(config: *mut midge_config) {
    guard!({ free(config) }, else ());
}

/// The number of settings in the table of all settings.
#[unsafe(no_mangle)]
pub extern "C" fn midge_setting_count() -> usize {
    table().len()
}

/// Describes the setting at `index`, from 0. The texts live for ever.
///
/// Errors: INVALID_ARGUMENT, also beyond the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_setting_at(index: usize, out: *mut midge_setting_view) -> midge_status {
    guard!({
        let setting = table().get(index).ok_or_else(beyond)?;
        fill(
            out,
            &midge_setting_view {
                struct_size: size_of::<midge_setting_view>(),
                key: borrowed(setting.key.as_bytes()),
                kind: borrowed(setting.kind.name().as_bytes()),
                default_value: borrowed(setting.default.as_bytes()),
                range: range(index),
                help: borrowed(setting.help.as_bytes()),
            },
        )
    })
}

/// The range of a setting, in words; written once.
fn range(index: usize) -> midge_bytes {
    static RANGES: OnceLock<Vec<String>> = OnceLock::new();
    let ranges = RANGES.get_or_init(|| table().iter().map(|setting| setting.range()).collect());
    borrowed(ranges.get(index).map_or("", String::as_str).as_bytes())
}
