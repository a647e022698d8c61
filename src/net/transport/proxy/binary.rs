//! The header of version 2: bytes with a length.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::Poll;

use crate::net::transport::protocol::PROXY_V2;
use crate::net::transport::proxy::{Header, Told, fault, tlv};

/// The most bytes of a header.
const HEADER: usize = 4096;
/// The bytes before the addresses.
const FIXED: usize = 16;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

const UNSPECIFIED: u8 = 0;
const INET: u8 = 1;
const INET6: u8 = 2;
const UNIX: u8 = 3;
const STREAM: u8 = 1;

pub(super) fn parse(bytes: &[u8]) -> Header {
    let Some(fixed) = bytes.first_chunk::<FIXED>() else {
        return Poll::Pending;
    };
    let &[command, family, high, low] = fixed.last_chunk().unwrap_or(&[0; 4]);
    let len = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if len > HEADER {
        return fault("PROXY header has more than 4,096 bytes");
    }
    let Some(header) = bytes.get(..len) else {
        return Poll::Pending;
    };
    match told(command, family, header) {
        Ok(told) => Poll::Ready(Ok((told, len))),
        Err(cause) => fault(cause),
    }
}

fn told(command: u8, family: u8, header: &[u8]) -> Result<Told, &'static str> {
    let told = match command {
        LOCAL => return Ok(Told::default()),
        PROXY => header.get(FIXED..).unwrap_or_default(),
        _ => return Err("PROXY header with an unknown version or command"),
    };
    let (peer, options) = match (family >> 4, family & 0x0f) {
        // The proxy does not know: the peer's own address stays.
        (UNSPECIFIED, _) => return Ok(Told::default()),
        (INET | INET6 | UNIX, transport) if transport != STREAM => {
            return Err("PROXY header of a connection that is no stream");
        }
        (INET, _) => address::<4, 12>(told, |ip| Ipv4Addr::from(ip).into()),
        (INET6, _) => address::<16, 36>(told, |ip| Ipv6Addr::from(ip).into()),
        // A process of the proxy's machine has no address.
        (UNIX, _) => told.get(216..).map(|options| (None, options)),
        _ => return Err("PROXY header with an unknown address family"),
    }
    .ok_or("PROXY header too short for its addresses")?;
    let tls = tlv::read(header, options)?;
    Ok(Told { peer, tls })
}

/// The source of addresses of `ALL` bytes together, and what follows them.
fn address<const IP: usize, const ALL: usize>(
    bytes: &[u8],
    ip: impl Fn([u8; IP]) -> IpAddr,
) -> Option<(Option<SocketAddr>, &[u8])> {
    let (addresses, options) = bytes.split_first_chunk::<ALL>()?;
    let source = addresses.first_chunk::<IP>()?;
    let port = addresses.get(2 * IP..)?.first_chunk::<2>()?;
    Some((Some(SocketAddr::new(ip(*source), u16::from_be_bytes(*port))), options))
}

/// The header of version 2 begins with this.
const _: () = assert!(PROXY_V2.len() == FIXED - 4);
