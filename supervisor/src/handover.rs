//! How a listener comes from the launcher.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    recvmsg, socketpair,
};

use crate::Listener;

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
    /// recvmsg(2)
    pub fn receive(self) -> io::Result<Option<Listener>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut passed = RecvAncillaryBuffer::new(&mut space);
        let mut word = [0; 16];
        recvmsg(&self.0, &mut [IoSliceMut::new(&mut word)], &mut passed, RecvFlags::CMSG_CLOEXEC)?;
        let mut fds = passed.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        Ok(fds.next().and_then(|mut fds| fds.next()).map(Listener::from))
    }
}
