//! `midge serve` with sockets that a service manager passes; a shell plays its part.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a";

/// The command that a service manager runs whose socket is descriptor 3.
fn launched(
    socket: impl Into<OwnedFd>,
    process: &str,
    count: &str,
    names: &str,
    settings: &[&str],
) -> Command {
    let script = format!(
        "exec 3<&0 </dev/null; export LISTEN_PID={process} LISTEN_FDS={count} LISTEN_FDNAMES={names}; exec \"$0\" \"$@\""
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_midge"), "serve"]);
    settings.iter().for_each(|setting| _ = command.args(["--set", setting]));
    command.stdin(Stdio::from(socket.into())).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts it and reads its first line.
fn serve(mut command: Command) -> (Running, String) {
    let mut running = Running(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (running, line)
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn greet(mut stream: impl Read + Write) {
    stream.write_all(CONNECT).unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [0x20, 2, 0, 0]);
}

fn refused(mut command: Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    assert_eq!(status.code(), Some(1));
    String::from_utf8(stderr).unwrap()
}

fn tcp() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn a_listener_takes_the_socket_of_its_name() {
    let listener = tcp();
    let address = listener.local_addr().unwrap();
    // This client has connected before the broker runs.
    let early = TcpStream::connect(address).unwrap();
    early.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let settings = ["listener.tcp.bind=off", "listener.lan.bind=systemd"];
    let (_running, line) = serve(launched(listener, "$$", "1", "lan", &settings));
    assert_eq!(line, format!("listening on {address} (lan)\n"));
    greet(early);
    greet(TcpStream::connect(address).unwrap());
}

#[test]
fn a_passed_unix_socket_has_its_path_and_keeps_it() {
    let path = std::env::temp_dir().join(format!("midge-activation-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let (running, line) =
        serve(launched(listener, "$$", "1", "midge.socket", &["listener.tcp.bind=systemd"]));
    assert_eq!(line, format!("listening on unix:{} (tcp)\n", path.display()));
    greet(UnixStream::connect(&path).unwrap());
    drop(running);
    assert!(path.exists(), "the file belongs to the service manager");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn what_is_wrong_with_the_passed_sockets_is_said() {
    let settings = ["listener.tcp.bind=systemd"];
    let place = "midge: listener.tcp.bind: systemd: ";
    for (process, count, names, cause) in [
        ("1", "1", "tcp", "no socket was passed: LISTEN_PID is of another process"),
        ("", "1", "tcp", "no socket was passed: LISTEN_PID is not set"),
        ("$$", "", "tcp", "no socket was passed: LISTEN_FDS is not set"),
        ("$$", "2", "a:b", "the service manager has passed no socket of the name \"tcp\", but a, b"),
    ] {
        let sentence = refused(launched(tcp(), process, count, names, &settings));
        assert!(sentence.starts_with(&format!("{place}{cause}")), "{sentence}");
    }
    let (one, _other) = UnixStream::pair().unwrap();
    let sentence = refused(launched(one, "$$", "1", "tcp", &settings));
    assert!(sentence.contains("descriptor 3 is no stream socket that listens"), "{sentence}");
}
