//! Puts a command into namespaces, Landlock and seccomp, as an encoded policy
//! says.
//!
//! The stages are the modules named like [`launcher_policy::Stage`], and they
//! run in its order. They allocate nothing, take no locks and do not unwind,
//! so they may run between fork and exec of any program.
#![no_std]

use core::convert::Infallible;
use core::ffi::CStr;
use core::num::NonZeroU32;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU16, AtomicU32, AtomicU64, Ordering};

pub use launcher_policy::enforce::Facility;
use launcher_policy::mounts::MAX_MOUNTS;
use launcher_policy::wire::Digest;
use launcher_policy::{Failure, Policy, Stage};
use rustix::fd::RawFd;

pub mod cgroup;
pub mod credentials;
mod errno;
pub mod exec;
pub mod fds;
pub mod gather;
pub mod guard;
pub mod hold;
pub mod input;
pub mod landlock;
pub mod limits;
pub mod listen;
pub mod mounts;
pub mod namespaces;
mod notify;
pub mod probe;
pub mod reaper;
pub mod receipt;
mod remedy;
pub mod report;
pub mod seccomp;
pub mod serve;
pub mod session;
pub mod sys;
pub mod text;
pub mod wait;

use sys::{CStrings, Slots, Stack};

/// What a launch is given besides the policy.
#[derive(Clone, Copy, Default)]
pub struct Options {
    /// Where the events of the launch are written as JSON lines.
    pub status: Option<RawFd>,
    /// Where a failure is written as a JSON line, instead of to standard error.
    pub errors: Option<RawFd>,
    /// A pidfd of the process whose death ends the command.
    pub caller: Option<RawFd>,
    /// A cgroup v2 directory in which the command gets one of its own.
    pub cgroup: Option<RawFd>,
    /// The Landlock ruleset of the policy, made by [`mounts::ruleset`] for
    /// launches without a mount namespace.
    pub ruleset: Option<RawFd>,
    /// A UNIX socket to the supervisor that decides about system calls.
    pub notify: Option<RawFd>,
    /// A UNIX socket to the proxy that the network leads to.
    pub listeners: Option<RawFd>,
    /// A pidfd of the process that holds the template: the user and mount
    /// namespaces of the policy, with its view.
    pub template: Option<RawFd>,
    /// The network namespace that is joined instead of making one.
    pub network: Option<RawFd>,
    /// What is made for many launches, instead of one.
    pub hold: Option<hold::Hold>,
    /// The socket over which launches are asked for, instead of one.
    pub serve: Option<RawFd>,
    /// The program that is run, instead of looking the command up.
    pub program: Option<RawFd>,
    /// The newest Landlock ABI that is used, of those the kernel has.
    pub landlock_abi: Option<u32>,
}

/// One launch. Children share this memory and see it as it is here.
pub struct Launch<'a> {
    /// What to do.
    pub policy: &'a Policy<'a>,
    /// What the policy is called in the receipt.
    pub digest: &'a Digest,
    /// The command as it was named.
    pub command: &'a CStr,
    /// The command's arguments, the first of them included.
    pub argv: CStrings<'a>,
    /// The command's environment, complete.
    pub envp: CStrings<'a>,
    /// What came by arguments.
    pub options: Options,
    /// Who is launching.
    pub caller: Caller,
    /// The Landlock ABI that is used; 0 where there is none.
    pub abi: u32,
    /// The errata of the kernel's Landlock that are fixed, bit n-1 for number
    /// n; 0 where nobody asks.
    pub errata: u32,
    /// What has to be asked before the mount namespace changes.
    pub carried: &'a mounts::Carried,
    /// The host's /proc, where the OOM score is set later, and by which the
    /// command's number outside is known.
    pub proc: Option<RawFd>,
    /// The terminal that the command takes over, if it does.
    pub terminal: session::Held,
    /// What the processes of this launch tell each other.
    pub shared: Shared,
    /// Where its children run.
    pub stacks: &'static Stacks,
    /// The clones of its mounts' sources, until they are attached.
    pub sources: &'static Slots<MAX_MOUNTS>,
}

/// The process that called the launcher, and as whom.
#[derive(Clone, Copy)]
pub struct Caller {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Parent process at entry; 0 where it lies outside the PID namespace.
    pub parent: i32,
}

/// What the processes of one launch tell each other through their memory.
/// Descriptors are numbers here, because each process has a table of its own
/// that begins as a copy; 0 is none.
#[derive(Default)]
pub struct Shared {
    /// What is noted for the receipt.
    notes: receipt::Notes,
    /// The [`Failure`] by which the namespaces could not be made, or are of no
    /// use, where other layers keep the policy's guarantees.
    without_namespaces: AtomicU32,
    /// Whether the waiter's first child is a PID 1 that may find its namespaces
    /// to be of no use, because other layers keep the policy's guarantees.
    settles: AtomicBool,
    /// Which `Facility` this host did not give: bit n is number n.
    missing: AtomicU32,
    /// Set by a child that failed, after it has said why.
    failed: AtomicBool,
    /// The [`Failure`] of a PID 1 that the command runs under, which has no
    /// descriptor left to say it on.
    untold: AtomicU32,
    /// Which item of a list of the policy is being applied, for a failure that
    /// is about one.
    item: AtomicU16,
    /// How the command ended, as PID 1 saw it: see `reaper`.
    ended: AtomicI32,
    /// When the wall time is over, in milliseconds; 0 is never.
    deadline: AtomicU64,
    /// The Landlock ruleset.
    ruleset: AtomicI32,
    /// A signalfd for every signal.
    signals: AtomicI32,
    /// A pidfd of the waiter.
    waiter: AtomicI32,
    /// A pidfd of the process whose death ends the command.
    caller: AtomicI32,
    /// PID 1's end of its channel to the waiter, and the waiter's.
    channel: [AtomicI32; 2],
    /// The listener of the filter, on its way to the supervisor.
    listener: notify::Handover,
    /// The cgroup of everything but the waiter and the guard.
    cgroup: cgroup::Group,
    /// What ends and removes that, if the waiter is killed.
    guard: guard::Guard,
}

impl Shared {
    /// What is noted already, and nothing else.
    pub fn new(notes: receipt::Notes) -> Self {
        Self { notes, ..Self::default() }
    }

    /// Whether this launch goes on without what namespaces keep.
    pub fn is_without_namespaces(&self) -> bool {
        self.refused_namespaces().is_some()
    }

    /// Whether a child has left its namespaces for another one to go on
    /// without.
    fn is_abandoned(&self) -> bool {
        self.is_without_namespaces() && !self.has_failed()
    }

    /// Why this launch goes on without namespaces, if it does.
    fn refused_namespaces(&self) -> Option<Failure> {
        NonZeroU32::new(self.without_namespaces.load(Ordering::Relaxed)).map(Failure::from)
    }

    /// Notes that something offered is not there.
    pub fn miss(&self, facility: Facility) {
        self.missing.fetch_or(1 << facility as u32, Ordering::Relaxed);
    }

    /// Whether something offered is not there.
    pub fn misses(&self, facility: Facility) -> bool {
        self.missing.load(Ordering::Relaxed) & 1 << facility as u32 != 0
    }

    /// Which item of a list is in hand.
    fn item(&self) -> usize {
        self.item.load(Ordering::Relaxed).into()
    }

    /// The items of a list, each noted while it is the one in hand.
    fn each<T>(&self, mut items: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        let mut next = 0;
        core::iter::from_fn(move || {
            self.item.store(next, Ordering::Relaxed);
            next += 1;
            items.next()
        })
    }

    /// What PID 1 could not say.
    pub fn untold(&self) -> Option<Failure> {
        NonZeroU32::new(self.untold.load(Ordering::Acquire)).map(Failure::from)
    }

    /// Whether a child failed before it became the command.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
}

/// The memory of children.
pub struct Stacks {
    /// Of the guard, where there is a cgroup.
    guard: Stack,
    /// Of PID 1 where it reaps.
    reaper: Stack,
    /// Of the command until it is executed.
    command: Stack,
    /// Of what hands the listener over.
    messenger: Stack,
}

impl Stacks {
    /// Stacks nobody has run on, all zeroes.
    pub const fn new() -> Self {
        Self {
            guard: Stack::new(),
            reaper: Stack::new(),
            command: Stack::new(),
            messenger: Stack::new(),
        }
    }
}

impl Default for Stacks {
    fn default() -> Self {
        Self::new()
    }
}

/// Every stage after `input`, in order. Returns only if one of them failed.
///
/// # Errors
///
/// The first call that failed, unless a child has reported it already.
pub fn launch(launch: &'static Launch<'static>) -> Result<Infallible, Failure> {
    namespaces::check(launch)?; // refusals that cost nothing come first
    namespaces::join::check(launch)?;
    if let Some(hold) = launch.options.hold {
        return hold::apply(launch, hold);
    }
    notify::check(launch)?;
    listen::check(launch)?;
    cgroup::make(launch, || guard::start(launch))?;
    // Whatever was started in it ends with its first failure.
    run(launch).inspect_err(|_| cgroup::end(launch))
}

/// Every stage after what is checked beforehand.
fn run(launch: &'static Launch<'static>) -> Result<Infallible, Failure> {
    limits::check(launch)?;
    if wait::is_needed(launch) {
        wait::run(launch)?; // comes back where nobody has to wait after all
    } else {
        namespaces::unshare(launch)?;
    }
    enter(launch)?;
    become_command(launch)
}

/// [`launch`] in a process that becomes the command and starts no other, where
/// [`wait::is_needed`] says no.
///
/// # Errors
///
/// The first call that failed.
pub fn launch_in_place(launch: &'static Launch<'static>) -> Result<Infallible, Failure> {
    namespaces::check(launch)?;
    notify::check(launch)?;
    listen::check(launch)?;
    limits::check(launch)?;
    namespaces::unshare(launch)?;
    enter(launch)?;
    become_command(launch)
}

/// The stages that shape what a whole tree of processes sees.
fn enter(launch: &'static Launch<'static>) -> Result<(), Failure> {
    stage(launch, Stage::Namespaces, namespaces::apply)?;
    mounts::make_private(launch)?;
    if wait::has_reaper(launch) && reaper::settles(launch) {
        reaper::settle(launch)?;
    }
    stage(launch, Stage::Mounts, mounts::apply)?;
    namespaces::miss_offers(launch);
    Ok(())
}

/// The stages that belong to the command's own process.
fn become_command(launch: &'static Launch<'static>) -> Result<Infallible, Failure> {
    stage(launch, Stage::Limits, limits::apply)?; // late, so that they do not starve our own set-up
    stage(launch, Stage::Session, session::apply)?; // before the filter, which may close setsid
    // no_new_privs, without which the next two are not allowed
    stage(launch, Stage::Credentials, credentials::apply)?;
    stage(launch, Stage::Landlock, landlock::apply)?; // after the mounts, which it forbids
    receipt::launched(launch); // before the filter, which may close what tells it
    limits::bind_files(launch)?; // the file that this was written to among them
    seccomp::apply(launch)?; // last, so that it need not allow any of the above
    exec::apply(launch)
}

/// One stage, noted for the receipt.
fn stage(
    launch: &'static Launch<'static>,
    stage: Stage,
    apply: fn(&'static Launch<'static>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    apply(launch)?;
    launch.shared.notes.is_over(stage);
    Ok(())
}

/// Ends a child that failed: says why, notes it for the parent, and exits.
fn fail(launch: &Launch<'static>, failure: &Failure) -> ! {
    report::failure(failure, &report::Words::of(launch));
    launch.shared.failed.store(true, Ordering::Release);
    sys::exit_group(report::exit_status(failure))
}
