//! MQTT 3.1.1 / 5.0 on the wire: just what a load generator encodes, and a
//! frame walk that looks at no more than it must.

pub const CONNACK: u8 = 0x20;
pub const PUBLISH: u8 = 0x30;
pub const PUBACK: u8 = 0x40;
pub const PUBREC: u8 = 0x50;
pub const PUBREL: u8 = 0x62;
pub const PUBCOMP: u8 = 0x70;
pub const SUBACK: u8 = 0x90;
pub const PINGRESP: u8 = 0xD0;
pub const DISCONNECT: u8 = 0xE0;

pub const PINGREQ: [u8; 2] = [0xC0, 0];
pub const BYE: [u8; 2] = [DISCONNECT, 0];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ver {
    V4,
    V5,
}

pub fn put_varint(out: &mut Vec<u8>, mut n: usize) {
    loop {
        let b = (n & 0x7f) as u8;
        n >>= 7;
        if n == 0 {
            out.push(b);
            return;
        }
        out.push(b | 0x80);
    }
}

fn put_str(out: &mut Vec<u8>, s: &[u8]) {
    out.extend_from_slice(&(s.len() as u16).to_be_bytes());
    out.extend_from_slice(s);
}

/// `expiry` is the v5 session expiry interval; v4 has only the clean flag.
pub fn put_connect(out: &mut Vec<u8>, ver: Ver, id: &str, clean: bool, keepalive: u16, expiry: u32) {
    let props: usize = match ver {
        Ver::V4 => 0,
        Ver::V5 => 1 + if expiry > 0 { 5 } else { 0 },
    };
    out.push(0x10);
    put_varint(out, 10 + props + 2 + id.len());
    put_str(out, b"MQTT");
    out.push(if ver == Ver::V4 { 4 } else { 5 });
    out.push(if clean { 2 } else { 0 });
    out.extend_from_slice(&keepalive.to_be_bytes());
    if ver == Ver::V5 {
        if expiry > 0 {
            out.extend_from_slice(&[5, 0x11]);
            out.extend_from_slice(&expiry.to_be_bytes());
        } else {
            out.push(0);
        }
    }
    put_str(out, id.as_bytes());
}

/// Everything of a PUBLISH before its payload; returns where the packet id is
/// (relative to the start), None at QoS 0.
pub fn put_publish_head(
    out: &mut Vec<u8>,
    ver: Ver,
    topic: &[u8],
    qos: u8,
    retain: bool,
    payload_len: usize,
) -> Option<usize> {
    let start = out.len();
    out.push(PUBLISH | qos << 1 | retain as u8);
    let props = (ver == Ver::V5) as usize;
    put_varint(out, 2 + topic.len() + if qos > 0 { 2 } else { 0 } + props + payload_len);
    put_str(out, topic);
    let pid = (qos > 0).then(|| {
        let at = out.len() - start;
        out.extend_from_slice(&[0, 0]);
        at
    });
    if ver == Ver::V5 {
        out.push(0);
    }
    pid
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP with success (the short form is valid in v5 too).
#[inline]
pub fn put_ack(out: &mut Vec<u8>, kind: u8, pid: u16) {
    let p = pid.to_be_bytes();
    out.extend_from_slice(&[kind, 2, p[0], p[1]]);
}

/// One SUBSCRIBE with any number of filters, built step by step.
#[derive(Default)]
pub struct Subscribe {
    body: Vec<u8>,
    pub filters: usize,
}

impl Subscribe {
    pub fn start(&mut self, ver: Ver, pid: u16) {
        self.body.clear();
        self.filters = 0;
        self.body.extend_from_slice(&pid.to_be_bytes());
        if ver == Ver::V5 {
            self.body.push(0);
        }
    }

    pub fn add(&mut self, filter: &[u8], qos: u8) {
        put_str(&mut self.body, filter);
        self.body.push(qos);
        self.filters += 1;
    }

    pub fn put(&self, out: &mut Vec<u8>) {
        out.push(0x82);
        put_varint(out, self.body.len());
        out.extend_from_slice(&self.body);
    }
}

pub struct Malformed;

/// Whether `buf` starts with a whole frame: its header and body lengths.
#[inline]
pub fn frame(buf: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    if buf.len() < 2 {
        return Ok(None);
    }
    let mut len = (buf[1] & 0x7f) as usize;
    let mut head = 2;
    if buf[1] >= 0x80 {
        let mut shift = 7;
        loop {
            let Some(&b) = buf.get(head) else { return Ok(None) };
            head += 1;
            len |= ((b & 0x7f) as usize) << shift;
            if b < 0x80 {
                break;
            }
            shift += 7;
            if shift > 21 {
                return Err(Malformed);
            }
        }
    }
    Ok((buf.len() >= head + len).then_some((head, len)))
}

/// The parts of a PUBLISH a subscriber looks at.
pub struct Message<'a> {
    pub qos: u8,
    pub dup: bool,
    pub retain: bool,
    pub pid: u16,
    pub topic: &'a [u8],
    pub payload: &'a [u8],
}

#[inline]
pub fn message(first: u8, body: &[u8], ver: Ver) -> Option<Message<'_>> {
    let be = |at: usize| Some(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
    let qos = first >> 1 & 3;
    let tlen = be(0)? as usize;
    let mut at = 2 + tlen;
    let topic = body.get(2..at)?;
    let mut pid = 0;
    if qos > 0 {
        pid = be(at)?;
        at += 2;
    }
    if ver == Ver::V5 {
        at += props_span(body.get(at..)?)?;
    }
    Some(Message { qos, dup: first & 8 != 0, retain: first & 1 != 0, pid, topic, payload: body.get(at..)? })
}

/// Bytes taken by a v5 property block, its length prefix included.
#[inline]
fn props_span(buf: &[u8]) -> Option<usize> {
    let mut len = 0;
    for (i, &b) in buf.iter().take(4).enumerate() {
        len |= ((b & 0x7f) as usize) << (7 * i);
        if b < 0x80 {
            return Some(i + 1 + len);
        }
    }
    None
}

#[inline]
pub fn ack_pid(body: &[u8]) -> u16 {
    match body {
        [a, b, ..] => u16::from_be_bytes([*a, *b]),
        _ => 0,
    }
}

/// The v5 reason code of an acknowledgement; 0 where it is left out (or in v4).
#[inline]
pub fn ack_reason(body: &[u8]) -> u8 {
    body.get(2).copied().unwrap_or(0)
}

pub struct ConnAck {
    pub session_present: bool,
    pub code: u8,
    /// How many unacknowledged publishes the server accepts (v5), else 65535.
    pub receive_max: u16,
}

pub fn connack(body: &[u8], ver: Ver) -> Option<ConnAck> {
    let mut c = ConnAck { session_present: body.first()? & 1 != 0, code: *body.get(1)?, receive_max: 65535 };
    if ver == Ver::V5 && body.len() > 2 {
        c.receive_max = find_receive_max(&body[2..]).unwrap_or(65535);
    }
    Some(c)
}

fn find_receive_max(block: &[u8]) -> Option<u16> {
    let span = props_span(block)?;
    let len_bytes = block.iter().position(|b| *b < 0x80)? + 1;
    let mut p = block.get(len_bytes..span)?;
    let string =
        |p: &[u8], at: usize| Some(at + 2 + u16::from_be_bytes([*p.get(at)?, *p.get(at + 1)?]) as usize);
    while let Some(&id) = p.first() {
        let next = match id {
            0x21 => return Some(u16::from_be_bytes([*p.get(1)?, *p.get(2)?])),
            0x22 | 0x13 => 3,
            0x11 | 0x27 => 5,
            0x24 | 0x25 | 0x28 | 0x29 | 0x2A => 2,
            0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => string(p, 1)?,
            0x26 => string(p, string(p, 1)?)?,
            _ => return None,
        };
        p = p.get(next..)?;
    }
    None
}

/// The return codes of a SUBACK.
pub fn suback_codes(body: &[u8], ver: Ver) -> Option<&[u8]> {
    let at = 2 + if ver == Ver::V5 { props_span(body.get(2..)?)? } else { 0 };
    body.get(at..)
}

/// Packet ids of the messages a publisher has in flight at QoS 1 and 2.
pub struct Inflight {
    state: Box<[u8]>, // 0 free, 1 awaits PUBACK or PUBREC, 2 awaits PUBCOMP
    next: usize,
    pub count: u32,
}

impl Inflight {
    pub fn new(window: u32) -> Inflight {
        let ids = (window as usize * 2).clamp(2, 65535);
        Inflight { state: vec![0; ids].into(), next: 0, count: 0 }
    }

    /// The caller keeps `count` below the window, so a free id is always near.
    pub fn take(&mut self) -> u16 {
        while self.state[self.next] != 0 {
            self.next = (self.next + 1) % self.state.len();
        }
        self.state[self.next] = 1;
        self.count += 1;
        let pid = self.next as u16 + 1;
        self.next = (self.next + 1) % self.state.len();
        pid
    }

    /// Takes an acknowledgement; true when it completes a message. Answers
    /// PUBREC with PUBREL.
    pub fn ack(&mut self, kind: u8, body: &[u8], reply: &mut Vec<u8>) -> bool {
        let pid = ack_pid(body);
        let Some(s) = (pid as usize).checked_sub(1).and_then(|i| self.state.get_mut(i)) else {
            return false;
        };
        match (kind, *s) {
            (PUBREC, 1) if ack_reason(body) < 0x80 => {
                *s = 2;
                put_ack(reply, PUBREL, pid);
                false
            }
            (PUBACK, 1) | (PUBREC, 1) | (PUBCOMP, 2) => {
                *s = 0;
                self.count -= 1;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(buf: &[u8]) -> (u8, &[u8]) {
        let Ok(Some((h, b))) = frame(buf) else { panic!("no frame") };
        assert_eq!(h + b, buf.len());
        (buf[0], &buf[h..])
    }

    #[test]
    fn publish_round_trip() {
        for ver in [Ver::V4, Ver::V5] {
            for qos in 0..3u8 {
                for len in [16usize, 100, 200, 20_000] {
                    let mut out = vec![];
                    let pid_at = put_publish_head(&mut out, ver, b"a/b", qos, true, len);
                    if let Some(at) = pid_at {
                        out[at..at + 2].copy_from_slice(&7u16.to_be_bytes());
                    }
                    out.extend(std::iter::repeat_n(b'x', len));
                    let (first, body) = only(&out);
                    let m = message(first, body, ver).unwrap();
                    assert_eq!((m.topic, m.qos, m.retain, m.dup), (&b"a/b"[..], qos, true, false));
                    assert_eq!(m.payload.len(), len);
                    assert_eq!(m.pid, if qos > 0 { 7 } else { 0 });
                    for cut in 0..out.len().min(300) {
                        assert!(matches!(frame(&out[..cut]), Ok(None)));
                    }
                }
            }
        }
        assert!(frame(&[0x30, 0xff, 0xff, 0xff, 0xff, 1]).is_err());
    }

    #[test]
    fn connect_and_connack() {
        let mut out = vec![];
        put_connect(&mut out, Ver::V4, "id", true, 60, 0);
        assert_eq!(out, b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02id");
        out.clear();
        put_connect(&mut out, Ver::V5, "id", false, 60, 9);
        assert_eq!(out, b"\x10\x14\x00\x04MQTT\x05\x00\x00\x3c\x05\x11\x00\x00\x00\x09\x00\x02id");
        let c = connack(b"\x01\x00\x09\x22\x00\x0a\x21\x00\x14\x12\x00\x00", Ver::V5).unwrap();
        assert!(c.session_present && c.code == 0);
        assert_eq!(c.receive_max, 20);
        assert_eq!(connack(b"\x00\x05", Ver::V4).unwrap().code, 5);
    }

    #[test]
    fn subscribe_and_suback() {
        let mut s = Subscribe::default();
        s.start(Ver::V5, 3);
        s.add(b"a/#", 1);
        let mut out = vec![];
        s.put(&mut out);
        assert_eq!(out, b"\x82\x09\x00\x03\x00\x00\x03a/#\x01");
        assert_eq!(suback_codes(b"\x00\x03\x00\x01", Ver::V5), Some(&b"\x01"[..]));
        assert_eq!(suback_codes(b"\x00\x03\x00\x80", Ver::V4), Some(&b"\x00\x80"[..]));
    }

    #[test]
    fn inflight_ids() {
        let mut f = Inflight::new(2);
        let mut r = vec![];
        assert_eq!((f.take(), f.take()), (1, 2));
        assert!(f.ack(PUBACK, &[0, 1], &mut r));
        assert!(!f.ack(PUBACK, &[0, 1], &mut r)); // twice
        assert_eq!(f.take(), 3);
        assert!(!f.ack(PUBREC, &[0, 2], &mut r));
        assert_eq!(r, [PUBREL, 2, 0, 2]);
        assert!(f.ack(PUBCOMP, &[0, 2], &mut r));
        assert_eq!(f.count, 1);
        assert_eq!((f.take(), f.take()), (4, 1));
    }
}
