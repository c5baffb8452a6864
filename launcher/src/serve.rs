//! The spawn server: starts one command after the other under one policy, as
//! they are asked for over a socket.
//!
//! The policy is read and checked once. A launch is a fork of the server, which
//! goes through the same stages as any other; it saves what it takes to start
//! the launcher's program. It is no child of the server but of the process that
//! has started it, so what it is told of its caller, and what its caller is told
//! by wait(2), is as without a server. Nothing of a request outlives it in the
//! server: descriptors are closed, and what is said is cleared.

use core::convert::Infallible;

use launcher_policy::mounts::Source;
use launcher_policy::session::DieWithParent;
use launcher_policy::wire::Digest;
use launcher_policy::{Call, Failure, Policy, Refusal, Stage};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{PidfdFlags, chdir, fchdir, getpid, pidfd_open};

use crate::gather::{self, Given};
use crate::receipt::Notes;
use crate::report::{self, Words, failed};
use crate::sys::{self, CStrings, SignalSet};
use crate::{Caller, Options, Stacks, fds, session};

pub mod request;

use request::{Answer, MAX_FDS, MAX_REQUEST, Request, Strings};

const STAGE: Stage = Stage::Input;

/// Room for a request, all zeroes.
#[repr(C)]
pub struct Room {
    bytes: [u8; MAX_REQUEST],
    strings: [Strings; 2],
}

impl Room {
    /// Room that nothing was received in.
    pub const fn new() -> Self {
        Self { bytes: [0; MAX_REQUEST], strings: [Strings::EMPTY; 2] }
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

/// What all launches of a server have in common.
pub struct Served {
    /// What to do.
    pub policy: &'static Policy<'static>,
    /// What the policy is called in the receipt.
    pub digest: &'static Digest,
    /// What else was asked for.
    pub options: Options,
    /// Who has started the server.
    pub caller: Caller,
    /// Where the children of a launch run.
    pub stacks: &'static Stacks,
}

impl Served {
    fn socket(&self) -> BorrowedFd<'static> {
        sys::inherited(self.options.serve.unwrap_or(-1))
    }
}

/// Serves until the other end of the socket is closed, or the process that has
/// started this one has ended.
///
/// # Errors
///
/// Why it cannot begin to.
pub fn apply(
    served: Served,
    room: &'static mut Room,
    memory: &'static mut gather::Memory,
) -> Result<Infallible, Failure> {
    // Their caller's thread is nobody's whom the kernel would tell them of.
    if served.policy.session.die_with_parent == DieWithParent::Thread {
        return Err(Failure::refused(STAGE, Call::Serve, Refusal::ServeThread));
    }
    let asks = served.policy.seccomp.is_some_and(|seccomp| seccomp.asks());
    // Each launch has them of its own.
    if asks || served.policy.proxy.is_some() {
        return Err(Failure::refused(STAGE, Call::Serve, Refusal::ServeOutside));
    }
    // What a terminal sends to a whole group is not for what others rest on. Each
    // launch lets in what a command gets.
    sys::set_signal_mask(SignalSet::ALL).map_err(failed(STAGE, Call::RtSigprocmask))?;
    // Commands start where they are told to.
    chdir(c"/").map_err(failed(STAGE, Call::Chdir))?;
    let mut own = Own::settle(&served)?;
    let Err(_) = serve(&served, &mut own, room, memory);
    // What that could be told on is closed, and its number may be another's.
    sys::exit_group(report::FAILED)
}

/// The descriptors of the server.
struct Own {
    /// A pidfd of who has started it.
    client: Option<BorrowedFd<'static>>,
    /// All of them, and the standard streams, which lead nowhere.
    kept: [RawFd; 12],
    /// The lowest number that nothing is handed over under.
    beyond: RawFd,
}

impl Own {
    /// Closes everything else.
    fn settle(served: &Served) -> Result<Self, Failure> {
        let beyond = numbers(served.policy).fold(2, RawFd::max) + 1;
        let client = session::open_parent(STAGE, served.caller)?;
        let client = client.map(|client| duplicate(client, beyond)).transpose()?;
        let Options { caller, cgroup, ruleset, notify, template, network, program, serve, .. } =
            served.options;
        let given = [caller, cgroup, ruleset, notify, template, network, program, serve];
        let [a, b, c, d, e, f, g, h] = given.map(|fd| fd.unwrap_or(-1));
        let client_fd = client.map_or(-1, |client| client.as_raw_fd());
        // Before that is closed which a failure is told on.
        fds::streams_to_null()?;
        let mut own = Self { client, kept: [0, 1, 2, client_fd, a, b, c, d, e, f, g, h], beyond };
        own.close_others()?;
        Ok(own)
    }

    fn close_others(&mut self) -> Result<(), Failure> {
        fds::keep_only(&mut self.kept)
    }

    /// Moves what was received away from the numbers of a command.
    fn clear(&self, received: &mut [RawFd]) -> Result<(), Failure> {
        for fd in received.iter_mut().filter(|fd| **fd < self.beyond) {
            let number = fd.unsigned_abs();
            *fd = duplicate(sys::inherited(*fd), self.beyond)?.as_raw_fd();
            sys::close_range(number, number, 0).map_err(failed(STAGE, Call::CloseRange))?;
        }
        Ok(())
    }

    /// Whether this policy has a use for a descriptor under this number.
    fn gives(&self, policy: &Policy<'_>, number: RawFd) -> bool {
        let is_standard = (0..3).contains(&number);
        is_standard || numbers(policy).any(|fd| fd == number) && !self.kept.contains(&number)
    }
}

/// The numbers that a policy passes descriptors on under, or mounts them.
fn numbers(policy: &Policy<'_>) -> impl Iterator<Item = RawFd> {
    let kept = policy.fds.keep.iter().map(|keep| keep.fd as RawFd);
    let mounts = policy.mounts.iter().flat_map(|mounts| mounts.mounts.iter());
    kept.chain(mounts.filter_map(|mount| match mount.source {
        Source::Fd { fd } => Some(fd as RawFd),
        _ => None,
    }))
}

/// The same on a number that is not below this one.
fn duplicate(fd: BorrowedFd<'_>, lowest: RawFd) -> Result<BorrowedFd<'static>, Failure> {
    fcntl_dupfd_cloexec(fd, lowest).map(sys::until_exec).map_err(failed(STAGE, Call::Fcntl))
}

fn serve(
    served: &Served,
    own: &mut Own,
    room: &'static mut Room,
    memory: &'static mut gather::Memory,
) -> Result<Infallible, Failure> {
    let socket = served.socket();
    loop {
        if is_over(socket, own.client)? {
            sys::exit_group(0);
        }
        let mut fds = [-1; MAX_FDS];
        let received = match sys::receive_with(socket, &mut room.bytes, &mut fds) {
            Ok(received) => received,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(failed(STAGE, Call::Recv)(error)),
        };
        if received.bytes == 0 {
            sys::exit_group(0);
        }
        let bytes = room.bytes.get(..received.bytes).unwrap_or_default();
        let number = Request::number(bytes);
        let fds = fds.get_mut(..received.fds).unwrap_or_default();
        let begun = begin(served, own, bytes, fds, received.is_whole);
        if let Ok(Some(request)) = &begun {
            launch(served, request, received.bytes, fds, room, memory);
        }
        if let Err(failure) = begun {
            // One who is gone is seen at the next turn.
            let _ = answer(socket, number, 0, Err(failure));
        }
        // Whoever finds that nobody has these descriptors any more has an answer, or gets none.
        own.close_others()?;
        room.bytes.get_mut(..received.bytes).unwrap_or_default().fill(0);
    }
}

/// Waits for a request. Whether nobody is there to ask.
fn is_over(socket: BorrowedFd<'_>, client: Option<BorrowedFd<'_>>) -> Result<bool, Failure> {
    let mut watched = [
        PollFd::from_borrowed_fd(socket, PollFlags::IN),
        PollFd::from_borrowed_fd(client.unwrap_or(socket), PollFlags::IN),
    ];
    match poll(&mut watched, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(failed(STAGE, Call::Poll)(error)),
    }
    let [_, ended] = watched;
    Ok(client.is_some() && !ended.revents().is_empty())
}

/// Reads a request, and forks. The request where this is the launch.
fn begin(
    served: &Served,
    own: &Own,
    bytes: &[u8],
    fds: &mut [RawFd],
    is_whole: bool,
) -> Result<Option<Request>, Failure> {
    let refused = |why| Failure::refused(STAGE, Call::Request, why);
    if !is_whole {
        return Err(refused(Refusal::RequestSize));
    }
    let gives = |number| own.gives(served.policy, number);
    let request = Request::read(bytes, fds.len(), gives).map_err(refused)?;
    own.clear(fds)?;
    let is_launch = sys::fork_sibling().map_err(failed(STAGE, Call::Clone))?;
    Ok(is_launch.then_some(request))
}

/// Answers; with a descriptor, where there is no failure.
fn answer(
    socket: BorrowedFd<'_>,
    number: u32,
    pid: u32,
    outcome: Result<BorrowedFd<'_>, Failure>,
) -> Result<(), Failure> {
    let failure = outcome.err().map_or(0, |failure| failure.number().get());
    let bytes = Answer { number, pid, failure }.bytes();
    sys::send_with(socket, &bytes, outcome.ok().as_slice())
        .map(drop)
        .map_err(failed(STAGE, Call::Send))
}

/// A launch, from its first instruction on.
fn launch(
    served: &Served,
    request: &Request,
    length: usize,
    fds: &[RawFd],
    room: &'static mut Room,
    memory: &'static mut gather::Memory,
) -> ! {
    let Room { bytes, strings } = room;
    let strings = request.strings(bytes.get(..length).unwrap_or_default(), strings);
    let mut words = Words::default();
    let Err(failure) = run(served, request, fds, strings, memory, &mut words);
    report::failure(&failure, &words);
    sys::exit_group(report::exit_status(&failure))
}

/// Every stage.
fn run(
    served: &Served,
    request: &Request,
    fds: &[RawFd],
    [argv, envp]: [CStrings<'static>; 2],
    memory: &'static mut gather::Memory,
    words: &mut Words<'static>,
) -> Result<Infallible, Failure> {
    introduce(served, request)?;
    let mut options = Options { serve: None, status: None, errors: None, ..served.options };
    let placed = place(request, fds, &mut options);
    words.status = options.status;
    words.errors = options.errors;
    words.command = argv.first();
    placed?;
    let notes = Notes::begin(options.status);
    notes.is_over(Stage::Input);
    let Served { policy, digest, caller, stacks, .. } = *served;
    let command = argv.first().unwrap_or_default();
    let given = Given { policy, digest, command, argv, envp, options, caller, notes, stacks };
    gather::launch(given, memory, words)
}

/// Tells who is there. Not the server does, because that may end in between, and
/// nobody would know of this process.
fn introduce(served: &Served, request: &Request) -> Result<(), Failure> {
    let own = getpid();
    let pid = own.as_raw_nonzero().get().unsigned_abs();
    let pidfd = pidfd_open(own, PidfdFlags::empty()).map_err(failed(STAGE, Call::PidfdOpen));
    let outcome = pidfd.as_ref().map(AsFd::as_fd).map_err(|failure| *failure);
    let told = answer(served.socket(), request.head.number, pid, outcome);
    if let Err(failure) = told {
        // More descriptors may be on their way than their user may have, where words are none.
        let _ = answer(served.socket(), request.head.number, pid, Err(failure));
        return Err(failure);
    }
    // Closed: its number may be one that the policy passes on.
    pidfd.map(drop)
}

/// Puts every descriptor where it is meant to be; first those on which a failure
/// is told.
fn place(request: &Request, fds: &[RawFd], options: &mut Options) -> Result<(), Failure> {
    let purposes = || fds.iter().copied().zip(request.purposes().iter().copied());
    for (fd, purpose) in purposes() {
        match purpose {
            request::ERRORS => options.errors = Some(fd),
            request::STATUS => options.status = Some(fd),
            request::NETWORK => options.network = Some(fd),
            request::CGROUP => options.cgroup = Some(fd),
            _ => {}
        }
    }
    for (fd, purpose) in purposes() {
        let fd = sys::inherited(fd);
        match purpose {
            request::DIRECTORY => fchdir(fd).map_err(failed(STAGE, Call::Fchdir))?,
            0.. => sys::dup_onto(fd, purpose).map_err(failed(STAGE, Call::Dup3))?,
            _ => {}
        }
    }
    Ok(())
}
