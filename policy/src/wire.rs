//! The frame around a policy, and the only way in and out of it.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | magic, `SBXP` |
//! | 4..6 | format version, little endian |
//! | 6 | architecture |
//! | 7 | zero |
//! | 8..12 | length of the payload, little endian |
//! | 12..44 | SHA-256 of the payload |
//! | 44..48 | CRC-32 (ISO-HDLC) of bytes 0..44 and of the payload |
//! | 48.. | the [`Policy`], in postcard |

use core::mem::MaybeUninit;

use serde::Deserialize;

use crate::{Policy, Refusal, seccomp, validate};

/// The first bytes of every frame.
pub const MAGIC: [u8; 4] = *b"SBXP";

/// The version of the format that this crate reads and writes.
pub const VERSION: u16 = 2;

/// Length of the header in bytes.
pub const HEADER: usize = 48;

const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// What a policy is called in receipts: SHA-256 of its payload. Whoever
/// encodes computes it; a launch only copies it, as hashing would take longer
/// than all else that it does for a receipt.
pub type Digest = [u8; 32];

/// Where the digest begins in the header.
const DIGEST: usize = 12;

/// The longest frame, header included, in bytes.
pub const MAX_FRAME: usize = 2 * 1024 * 1024;

/// The architecture that a policy is made for: system-call numbers and byte
/// order are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Architecture {
    /// `AUDIT_ARCH_X86_64`
    X86_64 = 1,
    /// `AUDIT_ARCH_AARCH64`
    Aarch64 = 2,
    /// `AUDIT_ARCH_RISCV64`
    Riscv64 = 3,
}

impl Architecture {
    /// The one this code was compiled for.
    pub const NATIVE: Self = if cfg!(target_arch = "x86_64") {
        Self::X86_64
    } else if cfg!(target_arch = "aarch64") {
        Self::Aarch64
    } else if cfg!(target_arch = "riscv64") {
        Self::Riscv64
    } else {
        panic!("this architecture is not supported")
    };
}

/// Why bytes are not a policy. Nothing has been done when one is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// No byte at all: whoever should have written the policy failed.
    Empty,
    /// Fewer bytes than the header announces, or than a header has.
    Truncated,
    /// The bytes do not begin as a policy does.
    Magic,
    /// A policy of another format version.
    Version,
    /// A policy for another architecture, or for none that exists.
    Architecture,
    /// More than [`MAX_FRAME`] bytes.
    TooLong,
    /// More bytes than the header announces.
    TooManyBytes,
    /// The bytes were changed after they were encoded.
    Checksum,
    /// Bytes inside the frame after the value.
    TrailingBytes,
    /// The payload is not a value of the policy's type.
    Malformed,
    /// A value that decodes but that this version gives no meaning.
    Invalid(Refusal),
    /// The seccomp filter would be refused by the kernel.
    Filter(crate::seccomp::FilterError),
}

impl DecodeError {
    /// What is wrong, as a launch that ends by it says.
    pub const fn refusal(self) -> Refusal {
        match self {
            Self::Empty => Refusal::Empty,
            Self::Truncated => Refusal::Truncated,
            Self::Magic => Refusal::Magic,
            Self::Version => Refusal::Version,
            Self::Architecture => Refusal::Architecture,
            Self::TooLong => Refusal::TooLong,
            Self::TooManyBytes => Refusal::TooManyBytes,
            Self::Checksum => Refusal::Checksum,
            Self::TrailingBytes => Refusal::TrailingBytes,
            Self::Malformed => Refusal::Malformed,
            Self::Invalid(refusal) => refusal,
            Self::Filter(error) => error.refusal(),
        }
    }

    /// What is wrong, in one sentence without a full stop.
    pub fn message(self) -> &'static str {
        self.refusal().name()
    }
}

impl From<postcard::Error> for Refusal {
    fn from(_: postcard::Error) -> Self {
        Self::Malformed
    }
}

/// Checks a header and returns the length of the whole frame.
///
/// # Errors
///
/// What is wrong with the header; the checksum is not looked at.
pub fn frame_length(header: &[u8; HEADER]) -> Result<usize, DecodeError> {
    let [m0, m1, m2, m3, v0, v1, architecture, zero, l0, l1, l2, l3, ..] = *header;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(DecodeError::Magic);
    }
    if u16::from_le_bytes([v0, v1]) != VERSION {
        return Err(DecodeError::Version);
    }
    if architecture != Architecture::NATIVE as u8 || zero != 0 {
        return Err(DecodeError::Architecture);
    }
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length > MAX_FRAME - HEADER {
        return Err(DecodeError::TooLong);
    }
    Ok(HEADER + length)
}

/// The digest that a frame carries; all zeroes where there is no header.
pub fn digest(frame: &[u8]) -> &Digest {
    frame.get(DIGEST..).and_then(<[u8]>::first_chunk).unwrap_or(&[0; 32])
}

/// What a frame carries behind its header.
pub fn payload(frame: &[u8]) -> &[u8] {
    frame.get(HEADER..).unwrap_or_default()
}

/// What is wrong with bytes that end too early. Those that do not begin as a
/// policy does are none, however short.
pub fn incomplete(bytes: &[u8]) -> DecodeError {
    match bytes {
        [] => DecodeError::Empty,
        _ if bytes.iter().zip(MAGIC).any(|(byte, magic)| *byte != magic) => DecodeError::Magic,
        _ => DecodeError::Truncated,
    }
}

/// Reads a policy out of exactly one frame.
///
/// Every list of it has been walked and every value checked when this
/// returns: what it accepts, a launch can apply without meeting a surprise.
///
/// # Errors
///
/// The first thing wrong with the bytes.
pub fn decode(frame: &[u8]) -> Result<Policy<'_>, DecodeError> {
    let mut place = MaybeUninit::uninit();
    let policy = decode_for_launch(frame, &mut place)?;
    validate::unused(policy).map_err(invalid)?;
    Ok(*policy)
}

/// [`decode`] of what a launch has a use for, into memory of the caller's, which
/// spares it a copy. What others read, the rules of a proxy and how the policy
/// came about, is not looked into.
///
/// # Errors
///
/// As [`decode`].
pub fn decode_for_launch<'m, 'p>(
    frame: &'p [u8],
    place: &'m mut MaybeUninit<Policy<'p>>,
) -> Result<&'m Policy<'p>, DecodeError> {
    let Some((header, _)) = frame.split_first_chunk::<HEADER>() else {
        return Err(incomplete(frame));
    };
    let length = frame_length(header)?;
    if frame.len() > length {
        return Err(DecodeError::TooManyBytes);
    }
    let Some(payload) = frame.get(HEADER..length) else {
        return Err(DecodeError::Truncated);
    };
    let [.., c0, c1, c2, c3] = *header;
    if checksum(header, payload) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(DecodeError::Checksum);
    }
    let policy = value(payload, place)?;
    check(policy)?;
    Ok(policy)
}

/// The value that takes up all of the payload.
// Part by part: what serde derives for a structure of this size moves each of
// them about three times.
fn value<'m, 'p>(
    payload: &'p [u8],
    place: &'m mut MaybeUninit<Policy<'p>>,
) -> Result<&'m Policy<'p>, DecodeError> {
    let mut bytes = postcard::Deserializer::from_bytes(payload);
    let policy = place.write(Policy {
        enforce: part(&mut bytes)?,
        fds: part(&mut bytes)?,
        namespaces: part(&mut bytes)?,
        mounts: part(&mut bytes)?,
        limits: part(&mut bytes)?,
        session: part(&mut bytes)?,
        credentials: part(&mut bytes)?,
        landlock: part(&mut bytes)?,
        seccomp: part(&mut bytes)?,
        exec: part(&mut bytes)?,
        proxy: part(&mut bytes)?,
        origin: part(&mut bytes)?,
    });
    match bytes.finalize() {
        Ok([]) => Ok(policy),
        _ => Err(DecodeError::TrailingBytes),
    }
}

/// The next part of a policy.
#[inline(never)]
fn part<'p, T: Deserialize<'p>>(bytes: &mut Bytes<'p>) -> Result<T, Malformed> {
    T::deserialize(bytes).map_err(|_| Malformed)
}

/// What a payload is decoded from.
type Bytes<'p> = postcard::Deserializer<'p, postcard::de_flavors::Slice<'p>>;

/// Bytes that are not of the type that should stand there. What postcard knows
/// beyond that nobody is told.
struct Malformed;

impl From<Malformed> for DecodeError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// Writes a policy as one frame for `architecture` into `buffer` and returns
/// the frame. `hash` is SHA-256, which this crate does without: the launcher,
/// which is built from it, has no use for it.
///
/// # Errors
///
/// [`DecodeError::TooLong`] if the buffer or [`MAX_FRAME`] does not hold it,
/// and everything that [`decode`] would refuse.
pub fn encode<'b>(
    policy: &Policy<'_>,
    architecture: Architecture,
    hash: impl FnOnce(&[u8]) -> Digest,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], DecodeError> {
    check(policy)?;
    validate::unused(policy).map_err(invalid)?;
    let (header, space) = buffer.split_first_chunk_mut::<HEADER>().ok_or(DecodeError::TooLong)?;
    let payload = postcard::to_slice(policy, space).map_err(|_| DecodeError::TooLong)?;
    let length = payload.len();
    if length > MAX_FRAME - HEADER {
        return Err(DecodeError::TooLong);
    }
    let [m0, m1, m2, m3] = MAGIC;
    let [v0, v1] = VERSION.to_le_bytes();
    let [l0, l1, l2, l3] = (length as u32).to_le_bytes();
    let start = [m0, m1, m2, m3, v0, v1, architecture as u8, 0, l0, l1, l2, l3];
    let parts = start.into_iter().chain(hash(payload)).chain([0; 4]);
    header.iter_mut().zip(parts).for_each(|(place, byte)| *place = byte);
    let sum = checksum(header, payload).to_le_bytes();
    header.iter_mut().rev().zip(sum.into_iter().rev()).for_each(|(place, byte)| *place = byte);
    buffer.get(..HEADER + length).ok_or(DecodeError::TooLong)
}

/// Refuses a policy of which a value that a launch uses has no meaning.
fn check(policy: &Policy<'_>) -> Result<(), DecodeError> {
    validate::used(policy).map_err(invalid)?;
    let Some(seccomp) = policy.seccomp else { return Ok(()) };
    if !seccomp.without_namespaces.is_empty() {
        seccomp::validate(seccomp.without_namespaces).map_err(DecodeError::Filter)?;
    }
    seccomp::validate(seccomp.filter).map_err(DecodeError::Filter)
}

fn invalid(refusal: Refusal) -> DecodeError {
    match refusal {
        Refusal::Malformed => DecodeError::Malformed,
        refusal => DecodeError::Invalid(refusal),
    }
}

/// The checksum of a frame.
fn checksum(header: &[u8; HEADER], payload: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    let (covered, _) = header.split_at(HEADER - 4);
    digest.update(covered);
    digest.update(payload);
    digest.finalize()
}
