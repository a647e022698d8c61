//! Returns memory of disconnected clients, free in the middle of the allocator's heaps, to the system. The library
//! leaves that to its host.
//!
//! Nothing runs while the broker is idle: a thread sleeps until many clients have disconnected.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use midge::embed::Hooks;

use crate::system::give_back_memory;

/// Clients that disconnect before memory is returned: they leave about 1.5 MB.
const MANY: usize = 1000;
/// Returning memory takes the allocator's locks. It waits until no more clients have disconnected for this time, at
/// most `LONGEST` times.
const QUIET: Duration = Duration::from_secs(2);
const LONGEST: usize = 30;

/// Hooks that return the memory of a broker's clients for as long as the hooks live.
pub(crate) fn cleared_up() -> io::Result<Hooks> {
    cleared_up_by(give_back_memory, MANY, QUIET)
}

fn cleared_up_by(give_back: impl Fn() + Send + 'static, many: usize, quiet: Duration) -> io::Result<Hooks> {
    let (tell, told) = sync_channel(1);
    let body = move || clear_up(&told, give_back, quiet);
    thread::Builder::new().name("midge-memory".to_owned()).spawn(body)?;
    let gone = AtomicUsize::new(0);
    Ok(Hooks::new().on_disconnected(move |_| {
        if (gone.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(many) {
            // If the channel is full, the thread has not handled the last message yet.
            let _known = tell.try_send(());
        }
    }))
}

/// Calls `give_back` once after each burst of messages, until the sender is dropped.
fn clear_up(told: &Receiver<()>, give_back: impl Fn(), quiet: Duration) {
    while told.recv().is_ok() {
        for _ in 0..LONGEST {
            match told.recv_timeout(quiet) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        give_back();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use midge::config::Config;
    use midge::embed::Broker;

    use super::cleared_up_by;

    /// A CONNECT of MQTT 3.1.1 with Clean Session and an empty client identifier.
    const CONNECT: &[u8] = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00";

    #[test]
    fn memory_is_given_back_when_many_clients_have_gone_and_not_before() {
        let (done, cleared) = channel();
        let give_back = move || _ = done.send(());
        let hooks = cleared_up_by(give_back, 3, Duration::ZERO).unwrap();
        let mut config = Config::new();
        config.set("listener.tcp.bind", "127.0.0.1:0").unwrap();
        let broker = Broker::start_with(&config, &hooks).unwrap();
        let come_and_go = || {
            let mut stream = TcpStream::connect(broker.address("tcp").unwrap()).unwrap();
            stream.write_all(CONNECT).unwrap();
            stream.read_exact(&mut [0; 4]).unwrap();
        };
        (0..3).for_each(|_| come_and_go());
        cleared.recv().unwrap();
        (0..2).for_each(|_| come_and_go());
        broker.stop(None).unwrap();
        drop((broker, hooks));
        // The thread has ended without another call.
        assert!(cleared.recv().is_err());
    }
}
