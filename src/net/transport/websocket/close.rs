//! Close frames of WebSocket: what a client may say in one, and what is said to a client that breaks a rule.

/// What a close frame says (RFC 6455, 5.5.1): two bytes of a code, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Close {
    code: Option<[u8; 2]>,
}

/// A rule that a client has broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    code: u16,
    pub(super) cause: &'static str,
}

impl Close {
    pub(super) const NORMAL: Close = Close::new(1000);

    const fn new(code: u16) -> Close {
        Close { code: Some(code.to_be_bytes()) }
    }

    /// The answer to a client's close frame: the code that it has sent.
    pub(super) fn parse(payload: &[u8]) -> Result<Close, Violation> {
        match payload {
            [] => Ok(Close { code: None }),
            [_] => Err(Violation::protocol("close frame of one byte")),
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                if !is_allowed(code) {
                    return Err(Violation::protocol("close frame with a code that is not for use in frames"));
                }
                match std::str::from_utf8(reason) {
                    Ok(_) => Ok(Close::new(code)),
                    Err(_) => Err(Violation { code: 1007, cause: "close frame whose reason is not UTF-8" }),
                }
            }
        }
    }

    pub(super) fn payload(&self) -> &[u8] {
        self.code.as_ref().map_or(&[], |code| code)
    }
}

/// Whether the code may be in a frame: those of RFC 6455, 7.4, and of the registry that it founds.
fn is_allowed(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

impl Violation {
    pub(super) const TEXT: Violation =
        Violation { code: 1003, cause: "text frame; MQTT is carried in binary frames" };
    pub(super) const STRAY_CONTINUATION: Violation = Violation::protocol("continuation without a beginning");
    pub(super) const UNFINISHED: Violation =
        Violation::protocol("new message before the last frame of the one before it");
    pub(super) const UNMASKED: Violation = Violation::protocol("frame of the client is not masked");
    pub(super) const RESERVED_BITS: Violation =
        Violation::protocol("reserved bits are set, but no extension was agreed on");
    pub(super) const RESERVED_OPCODE: Violation = Violation::protocol("frame with a reserved opcode");
    pub(super) const CONTROL_LENGTH: Violation = Violation::protocol("control frame of more than 125 bytes");
    pub(super) const CONTROL_FRAGMENT: Violation = Violation::protocol("control frame in fragments");
    pub(super) const LENGTH_FORM: Violation =
        Violation::protocol("length of a frame not in its shortest form");
    pub(super) const LENGTH_BOUND: Violation = Violation::protocol("length of a frame beyond 63 bits");

    const fn protocol(cause: &'static str) -> Violation {
        Violation { code: 1002, cause }
    }

    /// What the client is told.
    pub(super) fn close(self) -> Close {
        Close::new(self.code)
    }
}
