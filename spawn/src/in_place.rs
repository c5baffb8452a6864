//! Launches without the launcher's program: the child of a vfork goes through
//! the stages itself and becomes the command.
//!
//! That takes a policy under which nothing has to wait beside the command. The
//! stages run in memory that is lent to the child, which neither allocates nor
//! takes a lock; the thread that lends it stands still until the child has
//! called exec or ended.
#![allow(unsafe_code, reason = "memory that is lent to a child")]

use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::mem;
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use launcher::gather::{Given, Memory, gather};
use launcher::mounts::Carried;
use launcher::receipt::Notes;
use launcher::report::{Quoting, Words, describe};
use launcher::session::{self, Held};
use launcher::sys::{CStrings, Slots};
use launcher::{Caller, Launch, Options, Shared, Stacks, wait};
use launcher_policy::limits::Cgroup;
use launcher_policy::mounts::{MAX_MOUNTS, Source};
use launcher_policy::namespaces::Namespaces;
use launcher_policy::session::{DieWithParent, Terminal};
use launcher_policy::wire::{self, DecodeError, Digest};
use launcher_policy::{Failure, Policy};
use linux_raw_sys::general::{CLONE_NEWNS, CLONE_NEWPID};
use policy_encoder::receipt::Event;
use rustix::process::{getegid, geteuid};

use crate::Error;

self_cell::self_cell! {
    /// A policy beside the bytes that it was decoded from.
    pub(crate) struct Decoded {
        owner: Vec<u8>,
        #[covariant]
        dependent: Policy,
    }
}

impl std::fmt::Debug for Decoded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoded").finish_non_exhaustive()
    }
}

/// The policy, if commands may run under it without a process beside them, as
/// far as that can be told before the launch.
pub(crate) fn decode(bytes: &[u8]) -> Option<Decoded> {
    let decoded = Decoded::try_new(bytes.to_vec(), |bytes| wire::decode(bytes)).ok()?;
    let policy = decoded.borrow_dependent();
    let has_pids = |namespaces: &Namespaces<'_>| namespaces.flags & CLONE_NEWPID != 0;
    let takes_child = policy.namespaces.as_ref().is_some_and(has_pids)
        || policy.limits.wall_time.is_some()
        || policy.limits.cgroup == Cgroup::Auto
        // The launcher is what hands the sockets over.
        || policy.proxy.is_some()
        || policy.session.die_with_parent == DieWithParent::Process
        || policy.session.terminal == Terminal::Keep
        // The kernel marks the memory of who changes ids, and it is not the
        // child's own.
        || policy.credentials.uid.is_some()
        || policy.credentials.gid.is_some();
    (!takes_child).then_some(decoded)
}

/// The policy with something changed, for a stage by itself.
pub(crate) fn decode_as(
    bytes: &[u8],
    change: impl FnOnce(&mut Policy<'_>),
) -> Result<Decoded, DecodeError> {
    Decoded::try_new(bytes.to_vec(), |bytes| {
        let mut policy = wire::decode(bytes)?;
        change(&mut policy);
        Ok(policy)
    })
}

/// A launch of nothing, for stages by themselves.
///
/// # Safety
///
/// The policy outlives it.
pub(crate) unsafe fn bare(decoded: &Decoded, abi: u32) -> Launch<'static> {
    // SAFETY: as the caller promises.
    let (policy, digest) = unsafe {
        mem::transmute::<(&Policy<'_>, &Digest), (&'static Policy<'static>, &'static Digest)>((
            decoded.borrow_dependent(),
            wire::digest(decoded.borrow_owner()),
        ))
    };
    // SAFETY: an array of which the last pointer, its only one, is null.
    let nothing = unsafe { CStrings::new((&raw const NULL).cast()) };
    Launch {
        policy,
        digest,
        command: c"",
        argv: nothing,
        envp: nothing,
        options: Options::default(),
        caller: Caller { uid: geteuid().as_raw(), gid: getegid().as_raw(), parent: 1 },
        abi,
        errata: 0,
        carried: &CARRIED,
        proc: None,
        terminal: Held::None,
        shared: Shared::default(),
        stacks: &STACKS,
        sources: &NO_SOURCES,
    }
}

/// Makes the policy's Landlock ruleset, where no mount has a part in it.
///
/// # Errors
///
/// Why it cannot be made, as a launch would say it.
pub(crate) fn ruleset(decoded: &Decoded) -> Result<Option<OwnedFd>, Error> {
    let policy = decoded.borrow_dependent();
    let has_mounts = policy.namespaces.is_some_and(|all| all.flags & CLONE_NEWNS != 0);
    let mut mounts = policy.mounts.iter().flat_map(|mounts| mounts.mounts.iter());
    // What is handed over differs from launch to launch.
    let has_fds = mounts.any(|mount| matches!(mount.source, Source::Fd { .. }));
    if has_mounts || has_fds || policy.landlock.is_none() {
        return Ok(None);
    }
    let words = Words { policy: Some(policy), ..Words::default() };
    let abi = launcher::landlock::abi(None).map_err(|failure| error(&failure, &words))?;
    // SAFETY: `launch` and what is made of it end before this function does,
    // and the policy outlives them.
    let launch = unsafe { bare(decoded, abi) };
    let ruleset = launcher::mounts::ruleset(&launch);
    let ruleset = ruleset.map_err(|failed| failure(&failed, &launch))?;
    // SAFETY: it was opened for this launch, which has left it open.
    let own = |fd| unsafe { owned(fd) };
    Ok(ruleset.map(own))
}

/// A stage's failure in words.
pub(crate) fn failure(failure: &Failure, launch: &Launch<'_>) -> Error {
    error(failure, &Words::of(launch))
}

/// A descriptor that a stage has left open.
///
/// # Safety
///
/// Nobody else closes it.
pub(crate) unsafe fn owned(fd: BorrowedFd<'_>) -> OwnedFd {
    // SAFETY: as the caller promises.
    unsafe { OwnedFd::from_raw_fd(fd.as_raw_fd()) }
}

/// A launch in place.
pub(crate) struct InPlace<'a> {
    policy: &'a Policy<'a>,
    digest: &'a Digest,
    ruleset: Option<RawFd>,
    command: &'a CStr,
    status: Option<RawFd>,
    room: Box<Room>,
    /// What the child has gathered.
    launch: AtomicPtr<Launch<'static>>,
    /// The [`Failure`] that ended it, or [`NEEDS_WAITER`].
    outcome: AtomicU32,
}

/// An outcome that is no failure: those are odd.
const NEEDS_WAITER: u32 = 2;

/// How a launch in place went.
pub(crate) enum Outcome {
    /// The command runs.
    Running,
    /// Something has to wait beside the command.
    NeedsWaiter,
    /// Why nothing runs.
    Failed(Error),
}

/// Memory for one launch at a time.
struct Room(UnsafeCell<Memory>);

// SAFETY: only the child that a room is lent to touches what is in it.
unsafe impl Sync for Room {}

// SAFETY: what is left in it points nowhere that anybody looks.
unsafe impl Send for Room {}

/// Rooms that were used before; the pages of a new one have to be made.
static ROOMS: Mutex<Vec<Box<Room>>> = Mutex::new(Vec::new());

/// How many rooms are kept, of which a launch touches some 20 KiB each.
const MAX_ROOMS: usize = 64;

/// Where no string is.
static NULL: AtomicPtr<std::ffi::c_char> = AtomicPtr::new(std::ptr::null_mut());

/// Where no child runs.
static STACKS: Stacks = Stacks::new();

/// What is asked of nobody who mounts nothing.
static CARRIED: Carried = Carried::NOTHING;

/// What no mount is made of.
static NO_SOURCES: Slots<MAX_MOUNTS> = Slots::new();

impl<'a> InPlace<'a> {
    pub(crate) fn new(
        decoded: &'a Decoded,
        ruleset: Option<RawFd>,
        command: &'a CStr,
        status: Option<RawFd>,
    ) -> Self {
        let kept = ROOMS.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Self {
            policy: decoded.borrow_dependent(),
            digest: wire::digest(decoded.borrow_owner()),
            ruleset,
            command,
            status,
            room: kept.unwrap_or_else(|| Box::new(Room(UnsafeCell::new(Memory::new())))),
            launch: AtomicPtr::default(),
            outcome: AtomicU32::new(0),
        }
    }

    /// The child's part: every stage, then the command.
    pub(crate) fn enter(&self, argv: CStrings<'_>, envp: CStrings<'_>) -> ! {
        let failure = match self.launch(argv, envp) {
            Ok(never) => match never {},
            Err(failure) => failure,
        };
        if self.outcome.load(Ordering::Relaxed) == 0 {
            self.outcome.store(failure.number().get(), Ordering::Relaxed);
        }
        launcher::sys::exit_group(launcher::report::exit_status(&failure))
    }

    fn launch(
        &self,
        argv: CStrings<'_>,
        envp: CStrings<'_>,
    ) -> Result<std::convert::Infallible, Failure> {
        let (status, ruleset) = (self.status, self.ruleset);
        let options = Options { status, ruleset, ..Options::default() };
        let caller =
            Caller { uid: geteuid().as_raw(), gid: getegid().as_raw(), parent: session::parent() };
        // SAFETY: to the child that runs this, the lender's frames live for
        // ever: they stay as they are until it has called exec or ended.
        let (policy, digest, command) = unsafe {
            mem::transmute::<
                (&Policy<'_>, &Digest, &CStr),
                (&'static Policy<'static>, &'static Digest, &'static CStr),
            >((self.policy, self.digest, self.command))
        };
        // SAFETY: as above.
        let (argv, envp) = unsafe {
            mem::transmute::<(CStrings<'_>, CStrings<'_>), (CStrings<'static>, CStrings<'static>)>(
                (argv, envp),
            )
        };
        let given = Given {
            policy,
            digest,
            command,
            argv,
            envp,
            options,
            caller,
            notes: Notes::begin(self.status),
            stacks: &STACKS,
        };
        // SAFETY: the room is this launch's alone, and nothing else in it was
        // ever borrowed by a child that still runs there.
        let memory: &'static mut Memory = unsafe { &mut *self.room.0.get() };
        let launch = gather(given, memory)?;
        self.launch.store(std::ptr::from_ref(launch).cast_mut(), Ordering::Relaxed);
        if wait::is_needed(launch) {
            self.outcome.store(NEEDS_WAITER, Ordering::Relaxed);
            launcher::sys::exit_group(launcher::report::FAILED);
        }
        launcher::launch_in_place(launch)
    }

    /// The lender's part, when the child has called exec or ended.
    pub(crate) fn finish(self) -> Outcome {
        match NonZeroU32::new(self.outcome.load(Ordering::Relaxed)) {
            None => {
                let mut rooms = ROOMS.lock().unwrap_or_else(PoisonError::into_inner);
                if rooms.len() < MAX_ROOMS {
                    rooms.push(self.room);
                }
                Outcome::Running
            }
            Some(outcome) if outcome.get() == NEEDS_WAITER => Outcome::NeedsWaiter,
            Some(number) => Outcome::Failed(self.error(&Failure::from(number))),
        }
    }

    /// A failure in the words of the launcher.
    fn error(&self, failure: &Failure) -> Error {
        let launch = self.launch.load(Ordering::Relaxed);
        // SAFETY: null, or what the child has gathered in the room, where
        // nobody has touched it since.
        let launch = unsafe { launch.as_ref() };
        let mut words = launch.map_or_else(Words::default, Words::of);
        words.policy = Some(self.policy);
        words.command = Some(self.command);
        error(failure, &words)
    }
}

/// A failure in the launcher's words.
pub(crate) fn error(failure: &Failure, words: &Words<'_>) -> Error {
    let mut memory = Quoting::new();
    match serde_json::from_slice(describe(failure, words, &mut memory)) {
        Ok(Event::Failure(failure)) => Error::launch(failure),
        _ => Error::io("the launch failed")(std::io::Error::other(failure.call().name())),
    }
}
