//! Quality of Service.

/// The delivery guarantee of a message between two parties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0: no acknowledgement, no redelivery.
    #[default]
    AtMostOnce = 0,
    /// QoS 1: acknowledged by PUBACK, may arrive more than once.
    AtLeastOnce = 1,
    /// QoS 2: acknowledged by PUBREC, PUBREL and PUBCOMP, arrives once.
    ExactlyOnce = 2,
}

impl QoS {
    /// The level for the number 0, 1 or 2.
    pub const fn from_u8(level: u8) -> Option<QoS> {
        match level {
            0 => Some(QoS::AtMostOnce),
            1 => Some(QoS::AtLeastOnce),
            2 => Some(QoS::ExactlyOnce),
            _ => None,
        }
    }

    /// The level as the number 0, 1 or 2.
    pub const fn as_u8(self) -> u8 {
        self as u8
    }
}
