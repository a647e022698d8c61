//! The `midge` command as a user meets it: lines, sentences, exit codes, signals.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by a panic")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread::{self, JoinHandle};

use crate::deadline::until;

#[path = "support/deadline.rs"]
mod deadline;

const MIDGE: &str = env!("CARGO_BIN_EXE_midge");

fn midge(arguments: &[&str]) -> Output {
    Command::new(MIDGE).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Runs the command; it must exit with `code`, print nothing, and say `sentence`.
#[track_caller]
fn assert_fails(arguments: &[&str], code: i32, sentence: &str) {
    let output = midge(arguments);
    assert_eq!(String::from_utf8_lossy(&output.stderr), format!("midge: {sentence}\n"));
    assert_eq!(output.status.code(), Some(code));
    assert_eq!(output.stdout, b"");
}

/// Runs the command; it must succeed without a word on stderr. What it printed.
#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let output = midge(arguments);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8(output.stdout).unwrap()
}

/// A running `midge serve`; it is killed if the test does not stop it.
struct Serve {
    child: Child,
    lines: BufReader<ChildStdout>,
    addresses: Vec<(SocketAddr, String)>,
}

impl Serve {
    /// Starts it, and reads the lines of `listeners` listeners.
    fn start(arguments: &[&str], listeners: usize) -> Serve {
        let mut command = Command::new(MIDGE);
        command.arg("serve").args(arguments);
        Serve::spawn(&mut command, listeners)
    }

    fn spawn(command: &mut Command, listeners: usize) -> Serve {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut serve = Serve { child, lines, addresses: Vec::new() };
        for _ in 0..listeners {
            let mut line = String::new();
            serve.lines.read_line(&mut line).unwrap();
            let (address, name) =
                line.strip_prefix("listening on ").and_then(|rest| rest.split_once(' ')).unwrap();
            let name = name.strip_prefix('(').and_then(|name| name.strip_suffix(")\n")).unwrap();
            serve.addresses.push((address.parse().unwrap(), name.to_owned()));
        }
        serve
    }

    fn address(&self) -> String {
        self.addresses[0].0.to_string()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Stops it; the exit code, and what it still printed.
    fn stop(mut self, signal: &str) -> (Option<i32>, String) {
        self.signal(signal);
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A file for a test, removed at its end.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> File {
        let path = std::env::temp_dir().join(format!("midge-command-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        File(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}

/// Takes one connection, reads `read` bytes from it, answers with `answer`, and waits for its end.
fn impostor(read: usize, answer: &'static [u8]) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut vec![0; read]).unwrap();
        stream.write_all(answer).unwrap();
        // Until the command has read the answer and gone; it may go by a reset.
        let _end = stream.read_to_end(&mut Vec::new());
    });
    (address, thread)
}

/// An address on which nobody listens.
fn vacant() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// The shortest CONNECT that `midge status` sends: 12 bytes and the client identifier.
const CONNECT: usize = 12;

#[test]
fn the_version_is_told() {
    assert_eq!(printed(&["--version"]), concat!("midge ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn every_help_tells_the_exit_codes() {
    for arguments in [&["--help"][..], &["serve", "--help"], &["status", "--help"], &["config", "--help"]] {
        let help = printed(arguments);
        assert!(help.contains("Exit codes:\n  0  "), "{help}");
        assert!(help.contains("\n  4  the program there"), "{help}");
    }
}

#[test]
fn wrong_arguments_exit_with_2() {
    let cases = [
        &[][..],
        &["dance"],
        &["serve", "--lisen", "x"],
        &["serve", "--set", "mqtt.max_qos"],
        &["status", "--address", "localhost"],
        &["status", "--timeout", "0"],
        &["config", "mqtt.max_qos", "mqtt.retain"],
    ];
    for arguments in cases {
        let output = midge(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn serve_prints_a_line_for_each_listener() {
    let listen = "127.0.0.1:0";
    let serve = Serve::start(&["--listen", listen, "--listen", listen, "-l", listen], 3);
    let names: Vec<_> = serve.addresses.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["tcp", "tcp-2", "tcp-3"]);
    for (address, _) in &serve.addresses {
        assert!(address.port() != 0);
        printed(&["status", "--address", &address.to_string()]);
    }
    assert_eq!(serve.stop("TERM"), (Some(0), String::new()));
}

#[test]
fn serve_stops_at_sigint_and_sigterm_and_closes_everything() {
    for signal in ["INT", "TERM"] {
        let serve = Serve::start(&["--listen", "127.0.0.1:0"], 1);
        let address = serve.address();
        let mut client = TcpStream::connect(&address).unwrap();
        client.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a").unwrap();
        let mut connack = [0; 4];
        client.read_exact(&mut connack).unwrap();
        assert_eq!(connack, [0x20, 2, 0, 0]);
        assert_eq!(serve.stop(signal), (Some(0), String::new()), "{signal}");
        assert_eq!(client.read(&mut connack).unwrap(), 0, "the client is disconnected");
        TcpListener::bind(&address).unwrap();
    }
}

#[test]
fn a_quiet_serve_prints_nothing() {
    let address = vacant();
    let mut serve = Serve::start(&["--quiet", "--listen", &address], 0);
    until("the broker listens", || {
        assert_eq!(serve.child.try_wait().unwrap(), None, "it runs");
        midge(&["status", "--address", &address]).status.code() != Some(3)
    });
    assert_eq!(serve.stop("TERM"), (Some(0), String::new()));
}

#[test]
fn an_address_in_use_exits_with_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let sentence = format!("listener.tcp.bind: {address}: address in use");
    assert_fails(&["serve", "--listen", &address], 1, &sentence);
    let sentence = format!("listener.tcp-2.bind: {address}: address in use");
    assert_fails(&["serve", "--listen", "127.0.0.1:0", "--listen", &address], 1, &sentence);
}

#[test]
fn wrong_settings_exit_with_2() {
    let cases: [(&[&str], &str); 6] = [
        (&["--set", "mqtt.max_qos=3"], "mqtt.max_qos: 3 is out of range (0 to 2)"),
        (&["--set", "mqtt.max_quos=1"], "mqtt.max_quos: unknown setting; did you mean mqtt.max_qos?"),
        (
            &["--listen", "127.0.0.1:1", "--listen", "127.0.0.1:1"],
            "listener.tcp-2.bind: 127.0.0.1:1 is already used by listener.tcp.bind",
        ),
        (
            &["--set", "listener.lan.max_connections=1"],
            "listener.lan.bind: the listener needs an address or off",
        ),
        (&["--listen", "off"], "every listener is off; set listener.tcp.bind or use --listen"),
        (&["--config", "no/such/file"], "no/such/file: No such file or directory (os error 2)"),
    ];
    for (arguments, sentence) in cases {
        assert_fails(&[&["serve"], arguments].concat(), 2, sentence);
    }
    let output = midge(&["serve", "--listen", "nowhere"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stderr.starts_with(b"midge: listener.tcp.bind: \"nowhere\" "), "{output:?}");
}

#[test]
fn an_error_in_a_file_has_its_place() {
    let file = File::new("wrong.toml", "[mqtt]\nmax_qos = 1\nretain = 7\n");
    let sentence = format!("{}:3:1: mqtt.retain: \"7\" is neither true nor false", file.path());
    assert_fails(&["serve", "--config", file.path()], 2, &sentence);
    assert_fails(&["config", "--config", file.path()], 2, &sentence);
}

#[test]
fn single_settings_go_before_the_file_and_listen_before_both() {
    let file = File::new("order.toml", "listener.tcp.bind = \"127.0.0.1:1\"\nsys.interval = \"1m\"\n");
    let serve =
        Serve::start(&["--config", file.path(), "--set", "sys.interval=0", "--listen", "127.0.0.1:0"], 1);
    let sentence =
        format!("an MQTT broker is running at {}, but publishes nothing below $SYS/broker/", serve.address());
    assert_fails(&["status", "--address", &serve.address()], 4, &sentence);
}

#[test]
#[cfg(target_os = "linux")]
fn serve_raises_the_limit_of_open_files() {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -Sn 64; exec \"$0\" serve --listen 127.0.0.1:0", MIDGE]);
    let serve = Serve::spawn(&mut command, 1);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", serve.child.id())).unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let [soft, hard] = [0, 1].map(|column| files.split_whitespace().nth(column).unwrap());
    assert_eq!(soft, hard);
}

/// A broker that was stopped looks at what its clients have sent meanwhile before it calls them silent.
#[test]
#[cfg(target_os = "linux")]
fn clients_that_ping_survive_a_pause_of_the_broker() {
    let serve = Serve::start(&["--listen", "127.0.0.1:0", "--set", "mqtt.connect_timeout=1s"], 1);
    let connect = |number: u8| {
        let mut client = TcpStream::connect(serve.address()).unwrap();
        // CONNECT with a Keep Alive of 1 second.
        client
            .write_all(&[b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x01\x00\x01".as_slice(), &[number]].concat())
            .unwrap();
        client
    };
    let mut clients: Vec<_> = (b'A'..=b'Z').map(connect).collect();
    clients.iter_mut().for_each(|client| client.read_exact(&mut [0; 4]).unwrap());
    serve.signal("STOP");
    // What it still read would be heard before the pause.
    until("every thread is stopped", || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", serve.child.id())).unwrap();
        tasks.flatten().all(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
        })
    });
    let late = connect(b'a');
    clients.iter_mut().for_each(|client| client.write_all(b"\xc0\x00").unwrap());
    // Longer than one and a half times the Keep Alive and the time for CONNECT: the pause is what is tested.
    thread::sleep(std::time::Duration::from_secs(2));
    serve.signal("CONT");
    for client in &mut clients {
        let mut answer = [0; 2];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [0xD0, 0], "PINGRESP");
    }
    clients.push(late);
    let mut connack = [0; 4];
    clients.last_mut().unwrap().read_exact(&mut connack).unwrap();
    assert_eq!(connack, [0x20, 2, 0, 0]);
    // Nobody is cut behind its answer, either.
    for client in &mut clients {
        client.write_all(b"\xc0\x00").unwrap();
        client.read_exact(&mut [0; 2]).unwrap();
    }
}

#[test]
fn status_tells_what_the_broker_counts() {
    let serve = Serve::start(&["--listen", "127.0.0.1:0"], 1);
    let mut client = TcpStream::connect(serve.address()).unwrap();
    // CONNECT, two PUBLISH that nobody hears, of which one is retained, SUBSCRIBE, PINGREQ.
    client.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a").unwrap();
    client.write_all(b"\x30\x05\x00\x01vhi\x31\x05\x00\x01thi\x82\x06\x00\x01\x00\x01u\x00\xc0\x00").unwrap();
    // CONNACK, SUBACK, PINGRESP: all of it has been handled.
    client.read_exact(&mut [0; 4 + 5 + 2]).unwrap();
    let address = serve.address();
    // The query itself is not counted, and so not the one before this.
    printed(&["status", "--address", &address]);
    let report = printed(&["status", "--address", &address]);
    let mut lines: Vec<_> = report.lines().collect();
    assert_eq!(lines[0], format!("midge {} is running at {address}", env!("CARGO_PKG_VERSION")));
    assert!(lines[1].starts_with("  running:       for ") && lines[1].ends_with(" UTC"), "{report}");
    let retained = lines.remove(4);
    assert!(retained.starts_with("  retained:      1 messages, "), "{report}");
    let rest = [
        "  clients:       1 connected, 0 offline",
        "  subscriptions: 1",
        "  messages:      2 published, 0 delivered",
        "  dropped:       1",
        "                 1 no subscriber: nobody had subscribed to the topic when the message was published.",
    ];
    assert_eq!(lines[2..], rest, "{report}");
}

#[test]
fn status_says_that_no_broker_runs() {
    let address = vacant();
    let sentence = format!("no broker is running at {address}: connection refused");
    assert_fails(&["status", "--address", &address], 3, &sentence);
}

#[test]
fn status_says_that_it_is_no_broker() {
    let cases: [(&[u8], &str, &str); 4] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "30", "its answer to CONNECT is not a CONNACK"),
        (b"\x20\x02\x00\x09", "30", "the connect return code is not defined (Malformed Packet 0x81)"),
        (
            b"\x20\xff\xff\xff\x7f",
            "30",
            "the packet is larger than the maximum packet size (Packet too large 0x95)",
        ),
        (b"\x20", "0.5", "it says nothing in time"),
    ];
    for (answer, timeout, cause) in cases {
        let (address, thread) = impostor(CONNECT, answer);
        let sentence = format!("the program at {address} does not behave like an MQTT broker: {cause}");
        assert_fails(&["status", "--address", &address, "--timeout", timeout], 4, &sentence);
        thread.join().unwrap();
    }
}

#[test]
fn status_says_that_the_connection_was_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Everything is read, so that closing it is no reset.
        stream.set_read_timeout(None).unwrap();
        let mut connect = [0; 2];
        stream.read_exact(&mut connect).unwrap();
        stream.read_exact(&mut vec![0; usize::from(connect[1])]).unwrap();
    });
    let sentence =
        format!("the program at {address} does not behave like an MQTT broker: it closed the connection");
    assert_fails(&["status", "--address", &address], 4, &sentence);
    thread.join().unwrap();
}

#[test]
fn status_says_that_the_connection_was_reset() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        // CONNECT is there and not read, so that closing the connection resets it.
        stream.peek(&mut [0; 1]).unwrap();
    });
    let reset = std::io::Error::from_raw_os_error(libc::ECONNRESET);
    let sentence = format!("the program at {address} does not behave like an MQTT broker: {reset}");
    assert_fails(&["status", "--address", &address], 4, &sentence);
    thread.join().unwrap();
}

/// Then nothing is to be heard: the answer to a ping is not waited for.
#[test]
fn status_takes_a_refused_subscription_for_an_answer() {
    let (address, thread) = impostor(CONNECT, b"\x20\x02\x00\x00\x90\x03\x00\x01\x80");
    let sentence =
        format!("an MQTT broker is running at {address}, but publishes nothing below $SYS/broker/");
    assert_fails(&["status", "--address", &address], 4, &sentence);
    thread.join().unwrap();
}

#[test]
fn status_says_why_it_is_refused() {
    let (address, thread) = impostor(CONNECT, b"\x20\x02\x00\x05");
    let sentence =
        format!("an MQTT broker is running at {address}, but refuses the connection: Not authorized");
    assert_fails(&["status", "--address", &address], 4, &sentence);
    thread.join().unwrap();
}

#[test]
fn a_printed_configuration_can_be_read_again() {
    let pairs = ["listener.lan.bind=[::1]:1884", "mqtt.max_qos=1", "session.max_expiry=2h", "mqtt.retain=no"];
    let mut arguments = vec!["config"];
    arguments.extend(pairs.iter().flat_map(|pair| ["--set", pair]));
    let document = printed(&arguments);
    assert!(
        document.contains("\nmax_qos = 1\n") && document.contains("\n# receive_maximum = 100\n"),
        "{document}"
    );
    let file = File::new("again.toml", &document);
    assert_eq!(printed(&["config", "--config", file.path()]), document);

    // Every default, uncommented, is accepted and is the default.
    let defaults = printed(&["config"]);
    let is_setting = |line: &str| line.starts_with("# ") && line.contains(" = ") && !line.contains('`');
    let uncommented: Vec<_> =
        defaults.lines().map(|line| if is_setting(line) { &line[2..] } else { line }).collect();
    assert!(uncommented.iter().filter(|line| line.starts_with("max_")).count() > 10);
    let file = File::new("defaults.toml", &uncommented.join("\n"));
    assert_eq!(printed(&["config", "--config", file.path()]), defaults);
}

#[test]
fn a_configuration_is_read_from_the_standard_input() {
    let mut child = Command::new(MIDGE)
        .args(["config", "--config", "-", "mqtt.max_qos"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"mqtt.max_qos = 0\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(output.stdout.ends_with(b"\nmqtt.max_qos = 0\n"), "{output:?}");
}

#[test]
fn one_setting_is_printed_with_its_help() {
    let text = printed(&["config", "--set", "mqtt.keep_alive_max=90s", "mqtt.keep_alive_max"]);
    assert!(text.starts_with("# Longest keep alive."), "{text}");
    assert!(text.ends_with("\nmqtt.keep_alive_max = \"90s\"\n"), "{text}");
    assert_fails(
        &["config", "mqtt.keepalive_max"],
        2,
        "mqtt.keepalive_max: unknown setting; did you mean mqtt.keep_alive_max?",
    );
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(MIDGE).arg("config").stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
#[cfg(target_os = "linux")]
fn an_output_that_cannot_be_written_exits_with_1() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Command::new(MIDGE).arg("config").stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let sentence = "midge: cannot write to the standard output: No space left on device (os error 28)\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), sentence);
}

/// A file of rules and whatever else a test writes, removed at the end.
struct RuleFile(PathBuf);

impl RuleFile {
    fn new(name: &str, text: &str) -> RuleFile {
        let path = std::env::temp_dir().join(format!("midge-rules-{name}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        RuleFile(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for RuleFile {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}

#[test]
fn rule_check_counts_the_rules_and_tells_likely_mistakes() {
    let file = RuleFile::new("check", "topic read a\npattern b/#\nuser ann\ntopic %u/c\n");
    let path = file.path();
    let expected = format!(
        "{path}: 3 rules\n\
         line 2: a pattern without %u and %c is the same for all clients\n\
         line 4: %u and %c stand for nothing in a topic line\n"
    );
    assert_eq!(printed(&["rule", "check", path]), expected);
    let wrong = RuleFile::new("wrong", "topic read a\n\nuser\n");
    let path = wrong.path();
    assert_fails(&["rule", "check", path], 2, &format!("{path}: line 3: user without a name"));
    let none = format!("{path}-none");
    let sentence = format!("{none}: No such file or directory (os error 2)");
    assert_fails(&["rule", "check", &none], 2, &sentence);
}

/// So that a script can ask.
#[test]
fn rule_explain_exits_with_6_where_the_rules_deny() {
    let file = RuleFile::new("explain", "topic read a/+\npattern write own/%c\n");
    let ask = |rest: &[&str]| -> Vec<String> {
        let arguments = [&["rule", "explain", file.path(), "--client", "c"], rest].concat();
        arguments.into_iter().map(str::to_owned).collect()
    };
    for (rest, sentence) in [
        (["receive", "a/b"], "allowed: line 1 (topic read a/+, for clients without a user name)\n"),
        (["publish", "own/c"], "allowed: line 2 (pattern write own/%c)\n"),
        (["subscribe", "a/+"], "allowed: every topic that it matches may be read\n"),
    ] {
        let arguments = ask(&rest);
        assert_eq!(printed(&arguments.iter().map(String::as_str).collect::<Vec<_>>()), sentence);
    }
    for (rest, code, sentence) in [
        (["publish", "a/b"], 6, "denied: no line allows it"),
        (["subscribe", "a/#"], 6, "denied: it matches \"a\", which no line allows"),
        (["publish", "a/+"], 2, "the topic name holds a wildcard, + or #: \"a/+\""),
    ] {
        let arguments = ask(&rest);
        assert_fails(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), code, sentence);
    }
}

#[cfg(feature = "durable")]
mod storage {
    use std::fs;
    use std::path::{Path, PathBuf};

    use crate::{Serve, assert_fails, midge, printed};

    /// A directory that is removed at the end.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Directory {
            let path = std::env::temp_dir().join(format!("midge-command-{}-{name}", std::process::id()));
            let _old = fs::remove_dir_all(&path);
            fs::create_dir(&path).unwrap();
            Directory(path.canonicalize().unwrap())
        }

        fn path(&self, name: &str) -> String {
            self.0.join(name).to_str().unwrap().to_owned()
        }

        /// Makes a store with one retained message.
        fn store(&self, name: &str) -> String {
            let lines = "{\"type\":\"store\",\"format\":1}\n\
                         {\"type\":\"retained\",\"topic\":\"a\",\"payload\":\"b\",\"qos\":1}\n";
            fs::write(self.0.join("lines"), lines).unwrap();
            let store = self.path(name);
            printed(&["storage", "import", &store, &self.path("lines")]);
            store
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _gone = fs::remove_dir_all(&self.0);
        }
    }

    /// Names, contents and times of the files of a directory.
    fn files(path: &str) -> Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> {
        let mut files: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let changed = entry.metadata().unwrap().modified().unwrap();
                (entry.path(), fs::read(entry.path()).unwrap(), changed)
            })
            .collect();
        files.sort();
        files
    }

    #[test]
    fn a_store_is_looked_at_and_stays_what_it_is() {
        let place = Directory::new("looked-at");
        let store = place.store("store");
        let before = files(&store);
        assert!(printed(&["storage", "check", &store]).starts_with(&format!("{store} is in order\n")));
        assert!(printed(&["storage", "export", &store]).contains("\"topic\":\"a\""));
        printed(&["storage", "export", &store, "--file", &place.path("new")]);
        printed(&["storage", "backup", &store, &place.path("copy")]);
        assert_eq!(files(&store), before);
        // An export replaces no file.
        let output = midge(&["storage", "export", &store, "--file", &place.path("new")]);
        assert_eq!(output.status.code(), Some(1));
        // Nor does a check make a directory, or a file in one without a store.
        let none = place.path("none");
        for command in ["check", "export", "compact"] {
            let sentence = "there is no such directory: name the directory of the setting storage.path";
            assert_fails(&["storage", command, &none], 1, &format!("{none}: {sentence}"));
        }
        assert!(!Path::new(&none).exists());
        fs::create_dir(&none).unwrap();
        let sentence = "there is no store here: name the directory of the setting storage.path";
        for command in ["check", "export"] {
            assert_fails(&["storage", command, &none], 1, &format!("{none}: {sentence}"));
        }
        assert_eq!(files(&none), []);
    }

    #[test]
    fn a_store_that_a_broker_uses_is_left_alone_and_the_sentence_says_who_has_it() {
        let place = Directory::new("in-use");
        let store = place.store("store");
        let path = format!("storage.path={store}");
        let serve = Serve::start(&["--listen", "127.0.0.1:0", "--set", &path], 1);
        let process = serve.child.id();
        let sentence = format!(
            "{store}: another broker uses it (process {process}): stop that broker, or give this one a directory of its \
             own"
        );
        for arguments in [
            &["storage", "check", &store][..],
            &["storage", "export", &store],
            &["storage", "compact", &store],
            &["storage", "backup", &store, &place.path("copy")],
            &["storage", "import", &store, &place.path("lines")],
        ] {
            assert_fails(arguments, 1, &sentence);
        }
        assert_eq!(serve.stop("INT").0, Some(0));
        printed(&["storage", "check", &store]);
    }

    #[test]
    fn a_damaged_store_exits_with_5() {
        let place = Directory::new("damaged");
        let store = place.store("store");
        let log = place.path("store/log.0");
        let mut bytes = fs::read(&log).unwrap();
        bytes[9] ^= 1;
        fs::write(&log, bytes).unwrap();
        let output = midge(&["storage", "check", &store]);
        let sentence = String::from_utf8(output.stderr).unwrap();
        assert!(sentence.contains(&log) && sentence.lines().count() == 1, "{sentence}");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(5), 0));
        fs::remove_file(&log).unwrap();
        let sentence = format!("{log} is missing: restore the store from a backup, or set it aside");
        assert_fails(&["storage", "check", &store], 5, &sentence);
    }
}

#[cfg(feature = "console")]
/// A broker with a console: where it is, and the command `midge listener` that asks it.
struct Consoled {
    _serve: Serve,
    console: String,
}

#[cfg(feature = "console")]
impl Consoled {
    fn start(arguments: &[&str]) -> Consoled {
        let own = [
            "--listen",
            "127.0.0.1:0",
            "--set",
            "console.listen=127.0.0.1:0",
            "--set",
            "console.tutorial=true",
        ];
        let mut serve = Serve::start(&[&own, arguments].concat(), 1);
        let mut line = String::new();
        serve.lines.read_line(&mut line).unwrap();
        let console = line.strip_prefix("console at ").unwrap().split_whitespace().next().unwrap();
        Consoled { console: console.trim_end_matches('/').to_owned(), _serve: serve }
    }

    fn ask(&self, password: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = Command::new(MIDGE)
            .args(["listener", "--console", &self.console])
            .args(arguments)
            .env("MIDGE_PASSWORD", password)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// What it prints; it must succeed.
    #[track_caller]
    fn printed(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.ask("public", arguments);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        out
    }

    #[track_caller]
    fn fails(&self, password: &str, arguments: &[&str], code: i32, sentence: &str) {
        let (ended, out, err) = self.ask(password, arguments);
        assert_eq!((ended, out.as_str(), err), (Some(code), "", format!("midge: {sentence}\n")));
    }
}

#[cfg(feature = "console")]
#[test]
fn listeners_are_listed_added_paused_and_stopped() {
    let broker = Consoled::start(&[]);
    let added = broker.printed(&["add", "lan", "127.0.0.1:0", "--set", "max_connections=10"]);
    let address: SocketAddr = added.strip_prefix("lan listens on ").unwrap().trim_end().parse().unwrap();
    assert_eq!(broker.printed(&["pause", "lan"]), "lan is paused\n");
    let list = broker.printed(&["list"]);
    let lan = list.lines().find(|line| line.starts_with("lan ")).unwrap();
    let words: Vec<&str> = lan.split_whitespace().collect();
    assert_eq!(words, ["lan", &address.to_string(), "tcp", "paused", "0", "0", "0"]);
    assert!(list.starts_with("NAME ") && list.contains("\ntcp "), "{list}");
    assert_eq!(broker.printed(&["resume", "lan"]), "lan accepts again\n");
    TcpStream::connect(address).unwrap();
    let stopped = broker.printed(&["stop", "lan", "--disconnect"]);
    assert_eq!(stopped, "lan is stopped; clients disconnected: 0\n");
    assert!(TcpStream::connect(address).is_err());
}

#[cfg(feature = "console")]
#[test]
fn what_a_console_refuses_is_said() {
    let broker = Consoled::start(&[]);
    let console = &broker.console;
    broker.fails("wrong", &["list"], 1, &format!("{console}/: the password of user \"admin\" is wrong"));
    broker.fails("public", &["stop", "lan"], 1, "listener: this broker has no listener \"lan\"");
    let taken = &["add", "tcp", "127.0.0.1:0"];
    broker.fails("public", taken, 1, "listener: this broker has a listener \"tcp\" already");
    let wrong = &["add", "lan", "nowhere"];
    let (code, _, said) = broker.ask("public", wrong);
    assert_eq!(code, Some(1));
    assert!(said.starts_with("midge: listener.lan.bind: "), "{said}");
    let output =
        Command::new(MIDGE).args(["listener", "list"]).env_remove("MIDGE_PASSWORD").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "midge: set MIDGE_PASSWORD, or name a --password-file\n");
    let file = File::new("password", "public\nnot this\n");
    let (code, list, said) = broker.ask("wrong", &["--password-file", file.path(), "list"]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(list.starts_with("NAME "));
}

#[cfg(feature = "console")]
#[test]
fn what_is_no_console_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = listener.local_addr().unwrap().to_string();
    drop(listener);
    let ask = |address: &str| {
        let url = format!("http://{address}");
        let mut command = Command::new(MIDGE);
        let output =
            command.args(["listener", "--console", &url, "list"]).env("MIDGE_PASSWORD", "x").output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = ask(&gone);
    assert_eq!(code, Some(3));
    assert!(said.starts_with(&format!("midge: no console is running at http://{gone}/: ")), "{said}");
    let (address, thread) = impostor(1, b"SSH-2.0-OpenSSH_9.2\r\n");
    let (code, said) = ask(&address);
    assert_eq!(code, Some(4));
    let begin = format!("midge: the program at http://{address}/ does not behave like a console: ");
    assert!(said.starts_with(&begin), "{said}");
    thread.join().unwrap();
}
