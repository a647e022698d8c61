//! The layer of TLS: records of rustls on the one side, MQTT on the other.

use std::sync::Arc;
use std::task::Poll;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, ReadTraffic, UnbufferedStatus, WriteTraffic,
};
use rustls::{Error, HandshakeKind, ProtocolVersion};

use crate::engine::parts::origin::Origin;
use crate::net::transport::layer::{Buffer, Layer, LayerError, Raw};
use crate::session::identity::TlsIdentity;
use crate::tls::{Certificate, Lifetime, TlsServer, cause, take_server_name};

/// The most bytes of one record.
const RECORD: usize = 16 * 1024;
/// Bytes that a record takes beside what it carries, at most.
const OVERHEAD: usize = 64;
/// Pieces from this size on become a record of their own; smaller ones share one.
const SMALL: usize = 1024;
/// The first byte of a record of the handshake.
const HANDSHAKE: u8 = 0x16;

/// One connection of TLS. Between records it holds no buffer.
pub(in crate::net) struct Tls {
    connection: UnbufferedServerConnection,
    /// Bytes that were decrypted and not read yet.
    plain: Buffer,
    /// Bytes that wait to become a record.
    kept: Vec<u8>,
    has_begun: bool,
    peer_has_closed: bool,
    /// The name that the client asks for, until the handshake is over.
    server_name: Option<Box<str>>,
    /// What the handshake has shown.
    identity: Option<Arc<TlsIdentity>>,
    /// Why it has failed: rustls must not be called any more.
    failure: Option<LayerError>,
}

/// Where rustls cannot go on by itself.
enum Rest {
    /// The handshake needs bytes from the peer.
    Handshaking,
    /// It has decrypted bytes.
    Decrypted(usize),
    /// The handshake is over, and no complete record waits.
    Open,
    /// Both sides have said goodbye.
    Closed,
}

impl Tls {
    /// The layer of a new connection of this server.
    pub(in crate::net) fn new(server: &TlsServer) -> Result<Tls, LayerError> {
        let connection = UnbufferedServerConnection::new(server.config()).map_err(|error| failed(&error))?;
        Ok(Tls {
            connection,
            plain: Buffer::default(),
            kept: Vec::new(),
            has_begun: false,
            peer_has_closed: false,
            server_name: None,
            identity: None,
            failure: None,
        })
    }

    /// The same; a layer that fails at once if rustls refuses the configuration.
    pub(in crate::net) fn boxed(server: &TlsServer) -> Box<dyn Layer> {
        match Tls::new(server) {
            Ok(layer) => Box::new(layer),
            Err(error) => Box::new(Refused(error)),
        }
    }

    /// Lets rustls consume the input until it cannot continue. Decrypted bytes go to `room`; what does not fit is kept.
    fn advance(&mut self, raw: &mut Raw, room: &mut [u8]) -> Result<Rest, LayerError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.connection.process_tls_records(raw.input.bytes_mut());
            let mut rest = None;
            let outcome = match state {
                Err(error) => Err(error),
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut raw.output),
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    Ok(())
                }
                Ok(ConnectionState::ReadTraffic(traffic)) => {
                    rest = Some(Rest::Decrypted(decrypted(traffic, &mut self.plain, room, &mut discard)?));
                    Ok(())
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.peer_has_closed = true;
                    Ok(())
                }
                Ok(ConnectionState::WriteTraffic(_)) => {
                    rest = Some(Rest::Open);
                    Ok(())
                }
                Ok(ConnectionState::BlockedHandshake) => {
                    rest = Some(Rest::Handshaking);
                    Ok(())
                }
                // Closed by both sides; early data is not accepted.
                Ok(_) => {
                    rest = Some(Rest::Closed);
                    Ok(())
                }
            };
            raw.input.consume(discard);
            if self.peer_has_closed {
                // What follows the goodbye is ignored.
                raw.input.consume(raw.input.len());
                raw.has_ended = true;
            }
            if let Err(error) = outcome {
                self.send_alert(raw);
                return Err(self.failure.insert(failed(&error)).clone());
            }
            if let Some(rest) = rest {
                return Ok(rest);
            }
        }
    }

    /// Appends the alert that tells the peer of an error.
    fn send_alert(&mut self, raw: &mut Raw) {
        // rustls must not look at the input again after an error.
        while self.connection.wants_write() {
            let status = self.connection.process_tls_records(raw.input.bytes_mut());
            let Ok(ConnectionState::EncodeTlsData(data)) = status.state else {
                return;
            };
            if encode(data, &mut raw.output).is_err() {
                return;
            }
        }
    }

    /// Encrypts bytes as one record or several.
    fn seal(&mut self, bytes: &[u8], raw: &mut Raw) -> Result<(), LayerError> {
        // Whatever is decrypted meanwhile is kept.
        while let Rest::Decrypted(_) = self.advance(raw, &mut [])? {}
        let UnbufferedStatus { discard, state } = self.connection.process_tls_records(raw.input.bytes_mut());
        let outcome = match state {
            Ok(ConnectionState::WriteTraffic(traffic)) => encrypt(traffic, bytes, &mut raw.output),
            Ok(_) => Err(LayerError::new("the connection is closed")),
            Err(error) => Err(failed(&error)),
        };
        raw.input.consume(discard);
        outcome
    }

    /// Encrypts the kept bytes.
    fn seal_kept(&mut self, raw: &mut Raw) -> Result<(), LayerError> {
        let kept = std::mem::take(&mut self.kept);
        if kept.is_empty() { Ok(()) } else { self.seal(&kept, raw) }
    }

    /// What the handshake has shown; an error if a resumed session's certificate has ended meanwhile. `now`: seconds
    /// since 1970.
    pub(super) fn look(&mut self, now: u64) -> Result<TlsIdentity, LayerError> {
        let server_name = self.server_name.take();
        let connection = &self.connection;
        let certificate = connection.peer_certificates().and_then(<[_]>::first);
        let certificate = certificate.map(|certificate| {
            Certificate::read(certificate).ok_or_else(|| LayerError::new("client certificate malformed"))
        });
        let certificate = certificate.transpose()?;
        // The verifier sees the certificate of the first handshake alone.
        if let Some(certificate) = &certificate {
            let lifetime = certificate.lifetime(now);
            if !matches!(lifetime, Lifetime::Valid(_)) {
                return Err(LayerError::new(format!("client certificate {lifetime}")));
            }
        }
        let protocol = connection.alpn_protocol();
        Ok(TlsIdentity {
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
                _ => "TLS 1.2",
            },
            cipher: connection
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or_default(),
            server_name,
            protocol: protocol.map(|name| String::from_utf8_lossy(name).into()),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            certificate: certificate.map(Certificate::of_client),
        })
    }
}

impl Layer for Tls {
    fn name(&self) -> &'static str {
        "tls"
    }

    fn handshake(&mut self, raw: &mut Raw, origin: &mut Origin) -> Poll<Result<(), LayerError>> {
        if !self.has_begun {
            let Some(first) = raw.input.bytes().first().copied() else {
                return Poll::Pending;
            };
            if first != HANDSHAKE {
                return Poll::Ready(Err(no_tls(raw.input.bytes())));
            }
            self.has_begun = true;
        }
        let rest = self.advance(raw, &mut []);
        if let Some(name) = take_server_name() {
            self.server_name = Some(name);
        }
        match rest? {
            Rest::Handshaking => Poll::Pending,
            Rest::Open | Rest::Decrypted(_) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                let identity = Arc::new(self.look(now)?);
                origin.secure(Arc::clone(self.identity.insert(identity)));
                Poll::Ready(Ok(()))
            }
            Rest::Closed => Poll::Ready(Err(LayerError::new("the client has given up"))),
        }
    }

    fn identity(&self) -> Option<&Arc<TlsIdentity>> {
        self.identity.as_ref()
    }

    fn is_costly(&self, _raw: &Raw) -> bool {
        true
    }

    fn read(&mut self, raw: &mut Raw, room: &mut [u8]) -> Result<usize, LayerError> {
        if !self.plain.is_empty() {
            return Ok(self.plain.take(room));
        }
        loop {
            if raw.input.is_empty() || self.peer_has_closed {
                return Ok(0);
            }
            match self.advance(raw, room)? {
                // A record may be empty.
                Rest::Decrypted(0) => {}
                Rest::Decrypted(count) => return Ok(count),
                Rest::Handshaking | Rest::Open | Rest::Closed => return Ok(0),
            }
        }
    }

    fn write(&mut self, bytes: &[u8], raw: &mut Raw) -> Result<usize, LayerError> {
        let bytes = bytes.get(..RECORD - self.kept.len()).unwrap_or(bytes);
        if self.kept.is_empty() && bytes.len() >= SMALL {
            self.seal(bytes, raw)?;
        } else {
            self.kept.extend_from_slice(bytes);
            if self.kept.len() == RECORD {
                self.seal_kept(raw)?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self, raw: &mut Raw) -> Result<(), LayerError> {
        self.seal_kept(raw)
    }

    fn pending_out(&self) -> usize {
        self.kept.len()
    }

    fn close(&mut self, raw: &mut Raw) {
        if self.failure.is_some() {
            return;
        }
        let status = self.connection.process_tls_records(raw.input.bytes_mut());
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state {
            // Without an answer the peer sees the end of the connection below.
            let _told = raw.output.append_with(OVERHEAD, |room| traffic.queue_close_notify(room));
        }
        let discard = status.discard;
        raw.input.consume(discard);
    }
}

/// A connection that cannot begin.
struct Refused(LayerError);

impl Layer for Refused {
    fn name(&self) -> &'static str {
        "tls"
    }

    fn handshake(&mut self, _raw: &mut Raw, _origin: &mut Origin) -> Poll<Result<(), LayerError>> {
        Poll::Ready(Err(self.0.clone()))
    }

    fn read(&mut self, _raw: &mut Raw, _room: &mut [u8]) -> Result<usize, LayerError> {
        Err(self.0.clone())
    }

    fn write(&mut self, _bytes: &[u8], _raw: &mut Raw) -> Result<usize, LayerError> {
        Err(self.0.clone())
    }
}

fn failed(error: &Error) -> LayerError {
    LayerError::new(cause(error))
}

/// What a client speaks that does not speak TLS.
fn no_tls(bytes: &[u8]) -> LayerError {
    let begins =
        |words: &[&[u8]]| words.iter().any(|word| bytes.starts_with(word) || word.starts_with(bytes));
    LayerError::new(match bytes.first() {
        Some(0x10) => "client speaks no TLS: first bytes are MQTT",
        Some(0x80) => "client speaks no TLS: first bytes are SSL 2",
        _ if begins(&[b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"]) => {
            "client speaks no TLS: first bytes are a PROXY header"
        }
        _ if begins(&[b"GET ", b"HEAD ", b"POST ", b"PUT ", b"OPTIONS "]) => {
            "client speaks no TLS: first bytes are HTTP"
        }
        _ => "client speaks no TLS",
    })
}

fn encode(mut data: EncodeTlsData<'_, ServerConnectionData>, output: &mut Buffer) -> Result<(), Error> {
    let encoded = output.append_with(RECORD + OVERHEAD, |room| data.encode(room));
    let encoded = match encoded {
        Err(EncodeError::InsufficientSize(needed)) => {
            output.append_with(needed.required_size, |room| data.encode(room))
        }
        encoded => encoded,
    };
    encoded.map_err(|error| Error::General(error.to_string()))
}

fn encrypt(
    mut traffic: WriteTraffic<'_, ServerConnectionData>,
    bytes: &[u8],
    output: &mut Buffer,
) -> Result<(), LayerError> {
    let size = bytes.len() + OVERHEAD * (1 + bytes.len() / RECORD);
    let encrypted = match output.append_with(size, |room| traffic.encrypt(bytes, room)) {
        Err(EncryptError::InsufficientSize(needed)) => {
            output.append_with(needed.required_size, |room| traffic.encrypt(bytes, room))
        }
        encrypted => encrypted,
    };
    encrypted.map_err(|error| LayerError::new(error.to_string()))
}

/// Moves decrypted bytes to `room`, and those that do not fit to `kept`; returns the number of those in `room`.
fn decrypted(
    mut traffic: ReadTraffic<'_, '_, ServerConnectionData>,
    kept: &mut Buffer,
    room: &mut [u8],
    discard: &mut usize,
) -> Result<usize, LayerError> {
    let mut count = 0;
    while let Some(record) = traffic.next_record() {
        let record = record.map_err(|error| failed(&error))?;
        *discard += record.discard;
        let rest = room.get_mut(count..).unwrap_or_default();
        let fits = if kept.is_empty() { record.payload.len().min(rest.len()) } else { 0 };
        let (now, later) = record.payload.split_at(fits);
        if let Some(rest) = rest.get_mut(..fits) {
            rest.copy_from_slice(now);
        }
        count += fits;
        kept.append(later);
    }
    Ok(count)
}
