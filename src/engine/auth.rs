//! AUTH: enhanced authentication.

use crate::codec::auth::Auth;
use crate::codec::error::DecodeError;
use crate::engine::connection::End;
use crate::engine::core::Engine;

impl Engine {
    /// An AUTH packet. No Authentication Method is known, so CONNECT with one was refused, and a client that
    /// gave none must not send AUTH [MQTT-4.12.0-6], [MQTT-4.12.1-1].
    pub(crate) fn receive_auth(&self, _auth: &Auth<'_>) -> Result<(), End> {
        Err(DecodeError::protocol("AUTH came without an authentication method in CONNECT").into())
    }
}
