//! Sockets of a command: the objects themselves, whatever becomes of the numbers
//! they had, and what is done with them in the command's place.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, Result};
use rustix::net::sockopt::{Timeout, socket_domain, socket_protocol, socket_timeout, socket_type};
use rustix::net::{AddressFamily, SendFlags, SocketType, bind, connect, connect_unspec, ipproto};
use rustix::net::{send, sendto};
use rustix::process::{
    PidfdFlags, PidfdGetfdFlags, Signal, pidfd_getfd, pidfd_open, pidfd_send_signal,
};

use crate::confined::Confined;
use crate::event::Protocol;
use crate::target::Target;

/// `PIDFD_THREAD` of linux/pidfd.h (Linux 6.9).
const THREAD: PidfdFlags = PidfdFlags::from_bits_retain(linux_raw_sys::general::O_EXCL);

/// What may be asked for beside sending. Of the rest `MSG_FASTOPEN` would
/// connect past Landlock, and the others want an answer later.
const SENDS: SendFlags = SendFlags::CONFIRM
    .union(SendFlags::DONTROUTE)
    .union(SendFlags::DONTWAIT)
    .union(SendFlags::EOR)
    .union(SendFlags::MORE)
    .union(SendFlags::NOSIGNAL)
    .union(SendFlags::OOB);

/// A socket.
#[derive(Clone)]
pub(crate) struct Socket {
    fd: Arc<OwnedFd>,
    /// Whoever calls; readable when there is nobody any more.
    thread: Arc<OwnedFd>,
    domain: AddressFamily,
    kind: SocketType,
}

/// How far something has come.
pub(crate) enum Progress {
    /// It is done, with this result.
    Done(i64),
    /// It goes on when the socket can be written.
    Waits,
}

impl Socket {
    /// The one that a thread means by a number. That its call still waits has to
    /// be checked afterwards.
    pub(crate) fn take(target: &Target, number: u64) -> Result<Self> {
        let thread = match pidfd_open(target.tid, THREAD) {
            Err(Errno::INVAL) => pidfd_open(target.status.pid, PidfdFlags::empty())?,
            thread => thread?,
        };
        let fd = pidfd_getfd(&thread, number as i32, PidfdGetfdFlags::empty())?;
        let (domain, kind) = (socket_domain(&fd)?, socket_type(&fd)?);
        Ok(Self { fd: fd.into(), thread: thread.into(), domain, kind })
    }

    /// Whether its addresses are those of hosts. Of other families nothing is done
    /// by address, since others would see who does it.
    pub(crate) fn check_named(&self) -> Result<()> {
        match self.domain {
            AddressFamily::INET | AddressFamily::INET6 => Ok(()),
            AddressFamily::UNIX => Err(Errno::ACCESS),
            _ => Err(Errno::AFNOSUPPORT),
        }
    }

    /// Whether what is sent by it goes where it was connected to.
    pub(crate) fn check_connected(&self) -> Result<()> {
        if self.domain == AddressFamily::UNIX { Ok(()) } else { self.check_named() }
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.kind == SocketType::STREAM
    }

    pub(crate) fn protocol(&self) -> Result<Protocol> {
        Ok(match socket_protocol(&self.fd)? {
            Some(ipproto::TCP) => Protocol::Tcp,
            Some(ipproto::UDP) => Protocol::Udp,
            other => Protocol::Other(other.map_or(0, |other| other.as_raw().get())),
        })
    }

    /// What becomes readable when nobody waits any more.
    pub(crate) fn thread(&self) -> BorrowedFd<'_> {
        self.thread.as_fd()
    }

    fn waits(&self) -> Result<bool> {
        Ok(!fcntl_getfl(&self.fd)?.contains(OFlags::NONBLOCK))
    }

    /// When a wait ends that begins now.
    pub(crate) fn deadline(&self) -> Result<Option<Instant>> {
        let limit: Option<Duration> = socket_timeout(&self.fd, Timeout::Send)?;
        Ok(limit.and_then(|limit| Instant::now().checked_add(limit)))
    }

    pub(crate) fn bind(&self, to: SocketAddr, confined: &Confined) -> Result<()> {
        let fd = Arc::clone(&self.fd);
        confined.run(move || bind(&*fd, &to))
    }

    /// Undoes a connection.
    pub(crate) fn disconnect(&self, confined: &Confined) -> Result<()> {
        let fd = Arc::clone(&self.fd);
        confined.run(move || connect_unspec(&*fd))
    }

    /// Begins to connect, or goes on.
    pub(crate) fn connect(&self, to: SocketAddr, confined: &Confined) -> Result<Progress> {
        let fd = Arc::clone(&self.fd);
        // Only streams wait for an answer.
        let waits = self.is_stream() && self.waits()?;
        let connected = confined.run(move || {
            if !waits {
                return connect(&*fd, &to);
            }
            // Nothing else keeps this thread from waiting. The flag is the
            // command's, so it is set for a moment only.
            let flags = fcntl_getfl(&*fd)?;
            fcntl_setfl(&*fd, flags | OFlags::NONBLOCK)?;
            let connected = connect(&*fd, &to);
            fcntl_setfl(&*fd, flags)?;
            connected
        });
        match connected {
            Err(Errno::INPROGRESS | Errno::ALREADY) if waits => Ok(Progress::Waits),
            connected => connected.map(|()| Progress::Done(0)),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Something that is being sent.
pub(crate) struct Sending {
    to: Option<SocketAddr>,
    bytes: Arc<[u8]>,
    sent: usize,
    flags: SendFlags,
    waits: bool,
}

impl Sending {
    pub(crate) fn new(
        socket: &Socket,
        to: Option<SocketAddr>,
        bytes: Vec<u8>,
        flags: u32,
    ) -> Result<Self> {
        let flags = SendFlags::from_bits_retain(flags);
        if !SENDS.contains(flags) {
            return Err(Errno::OPNOTSUPP);
        }
        let waits = !flags.contains(SendFlags::DONTWAIT) && socket.waits()?;
        Ok(Self { to, bytes: bytes.into(), sent: 0, flags, waits })
    }

    /// Sends as much as can be sent now.
    pub(crate) fn go_on(&mut self, socket: &Socket, confined: &Confined) -> Result<Progress> {
        let (fd, bytes, to, from) =
            (Arc::clone(&socket.fd), Arc::clone(&self.bytes), self.to, self.sent);
        // A signal would be this process's.
        let flags = self.flags | SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = confined.run(move || match to {
            Some(to) => sendto(&*fd, &bytes[from..], flags, &to),
            None => send(&*fd, &bytes[from..], flags),
        });
        match sent {
            Ok(sent) => self.sent += sent,
            Err(Errno::AGAIN) if self.waits => return Ok(Progress::Waits),
            Err(error) if self.sent == 0 => {
                let signals = socket.is_stream() && !self.flags.contains(SendFlags::NOSIGNAL);
                if signals && error == Errno::PIPE {
                    let _ = pidfd_send_signal(&*socket.thread, Signal::PIPE);
                }
                return Err(error);
            }
            Err(_) => return Ok(Progress::Done(self.sent as i64)),
        }
        let is_left = socket.is_stream() && self.sent < self.bytes.len();
        let waits = is_left && self.waits;
        Ok(if waits { Progress::Waits } else { Progress::Done(self.sent as i64) })
    }

    /// How many bytes were sent.
    pub(crate) const fn sent(&self) -> u64 {
        self.sent as u64
    }

    /// What becomes of it when it may wait no longer.
    pub(crate) fn give_up(&self) -> Result<i64> {
        if self.sent == 0 { Err(Errno::AGAIN) } else { Ok(self.sent as i64) }
    }
}
