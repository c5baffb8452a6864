//! The sockets at which a command finds its proxy, on their way out.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use launcher_policy::namespaces::MAX_LISTENERS;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SocketFlags,
    SocketType, recvmsg, socketpair,
};

/// The end at which the launcher's listening sockets arrive.
#[derive(Debug)]
pub struct Listeners(OwnedFd);

impl Listeners {
    /// A pair: this end, and the one for the launcher's `--listeners-fd`.
    ///
    /// # Errors
    ///
    /// socketpair(2)
    pub fn pair() -> rustix::io::Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self(ours), theirs))
    }

    /// Waits for the sockets, which come before the command begins, in the
    /// order of the policy; none where the launch ended before. The other end
    /// must be closed here by then.
    ///
    /// # Errors
    ///
    /// recvmsg(2); EMFILE where this process can have no more descriptors.
    pub fn receive(self) -> rustix::io::Result<Vec<OwnedFd>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_LISTENERS))];
        let mut passed = RecvAncillaryBuffer::new(&mut space);
        let mut word = [0; 16];
        let mut part = [IoSliceMut::new(&mut word)];
        let received = loop {
            match recvmsg(&self.0, &mut part, &mut passed, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                // The launch ended with something of ours unread.
                Err(Errno::CONNRESET) => return Ok(Vec::new()),
                received => break received?,
            }
        };
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(Errno::MFILE);
        }
        let fds = passed.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        Ok(fds.flatten().collect())
    }
}
