//! Reason codes: the outcome of an operation (MQTT 5, table 2-6).

use crate::codec::error::DecodeError;

/// Writes the enum, its parser and its names from one table.
macro_rules! reason_codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal;)*) => {
        /// The outcome of an operation; the number is the byte on the wire.
        ///
        /// Codes of 0x80 and above are failures. MQTT 3.1 and 3.1.1 know only the six numbers of
        /// [`ReasonCode::connack_return_code`] and the 0x80 of a SUBACK.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum ReasonCode {
            $($(#[$doc])* $variant = $code,)*
        }

        impl ReasonCode {
            /// The reason code with this number; `None` if the specification defines none.
            pub const fn from_u8(code: u8) -> Option<ReasonCode> {
                match code {
                    $($code => Some(ReasonCode::$variant),)*
                    _ => None,
                }
            }

            /// The specification's name of the code.
            pub const fn name(self) -> &'static str {
                match self {
                    $(ReasonCode::$variant => $name,)*
                }
            }
        }
    };
}

reason_codes! {
    /// The operation succeeded; in a DISCONNECT, close normally and send no Will; in a SUBACK, QoS 0 is granted.
    Success = 0x00, "Success";
    /// SUBACK: QoS 1 is granted.
    GrantedQos1 = 0x01, "Granted QoS 1";
    /// SUBACK: QoS 2 is granted.
    GrantedQos2 = 0x02, "Granted QoS 2";
    /// DISCONNECT: the client leaves and wants its Will published.
    DisconnectWithWill = 0x04, "Disconnect with Will Message";
    /// PUBACK, PUBREC: the message is accepted and nobody is subscribed.
    NoMatchingSubscribers = 0x10, "No matching subscribers";
    /// UNSUBACK: there was no such subscription.
    NoSubscriptionExisted = 0x11, "No subscription existed";
    /// AUTH: another step of the authentication follows.
    ContinueAuthentication = 0x18, "Continue authentication";
    /// AUTH: the client starts a new authentication.
    ReAuthenticate = 0x19, "Re-authenticate";
    /// The sender does not say why, or no other code fits.
    UnspecifiedError = 0x80, "Unspecified error";
    /// The packet cannot be parsed.
    MalformedPacket = 0x81, "Malformed Packet";
    /// The packet can be parsed, but breaks the protocol.
    ProtocolError = 0x82, "Protocol Error";
    /// The packet is valid, but the receiver does not accept it.
    ImplementationSpecificError = 0x83, "Implementation specific error";
    /// CONNACK: the server does not speak this version.
    UnsupportedProtocolVersion = 0x84, "Unsupported Protocol Version";
    /// CONNACK: the Client Identifier is well formed, but not allowed.
    ClientIdentifierNotValid = 0x85, "Client Identifier not valid";
    /// CONNACK: the user name or password is refused.
    BadUserNameOrPassword = 0x86, "Bad User Name or Password";
    /// The client is not allowed to do this.
    NotAuthorized = 0x87, "Not authorized";
    /// CONNACK: the server is not available.
    ServerUnavailable = 0x88, "Server unavailable";
    /// The server is busy; try again later.
    ServerBusy = 0x89, "Server busy";
    /// CONNACK: the client is banned by an administrator.
    Banned = 0x8A, "Banned";
    /// DISCONNECT: the server is shutting down.
    ServerShuttingDown = 0x8B, "Server shutting down";
    /// The authentication method is not supported or is not the one in use.
    BadAuthenticationMethod = 0x8C, "Bad authentication method";
    /// DISCONNECT: nothing arrived for one and a half times the Keep Alive.
    KeepAliveTimeout = 0x8D, "Keep Alive timeout";
    /// DISCONNECT: another connection uses the same Client Identifier.
    SessionTakenOver = 0x8E, "Session taken over";
    /// The Topic Filter is well formed, but not accepted.
    TopicFilterInvalid = 0x8F, "Topic Filter invalid";
    /// The Topic Name is well formed, but not accepted.
    TopicNameInvalid = 0x90, "Topic Name invalid";
    /// The Packet Identifier is already in use.
    PacketIdentifierInUse = 0x91, "Packet Identifier in use";
    /// PUBREL, PUBCOMP: the Packet Identifier is not known.
    PacketIdentifierNotFound = 0x92, "Packet Identifier not found";
    /// DISCONNECT: more QoS 1 and 2 messages are in flight than the Receive Maximum allows.
    ReceiveMaximumExceeded = 0x93, "Receive Maximum exceeded";
    /// DISCONNECT: a Topic Alias is 0 or above the Topic Alias Maximum.
    TopicAliasInvalid = 0x94, "Topic Alias invalid";
    /// The packet is larger than the Maximum Packet Size.
    PacketTooLarge = 0x95, "Packet too large";
    /// DISCONNECT: messages arrive too fast.
    MessageRateTooHigh = 0x96, "Message rate too high";
    /// A limit of the implementation or the administrator is reached.
    QuotaExceeded = 0x97, "Quota exceeded";
    /// DISCONNECT: an administrator closed the connection.
    AdministrativeAction = 0x98, "Administrative action";
    /// The payload is not what its Payload Format Indicator says.
    PayloadFormatInvalid = 0x99, "Payload format invalid";
    /// The server keeps no retained messages.
    RetainNotSupported = 0x9A, "Retain not supported";
    /// The QoS is above the Maximum QoS of the server.
    QosNotSupported = 0x9B, "QoS not supported";
    /// The client should use another server for now.
    UseAnotherServer = 0x9C, "Use another server";
    /// The client should use another server from now on.
    ServerMoved = 0x9D, "Server moved";
    /// The server does not support shared subscriptions.
    SharedSubscriptionsNotSupported = 0x9E, "Shared Subscriptions not supported";
    /// Connections arrive too fast.
    ConnectionRateExceeded = 0x9F, "Connection rate exceeded";
    /// DISCONNECT: the connection has reached its maximum duration.
    MaximumConnectTime = 0xA0, "Maximum connect time";
    /// The server does not support Subscription Identifiers.
    SubscriptionIdentifiersNotSupported = 0xA1, "Subscription Identifiers not supported";
    /// The server does not support wildcards in a Topic Filter.
    WildcardSubscriptionsNotSupported = 0xA2, "Wildcard Subscriptions not supported";
}

#[allow(non_upper_case_globals, reason = "two more names of the specification for the variant Success")]
impl ReasonCode {
    /// The name of 0x00 in a DISCONNECT.
    pub const NormalDisconnection: ReasonCode = ReasonCode::Success;
    /// The name of 0x00 in a SUBACK.
    pub const GrantedQos0: ReasonCode = ReasonCode::Success;
}

impl ReasonCode {
    /// The number on the wire.
    pub const fn as_u8(self) -> u8 {
        self as u8
    }

    /// Whether the operation failed: the number is 0x80 or above.
    pub const fn is_error(self) -> bool {
        self.as_u8() >= 0x80
    }

    /// The return code, 0 to 5, that stands for this reason in a CONNACK of MQTT 3.1 and 3.1.1.
    pub const fn connack_return_code(self) -> u8 {
        match self {
            ReasonCode::UnsupportedProtocolVersion => 1,
            ReasonCode::ClientIdentifierNotValid => 2,
            ReasonCode::BadUserNameOrPassword | ReasonCode::BadAuthenticationMethod => 4,
            ReasonCode::NotAuthorized | ReasonCode::Banned => 5,
            reason if reason.is_error() => 3,
            _ => 0,
        }
    }

    /// The reason that a CONNACK return code of MQTT 3.1 and 3.1.1 stands for; `None` above 5.
    pub const fn from_connack_return_code(code: u8) -> Option<ReasonCode> {
        Some(match code {
            0 => ReasonCode::Success,
            1 => ReasonCode::UnsupportedProtocolVersion,
            2 => ReasonCode::ClientIdentifierNotValid,
            3 => ReasonCode::ServerUnavailable,
            4 => ReasonCode::BadUserNameOrPassword,
            5 => ReasonCode::NotAuthorized,
            _ => return None,
        })
    }

    /// The reason code `code` of a packet that may hold those that `is_allowed` lets pass.
    #[inline]
    pub(crate) fn read(code: u8, is_allowed: impl Fn(ReasonCode) -> bool) -> Result<ReasonCode, DecodeError> {
        match ReasonCode::from_u8(code) {
            Some(reason) if is_allowed(reason) => Ok(reason),
            Some(_) => {
                Err(DecodeError::protocol("the packet has a reason code that its type does not allow"))
            }
            None => Err(DecodeError::malformed("the reason code is not defined")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ReasonCode;

    #[test]
    fn every_code_of_table_2_6_has_its_number_and_a_name() {
        let codes: Vec<u8> = (0..=255).filter(|&code| ReasonCode::from_u8(code).is_some()).collect();
        let mut expected = vec![0x00, 0x01, 0x02, 0x04, 0x10, 0x11, 0x18, 0x19];
        expected.extend(0x80..=0xA2);
        assert_eq!(codes, expected);
        for code in codes {
            let reason = ReasonCode::from_u8(code).unwrap();
            assert_eq!(reason.as_u8(), code);
            assert!(!reason.name().is_empty());
            assert_eq!(reason.is_error(), code >= 0x80);
        }
    }

    #[test]
    fn connack_return_codes_round_trip_and_no_error_becomes_zero() {
        for code in 0..=5 {
            assert_eq!(ReasonCode::from_connack_return_code(code).unwrap().connack_return_code(), code);
        }
        assert_eq!(ReasonCode::from_connack_return_code(6), None);
        for reason in (0..=255).filter_map(ReasonCode::from_u8) {
            assert_eq!(reason.connack_return_code() == 0, !reason.is_error(), "{}", reason.name());
        }
        assert_eq!(ReasonCode::QuotaExceeded.connack_return_code(), 3);
    }
}
