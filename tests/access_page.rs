//! The commands of docs/access.md, run in their order: they print what the page says.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail by a panic")]

use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PAGE: &str = include_str!("../docs/access.md");

/// The broker of the page.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _killed = self.0.kill();
        let _ended = self.0.wait();
    }
}

fn command(line: &str, place: &Path) -> Command {
    let folder = Path::new(env!("CARGO_BIN_EXE_midge")).parent().unwrap().to_str().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec 2>&1; PATH='{folder}':$PATH; {line}")]).current_dir(place);
    command
}

/// Starts a command that goes on, and waits until its port accepts.
fn serve(line: &str, place: &Path, port: u16) -> Served {
    let child = command(&format!("exec {line}"), place).stdout(Stdio::piped()).spawn().unwrap();
    let mut served = Served(child);
    let end = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > end || served.0.try_wait().unwrap().is_some() {
            let mut said = String::new();
            let _killed = served.0.kill();
            served.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("{line}: {said}");
        }
        std::thread::yield_now();
    }
    served
}

/// Where mosquitto's clients are, the page does as it says; elsewhere its own commands are tried alone.
#[test]
fn the_commands_of_the_page_print_what_it_says() {
    let place = std::env::temp_dir().join(format!("midge-access-page-{}", std::process::id()));
    fs::create_dir_all(&place).unwrap();
    let has_clients = Command::new("mosquitto_pub").arg("--version").output().is_ok();
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (port, other) = (free().to_string(), free().to_string());
    let moved = |text: &str| text.replace("18883", &port).replace("18884", &other);
    let mut broker = None;
    let mut commands = 0;
    for block in PAGE.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
        let mut printed = String::new();
        let mut expected = String::new();
        let mut skips = false;
        for line in moved(block).lines() {
            let Some(typed) = line.strip_prefix("$ ") else {
                if !skips {
                    expected.push_str(&format!("{line}\n"));
                }
                continue;
            };
            skips = typed.starts_with("mosquitto_pub") && !has_clients;
            if skips {
                continue;
            }
            commands += 1;
            match typed.strip_suffix(" &") {
                Some(typed) => broker = Some(serve(typed, &place, port.parse().unwrap())),
                None => {
                    let output = command(typed, &place).output().unwrap();
                    printed.push_str(&String::from_utf8(output.stdout).unwrap());
                }
            }
        }
        assert_eq!(printed, expected);
    }
    drop(broker);
    assert!(commands >= if has_clients { 6 } else { 3 }, "{commands}");
    fs::remove_dir_all(&place).unwrap();
}
