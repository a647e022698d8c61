//! Checks of the console's settings: a console that other machines can reach needs a password.

use std::net::IpAddr;

use crate::config::error::{ConfigError, ErrorKind};
use crate::config::settings::{Settings, TUTORIAL_PASSWORD};

/// Checks the group `console`, which is unused while `console.listen` is `off`.
pub(super) fn check_console(settings: &Settings) -> Result<(), ConfigError> {
    let console = &settings.console;
    let Some(address) = console.listen else {
        return Ok(());
    };
    let conflict = |key, cause: String| Err(ConfigError::of_key(ErrorKind::Conflict, key, cause));
    let has_password = !console.password.is_empty() || !console.password_file.is_empty();
    if !address.ip().is_loopback() {
        if console.tutorial {
            let cause = format!(
                "the tutorial must be local, but other machines can reach console.listen ({address})"
            );
            return conflict("console.tutorial", cause);
        }
        if !has_password || console.password.reveal() == TUTORIAL_PASSWORD {
            let cause = format!(
                "other machines can reach console.listen ({address}): set a password, here or in \
                 console.password_file"
            );
            return conflict("console.password", cause);
        }
        if console.viewer_password.reveal() == TUTORIAL_PASSWORD {
            let cause = format!(
                "other machines can reach console.listen ({address}): set a password that is not public"
            );
            return conflict("console.viewer_password", cause);
        }
    }
    if !has_password && !console.tutorial {
        let cause = "the console needs a password: set it here or in console.password_file, or set console.tutorial = true";
        return conflict("console.password", cause.to_owned());
    }
    for (password, file, key) in [
        (&console.password, &console.password_file, "console.password_file"),
        (&console.viewer_password, &console.viewer_password_file, "console.viewer_password_file"),
    ] {
        if !password.is_empty() && !file.is_empty() {
            return conflict(key, "the password is also set directly; remove one of the two".to_owned());
        }
    }
    let proxies = console.trusted_proxies.split(',').map(str::trim).filter(|name| !name.is_empty());
    for proxy in proxies {
        if proxy.parse::<IpAddr>().is_err() {
            return conflict("console.trusted_proxies", format!("{proxy:?} is not an IP address"));
        }
    }
    if console.user.is_empty() || console.user.contains(':') {
        return conflict("console.user", "a user name must not be empty or contain a colon".to_owned());
    }
    if console.viewer_user.is_empty()
        || console.viewer_user.contains(':')
        || console.viewer_user == console.user
    {
        let cause = "a user name must not be empty, contain a colon or equal console.user".to_owned();
        return conflict("console.viewer_user", cause);
    }
    let taken = settings
        .listeners
        .iter()
        .find(|listener| listener.bind == Some(address.into()) && address.port() != 0);
    match taken {
        Some(listener) => conflict(
            "console.listen",
            format!("{address} is already used by listener.{}.bind", listener.name),
        ),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    /// The error for these settings.
    fn refused(settings: &[(&str, &str)]) -> Option<String> {
        let mut config = Config::new();
        for (key, value) in settings {
            config.set(&format!("console.{key}"), value).unwrap();
        }
        config.validate().err().map(|error| error.to_string())
    }

    #[test]
    fn a_console_that_nobody_can_log_in_to_is_refused() {
        let sentence = refused(&[("listen", "127.0.0.1:0")]).unwrap();
        assert!(sentence.starts_with("console.password: the console needs a password"), "{sentence}");
        assert_eq!(refused(&[("listen", "127.0.0.1:0"), ("password", "x")]), None);
        assert_eq!(refused(&[("listen", "[::1]:0"), ("password_file", "/etc/x")]), None);
        assert_eq!(refused(&[("listen", "127.0.0.1:0"), ("tutorial", "true")]), None);
        assert_eq!(refused(&[("tutorial", "true")]), None);
    }

    #[test]
    fn beyond_this_machine_it_needs_a_password_that_was_set() {
        for address in ["0.0.0.0:18083", "192.0.2.7:1", "[::]:18083", "[2001:db8::1]:1"] {
            let sentence = refused(&[("listen", address)]).unwrap();
            assert!(sentence.starts_with("console.password: other machines can reach"), "{sentence}");
            let sentence = refused(&[("listen", address), ("tutorial", "true")]).unwrap();
            assert!(sentence.starts_with("console.tutorial: "), "{sentence}");
            let sentence = refused(&[("listen", address), ("password", "public")]).unwrap();
            assert!(sentence.starts_with("console.password: "), "{sentence}");
            assert_eq!(refused(&[("listen", address), ("password", "a good one")]), None);
            let viewer = [("listen", address), ("password", "a good one"), ("viewer_password", "public")];
            let sentence = refused(&viewer).unwrap();
            assert!(sentence.starts_with("console.viewer_password: other machines"), "{sentence}");
        }
    }

    #[test]
    fn names_files_and_addresses_do_not_collide() {
        let on = [("listen", "127.0.0.1:1883"), ("password", "x")];
        assert_eq!(
            refused(&on).unwrap(),
            "console.listen: 127.0.0.1:1883 is already used by listener.tcp.bind"
        );
        let with = |more| refused(&[("listen", "127.0.0.1:0"), ("password", "x"), more]).unwrap();
        assert!(with(("password_file", "f")).starts_with("console.password_file: "));
        let sentence = with(("trusted_proxies", "127.0.0.1, proxy"));
        assert_eq!(sentence, "console.trusted_proxies: \"proxy\" is not an IP address");
        assert!(with(("user", "")).starts_with("console.user: "));
        assert!(with(("user", "a:b")).starts_with("console.user: "));
        assert!(with(("viewer_user", "admin")).starts_with("console.viewer_user: "));
    }
}
