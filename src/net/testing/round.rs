//! Waiting until several tasks have done a request. A channel would work, but would leave memory with the host's
//! thread.

use std::sync::Arc;

use crate::locks::{Condvar, Mutex};

/// One request to several tasks.
#[derive(Default)]
pub(super) struct Round {
    tickets: Mutex<usize>,
    done: Condvar,
}

/// One task's part of a request; dropped when it is done or can no longer be done.
pub(in crate::net) struct Ticket(Arc<Round>);

impl Round {
    /// Lets `ask` hand out tickets, and waits until all of them are dropped.
    pub(super) fn ask(ask: impl FnOnce(&Ticket)) {
        let round = Arc::<Round>::default();
        let first = Ticket::of(&round);
        ask(&first);
        drop(first);
        let mut tickets = round.tickets.lock();
        while *tickets > 0 {
            round.done.wait(&mut tickets);
        }
    }
}

impl Ticket {
    fn of(round: &Arc<Round>) -> Ticket {
        *round.tickets.lock() += 1;
        Ticket(Arc::clone(round))
    }
}

impl Clone for Ticket {
    fn clone(&self) -> Ticket {
        Ticket::of(&self.0)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut tickets = self.0.tickets.lock();
        *tickets -= 1;
        if *tickets == 0 {
            self.0.done.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;

    use super::Round;

    #[test]
    fn a_round_is_over_when_every_ticket_is_dropped() {
        Round::ask(|_| ());
        let done = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            Round::ask(|ticket| {
                for _ in 0..4 {
                    let (give, take) = channel();
                    give.send(ticket.clone()).unwrap();
                    let done = &done;
                    scope.spawn(move || {
                        let ticket = take.recv().unwrap();
                        done.fetch_add(1, Ordering::SeqCst);
                        drop(ticket);
                    });
                }
            });
            assert_eq!(done.load(Ordering::SeqCst), 4);
        });
    }
}
