//! The spawn server of a sandbox: a process of the launcher that forks, instead
//! of one that is started anew for each command.

use std::ffi::CString;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::num::NonZeroU32;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use launcher::report::Words;
use launcher::serve::request::{Answer, Head, MAX_FDS, MAX_REQUEST, MAX_STRINGS};
use launcher::sys;
use launcher_policy::Failure;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, pidfd_send_signal, waitpid};

use crate::Error;
use crate::child::reap;
use crate::held::Holder;
use crate::in_place;
use crate::start::Process;

/// One server, whose launches are children of this process.
#[derive(Debug)]
pub(crate) struct Server {
    holder: Holder,
    /// The process that has started it.
    client: Pid,
    /// The number of the next request. One is answered before the next is made.
    next: Mutex<u32>,
}

/// What is asked of a server.
pub(crate) struct Request<'a> {
    pub(crate) arguments: &'a [CString],
    pub(crate) variables: &'a [CString],
    /// Descriptors, and what each is for: the number that the command gets it
    /// under, or one of those in [`launcher::serve::request`].
    pub(crate) fds: &'a [(RawFd, i32)],
}

impl Server {
    pub(crate) fn new(holder: Holder) -> Self {
        Self { holder, client: getpid(), next: Mutex::new(0) }
    }

    /// Has a launch begin. Of a pipe for its errors it takes this process's end.
    ///
    /// # Errors
    ///
    /// Where the server cannot be asked, or refuses.
    pub(crate) fn launch(
        &self,
        request: &Request<'_>,
        errors: &OwnedFd,
        errors_inside: OwnedFd,
    ) -> Result<Process, Error> {
        let ask = || Error::io::<io::Error>("cannot ask the spawn server");
        if getpid() != self.client {
            return Err(ask()(io::Error::other(
                "it serves the process that has prepared it, of which this is a copy",
            )));
        }
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next = next.wrapping_add(1);
        let bytes = request.bytes(*next)?;
        self.send(&bytes, request.fds).map_err(|error| ask()(error.into()))?;
        drop(errors_inside);
        loop {
            wait(self.holder.socket(), errors).map_err(ask())?;
            let (answer, pidfd) = self.receive().map_err(ask())?;
            // One that an earlier caller did not stay for.
            if answer.number == *next {
                return started(answer, pidfd);
            }
            abandon(answer, pidfd);
        }
    }

    fn send(&self, bytes: &[u8], fds: &[(RawFd, i32)]) -> Result<(), Errno> {
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(|(fd, _)| sys::inherited(*fd)).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        let parts = [IoSlice::new(bytes)];
        loop {
            match sendmsg(self.holder.socket(), &parts, &mut control, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                sent => return sent.map(drop),
            }
        }
    }

    fn receive(&self) -> Result<(Answer, Option<OwnedFd>), io::Error> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; Answer::LENGTH];
        let received = loop {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            match recvmsg(self.holder.socket(), &mut parts, &mut control, flags) {
                Err(Errno::INTR) => {}
                received => break received?.bytes,
            }
        };
        if received != bytes.len() {
            return Err(io::Error::other("it has ended"));
        }
        let pidfd = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        Ok((Answer::read(bytes), pidfd))
    }
}

impl Request<'_> {
    /// As the server reads it.
    fn bytes(&self, number: u32) -> Result<Vec<u8>, Error> {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let head = Head {
            number,
            fds: count(self.fds.len()),
            arguments: count(self.arguments.len()),
            variables: count(self.variables.len()),
        };
        let mut bytes: Vec<u8> = head.bytes().collect();
        bytes.extend(self.fds.iter().flat_map(|(_, purpose)| purpose.to_ne_bytes()));
        for string in self.arguments.iter().chain(self.variables) {
            bytes.extend_from_slice(string.as_bytes_with_nul());
        }
        let longest = self.arguments.len().max(self.variables.len());
        if bytes.len() > MAX_REQUEST || self.fds.len() > MAX_FDS || longest > MAX_STRINGS {
            return Err(Error::io(format!(
                "a spawn server takes {} KiB, {MAX_STRINGS} arguments and as many variables, and \
                 {MAX_FDS} descriptors for a command; Command::fresh takes more",
                MAX_REQUEST / 1024
            ))(Errno::TOOBIG));
        }
        Ok(bytes)
    }
}

/// The process that an answer is about.
fn started(answer: Answer, pidfd: Option<OwnedFd>) -> Result<Process, Error> {
    let pid = answer.pid.cast_signed();
    if let Some(failure) = NonZeroU32::new(answer.failure) {
        abandon(answer, pidfd);
        return Err(in_place::error(&Failure::from(failure), &Words::default()));
    }
    match pidfd {
        Some(pidfd) => Ok(Process { pid, pidfd }),
        None => {
            abandon(answer, None);
            Err(Error::io("cannot take the pidfd of a command")(Errno::MFILE))
        }
    }
}

/// Waits for an answer, or the end of the server. There is none where nobody has
/// the other end of the errors: who was to give it was killed.
fn wait(socket: &OwnedFd, errors: &OwnedFd) -> Result<(), io::Error> {
    loop {
        let mut watched =
            [PollFd::new(socket, PollFlags::IN), PollFd::new(errors, PollFlags::empty())];
        match poll(&mut watched, None) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) if !watched[0].revents().is_empty() => return Ok(()),
            // The answer may have come between the two.
            Ok(_) if is_readable(socket)? => return Ok(()),
            Ok(_) => return Err(io::Error::other("the launch was killed as it began")),
        }
    }
}

/// Whether there is something to receive, at this moment.
fn is_readable(socket: &OwnedFd) -> Result<bool, Errno> {
    let mut watched = [PollFd::new(socket, PollFlags::IN)];
    loop {
        match poll(&mut watched, Some(&Timespec::default())) {
            Err(Errno::INTR) => {}
            ready => return ready.map(|ready| ready > 0),
        }
    }
}

/// Ends a child that nobody has asked for. Without a descriptor of it its number is
/// its own until it is waited for.
fn abandon(answer: Answer, pidfd: Option<OwnedFd>) {
    let Some(pid) = Pid::from_raw(answer.pid.cast_signed()) else { return };
    // One that has ended is waited for all the same.
    let Some(pidfd) = pidfd else {
        let _ = kill_process(pid, Signal::KILL);
        while matches!(waitpid(Some(pid), WaitOptions::empty()), Err(Errno::INTR)) {}
        return;
    };
    let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    reap(&Process { pid: answer.pid.cast_signed(), pidfd });
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, send, socketpair};

    use super::*;

    #[test]
    fn an_answer_is_waited_for_until_nobody_is_there_to_give_it() {
        let kind = SocketType::SEQPACKET;
        let (socket, server) =
            socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).expect("a pair");
        let (errors, inside) = io::pipe().expect("a pipe");
        drop(inside);
        let errors = errors.into();
        let error = wait(&socket, &errors).expect_err("nobody answers");
        assert!(error.to_string().contains("killed"), "{error}");
        send(&server, &[1], SendFlags::empty()).expect("it is sent");
        wait(&socket, &errors).expect("it is there");
        drop(server);
        wait(&socket, &errors).expect("its end is an answer");
    }
}
