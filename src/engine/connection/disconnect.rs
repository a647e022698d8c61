//! DISCONNECT: a client says goodbye, or is told to go.

use std::sync::Arc;

use crate::codec::disconnect::Disconnect;
use crate::codec::error::DecodeError;
use crate::codec::reason::ReasonCode;
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::engine::parts::attached::{AttachedConnection, ConnectionEnd};
use crate::session::epoch::Epoch;
use crate::session::link::Cause;
use crate::session::state::Session;

impl Engine {
    /// A DISCONNECT packet from a client.
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
        // [MQTT-3.14.4-3]: the will goes with 0x00, and with no other reason.
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

    /// Has the connection `epoch` of a session ended by a caller that holds locks: its own task does it.
    pub(crate) fn disconnect_later(&self, session: &Arc<Session>, epoch: Epoch, cause: Cause) {
        session.outbound.lock().request_close(epoch, cause);
    }

    /// Ends the session's connection if something has asked for it; called by the connection's task.
    pub fn end_if_doomed(&self, turn: &mut Turn, session: &Arc<Session>) {
        let doomed = session.outbound.lock().take_close_request();
        if let Some((epoch, cause)) = doomed {
            self.close(turn, session, epoch, cause);
        }
    }
}

/// Whether a client may disconnect for this reason (MQTT 5, table 3-10). 0x8C is not in the table, but section 4.12 has
/// either side disconnect when an authentication fails.
fn is_a_clients(reason: ReasonCode) -> bool {
    matches!(reason.as_u8(), 0x00 | 0x04 | 0x80..=0x83 | 0x8C | 0x90 | 0x93..=0x99)
}
