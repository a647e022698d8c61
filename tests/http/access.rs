//! Who gets in, and who does not.

use std::io::Write;

use midge::config::Config;
use midge::embed::Broker;

use crate::http::{Http, broker, console, set};

#[test]
fn a_console_is_off_unless_it_is_asked_for() {
    let broker = crate::client::broker();
    assert_eq!(broker.console_address(), None);
}

#[test]
fn it_does_not_start_without_a_password() {
    for (settings, sentence) in [
        (&[("console.listen", "127.0.0.1:0")][..], "console.password: the console needs a password"),
        (
            &[("console.listen", "0.0.0.0:0")],
            "console.password: other machines can reach console.listen (0.0.0.0:0): set a password",
        ),
        (
            &[("console.listen", "0.0.0.0:0"), ("console.tutorial", "true")],
            "console.tutorial: the tutorial must be local",
        ),
        (
            &[("console.listen", "127.0.0.1:0"), ("console.password_file", "/nonexistent/password")],
            "console.password_file: /nonexistent/password: ",
        ),
    ] {
        let mut config = crate::client::config();
        set(&mut config, settings);
        let error = Broker::start(&config).err().unwrap().to_string();
        assert!(error.starts_with(sentence), "{error}");
    }
}

#[test]
fn an_address_that_is_taken_is_an_error_that_names_the_setting() {
    let first = broker(&[]);
    let mut config = Config::new();
    let address = console(&first).to_string();
    let settings = [("listener.tcp.bind", "off"), ("console.listen", &address), ("console.tutorial", "true")];
    set(&mut config, &settings);
    let error = Broker::start(&config).err().unwrap().to_string();
    assert_eq!(error, format!("console.listen: {address}: address in use"));
}

#[test]
fn a_login_has_a_cookie_that_scripts_and_foreign_pages_do_not_get() {
    let broker = broker(&[]);
    let mut http = Http::open(console(&broker));
    assert_eq!(http.get("/api/v1/session").status, 401);
    let answer = http.post("/api/v1/login", r#"{"user":"admin","password":"public"}"#);
    let session = answer.json();
    assert_eq!(
        (answer.status, session["role"].as_str(), session["tutorial"].as_bool()),
        (200, Some("admin"), Some(true))
    );
    let cookie = answer.header("set-cookie").unwrap();
    let name = format!("midge_session_{}=", console(&broker).port());
    assert!(cookie.starts_with(&name) && cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));

    let mut http = Http::log_in(console(&broker), "admin", "public");
    assert_eq!(http.json("/api/v1/session")["user"], "admin");
    assert_eq!(http.ask("POST", "/api/v1/logout", &[], b"").status, 204);
    assert_eq!(http.get("/api/v1/session").status, 401);
}

#[test]
fn wrong_passwords_are_refused_and_guessing_is_slowed() {
    let broker = broker(&[]);
    let mut http = Http::open(console(&broker));
    let wrong = r#"{"user":"admin","password":"wrong"}"#;
    let mut guesses = 0;
    let slowed = loop {
        let answer = http.post("/api/v1/login", wrong);
        // A browser would show its own dialogue, and keep the password.
        assert_eq!(answer.header("www-authenticate"), None);
        if answer.status != 401 {
            break answer;
        }
        guesses += 1;
        assert!(guesses < 50, "guesses are not slowed");
    };
    assert!(guesses >= 5, "people mistype");
    assert_eq!((slowed.status, slowed.code().as_str()), (429, "too_many_requests"));
    assert!(slowed.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
}

#[test]
fn a_viewer_looks_and_changes_nothing() {
    let settings = [("console.password", "secret of admin"), ("console.viewer_password", "v")];
    let broker = broker(&settings);
    let mut viewer = Http::log_in(console(&broker), "viewer", "v");
    assert_eq!(viewer.json("/api/v1/session")["role"], "viewer");
    for path in ["overview", "clients", "settings", "topics", "retained", "drops", "tutorial", "history"] {
        assert_eq!(viewer.get(&format!("/api/v1/{path}")).status, 200, "{path}");
    }
    assert_eq!(viewer.post("/api/v1/explain", r#"{"topic":"a"}"#).status, 200);
    for (method, path) in [
        ("POST", "publish"),
        ("DELETE", "clients/x"),
        ("DELETE", "sessions/x"),
        ("DELETE", "sessions/x/queue"),
        ("DELETE", "retained/message?topic=a"),
        ("POST", "retained/delete"),
    ] {
        let headers = [("Content-Type", "application/json")];
        let answer = viewer.ask(method, &format!("/api/v1/{path}"), &headers, br#"{"topic":"a"}"#);
        assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{path}");
    }
    let text = viewer.get("/api/v1/settings").text().to_owned();
    assert!(!text.contains("secret of admin") && text.contains("***"));
}

#[test]
fn a_password_may_be_in_a_file() {
    let path = std::env::temp_dir().join(format!("midge-password-{}", std::process::id()));
    std::fs::File::create(&path).unwrap().write_all(b"of the file\nand more\n").unwrap();
    let broker = broker(&[("console.password_file", path.to_str().unwrap())]);
    std::fs::remove_file(path).unwrap();
    Http::log_in(console(&broker), "admin", "of the file");
    let answer = Http::admin(console(&broker)).get("/api/v1/overview");
    assert_eq!(answer.status, 401, "the tutorial's password is not in force");
}

/// A password that is empty would let everybody in: it is refused when the broker starts.
#[test]
fn a_password_file_whose_first_line_is_empty_is_refused() {
    for (number, text) in
        ["", "\n", "\nsecret\n", "\r\nsecret\r\n", "\u{feff}\nsecret\n"].into_iter().enumerate()
    {
        let path = std::env::temp_dir().join(format!("midge-empty-{}-{number}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let file = path.to_str().unwrap();
        for key in ["console.password_file", "console.viewer_password_file"] {
            let mut config = crate::client::config();
            set(&mut config, &[("console.listen", "127.0.0.1:0"), ("console.tutorial", "true"), (key, file)]);
            let error = Broker::start(&config).err().map(|error| error.to_string());
            assert_eq!(
                error,
                Some(format!("{key}: {file}: the first line must be the password, but it is empty")),
                "{text:?}"
            );
        }
        std::fs::remove_file(path).unwrap();
    }
}

/// The password of the tutorial is known to everybody, wherever it comes from.
#[test]
fn a_public_password_of_a_file_is_refused_where_other_machines_reach_the_console() {
    let path = std::env::temp_dir().join(format!("midge-public-{}", std::process::id()));
    std::fs::write(&path, "\u{feff}public\r\n").unwrap();
    let file = path.to_str().unwrap();
    for (key, other) in
        [("console.password_file", None), ("console.viewer_password_file", Some(("console.password", "x")))]
    {
        let mut config = crate::client::config();
        set(&mut config, &[("console.listen", "0.0.0.0:0"), (key, file)]);
        set(&mut config, other.as_slice());
        let error = Broker::start(&config).err().map(|error| error.to_string()).unwrap();
        let begin = format!("{key}: {file}: other machines can reach console.listen (0.0.0.0:0): ");
        assert!(error.starts_with(&begin), "{error}");
        let mut config = crate::client::config();
        set(&mut config, &[("console.listen", "127.0.0.1:0"), (key, file)]);
        set(&mut config, other.as_slice());
        assert!(Broker::start(&config).is_ok(), "{key}");
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_viewers_password_may_be_in_a_file_with_the_line_ends_of_windows() {
    let path = std::env::temp_dir().join(format!("midge-viewer-{}", std::process::id()));
    // With the byte order mark of its editors, too.
    std::fs::write(&path, "\u{feff}of the viewer\r\nand more\r\n").unwrap();
    let broker = broker(&[("console.viewer_password_file", path.to_str().unwrap())]);
    std::fs::remove_file(path).unwrap();
    let mut viewer = Http::log_in(console(&broker), "viewer", "of the viewer");
    assert_eq!(viewer.json("/api/v1/session")["role"], "viewer");
}

#[test]
fn a_right_password_wipes_out_the_wrong_ones_before_it() {
    let broker = broker(&[]);
    let mut http = Http::open(console(&broker));
    for round in 0..5 {
        for _ in 0..4 {
            let answer = http.post("/api/v1/login", r#"{"user":"admin","password":"wrong"}"#);
            assert_eq!(answer.status, 401, "round {round}: {answer:?}");
        }
        let answer = http.post("/api/v1/login", r#"{"user":"admin","password":"public"}"#);
        assert_eq!(answer.status, 200, "round {round}: {answer:?}");
    }
}

#[test]
fn the_name_of_the_scheme_may_be_in_small_letters() {
    let broker = broker(&[]);
    let mut http = Http::open(console(&broker));
    for scheme in ["Basic", "basic", "BASIC"] {
        let value = format!("{scheme} YWRtaW46cHVibGlj");
        let answer = http.ask("GET", "/api/v1/overview", &[("Authorization", &value)], b"");
        assert_eq!(answer.status, 200, "{scheme}");
    }
}

#[test]
fn only_the_login_page_of_the_tutorial_is_told_a_user() {
    let told = |settings: &[(&str, &str)]| {
        let broker = broker(settings);
        Http::open(console(&broker)).get("/api/v1/session").json()["tutorial_user"].clone()
    };
    assert_eq!(told(&[("console.user", "learner")]), "learner");
    assert!(told(&[("console.password", "of my own")]).is_null());
}

#[test]
fn a_logout_takes_the_cookie_away() {
    let broker = broker(&[]);
    let mut http = Http::log_in(console(&broker), "admin", "public");
    let answer = http.ask("POST", "/api/v1/logout", &[], b"");
    let name = format!("midge_session_{}", console(&broker).port());
    let cookie = format!("{name}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    assert_eq!(answer.header("set-cookie"), Some(cookie.as_str()));
}

#[test]
fn what_changes_something_needs_the_token_of_the_login() {
    let broker = broker(&[]);
    let mut http = Http::log_in(console(&broker), "admin", "public");
    assert_eq!(http.post("/api/v1/publish", r#"{"topic":"a"}"#).status, 200);
    http.headers.retain(|(name, _)| name != "X-Midge-CSRF");
    for (method, path) in
        [("POST", "publish"), ("POST", "logout"), ("DELETE", "clients/x"), ("POST", "explain")]
    {
        let headers = [("Content-Type", "application/json")];
        let answer = http.ask(method, &format!("/api/v1/{path}"), &headers, br#"{"topic":"a"}"#);
        assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{path}");
    }
    http.headers.push(("X-Midge-CSRF".to_owned(), "0".repeat(32)));
    assert_eq!(http.post("/api/v1/publish", r#"{"topic":"a"}"#).status, 403);
    assert_eq!(http.get("/api/v1/overview").status, 200);
}

#[test]
fn foreign_names_are_refused_but_for_the_probe() {
    let broker = broker(&[("console.hosts", "broker.example.org")]);
    let mut http = Http::admin(console(&broker));
    let ask = |http: &mut Http, path: &str, host: &str| http.ask("GET", path, &[("Host", host)], b"").status;
    for path in ["/", "/api/v1/overview", "/metrics", "/api/v1/openapi.json"] {
        assert_eq!(ask(&mut http, path, "rebind.example.com"), 421, "{path}");
        assert_eq!(ask(&mut http, path, "localhost:1"), 200, "{path}");
        assert_eq!(ask(&mut http, path, "broker.example.org:18083"), 200, "{path}");
    }
    assert_eq!(ask(&mut http, "/health", "rebind.example.com"), 200);
}

#[test]
fn foreign_pages_are_refused() {
    let broker = broker(&[]);
    let mut http = Http::admin(console(&broker));
    let own = format!("http://{}", console(&broker));
    for (name, value, status) in [
        ("Origin", "https://example.com", 403),
        ("Origin", "null", 403),
        ("Origin", own.as_str(), 200),
        ("Sec-Fetch-Site", "cross-site", 403),
        ("Sec-Fetch-Site", "same-origin", 200),
    ] {
        assert_eq!(http.ask("GET", "/api/v1/overview", &[(name, value)], b"").status, status, "{value}");
        let headers = [("Content-Type", "application/json"), (name, value)];
        let answer = http.ask("POST", "/api/v1/publish", &headers, br#"{"topic":"a"}"#);
        assert_eq!(answer.status, status, "{value}");
    }
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(http.ask("POST", "/api/v1/publish", &form, b"topic=a").status, 415, "forms need no script");
    // A request without a body is JSON all the same, and one that may have no body may have no other.
    assert_eq!(http.ask("POST", "/api/v1/publish", &[], b"").status, 415);
    assert_eq!(http.ask("POST", "/api/v1/logout", &form, b"topic=a").status, 415);
    // A link from a foreign page may lead to the pages themselves.
    assert_eq!(http.ask("GET", "/", &[("Sec-Fetch-Site", "cross-site")], b"").status, 200);
}

#[test]
fn every_answer_has_the_strict_policy() {
    let broker = broker(&[]);
    let mut http = Http::open(console(&broker));
    for path in ["/", "/nothing", "/health", "/api/v1/overview", "/api/v1/nothing"] {
        let answer = http.get(path);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
}

#[test]
fn metrics_are_for_this_machine_or_for_who_may_look() {
    let broker = broker(&[]);
    assert_eq!(Http::open(console(&broker)).get("/metrics").status, 200);
    drop(broker);
    let broker = crate::http::broker(&[
        ("console.listen", "0.0.0.0:0"),
        ("console.tutorial", "false"),
        ("console.password", "x"),
        ("console.viewer_password", "v"),
    ]);
    let mut address = console(&broker);
    address.set_ip([127, 0, 0, 1].into());
    assert_eq!(Http::open(address).get("/metrics").status, 401);
    let answer = Http::basic(address, "dmlld2VyOnY=").get("/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.text().ends_with("# EOF\n"));
    assert!(answer.text().contains("\nmidge_messages_dropped_total{reason=\"no_subscriber\"} 0\n"));
    assert_eq!(Http::open(address).get("/health").status, 200);
}

#[test]
fn behind_a_trusted_proxy_clients_count_apart_and_the_cookie_is_secure() {
    let broker = broker(&[("console.trusted_proxies", "127.0.0.1")]);
    let mut proxy = Http::open(console(&broker));
    let mut log_in = |client: &str, proto: &str, password: &str| {
        let headers =
            [("Content-Type", "application/json"), ("X-Forwarded-For", client), ("X-Forwarded-Proto", proto)];
        let body = format!(r#"{{"user":"admin","password":"{password}"}}"#);
        proxy.ask("POST", "/api/v1/login", &headers, body.as_bytes())
    };
    (0..5).for_each(|_| assert_eq!(log_in("192.0.2.1", "https", "wrong").status, 401));
    assert_eq!(log_in("192.0.2.1", "https", "public").status, 429);
    // What a client has sent itself stands before what the proxy appends.
    assert_eq!(log_in("192.0.2.9, 192.0.2.1", "https", "public").status, 429);
    let cookie = |answer: &crate::http::Answer| answer.header("set-cookie").unwrap().to_owned();
    let secure = log_in("192.0.2.2", "https", "public");
    assert!(cookie(&secure).ends_with("; Path=/; HttpOnly; SameSite=Strict; Secure"), "{secure:?}");
    let plain = log_in("192.0.2.2", "http", "public");
    assert!(cookie(&plain).ends_with("; SameSite=Strict"), "{plain:?}");
}

#[test]
fn nobody_else_is_believed_about_forwarding() {
    let broker = broker(&[("console.trusted_proxies", "192.0.2.7")]);
    let mut http = Http::open(console(&broker));
    let headers = [("Content-Type", "application/json"), ("X-Forwarded-Proto", "https")];
    let answer = http.ask("POST", "/api/v1/login", &headers, br#"{"user":"admin","password":"public"}"#);
    assert!(answer.header("set-cookie").unwrap().ends_with("; SameSite=Strict"));
    for number in 0..5 {
        let from = format!("192.0.2.{number}");
        let headers = [("Content-Type", "application/json"), ("X-Forwarded-For", from.as_str())];
        let answer = http.ask("POST", "/api/v1/login", &headers, br#"{"user":"admin","password":"wrong"}"#);
        assert_eq!(answer.status, 401);
    }
    assert_eq!(http.post("/api/v1/login", r#"{"user":"admin","password":"public"}"#).status, 429);
}

#[test]
fn the_metrics_of_a_forwarded_request_need_a_login() {
    let broker = broker(&[]);
    let mut http = Http::open(console(&broker));
    assert_eq!(http.get("/metrics").status, 200);
    for (name, value) in [("X-Forwarded-For", "192.0.2.1"), ("Forwarded", "for=192.0.2.1")] {
        assert_eq!(http.ask("GET", "/metrics", &[(name, value)], b"").status, 401, "{name}");
        assert_eq!(Http::admin(console(&broker)).ask("GET", "/metrics", &[(name, value)], b"").status, 200);
    }
}
