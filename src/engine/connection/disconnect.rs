//! DISCONNECT: a client disconnects, or is disconnected.

use std::sync::Arc;

use crate::codec::disconnect::Disconnect;
use crate::codec::error::DecodeError;
use crate::codec::reason::ReasonCode;
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::engine::parts::attached::{AttachedConnection, ConnectionEnd};
use crate::session::epoch::Epoch;
use crate::session::link::Cause;
use crate::session::state::{Mark, Session};

impl Engine {
    /// Handles a DISCONNECT packet from a client. The error has the end of the connection.
    pub(crate) fn receive_disconnect(
        &self,
        attached: &AttachedConnection,
        disconnect: &Disconnect<'_>,
    ) -> Result<(), ConnectionEnd> {
        if !is_a_clients(disconnect.reason) {
            return Err(DecodeError::protocol("only a server disconnects for this reason").into());
        }
        let mut control = attached.session.control.lock();
        if !control.is_connected_by(attached.epoch) {
            return Ok(());
        }
        if let Some(wanted) = disconnect.properties.session_expiry_interval() {
            let from_connect = control.connected.as_ref().map_or(0, |c| c.connect_expiry_interval);
            if from_connect == 0 && wanted != 0 {
                // MQTT 5, section 3.14.2.2.2
                let cause = "the session expiry interval was 0 in CONNECT and cannot be raised";
                return Err(DecodeError::protocol(cause).into());
            }
            control.expiry_interval = wanted.min(self.options.max_session_expiry);
        }
        // [MQTT-3.14.4-3]: only reason code 0x00 deletes the will.
        Err(ConnectionEnd::Disconnected { with_will: disconnect.reason != ReasonCode::Success })
    }

    /// Disconnects a client for the host or an administrator; false if it is not connected.
    pub fn kick(&self, turn: &mut Turn, client_id: &str) -> bool {
        let Some(session) = self.sessions.get(client_id) else {
            return false;
        };
        let mut control = session.control.lock();
        let connected = control.connected.is_some();
        let epoch = control.epoch;
        self.detach(turn, &session, &mut control, epoch, Cause::Kicked);
        connected
    }

    /// Ends the connection `epoch` of a session for a caller that holds locks: the connection's own task does it.
    pub(crate) fn disconnect_later(&self, session: &Arc<Session>, epoch: Epoch, cause: Cause) {
        session.outbound.lock().request_close(epoch, cause);
    }

    /// Does what other turns have left to the connection's task, which calls this when it is woken: ends the session's
    /// connection if something has asked for it, and goes on with retained messages.
    pub fn woken(&self, turn: &mut Turn, session: &Arc<Session>) {
        let requested = session.outbound.lock().take_close_request();
        if let Some((epoch, cause)) = requested {
            self.close(turn, session, epoch, cause);
        } else if session.is_marked(Mark::WALKS) {
            self.flush(turn, session, false);
        }
    }
}

/// Whether a client may send DISCONNECT with this reason (MQTT 5, table 3-10). 0x8C is not in the table, but by section
/// 4.12 either side disconnects when an authentication fails.
fn is_a_clients(reason: ReasonCode) -> bool {
    matches!(reason.as_u8(), 0x00 | 0x04 | 0x80..=0x83 | 0x8C | 0x90 | 0x93..=0x99)
}
