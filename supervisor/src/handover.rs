//! How a listener comes from the launcher.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SocketFlags,
    SocketType, recvmsg, socketpair,
};

use crate::Listener;

/// What the launcher says of the filter that a policy has for where its namespaces
/// could not be made.
const WITHOUT_NAMESPACES: &[u8] = b"listener without namespaces";

/// The end of a socket at which the launcher's listener arrives.
#[derive(Debug)]
pub struct Handover(OwnedFd);

impl Handover {
    /// A pair: this end, and the one for the launcher's `--notify-fd`.
    ///
    /// # Errors
    ///
    /// socketpair(2)
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self(ours), theirs))
    }

    /// Waits for the listener; `None` where the launch ended without one. The
    /// other end must be closed here by then.
    ///
    /// # Errors
    ///
    /// recvmsg(2); EMFILE where this process can have no more descriptors.
    pub fn receive(self) -> io::Result<Option<Listener>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut passed = RecvAncillaryBuffer::new(&mut space);
        let mut word = [0; 32];
        let mut part = [IoSliceMut::new(&mut word)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = retry_on_intr(|| recvmsg(&self.0, &mut part, &mut passed, flags))?;
        // Without the ruleset the supervisor would do what the policy forbids.
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(Errno::MFILE.into());
        }
        let mut fds = passed.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds).into_iter().flatten(),
            _ => None.into_iter().flatten(),
        });
        let listener = fds.next();
        let without_namespaces = word.starts_with(WITHOUT_NAMESPACES);
        Ok(listener.map(|listener| Listener::new(listener, fds.next(), without_namespaces)))
    }
}
