//! A small blocking HTTP client on a real socket, and a broker with a console.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use midge::config::Config;
use midge::embed::{Broker, Hooks};
use midge::testing::TestBroker;
use serde_json::Value;

use crate::client::PATIENCE;

/// A broker with a console in tutorial mode, and perhaps other settings.
pub fn broker(settings: &[(&str, &str)]) -> Broker {
    let mut config = tutorial();
    set(&mut config, settings);
    Broker::start(&config).unwrap()
}

/// The same with hooks of the host program.
pub fn broker_with(hooks: &Hooks) -> Broker {
    Broker::start_with(&tutorial(), hooks).unwrap()
}

/// The same in test mode: its time stands still until it is moved.
pub fn test_broker(settings: &[(&str, &str)]) -> TestBroker {
    let mut config = tutorial();
    set(&mut config, settings);
    TestBroker::start(&config).unwrap()
}

fn tutorial() -> Config {
    let mut config = crate::client::config();
    config.set("console.listen", "127.0.0.1:0").unwrap();
    config.set("console.tutorial", "true").unwrap();
    config
}

pub fn set(config: &mut Config, settings: &[(&str, &str)]) {
    for (key, value) in settings {
        config.set(key, value).unwrap();
    }
}

/// The address of the broker's console.
pub fn console(broker: &Broker) -> SocketAddr {
    broker.console_address().unwrap()
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// In small letters.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of a problem.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap().to_owned()
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In order, perhaps after more was sent.
    Closed,
    /// By a reset, which throws away what was on its way.
    Reset,
}

/// A connection to a console.
pub struct Http {
    pub stream: BufReader<TcpStream>,
    host: String,
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
}

impl Http {
    /// A connection on which nothing was sent.
    pub fn open(address: SocketAddr) -> Http {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Http { stream: BufReader::new(stream), host: address.to_string(), headers: Vec::new() }
    }

    /// A connection whose requests bring user and password.
    pub fn basic(address: SocketAddr, encoded: &str) -> Http {
        let mut http = Http::open(address);
        http.headers.push(("Authorization".to_owned(), format!("Basic {encoded}")));
        http
    }

    /// A connection of the tutorial's administrator.
    pub fn admin(address: SocketAddr) -> Http {
        Http::basic(address, "YWRtaW46cHVibGlj")
    }

    /// A connection that has logged in, with the cookie and the token.
    pub fn log_in(address: SocketAddr, user: &str, password: &str) -> Http {
        let mut http = Http::open(address);
        let answer = http.post("/api/v1/login", &format!(r#"{{"user":"{user}","password":"{password}"}}"#));
        assert_eq!(answer.status, 200, "{answer:?}");
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let token = answer.json()["csrf"].as_str().unwrap().to_owned();
        http.headers.push(("Cookie".to_owned(), cookie));
        http.headers.push(("X-Midge-CSRF".to_owned(), token));
        http
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    /// The JSON of an answer that must be 200.
    pub fn json(&mut self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    pub fn delete(&mut self, path: &str) -> Answer {
        self.ask("DELETE", path, &[], b"")
    }

    pub fn post(&mut self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, &[("Content-Type", "application/json")], body.as_bytes())
    }

    pub fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.send(method, path, headers, body);
        self.answer(method == "HEAD")
    }

    /// Sends a request; a header `Host` in `headers` takes the place of the right one.
    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            head.push_str(&format!("Host: {}\r\n", self.host));
        }
        let own = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in own.chain(headers.iter().copied()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || method == "POST" {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        self.stream.get_mut().write_all(&request).unwrap();
    }

    /// The head of an answer.
    pub fn head(&mut self) -> (u16, Vec<(String, String)>) {
        let line = self.line();
        let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("{line:?}")).parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                return (status, headers);
            }
            let (name, value) = line.split_once(": ").unwrap();
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }

    fn answer(&mut self, is_head: bool) -> Answer {
        let (status, headers) = self.head();
        let mut answer = Answer { status, headers, body: Vec::new() };
        let length: usize = answer.header("content-length").map_or(0, |value| value.parse().unwrap());
        if !is_head {
            answer.body.resize(length, 0);
            self.stream.read_exact(&mut answer.body).unwrap();
        }
        answer
    }

    /// A line without its end; the connection must not have ended.
    pub fn line(&mut self) -> String {
        self.line_or_end().expect("the console has closed the connection")
    }

    /// A line without its end; `None` at the end of the connection.
    pub fn line_or_end(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
            Err(error) => panic!("no line, for at most {PATIENCE:?}: {error}; before it: {line:?}"),
        }
    }

    /// The next event of a stream with this name.
    pub fn event(&mut self, name: &str) -> Value {
        self.event_with(name, |_| true)
    }

    /// The next event of a stream with this name that `is_it` takes.
    pub fn event_with(&mut self, name: &str, mut is_it: impl FnMut(&Value) -> bool) -> Value {
        let (begun, mut last) = (Instant::now(), None);
        loop {
            let (kind, data) = self.any_event();
            if kind == name {
                if is_it(&data) {
                    return data;
                }
                last = Some(data);
            }
            // A stream has events of other kinds for ever.
            assert!(begun.elapsed() < PATIENCE, "no such event {name:?}; the last one: {last:?}");
        }
    }

    /// The next event of a stream: its name and its data.
    pub fn any_event(&mut self) -> (String, Value) {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "no event, but signs of life");
            if let Some(name) = self.line().strip_prefix("event: ") {
                let data = self.line();
                return (
                    name.to_owned(),
                    serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap(),
                );
            }
        }
    }

    /// Reads until a line is this one.
    pub fn until(&mut self, wanted: &str) {
        let begun = Instant::now();
        while self.line() != wanted {
            assert!(begun.elapsed() < PATIENCE, "no line {wanted:?}");
        }
    }

    /// How the connection ends; fails if it stays open.
    pub fn end(&mut self) -> End {
        match self.stream.read_to_end(&mut Vec::new()) {
            Ok(_) => End::Closed,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => End::Reset,
            Err(error) => panic!("the connection is still open after {PATIENCE:?}: {error}"),
        }
    }

    /// Whether the server closes the connection in order, perhaps after more was sent.
    pub fn is_closed(&mut self) -> bool {
        self.end() == End::Closed
    }
}
