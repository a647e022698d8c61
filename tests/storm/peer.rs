//! A client on a socket whose connection may end at any time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use midge::codec::ack::{Ack, AckKind};
use midge::codec::connect::Connect;
use midge::codec::frame::{Framing, split};
use midge::codec::packet::{Packet, decode};
use midge::codec::packet_id::PacketId;
use midge::codec::properties::{Properties, PropertyWriter};
use midge::codec::publish::Publish;
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::{Subscribe, SubscriptionOptions, SubscriptionRequest};
use midge::codec::version::Version;

/// A broker that neither answers nor closes for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Peer {
    stream: TcpStream,
    version: Version,
    received: Vec<u8>,
}

enum Got {
    Ack(AckKind, u16, ReasonCode),
    Publish(QoS, u16),
    Other,
}

impl Peer {
    /// Connects and is let in.
    pub fn connect(
        address: SocketAddr,
        client_id: &str,
        version: Version,
        clean_start: bool,
    ) -> io::Result<Peer> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut peer = Peer { stream, version, received: Vec::new() };
        let mut properties = Vec::new();
        if version == Version::V5 {
            PropertyWriter::new(&mut properties).session_expiry_interval(if clean_start { 0 } else { 60 });
        }
        let connect = Connect {
            version,
            clean_start,
            keep_alive: 0,
            is_bridge: false,
            client_id,
            will: None,
            username: None,
            password: None,
            properties: Properties::from_encoded(&properties).unwrap(),
        };
        peer.send(|_, out| connect.encode(out))?;
        peer.until(|got| matches!(got, Got::Other))?;
        Ok(peer)
    }

    pub fn subscribe(&mut self, filter: &str, qos: QoS) -> io::Result<()> {
        let mut filters = Vec::new();
        SubscriptionRequest { filter, options: SubscriptionOptions::with_qos(qos) }.encode(&mut filters);
        let packet = Subscribe::from_encoded(PacketId::MIN, Properties::EMPTY, &filters).unwrap();
        self.send(|version, out| packet.encode(version, out))?;
        self.until(|got| matches!(got, Got::Other))
    }

    /// Publishes, and waits for the acknowledgement; `acknowledged` is called when it has come.
    pub fn publish(
        &mut self,
        topic: &str,
        payload: &[u8],
        qos: QoS,
        id: u16,
        acknowledged: impl FnOnce(),
    ) -> io::Result<()> {
        let packet_id = (qos > QoS::AtMostOnce).then(|| PacketId::new(id).unwrap());
        let properties = Properties::EMPTY;
        let publish = Publish { dup: false, qos, retain: false, topic, packet_id, properties, payload };
        self.send(|version, out| publish.encode(version, out))?;
        let kind = match qos {
            QoS::AtMostOnce => return Ok(()),
            QoS::AtLeastOnce => AckKind::Puback,
            QoS::ExactlyOnce => AckKind::Pubrec,
        };
        let mut reason = ReasonCode::Success;
        self.until(|got| match got {
            Got::Ack(other, number, why) if *other == kind && *number == id => {
                reason = *why;
                true
            }
            _ => false,
        })?;
        if reason.is_error() {
            return Err(io::Error::other("refused"));
        }
        acknowledged();
        if kind == AckKind::Pubrec {
            self.acknowledge(AckKind::Pubrel, id)?;
            self.until(|got| matches!(got, Got::Ack(AckKind::Pubcomp, number, _) if *number == id))?;
        }
        Ok(())
    }

    fn acknowledge(&mut self, kind: AckKind, id: u16) -> io::Result<()> {
        let packet_id = PacketId::new(id).unwrap();
        self.send(|version, out| Ack::success(packet_id).encode(kind, version, out))
    }

    fn send(&mut self, encode: impl FnOnce(Version, &mut Vec<u8>)) -> io::Result<()> {
        let mut bytes = Vec::new();
        encode(self.version, &mut bytes);
        self.stream.write_all(&bytes)
    }

    /// Reads until `wanted` has come, and acknowledges what comes before.
    fn until(&mut self, mut wanted: impl FnMut(&Got) -> bool) -> io::Result<()> {
        loop {
            let got = self.next()?;
            if wanted(&got) {
                return Ok(());
            }
            match got {
                Got::Publish(QoS::AtLeastOnce, id) => self.acknowledge(AckKind::Puback, id)?,
                Got::Publish(QoS::ExactlyOnce, id) => self.acknowledge(AckKind::Pubrec, id)?,
                Got::Ack(AckKind::Pubrel, id, _) => self.acknowledge(AckKind::Pubcomp, id)?,
                Got::Ack(AckKind::Pubrec, id, _) => self.acknowledge(AckKind::Pubrel, id)?,
                _ => {}
            }
        }
    }

    fn next(&mut self) -> io::Result<Got> {
        loop {
            if let Framing::Complete(frame) = split(&self.received, u32::MAX).unwrap() {
                let len = frame.whole.len();
                let got = match decode(frame, self.version).unwrap() {
                    Packet::Puback(ack) => Got::Ack(AckKind::Puback, ack.packet_id.get(), ack.reason),
                    Packet::Pubrec(ack) => Got::Ack(AckKind::Pubrec, ack.packet_id.get(), ack.reason),
                    Packet::Pubrel(ack) => Got::Ack(AckKind::Pubrel, ack.packet_id.get(), ack.reason),
                    Packet::Pubcomp(ack) => Got::Ack(AckKind::Pubcomp, ack.packet_id.get(), ack.reason),
                    Packet::Publish(publish) => {
                        Got::Publish(publish.qos, publish.packet_id.map_or(0, |id| id.get()))
                    }
                    Packet::Disconnect(_) => return Err(ErrorKind::ConnectionAborted.into()),
                    Packet::Connack(connack) if connack.reason.is_error() => {
                        return Err(ErrorKind::ConnectionRefused.into());
                    }
                    _ => Got::Other,
                };
                self.received.drain(..len);
                return Ok(got);
            }
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("the broker neither answers nor closes")
                }
                Err(error) => return Err(error),
            }
        }
    }
}
