//! The layers of a listener's connections, as its settings choose them.

use std::sync::Arc;

use crate::config::{ConfigError, ErrorKind, Listener, Transport};
use crate::net::transport::MakeLayers;
use crate::net::transport::layer::Layer;
#[cfg(feature = "tls")]
use crate::net::transport::tls::Tls;
#[cfg(feature = "websocket")]
use crate::net::transport::websocket::{Upgrade, WebSocket};
#[cfg(feature = "tls")]
use crate::tls::{TlsFiles, TlsServer};

/// Makes one layer of the next connection.
type MakeLayer = Box<dyn Fn() -> Box<dyn Layer> + Send + Sync>;

/// What makes the layers of the connections of `listener` over `transport`; `None` is plain MQTT.
pub(in crate::net) fn choose(
    transport: Transport,
    listener: &Listener,
    secured: Option<&Secured>,
) -> Result<Option<MakeLayers>, ConfigError> {
    // The layer next to the socket is first.
    let makers: Vec<MakeLayer> = match transport {
        Transport::Tcp => vec![],
        Transport::Tls => vec![tls(listener, secured)?],
        Transport::Ws => vec![websocket(listener)?],
        Transport::Wss => vec![tls(listener, secured)?, websocket(listener)?],
        Transport::Auto => vec![auto(listener)?],
    };
    if makers.is_empty() {
        return Ok(None);
    }
    Ok(Some(Arc::new(move || makers.iter().map(|make| make()).collect())))
}

/// The TLS side of a listener, if its transport has one.
#[cfg(feature = "tls")]
pub(in crate::net) type Secured = Arc<TlsServer>;
#[cfg(not(feature = "tls"))]
pub(in crate::net) type Secured = std::convert::Infallible;

/// Reads the certificates of a listener, if its transport needs them.
#[cfg(feature = "tls")]
pub(in crate::net) fn secure(
    transport: Transport,
    listener: &Listener,
) -> Result<Option<Secured>, ConfigError> {
    let protocols: &[&[u8]] = match transport {
        Transport::Tls => &[b"mqtt"],
        Transport::Wss => &[b"http/1.1"],
        Transport::Auto if !listener.certificate.is_empty() => &[b"mqtt", b"http/1.1"],
        _ => return Ok(None),
    };
    match TlsServer::load(TlsFiles::of_listener(listener), protocols) {
        Ok(server) => Ok(Some(Arc::new(server))),
        Err(error) => {
            let key = format!("listener.{}.{}", listener.name, error.kind.setting());
            Err(ConfigError::of_key(ErrorKind::Io, &key, error.to_string()))
        }
    }
}

#[cfg(not(feature = "tls"))]
pub(in crate::net) fn secure(
    _transport: Transport,
    _listener: &Listener,
) -> Result<Option<Secured>, ConfigError> {
    Ok(None)
}

#[cfg(feature = "tls")]
fn tls(listener: &Listener, secured: Option<&Secured>) -> Result<MakeLayer, ConfigError> {
    let Some(server) = secured.map(Arc::clone) else {
        return Err(not_built(listener, Transport::Tls));
    };
    Ok(Box::new(move || Tls::boxed(&server)))
}

#[cfg(not(feature = "tls"))]
fn tls(listener: &Listener, _secured: Option<&Secured>) -> Result<MakeLayer, ConfigError> {
    Err(not_built(listener, Transport::Tls))
}

#[cfg(feature = "websocket")]
fn websocket(listener: &Listener) -> Result<MakeLayer, ConfigError> {
    let upgrade = Arc::new(Upgrade::of_listener(listener)?);
    Ok(Box::new(move || Box::new(WebSocket::new(Arc::clone(&upgrade)))))
}

#[cfg(not(feature = "websocket"))]
fn websocket(listener: &Listener) -> Result<MakeLayer, ConfigError> {
    Err(not_built(listener, Transport::Ws))
}

fn auto(listener: &Listener) -> Result<MakeLayer, ConfigError> {
    Err(not_built(listener, Transport::Auto))
}

/// The error for a transport whose code is not in this library.
fn not_built(listener: &Listener, transport: Transport) -> ConfigError {
    let key = format!("listener.{}.transport", listener.name);
    let cause = format!("transport `{}` is not built into this library", transport.name());
    ConfigError::of_key(ErrorKind::BadValue, &key, cause)
}

#[cfg(test)]
mod tests {
    use super::choose;
    use crate::config::{Config, Transport};

    #[test]
    fn a_transport_that_is_not_built_in_is_an_error_with_its_setting() {
        let config = Config::new();
        let listener = &config.settings().listeners[0];
        assert!(choose(Transport::Tcp, listener, None).unwrap().is_none(), "plain MQTT has no layers");
        let error = choose(Transport::Auto, listener, None).err().unwrap();
        assert_eq!(
            error.to_string(),
            "listener.tcp.transport: transport `auto` is not built into this library"
        );
    }
}
