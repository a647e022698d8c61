//! What authorities allow has changed: subscriptions that are not allowed any more end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::codec::reason::ReasonCode;
use crate::codec::topic::TopicFilter;
use crate::config::LostRights;
use crate::engine::access::hooks::{AccessRequest, Action};
use crate::engine::access::pending_decisions::{denied, suback_has};
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::session::event::Level;
use crate::session::link::Cause;
use crate::session::state::{Control, Session};
use crate::session::subscriptions::Held;
use crate::time::Time;

/// The sessions that one turn looks at.
const SESSIONS_PER_TURN: usize = 256;

impl Engine {
    /// Lets a change of what authorities allow hold for those that are connected. Messages are asked about anew.
    /// Subscriptions that are not allowed any more end; where an authority that does not
    /// [answer at once](crate::engine::access::authority::Authority::is_prompt) would be asked, they stay. The number of
    /// subscriptions that have ended.
    ///
    /// It looks at all sessions, so it is called on a thread that has the time.
    pub fn rights_changed(&self, now: Time) -> usize {
        self.rights.fetch_add(1, Ordering::AcqRel);
        if !self.wanted.authorize {
            return 0;
        }
        let mut ended = 0;
        for sessions in self.sessions.all().chunks(SESSIONS_PER_TURN) {
            let mut turn = self.turn(now);
            ended += sessions.iter().map(|session| self.review(&mut turn, session)).sum::<usize>();
        }
        if ended > 0 {
            self.tell_change();
        }
        ended
    }

    /// Ends the subscriptions of a session that are not allowed any more; their number.
    fn review(&self, turn: &mut Turn, session: &Arc<Session>) -> usize {
        let mut control = session.control.lock();
        let refused = |held: &&Held| self.is_refused(session, &control, held);
        let ended: Vec<Held> = control.subscriptions.as_slice().iter().filter(refused).cloned().collect();
        if control.ended || ended.is_empty() {
            return 0;
        }
        self.begin_group(turn);
        for held in &ended {
            let client_id = &session.client_id;
            self.log(turn, Level::Warn, Some(client_id), || {
                format!("client {client_id:?}: may not subscribe to {:?} any more", held.filter)
            });
            let filter = TopicFilter::parse(&held.filter).ok();
            self.unsubscribe_one(turn, session, &mut control, &held.filter, filter);
        }
        self.end_group(turn);
        let epoch = control.connected.is_some().then_some(control.epoch);
        drop(control);
        if let Some(epoch) = epoch.filter(|_| self.options.lost_rights == LostRights::Disconnect) {
            self.disconnect_later(session, epoch, Cause::Refused(ReasonCode::NotAuthorized));
        }
        ended.len()
    }

    /// Whether the authorities refuse a subscription that a session has.
    fn is_refused(&self, session: &Session, control: &Control, held: &Held) -> bool {
        let connected = control.connected.as_deref();
        let request = AccessRequest {
            client_id: &session.client_id,
            username: match connected {
                Some(connected) => connected.username.as_deref(),
                None => control.user_name(),
            },
            address: connected.and_then(|connected| connected.peer),
            action: Action::Subscribe,
            topic: &held.filter,
            qos: held.options.qos,
            retain: false,
            is_will: false,
        };
        let verdict = self.authorities.prompt_verdict(&request);
        verdict.is_some_and(|verdict| denied(&verdict, ReasonCode::NotAuthorized, suback_has).is_some())
    }
}
