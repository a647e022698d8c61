//! The transports of a listener.

use crate::config::value::{Field, Value};

/// What lies between MQTT and a listener's sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// Nothing: MQTT over TCP, or over a Unix domain socket.
    Tcp,
    /// TLS.
    Tls,
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// Each connection's first bytes decide.
    Auto,
}

impl Transport {
    /// The words of the setting.
    pub(super) const NAMES: &'static [&'static str] = &["tcp", "tls", "ws", "wss", "auto"];

    /// The word of the setting.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Ws => "ws",
            Transport::Wss => "wss",
            Transport::Auto => "auto",
        }
    }

    /// The transport of this name, if there is one.
    pub fn named(name: &str) -> Option<Transport> {
        let all = [Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss, Transport::Auto];
        all.into_iter().find(|transport| transport.name() == name)
    }
}

impl Field for Transport {
    const BLANK: Self = Transport::Tcp;

    fn to_value(&self) -> Value {
        Value::Choice(self.name())
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Choice(name) => Transport::named(name),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Transport;

    #[test]
    fn every_word_of_the_setting_is_a_transport() {
        for name in Transport::NAMES {
            assert_eq!(Transport::named(name).map(Transport::name), Some(*name));
        }
        assert_eq!(Transport::named("quic"), None);
    }
}
