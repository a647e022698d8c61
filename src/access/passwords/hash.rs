//! Hashes of passwords, as a password file has them: `$argon2id$`, `$7$` (PBKDF2-HMAC-SHA512) and `$6$` (SHA512).
//!
//! What a file may ask for is bounded: memory, passes and iterations. So a hostile file takes neither all memory nor a thread
//! for longer than a few seconds.

use std::num::NonZeroU32;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD};
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use ring::{digest, pbkdf2};
use subtle::ConstantTimeEq;

/// The most memory of one verification, in KiB.
pub const MOST_MEMORY: u32 = 128 * 1024;
/// The most work of one verification: memory in KiB, times passes.
pub const MOST_WORK: u64 = 1 << 20;
/// The most lanes of Argon2.
pub const MOST_LANES: u32 = 16;
/// The most iterations of PBKDF2.
pub const MOST_ITERATIONS: u32 = 2_000_000;
/// The iterations of a new `$7$` hash.
pub const NEW_ITERATIONS: u32 = 210_000;
/// Bytes of salt in a new hash. mosquitto before 2.1 reads 12 alone.
const NEW_SALT: usize = 12;
/// Bytes of salt and of a hash in a file, at least and at most.
const SALTS: std::ops::RangeInclusive<usize> = 1..=64;
const HASHES: std::ops::RangeInclusive<usize> = 16..=64;
/// The least and the most bytes of salt of Argon2.
const LEAST_ARGON2_SALT: usize = 8;

/// Base64 as libargon2 writes it, without padding; read with padding as well.
const UNPADDED: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The hash of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    method: Method,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Method {
    Argon2id { version: Version, memory: u32, passes: u32, lanes: u32 },
    Pbkdf2 { iterations: NonZeroU32 },
    Sha512,
}

/// The way in which a new hash is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NewHash {
    /// Argon2id: guesses cost memory. mosquitto reads it from version 2.1 on.
    #[default]
    Argon2id,
    /// PBKDF2-HMAC-SHA512: mosquitto reads it from version 2.0 on.
    Sha512Pbkdf2,
}

/// Why a hash is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// It begins with another mark.
    #[error(
        "the hash begins with none of $argon2id$, $7$ and $6$; midge passwd -U hashes passwords in clear text"
    )]
    Unknown,
    /// A part is missing, is no number or no base64.
    #[error("the hash is malformed: {0}")]
    Malformed(&'static str),
    /// It would take too much.
    #[error("the hash asks for {what} {asked}, and at most {most} are allowed")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much.
        asked: u64,
        /// The bound.
        most: u64,
    },
}

/// Memory that verifications one after the other use again.
#[derive(Default)]
pub struct Scratch(Vec<Block>);

/// Never shows salt or hash.
impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordHash").field("method", &self.method).finish_non_exhaustive()
    }
}

impl PasswordHash {
    /// Reads the hash of a line.
    ///
    /// # Errors
    /// It is of another kind, malformed, or asks for too much.
    pub fn parse(text: &str) -> Result<PasswordHash, HashError> {
        let mut parts = text.split('$');
        if parts.next() != Some("") {
            return Err(HashError::Unknown);
        }
        match parts.next() {
            Some("argon2id") => argon2id(parts),
            Some("7") => {
                let iterations = number(parts.next(), "iterations")?;
                let iterations = NonZeroU32::new(iterations).ok_or(HashError::Malformed("no iterations"))?;
                bound("iterations", iterations.get(), MOST_ITERATIONS)?;
                PasswordHash::of(Method::Pbkdf2 { iterations }, parts, &STANDARD)
            }
            Some("6") => {
                let read = PasswordHash::of(Method::Sha512, parts, &STANDARD)?;
                match read.hash.len() == digest::SHA512_OUTPUT_LEN {
                    true => Ok(read),
                    false => Err(HashError::Malformed("SHA512 has 64 bytes")),
                }
            }
            _ => Err(HashError::Unknown),
        }
    }

    fn of<'t>(
        method: Method,
        mut parts: impl Iterator<Item = &'t str>,
        base64: &GeneralPurpose,
    ) -> Result<PasswordHash, HashError> {
        let mut bytes = |what, lengths: std::ops::RangeInclusive<usize>| {
            let text = parts.next().ok_or(HashError::Malformed(what))?;
            let bytes = base64.decode(text).map_err(|_| HashError::Malformed(what))?;
            lengths.contains(&bytes.len()).then_some(bytes).ok_or(HashError::Malformed(what))
        };
        let salt = bytes("the salt", SALTS)?;
        let hash = bytes("the hash", HASHES)?;
        match parts.next() {
            None => Ok(PasswordHash { method, salt, hash }),
            Some(_) => Err(HashError::Malformed("a part too many")),
        }
    }

    /// Hashes a password. `salt` is random.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn make(kind: NewHash, password: &[u8], salt: [u8; NEW_SALT]) -> Result<PasswordHash, HashError> {
        let method = match kind {
            NewHash::Argon2id => Method::Argon2id {
                version: Version::V0x13,
                memory: Params::DEFAULT_M_COST,
                passes: Params::DEFAULT_T_COST,
                lanes: Params::DEFAULT_P_COST,
            },
            NewHash::Sha512Pbkdf2 => {
                Method::Pbkdf2 { iterations: NonZeroU32::new(NEW_ITERATIONS).unwrap_or(NonZeroU32::MIN) }
            }
        };
        let length =
            if kind == NewHash::Argon2id { Params::DEFAULT_OUTPUT_LEN } else { digest::SHA512_OUTPUT_LEN };
        let mut made = PasswordHash { method, salt: salt.to_vec(), hash: vec![0; length] };
        made.hash = made.derive(password, &mut Scratch::default())?;
        Ok(made)
    }

    /// The text of a line.
    pub fn write(&self) -> String {
        match &self.method {
            Method::Argon2id { version, memory, passes, lanes } => format!(
                "$argon2id$v={}$m={memory},t={passes},p={lanes}${}${}",
                u32::from(*version),
                UNPADDED.encode(&self.salt),
                UNPADDED.encode(&self.hash)
            ),
            Method::Pbkdf2 { iterations } => {
                format!("$7${iterations}${}${}", STANDARD.encode(&self.salt), STANDARD.encode(&self.hash))
            }
            Method::Sha512 => format!("$6${}${}", STANDARD.encode(&self.salt), STANDARD.encode(&self.hash)),
        }
    }

    /// Whether it is the hash of this password. It takes as long as another of the same kind, whatever the answer; without
    /// memory the answer is no.
    pub fn is_of(&self, password: &[u8], scratch: &mut Scratch) -> bool {
        self.derive(password, scratch).is_ok_and(|derived| derived.ct_eq(&self.hash).into())
    }

    fn derive(&self, password: &[u8], scratch: &mut Scratch) -> Result<Vec<u8>, HashError> {
        let mut derived = vec![0; self.hash.len()];
        match self.method {
            Method::Argon2id { version, memory, passes, lanes } => {
                let params = Params::new(memory, passes, lanes, Some(derived.len()));
                let params = params.map_err(|_| HashError::Malformed("parameters"))?;
                let blocks = scratch.at_least(params.block_count())?;
                Argon2::new(Algorithm::Argon2id, version, params)
                    .hash_password_into_with_memory(password, &self.salt, &mut derived, blocks)
                    .map_err(|_| HashError::Malformed("parameters"))?;
            }
            Method::Pbkdf2 { iterations } => {
                pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, iterations, &self.salt, password, &mut derived);
            }
            Method::Sha512 => {
                let mut context = digest::Context::new(&digest::SHA512);
                context.update(password);
                context.update(&self.salt);
                derived = context.finish().as_ref().to_vec();
            }
        }
        Ok(derived)
    }
}

impl Scratch {
    /// So many blocks. What they contain does not matter.
    fn at_least(&mut self, count: usize) -> Result<&mut [Block], HashError> {
        let more = count.saturating_sub(self.0.len());
        self.0.try_reserve_exact(more).map_err(|_| HashError::Malformed("no memory for it"))?;
        if more > 0 {
            self.0.resize(count, Block::default());
        }
        self.0.get_mut(..count).ok_or(HashError::Malformed("no memory for it"))
    }
}

/// `v=19$m=19456,t=2,p=1$salt$hash`; without `v` it is version 16.
fn argon2id<'t>(parts: impl Iterator<Item = &'t str>) -> Result<PasswordHash, HashError> {
    let mut parts = parts.peekable();
    let version = match parts.next_if(|part| part.starts_with("v=")) {
        None | Some("v=16") => Version::V0x10,
        Some("v=19") => Version::V0x13,
        Some(_) => return Err(HashError::Malformed("the version of Argon2 is neither 16 nor 19")),
    };
    let costs = parts.next().ok_or(HashError::Malformed("no parameters"))?;
    let mut given = costs.split(',');
    let mut cost = |name: &str| {
        let text = given.next().and_then(|text| text.strip_prefix(name));
        number(text, "parameters are m=MEMORY,t=PASSES,p=LANES")
    };
    let (memory, passes, lanes) = (cost("m=")?, cost("t=")?, cost("p=")?);
    if given.next().is_some() {
        return Err(HashError::Malformed("parameters are m=MEMORY,t=PASSES,p=LANES"));
    }
    bound("KiB of memory", memory, MOST_MEMORY)?;
    bound("lanes", lanes, MOST_LANES)?;
    let work = u64::from(memory) * u64::from(passes);
    if work > MOST_WORK {
        return Err(HashError::TooMuch { what: "KiB of memory times passes", asked: work, most: MOST_WORK });
    }
    let method = Method::Argon2id { version, memory, passes, lanes };
    let read = PasswordHash::of(method, parts, &UNPADDED)?;
    Params::new(memory, passes, lanes, Some(read.hash.len()))
        .map_err(|_| HashError::Malformed("parameters"))?;
    match read.salt.len() >= LEAST_ARGON2_SALT {
        true => Ok(read),
        false => Err(HashError::Malformed("the salt")),
    }
}

fn number(text: Option<&str>, what: &'static str) -> Result<u32, HashError> {
    let digits = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).ok_or(HashError::Malformed(what))
}

fn bound(what: &'static str, asked: u32, most: u32) -> Result<(), HashError> {
    match asked > most {
        true => Err(HashError::TooMuch { what, asked: asked.into(), most: most.into() }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{HashError, NewHash, PasswordHash, Scratch};

    /// By Debian's mosquitto_passwd 2.0.11, and from the tests of Argon2's reference implementation.
    const VECTORS: [(&str, &str); 5] = [
        (
            "secret",
            "$7$101$hqR93+XoHWTzC0sZ$Issi0o4rD/nZ3Kfv/F49KT9rjoLvJt+qSAGopJw9+Q8AzH16vTfYA0Yug9XPWUXDga3V31TNwgRMK8pR4k2uwg==",
        ),
        (
            "secret",
            "$6$mhT+5lp4XJWwYUsd$r4V0fBsHym9JW+N0I/sVC9tzPFgMnu0I1nX6m+MdyUSNOCA6442MoAw2WmLvHEU9tdJ9UC50y/MFezcnjrvT/g==",
        ),
        (
            "password",
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        ),
        ("password", "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"),
        (
            "differentpassword",
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$C4TWUs9rDEvq7w3+J4umqA32aWKB1+DSiRuBfYxFj94",
        ),
    ];

    #[test]
    fn hashes_of_others_are_read_and_written() {
        let mut scratch = Scratch::default();
        for (password, text) in VECTORS {
            let hash = PasswordHash::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(hash.write(), text);
            assert!(hash.is_of(password.as_bytes(), &mut scratch), "{text}");
            assert!(!hash.is_of(b"Secret", &mut scratch), "{text}");
            assert!(!hash.is_of(b"", &mut scratch), "{text}");
        }
    }

    #[test]
    fn new_hashes_are_read_again() {
        for (kind, begin) in
            [(NewHash::Argon2id, "$argon2id$v=19$m=19456,t=2,p=1$"), (NewHash::Sha512Pbkdf2, "$7$210000$")]
        {
            let made = PasswordHash::make(kind, b"p\0w", [7; 12]).unwrap();
            assert!(made.write().starts_with(begin), "{}", made.write());
            let read = PasswordHash::parse(&made.write()).unwrap();
            assert_eq!(read, made);
            assert!(
                read.is_of(b"p\0w", &mut Scratch::default()) && !read.is_of(b"p", &mut Scratch::default())
            );
            assert!(!format!("{read:?}").contains("BwcH"), "{read:?}");
        }
    }

    #[test]
    fn what_asks_for_too_much_is_refused() {
        let hash = "c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let salted = "c29tZXNhbHRz$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc=";
        for text in [
            format!("$argon2id$v=19$m=131073,t=1,p=1${hash}"),
            format!("$argon2id$v=19$m=65536,t=17,p=1${hash}"),
            format!("$argon2id$v=19$m=4294967295,t=4294967295,p=1${hash}"),
            format!("$argon2id$v=19$m=1024,t=1,p=17${hash}"),
            format!("$7$2000001${salted}"),
        ] {
            let error = PasswordHash::parse(&text).unwrap_err();
            assert!(matches!(error, HashError::TooMuch { .. }), "{text}: {error}");
        }
        assert!(PasswordHash::parse(&format!("$argon2id$v=19$m=65536,t=16,p=1${hash}")).is_ok());
        assert!(PasswordHash::parse(&format!("$7$2000000${salted}")).is_ok());
    }

    #[test]
    fn malformed_hashes_are_refused() {
        let hash = "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        for text in [
            "",
            "secret",
            "$",
            "$1$abc$def",
            "$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8",
            "argon2id$",
        ] {
            assert_eq!(PasswordHash::parse(text), Err(HashError::Unknown), "{text}");
        }
        for text in [
            "$7$".to_owned(),
            format!("$7$0$c29tZXNhbHRz${hash}="),
            format!("$7$-1$c29tZXNhbHRz${hash}="),
            format!("$7$+1$c29tZXNhbHRz${hash}="),
            format!("$7$101$c29tZXNhbHRz${hash}=$x"),
            "$7$101$c29tZXNhbHRz$".to_owned(),
            format!("$7$101$*${hash}="),
            format!("$6$c29tZXNhbHRz${hash}="),
            format!("$argon2id$v=18$m=256,t=2,p=1$c29tZXNhbHQ${hash}"),
            format!("$argon2id$v=19$m=256,t=2$c29tZXNhbHQ${hash}"),
            format!("$argon2id$v=19$t=2,m=256,p=1$c29tZXNhbHQ${hash}"),
            format!("$argon2id$v=19$m=256,t=2,p=1,x=1$c29tZXNhbHQ${hash}"),
            format!("$argon2id$v=19$m=256,t=0,p=1$c29tZXNhbHQ${hash}"),
            format!("$argon2id$v=19$m=1,t=1,p=1$c29tZXNhbHQ${hash}"),
            format!("$argon2id$v=19$m=256,t=2,p=1$c29t${hash}"),
            format!("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ${hash}!"),
        ] {
            let error = PasswordHash::parse(&text).unwrap_err();
            assert!(matches!(error, HashError::Malformed(_)), "{text}: {error}");
        }
    }
}
