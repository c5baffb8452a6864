//! What is done on behalf of a thread by and by, while others are decided about.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::io::{Errno, Result};

use crate::Answer;
use crate::confined::Confined;
use crate::memory::Memory;
use crate::running::{Effect, Outcome, Running};
use crate::socket::{Progress, Sending, Socket};

/// How many may wait at once.
const MAX: usize = 64;

/// A call that is being made.
pub(crate) struct Waiting {
    pub(crate) id: u64,
    pub(crate) socket: Socket,
    pub(crate) deadline: Option<Instant>,
    pub(crate) work: Work,
}

/// What it is.
pub(crate) enum Work {
    Connect(SocketAddr),
    Send(Sending),
    /// One of many messages; where the call says how much of it was sent.
    SendOne(Sending, Memory, u64),
}

impl Work {
    /// Does what can be done now.
    pub(crate) fn go_on(&mut self, socket: &Socket, confined: &Confined) -> Result<Progress> {
        match self {
            Self::Connect(to) => socket.connect(*to, confined),
            Self::Send(sending) => sending.go_on(socket, confined),
            Self::SendOne(sending, memory, place) => {
                let progress = sending.go_on(socket, confined)?;
                Ok(match progress {
                    Progress::Done(sent) => Progress::Done(report(sent, memory, *place)?),
                    Progress::Waits => Progress::Waits,
                })
            }
        }
    }

    /// How many bytes were sent.
    pub(crate) fn sent(&self) -> u64 {
        match self {
            Self::Connect(_) => 0,
            Self::Send(sending) | Self::SendOne(sending, ..) => sending.sent(),
        }
    }

    /// What becomes of it where too many wait. What was sent is told, or it would
    /// be sent again.
    fn refuse(&self) -> Outcome {
        if self.sent() == 0 {
            return Err(Errno::NOBUFS);
        }
        self.give_up().map(Effect::Return)
    }

    /// What becomes of it when it may wait no longer.
    fn give_up(&self) -> Result<i64> {
        match self {
            Self::Connect(_) => Err(Errno::INPROGRESS),
            Self::Send(sending) => sending.give_up(),
            Self::SendOne(sending, memory, place) => report(sending.give_up()?, memory, *place),
        }
    }
}

/// Says how much was sent of one message of many; how many messages that are.
fn report(sent: i64, memory: &Memory, place: u64) -> Result<i64> {
    memory.write(&(sent as u32).to_ne_bytes(), place)?;
    Ok(1)
}

impl Running {
    /// Has something wait until its socket can be written.
    pub(crate) fn wait_for(&mut self, waiting: Waiting) -> Outcome {
        if self.waiting.len() >= MAX {
            // A signal may have taken some of them away.
            let listener = &self.listener;
            self.waiting.retain(|each| listener.is_waiting(each.id));
        }
        if self.waiting.len() >= MAX {
            return waiting.work.refuse();
        }
        self.waiting.push(waiting);
        Ok(Effect::Answered)
    }

    /// Goes on with what waits, if something has happened: to its socket, or to
    /// who waits for it.
    pub(crate) fn go_on(&mut self, mut waiting: Waiting, ready: &[PollFlags]) -> io::Result<()> {
        let [socket, thread] = *ready else { return Err(Errno::INVAL.into()) };
        if !thread.is_empty() {
            return Ok(());
        }
        let is_late = waiting.deadline.is_some_and(|deadline| deadline <= Instant::now());
        if socket.is_empty() && !is_late {
            self.waiting.push(waiting);
            return Ok(());
        }
        if !self.listener.is_waiting(waiting.id) {
            return Ok(());
        }
        let progress =
            self.confined().and_then(|confined| waiting.work.go_on(&waiting.socket, confined));
        let done = match progress {
            Ok(Progress::Waits) if is_late => waiting.work.give_up(),
            Ok(Progress::Waits) => {
                self.waiting.push(waiting);
                return Ok(());
            }
            Ok(Progress::Done(value)) => Ok(value),
            Err(error) => Err(error),
        };
        let answer = done.map_or_else(Answer::Fail, Answer::Return);
        self.listener.answer(waiting.id, answer).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;
    use crate::target::{Ids, Target};

    #[test]
    fn what_was_sent_is_told_where_too_many_wait() {
        use std::os::fd::AsRawFd;

        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        let own = Target::of(rustix::thread::gettid()).expect("it is this thread");
        let ids = Ids::of_this_thread().expect("it is read");
        let confined = Confined::start(ids, None, Duration::from_secs(60)).expect("it starts");
        let socket = Socket::take(&own, ours.as_raw_fd() as u64).expect("it is taken");
        // More than two ends have room for.
        let sending = Sending::new(&socket, None, vec![0; 8 << 20], 0).expect("it may be sent");
        let mut work = Work::Send(sending);
        assert!(matches!(work.refuse(), Err(Errno::NOBUFS)));
        assert!(matches!(work.go_on(&socket, &confined), Ok(Progress::Waits)));
        let Ok(Effect::Return(told)) = work.refuse() else { panic!("it was sent in part") };
        assert!(told > 0 && told as u64 == work.sent());
    }
}
