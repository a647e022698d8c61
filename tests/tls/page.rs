//! The commands of docs/tls.md, run in their order: they print what the page says.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::certificates::Folder;
use crate::deadline::until;

const PAGE: &str = include_str!("../../docs/tls.md");

/// The blocks of the page: language and text.
fn blocks() -> impl Iterator<Item = (&'static str, &'static str)> {
    PAGE.split("```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap())
}

fn shell(line: &str, place: &Path) -> Command {
    let folder = Path::new(env!("CARGO_BIN_EXE_midge")).parent().unwrap().to_str().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec 2>&1; PATH='{folder}':$PATH; {line}")]).current_dir(place);
    command
}

/// A broker that is ended with the test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _waited = self.0.wait();
    }
}

#[test]
fn the_commands_of_the_page_print_what_it_says() {
    let folder = Folder::new();
    let place = folder.as_ref();
    let mut serving = None;
    let mut commands = 0;
    let mut port = String::new();
    for (language, block) in blocks() {
        match language {
            "toml" => fs::write(place.join("tls.toml"), block).unwrap(),
            "sh" => {
                drop(serving.take());
                let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
                port = free.port().to_string();
                if let Ok(text) = fs::read_to_string(place.join("tls.toml")) {
                    fs::write(place.join("tls.toml"), text.replace("8883", &port)).unwrap();
                }
                let line = format!("exec {}", block.trim().replace("8883", &port));
                serving = Some(Serving(shell(&line, place).stdout(Stdio::null()).spawn().unwrap()));
                until("the broker listens", || TcpStream::connect(free).is_ok());
            }
            "console" => {
                let mut printed = String::new();
                for line in block.lines().filter_map(|line| line.strip_prefix("$ ")) {
                    commands += 1;
                    let output = shell(&line.replace("8883", &port), place).output().unwrap();
                    printed.push_str(&format!("$ {line}\n{}", String::from_utf8(output.stdout).unwrap()));
                }
                assert_eq!(printed, block);
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(commands, 5);
}

/// The files of a second run: the same authority, other certificates, and keys that only their owner may read.
#[test]
fn an_authority_is_used_again() {
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::new();
    let read = |name: &str| fs::read_to_string(folder.path(name)).unwrap();
    let made = |line: &str| {
        let output = shell(line, folder.as_ref()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(made("midge certificate .").0, Some(0));
    let (authority, server) = (read("ca.pem"), read("server.pem"));
    for name in ["ca.key", "server.key"] {
        assert_eq!(fs::metadata(folder.path(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    assert_eq!(made("midge certificate . --client a"), (Some(0), "./a.key\n./a.pem\n".to_owned()));
    assert_eq!((read("ca.pem"), read("server.pem")), (authority.clone(), server.clone()));
    assert_eq!(made("midge certificate . --server broker.example --days 7").0, Some(0));
    assert_eq!(read("ca.pem"), authority);
    assert_ne!(read("server.pem"), server);
    for name in ["server.pem", "a.pem"] {
        let ca = folder.path("ca.pem");
        let verified = crate::world::run(
            "openssl",
            &["verify", "-x509_strict", "-CAfile", ca.to_str().unwrap(), folder.path(name).to_str().unwrap()],
            "",
        );
        assert!(verified.status.success(), "{name}");
    }
    let (code, said) = made("midge certificate . --client ca");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--client: \"ca\": use letters"), "{said}");
    fs::write(folder.path("ca.pem"), "").unwrap();
    let (code, said) = made("midge certificate .");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("./ca.pem: it was not made by `midge certificate`"), "{said}");
}

/// SIGHUP makes a running `midge serve` read its certificates again.
#[test]
fn sighup_reads_certificates_again() {
    let world = crate::world::World::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (certificate, key) = (world.text("server.pem"), world.text("server.key"));
    let line = format!("exec midge serve -q -l {free} --tls {certificate} {key}");
    let serving = Serving(shell(&line, world.folder.as_ref()).stdout(Stdio::null()).spawn().unwrap());
    until("the broker listens", || TcpStream::connect(free).is_ok());
    let mut old = world.connect(free, "old", None);
    let renewed = world.authority.server(&["localhost"]);
    world.folder.issued("server", &renewed);
    let sent = Command::new("kill").args(["-HUP", &serving.0.id().to_string()]).status().unwrap();
    assert!(sent.success());
    until("new connections get the new certificate", || {
        let new = world.connect(free, "new", None);
        crate::world::shown(&new) == crate::world::der(&renewed)
    });
    crate::world::ping(&mut old);
}
