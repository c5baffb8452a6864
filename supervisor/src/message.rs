//! What is to be sent, read from memory once: sendto(2), sendmsg(2).

use rustix::io::{Errno, Result};

use crate::address::{self, Address};
use crate::target::Target;

/// How many bytes are carried at most: more than a datagram can have. Of a stream
/// the rest is sent by the next call.
pub(crate) const MAX: usize = 1 << 18;

/// How many parts a message may have: `UIO_MAXIOV` of linux/uio.h.
const PARTS: u64 = 1024;

/// Size of `struct iovec`.
const PART: u64 = 16;

/// Size of `struct mmsghdr`, and where in it the kernel says how much was sent:
/// behind a `struct msghdr`.
pub(crate) const ENTRY: u64 = 64;
pub(crate) const SENT: u64 = 56;

/// A message.
pub(crate) struct Message {
    /// Where to; `None` where the socket knows.
    pub(crate) to: Option<Address>,
    /// What of it is carried.
    pub(crate) bytes: Vec<u8>,
    /// How long it is.
    pub(crate) length: u64,
    /// Whether something beside the bytes is to be sent: descriptors, say.
    pub(crate) has_control: bool,
}

impl Message {
    /// The arguments of sendto(2).
    pub(crate) fn plain(target: &Target, [bytes, length, to, to_length]: [u64; 4]) -> Result<Self> {
        let carried = usize::try_from(length).map_or(MAX, |length| length.min(MAX));
        let bytes = target.bytes(bytes, carried)?;
        let to = (to != 0).then(|| address_at(target, to, to_length)).transpose()?;
        Ok(Self { to, bytes, length, has_control: false })
    }

    /// A `struct msghdr`.
    pub(crate) fn read(target: &Target, header: u64) -> Result<Self> {
        // Lengths beside pointers are ints, with padding behind.
        let [to, to_length, parts, count, _, control] = target.words(header)?;
        if count > PARTS {
            return Err(Errno::MSGSIZE);
        }
        let (mut bytes, mut length) = (Vec::new(), 0_u64);
        for place in 0..count {
            let [base, size] = target.words(parts.wrapping_add(place * PART))?;
            length = length.checked_add(size).ok_or(Errno::INVAL)?;
            let left = MAX - bytes.len();
            let carried = usize::try_from(size).map_or(left, |size| size.min(left));
            bytes.extend(target.bytes(base, carried)?);
        }
        // The kernel takes one that is too long for as long as it may be.
        let to_length = i32::try_from(to_length as u32).map_err(|_| Errno::INVAL)?;
        let to_length = (to_length as u64).min(address::MAX as u64);
        let is_named = to != 0 && to_length != 0;
        let to = is_named.then(|| address_at(target, to, to_length)).transpose()?;
        Ok(Self { to, bytes, length, has_control: control != 0 })
    }

    /// Whether only a part of it is carried.
    pub(crate) fn is_cut(&self) -> bool {
        self.bytes.len() as u64 != self.length
    }
}

/// An address in memory.
pub(crate) fn address_at(target: &Target, address: u64, length: u64) -> Result<Address> {
    // An int.
    match usize::try_from(length as u32) {
        Ok(length) if length <= address::MAX => Address::parse(&target.bytes(address, length)?),
        _ => Err(Errno::INVAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place<T: ?Sized>(of: &T) -> u64 {
        std::ptr::from_ref(of).addr() as u64
    }

    #[test]
    fn a_message_is_put_together_from_its_parts() {
        let own = Target::of(rustix::thread::gettid()).expect("it is this thread");
        let (one, two) = (b"ab", b"cde");
        let parts = [place(one), 2, place(two), 3];
        let header = |count: u64, control: u64| [0, 0, place(&parts), count, 0, control, 0];
        let message = Message::read(&own, place(&header(2, 0))).expect("it is read");
        assert_eq!((message.bytes.as_slice(), message.length), (&b"abcde"[..], 5));
        assert!(message.to.is_none() && !message.has_control && !message.is_cut());
        assert!(Message::read(&own, place(&header(1, 16))).expect("it is read").has_control);
        let too_many = Message::read(&own, place(&header(1025, 0)));
        assert_eq!(too_many.err(), Some(Errno::MSGSIZE));
    }

    #[test]
    fn of_a_long_message_a_part_is_carried() {
        let own = Target::of(rustix::thread::gettid()).expect("it is this thread");
        let long = vec![1_u8; MAX + 1];
        let given = [place(long.as_slice()), long.len() as u64, 0, 0];
        let message = Message::plain(&own, given).expect("it is read");
        assert_eq!((message.bytes.len(), message.length), (MAX, MAX as u64 + 1));
        assert!(message.is_cut());
    }
}
