//! A fault between the broker and a client: its effect, the packets that it applies to, and how often.

use std::time::Duration;

use crate::codec::reason::ReasonCode;

/// A packet that a server sends; the value is its packet type on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketKind {
    /// The answer to CONNECT.
    Connack = 2,
    /// An application message.
    Publish = 3,
    /// The answer to a QoS 1 message.
    Puback = 4,
    /// The first answer to a QoS 2 message.
    Pubrec = 5,
    /// The answer to the client's PUBREC.
    Pubrel = 6,
    /// The last answer to a QoS 2 message.
    Pubcomp = 7,
    /// The answer to SUBSCRIBE.
    Suback = 9,
    /// The answer to UNSUBSCRIBE.
    Unsuback = 11,
    /// The answer to PINGREQ.
    Pingresp = 13,
    /// The broker's DISCONNECT (MQTT 5).
    Disconnect = 14,
    /// A step of an enhanced authentication (MQTT 5).
    Auth = 15,
}

/// A fault. It strikes once, unless [`Fault::times`] or [`Fault::always`] is used, and any client, unless
/// [`Fault::client`] names one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a fault does nothing until it is injected"]
pub struct Fault {
    pub(super) effect: Effect,
    pub(super) client_id: Option<String>,
    /// The kind of packet; `None` is any kind.
    pub(super) packet: Option<PacketKind>,
    /// The number of cases that it lets pass before it strikes.
    pub(super) after: u64,
    /// How often it strikes; `None` is always.
    pub(super) times: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Refuse(ReasonCode),
    Drop,
    Delay(Duration),
    Duplicate,
    Cut,
    CutAfterBytes(u64),
}

impl Fault {
    /// Refuses CONNECT with `reason`: in MQTT 5 with that code, in MQTT 3 with the corresponding return code. The
    /// client's session is not touched.
    ///
    /// `None` if CONNACK cannot carry the reason as a failure.
    pub fn refuse(reason: ReasonCode) -> Option<Fault> {
        // MQTT 5, table 3-1.
        let may = matches!(reason.as_u8(), 0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F);
        may.then(|| Fault::new(Effect::Refuse(reason), None))
    }

    /// Loses a packet to the client; `None` is any packet.
    pub fn drop(packet: impl Into<Option<PacketKind>>) -> Fault {
        Fault::new(Effect::Drop, packet.into())
    }

    /// Delays a packet to the client by `by` of the broker's time. Other packets overtake it.
    pub fn delay(packet: impl Into<Option<PacketKind>>, by: Duration) -> Fault {
        Fault::new(Effect::Delay(by), packet.into())
    }

    /// Sends a packet to the client twice.
    pub fn duplicate(packet: impl Into<Option<PacketKind>>) -> Fault {
        Fault::new(Effect::Duplicate, packet.into())
    }

    /// Cuts the connection (a TCP reset, without DISCONNECT) in place of a packet to the client.
    pub fn cut_at(packet: impl Into<Option<PacketKind>>) -> Fault {
        Fault::new(Effect::Cut, packet.into())
    }

    /// Cuts the connection when `bytes` more bytes were sent to the client, perhaps in the middle of a packet.
    pub fn cut_after_bytes(bytes: u64) -> Fault {
        Fault::new(Effect::CutAfterBytes(bytes), None)
    }

    /// The same fault, for one client.
    pub fn client(mut self, client_id: impl Into<String>) -> Fault {
        self.client_id = Some(client_id.into());
        self
    }

    /// The same fault, which lets the first `cases` packets (or CONNECTs) pass that it would apply to.
    pub fn after(mut self, cases: u64) -> Fault {
        self.after = cases;
        self
    }

    /// The same fault, which strikes `times` times.
    pub fn times(mut self, times: u64) -> Fault {
        self.times = Some(times);
        self
    }

    /// The same fault, which strikes until it is cleared.
    pub fn always(mut self) -> Fault {
        self.times = None;
        self
    }

    fn new(effect: Effect, packet: Option<PacketKind>) -> Fault {
        Fault { effect, client_id: None, packet, after: 0, times: Some(1) }
    }
}
