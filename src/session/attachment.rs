//! A connection comes to its session, and leaves it: all halves change together.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::session::delivery::ClientLimits;
use crate::session::epoch::Epoch;
use crate::session::inbound::Inbound;
use crate::session::last_bytes::EndingBytes;
use crate::session::link::{Cause, Link};
use crate::session::outbound::Outbound;
use crate::session::state::{Connected, Control, Mark, Session, Will};

/// What a connection brings to its session.
pub struct Attachment {
    /// Where its packets are written to.
    pub link: Arc<dyn Link>,
    /// What the session knows of it.
    pub connected: Box<Connected>,
    /// Its Will Message.
    pub will: Option<Box<Will>>,
    /// The Session Expiry Interval in seconds.
    pub expiry_interval: u32,
    /// What its client takes, and whether changes of the session are recorded from now on.
    pub client_limits: ClientLimits,
}

impl Session {
    /// Attaches a connection with the number `epoch`, which is the one after that of the last. The caller holds the locks
    /// of all halves, and keeps that of `outbound` until CONNACK is in the outbox.
    pub fn attach(
        &self,
        epoch: Epoch,
        inbound: &mut Inbound,
        control: &mut Control,
        outbound: &mut Outbound,
        attachment: Attachment,
    ) {
        let Attachment { link, connected, will, expiry_interval, client_limits } = attachment;
        let kept = client_limits.kept;
        self.heard(connected.since);
        control.epoch = epoch;
        control.connected = Some(connected);
        // [MQTT-3.1.3-9]: a will that waits for its delay is not sent when the session is resumed.
        control.will = will;
        control.expiry_interval = expiry_interval;
        control.kept = kept;
        inbound.restart(epoch, kept);
        outbound.attach(link, epoch, client_limits);
        self.unacknowledged.store(0, Ordering::Relaxed);
        self.unmark(Mark::HOLDS_ACKS);
        self.attached.set(epoch);
    }

    /// Detaches the connection with the number `epoch` and ends it, unless it is not the session's any more; what the
    /// session knew of it. `encode` writes the last packet, and `ending` bounds what is written before it. The caller holds the lock of `control`.
    ///
    /// The receiving half may be in use by that very connection. It learns of its end by [`Session::is_attached`].
    pub fn detach(
        &self,
        epoch: Epoch,
        control: &mut Control,
        cause: Cause,
        ending: &Arc<EndingBytes>,
        encode: impl FnOnce(&Connected, &ClientLimits, &mut Vec<u8>),
    ) -> Option<Box<Connected>> {
        if control.epoch != epoch {
            return None;
        }
        let connected = control.connected.take()?;
        self.outbound
            .lock()
            .detach(cause, ending, |client_limits, out| encode(&connected, client_limits, out));
        // Behind that: the connection's task, which holds no lock while the host decides, ends when it finds itself
        // detached, and the last packet must be with the link by then.
        self.attached.set(Epoch::NONE);
        Some(connected)
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::sync::Arc;

    use super::Attachment;
    use crate::codec::reason::ReasonCode;
    use crate::codec::version::Version;
    use crate::locks::Mutex;
    use crate::session::delivery::ClientLimits;
    use crate::session::epoch::Epoch;
    use crate::session::last_bytes::{EndingBytes, LastBytes};
    use crate::session::link::{Cause, Link, Written};
    use crate::session::pool::Pool;
    use crate::session::state::{Connected, Session};
    use crate::time::Time;

    const QUOTA: Cause = Cause::Refused(ReasonCode::QuotaExceeded);

    /// Counts how often its task is woken, and knows why it has ended.
    #[derive(Default)]
    struct Task {
        woken: Mutex<usize>,
        ended: Mutex<Option<Cause>>,
        last: Mutex<LastBytes>,
    }

    impl Link for Task {
        fn write(&self, _buffers: &[IoSlice<'_>]) -> Written {
            Written::Blocked
        }
        fn wake(&self) {
            *self.woken.lock() += 1;
        }
        fn finish(&self, last: LastBytes, cause: Cause) {
            *self.last.lock() = last;
            *self.ended.lock() = Some(cause);
        }
    }

    fn attach(session: &Session, epoch: Epoch) -> Arc<Task> {
        let link = Arc::new(Task::default());
        let connected = Connected {
            number: 1,
            version: Version::V5,
            peer: None,
            username: None,
            clean_start: false,
            keep_alive: 0,
            since: Time::ZERO,
            connect_expiry_interval: 0,
            wants_problem_information: true,
            keep_alive_timer: None,
        };
        let client_limits = ClientLimits {
            version: Version::V5,
            receive_maximum: 1,
            maximum_packet_size: u32::MAX,
            topic_alias_maximum: 0,
            kept: true,
        };
        let attachment = Attachment {
            link: Arc::clone(&link) as Arc<dyn Link>,
            connected: Box::new(connected),
            will: None,
            expiry_interval: 7,
            client_limits,
        };
        let (mut inbound, mut control) = (session.inbound.lock(), session.control.lock());
        session.attach(epoch, &mut inbound, &mut control, &mut session.outbound.lock(), attachment);
        link
    }

    fn detach(session: &Session, epoch: Epoch, cause: Cause) -> bool {
        let ending = Arc::new(EndingBytes::new(1000));
        session.detach(epoch, &mut session.control.lock(), cause, &ending, |_, _, _| {}).is_some()
    }

    /// Its task would end without it.
    #[test]
    fn the_last_packet_is_made_before_the_connection_finds_itself_detached() {
        let session = Session::new("a");
        let epoch = Epoch::NONE.next();
        attach(&session, epoch);
        let (ending, mut seen) = (Arc::new(EndingBytes::new(1000)), None);
        session.detach(epoch, &mut session.control.lock(), Cause::Kicked, &ending, |_, _, _| {
            seen = Some(session.is_attached(epoch));
        });
        assert_eq!(seen, Some(true));
        assert!(!session.is_attached(epoch));
    }

    #[test]
    fn all_halves_know_the_connection_that_has_come() {
        let session = Session::new("a");
        let epoch = Epoch::NONE.next();
        attach(&session, epoch);
        let (inbound, control) = (session.inbound.lock(), session.control.lock());
        let outbound = session.outbound.lock();
        assert_eq!((inbound.epoch, control.epoch, outbound.epoch()), (epoch, epoch, epoch));
        assert!(session.is_attached(epoch) && control.is_connected_by(epoch) && outbound.is_connected());
        assert!(inbound.kept && control.kept && outbound.is_kept());
        assert_eq!(control.expiry_interval, 7);
    }

    #[test]
    fn and_none_has_the_one_that_has_gone() {
        let session = Session::new("a");
        let epoch = Epoch::NONE.next();
        let link = attach(&session, epoch);
        assert!(detach(&session, epoch, QUOTA));
        assert_eq!(*link.ended.lock(), Some(QUOTA));
        assert!(!session.is_attached(epoch) && session.is_attached(Epoch::NONE));
        assert!(!session.control.lock().is_connected_by(epoch) && !session.outbound.lock().is_connected());
        assert!(!detach(&session, epoch, Cause::Kicked));
        assert_eq!(*link.ended.lock(), Some(QUOTA));
    }

    /// What waits is written before the last packet, if there is room for it beside that of others that have ended.
    #[test]
    fn what_waits_for_all_that_have_ended_is_bounded() {
        for (most, is_partly_written, written) in
            [(5, false, "wait!"), (5, true, "wait!"), (4, false, "!"), (4, true, "")]
        {
            let ending = Arc::new(EndingBytes::new(most));
            let session = Session::new("a");
            let epoch = Epoch::NONE.next();
            let link = attach(&session, epoch);
            let mut outbound = session.outbound.lock();
            outbound.outbox.append(&mut Pool::new(), None, |out| out.extend_from_slice(b"wait"));
            if is_partly_written {
                let rest = outbound.outbox.take(false);
                outbound.outbox.written(rest);
            }
            drop(outbound);
            let mut control = session.control.lock();
            session.detach(epoch, &mut control, QUOTA, &ending, |_, _, out| out.push(b'!'));
            assert_eq!(&link.last.lock()[..], written.as_bytes());
            assert_eq!(*link.ended.lock(), Some(QUOTA));
            assert_eq!(ending.waiting(), if most == 5 { 5 } else { 0 });
            *link.last.lock() = LastBytes::default();
            assert_eq!(ending.waiting(), 0);
        }
    }

    #[test]
    fn a_late_detach_leaves_the_connection_that_took_over() {
        let session = Session::new("a");
        let old = Epoch::NONE.next();
        attach(&session, old);
        detach(&session, old, Cause::SessionTakenOver);
        let link = attach(&session, old.next());
        assert!(!detach(&session, old, QUOTA));
        assert!(session.is_attached(old.next()) && session.outbound.lock().is_connected());
        assert_eq!(*link.ended.lock(), None);
    }

    /// Another connection takes the session over between the order and its execution.
    #[test]
    fn an_order_to_end_a_connection_does_not_meet_the_one_that_took_over() {
        let session = Session::new("a");
        let old = Epoch::NONE.next();
        // Between the reason for the order and the order.
        let first = attach(&session, old);
        detach(&session, old, Cause::SessionTakenOver);
        let second = attach(&session, old.next());
        session.outbound.lock().request_close(old, QUOTA);
        assert_eq!((*first.woken.lock(), *second.woken.lock()), (0, 0));
        assert_eq!(session.outbound.lock().take_close_request(), None);
        // Between the order and the look of the connection's task.
        session.outbound.lock().request_close(old.next(), QUOTA);
        assert_eq!(*second.woken.lock(), 1);
        detach(&session, old.next(), Cause::SessionTakenOver);
        let third = attach(&session, old.next().next());
        assert_eq!(session.outbound.lock().take_close_request(), None);
        // Between that look and the end.
        session.outbound.lock().request_close(old.next().next(), QUOTA);
        let (epoch, cause) = session.outbound.lock().take_close_request().unwrap();
        detach(&session, epoch, Cause::SessionTakenOver);
        let fourth = attach(&session, epoch.next());
        assert!(!detach(&session, epoch, cause));
        assert_eq!((*third.ended.lock(), *fourth.ended.lock()), (Some(Cause::SessionTakenOver), None));
    }

    #[test]
    fn a_connection_that_awaits_the_host_says_so_of_itself_alone() {
        let session = Session::new("a");
        let old = Epoch::NONE.next();
        attach(&session, old);
        session.await_host(old);
        assert!(session.awaits_host(old));
        detach(&session, old, Cause::SessionTakenOver);
        let new = old.next();
        attach(&session, new);
        session.await_host(old); // It was in the middle of it.
        assert!(!session.awaits_host(new));
        session.await_host(new);
        session.hear_from_host(old);
        assert!(session.awaits_host(new));
        session.hear_from_host(new);
        assert!(!session.awaits_host(new));
    }
}
