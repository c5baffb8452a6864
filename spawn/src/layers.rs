//! The layers of a policy, each by itself: what a process can put on between
//! fork and exec, with the stages of the launcher.
//!
//! A PID namespace takes a process beside the command, and the view of the file
//! system a mount namespace that it is built in. Those are the launcher's; what
//! is here is the policy as on a host that gives neither. So Landlock grants
//! what the policy grants on the host's own files, and the filter closes what
//! the two would have kept.
#![allow(unsafe_code, reason = "a promise about what runs between fork and exec")]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use launcher::{Launch, cgroup, credentials, landlock, limits, namespaces, seccomp, sys};
use launcher_policy::credentials::Credentials;
use launcher_policy::enforce::{Keeper, Mode};
use launcher_policy::limits::{Cgroup, Limits};
use launcher_policy::namespaces::{IdMap, Init};
use launcher_policy::session::DieWithParent;
use launcher_policy::{Failure, Policy};
use linux_raw_sys::general as uapi;
use linux_raw_sys::prctl::PR_SET_NO_NEW_PRIVS;
use rustix::fs::{Mode as FileMode, OFlags, openat};
use rustix::io::Errno;

use crate::in_place::{self, Decoded};
use crate::layer::{Apply, Layer};
use crate::start::try_layer;

/// The namespaces that a process enters by itself, of those that are of use
/// without the others.
const ENTERED: u32 = uapi::CLONE_NEWUSER
    | uapi::CLONE_NEWNET
    | uapi::CLONE_NEWIPC
    | uapi::CLONE_NEWUTS
    | uapi::CLONE_NEWCGROUP;

/// Those that a policy has, in their order.
pub(crate) fn of(bytes: &[u8]) -> Vec<Box<dyn Layer>> {
    let layers = [namespaces(bytes), landlock(bytes), cgroup(bytes), filter(bytes)];
    layers.into_iter().flatten().collect()
}

fn namespaces(bytes: &[u8]) -> Option<Box<dyn Layer>> {
    let mut mode = Mode::Off;
    let alone = alone(bytes, |policy| {
        mode = policy.enforce.namespaces;
        // What is prepared is not gone without.
        policy.enforce.namespaces = Mode::Require;
        policy.mounts = None;
        policy.limits = Limits::default();
        if let Some(namespaces) = &mut policy.namespaces {
            namespaces.flags &= ENTERED;
            namespaces.init = Init::None;
        }
    })?;
    let wanted = policy(&alone).namespaces.is_some_and(|all| all.flags != 0);
    wanted.then(|| Box::new(Namespaces { alone, mode }) as Box<dyn Layer>)
}

fn landlock(bytes: &[u8]) -> Option<Box<dyn Layer>> {
    let alone = alone(bytes, |policy| policy.namespaces = None)?;
    policy(&alone).landlock.is_some().then(|| Box::new(Landlock(alone)) as Box<dyn Layer>)
}

fn cgroup(bytes: &[u8]) -> Option<Box<dyn Layer>> {
    let alone = alone(bytes, |policy| {
        policy.namespaces = None;
        let Limits { memory, processes, cgroup, .. } = policy.limits;
        policy.limits = Limits { memory, processes, cgroup, ..Limits::default() };
    })?;
    let (limits, mode) = (policy(&alone).limits, policy(&alone).enforce.limits);
    let wanted = limits.cgroup == Cgroup::Auto && mode != Mode::Off;
    wanted.then(|| Box::new(Group(alone)) as Box<dyn Layer>)
}

fn filter(bytes: &[u8]) -> Option<Box<dyn Layer>> {
    let alone = alone(bytes, |_| {})?;
    policy(&alone).seccomp.is_some().then(|| Box::new(Filter(alone)) as Box<dyn Layer>)
}

/// The policy for one layer: nothing waits beside its process.
fn alone(bytes: &[u8], change: impl FnOnce(&mut Policy<'_>)) -> Option<Arc<Decoded>> {
    let decoded = in_place::decode_as(bytes, |policy| {
        policy.session.die_with_parent = DieWithParent::Never;
        change(policy);
    });
    decoded.ok().map(Arc::new)
}

fn policy(alone: &Decoded) -> &Policy<'_> {
    alone.borrow_dependent()
}

/// What of the namespaces a process enters by itself: user, network, IPC, UTS,
/// cgroup. It gives up the capabilities that it has in them.
#[derive(Clone)]
struct Namespaces {
    alone: Arc<Decoded>,
    mode: Mode,
}

impl Layer for Namespaces {
    fn name(&self) -> &str {
        "namespaces"
    }

    fn available(&self) -> io::Result<()> {
        let policy = policy(&self.alone);
        let is_long = |map| matches!(map, IdMap::Ranges(_));
        if policy.namespaces.is_some_and(|all| is_long(all.uid_map) || is_long(all.gid_map)) {
            return Err(io::Error::other("id ranges are written by a process outside"));
        }
        // The kernel would mark the memory, which may be the program's.
        if policy.credentials != Credentials::default() {
            return Err(io::Error::other("only the launcher changes ids"));
        }
        try_layer(self)
    }

    fn prepare(&self) -> io::Result<Box<dyn Apply>> {
        let may_be_missing = self.mode == Mode::Prefer && lost(&self.alone)?.is_none();
        ready(self, may_be_missing, || Ok(Box::new(self.clone())))
    }
}

// SAFETY: the stages call nothing else, and the launch stands on the stack.
unsafe impl Apply for Namespaces {
    fn apply(&self) -> io::Result<()> {
        // SAFETY: it ends with this function, and `self` is still there.
        let launch = unsafe { in_place::bare(&self.alone, 0) };
        namespaces::unshare(&launch)
            .and_then(|()| namespaces::apply(&launch))
            .and_then(|()| credentials::apply(&launch))
            .map_err(number)
    }
}

/// The Landlock ruleset of a process without the policy's mounts.
struct Landlock(Arc<Decoded>);

impl Landlock {
    fn ruleset(&self) -> io::Result<Ruleset> {
        let abi = abi()?;
        if abi == 0 {
            return Err(io::Error::other("this kernel does not have Landlock, or not in use"));
        }
        if let Some(why) = lost(&self.0)? {
            return Err(io::Error::other(why));
        }
        let ruleset = in_place::ruleset(&self.0)?.ok_or_else(|| {
            io::Error::other("what is mounted from a descriptor is known at a launch only")
        })?;
        Ok(Ruleset { ruleset, abi, alone: Arc::clone(&self.0) })
    }
}

impl Layer for Landlock {
    fn name(&self) -> &str {
        "landlock"
    }

    fn available(&self) -> io::Result<()> {
        try_layer(&self.ruleset()?)
    }

    fn prepare(&self) -> io::Result<Box<dyn Apply>> {
        let mode = policy(&self.0).enforce.landlock;
        let may_be_missing = mode == Mode::Prefer && lost_under(&self.0, 0).is_none();
        ready(self, may_be_missing, || Ok(Box::new(self.ruleset()?)))
    }
}

/// A ruleset that is ready.
struct Ruleset {
    ruleset: OwnedFd,
    abi: u32,
    alone: Arc<Decoded>,
}

// SAFETY: two system calls.
unsafe impl Apply for Ruleset {
    fn apply(&self) -> io::Result<()> {
        let Some(landlock) = &policy(&self.alone).landlock else { return Ok(()) };
        sys::prctl(PR_SET_NO_NEW_PRIVS, 1)?;
        Ok(landlock::restrict(self.ruleset.as_fd(), landlock, self.abi)?)
    }
}

/// A cgroup below the one that is delegated to this user, with the policy's
/// limits of memory and processes, for all processes that the layer is put on.
/// It goes with what was prepared, and ends what is left in it.
struct Group(Arc<Decoded>);

impl Group {
    fn make(&self) -> io::Result<Made> {
        // SAFETY: the policy is kept beside it.
        let launch = unsafe { in_place::bare(&self.0, 0) };
        let group = Tree { launch, _policy: Arc::clone(&self.0) };
        // What guards it is this program, which ends it when it is dropped.
        cgroup::make(&group.launch, || Ok(()))
            .and_then(|()| limits::check(&group.launch))
            .map_err(|failure| in_place::failure(&failure, &group.launch))?;
        let directory = cgroup::of(&group.launch)
            .ok_or_else(|| io::Error::other("no cgroup is delegated to this user"))?;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let members = openat(directory, c"cgroup.procs", flags, FileMode::empty())?;
        Ok(Made { members, _group: group })
    }
}

impl Layer for Group {
    fn name(&self) -> &str {
        "cgroup"
    }

    fn available(&self) -> io::Result<()> {
        self.make().map(drop)
    }

    fn prepare(&self) -> io::Result<Box<dyn Apply>> {
        let may_be_missing = policy(&self.0).enforce.limits == Mode::Prefer;
        ready(self, may_be_missing, || Ok(Box::new(self.make()?)))
    }
}

/// A cgroup that is ready.
struct Made {
    members: OwnedFd,
    _group: Tree,
}

// SAFETY: one system call, which moves who makes it.
unsafe impl Apply for Made {
    fn apply(&self) -> io::Result<()> {
        rustix::io::write(&self.members, b"0").map(drop).map_err(Into::into)
    }
}

/// A cgroup, as long as this is there.
struct Tree {
    launch: Launch<'static>,
    _policy: Arc<Decoded>,
}

// SAFETY: of a launch of nothing, only numbers of descriptors are used.
unsafe impl Send for Tree {}

impl Drop for Tree {
    fn drop(&mut self) {
        cgroup::end(&self.launch);
        for directory in [cgroup::of(&self.launch), cgroup::parent(&self.launch)] {
            // SAFETY: it was opened for this launch, which is over.
            drop(directory.map(|directory| unsafe { in_place::owned(directory) }));
        }
    }
}

/// The filter of a process without the policy's namespaces.
#[derive(Clone)]
struct Filter(Arc<Decoded>);

impl Layer for Filter {
    fn name(&self) -> &str {
        "seccomp"
    }

    fn available(&self) -> io::Result<()> {
        if policy(&self.0).seccomp.is_some_and(|seccomp| seccomp.asks()) {
            return Err(io::Error::other("only the launcher hands a listener to a supervisor"));
        }
        try_layer(self)
    }

    fn prepare(&self) -> io::Result<Box<dyn Apply>> {
        // Nothing else denies what it denies.
        ready(self, false, || Ok(Box::new(self.clone())))
    }
}

// SAFETY: two system calls.
unsafe impl Apply for Filter {
    fn apply(&self) -> io::Result<()> {
        let Some(seccomp) = &policy(&self.0).seccomp else { return Ok(()) };
        sys::prctl(PR_SET_NO_NEW_PRIVS, 1)?;
        sys::seccomp_set_mode_filter(seccomp::filter(seccomp, true), seccomp.flags)?;
        Ok(())
    }
}

/// In the place of a layer that this host does not give and the policy can go
/// without.
struct Nothing;

// SAFETY: no system call.
unsafe impl Apply for Nothing {
    fn apply(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A layer that is there, or that may be missing.
fn ready(
    layer: &impl Layer,
    may_be_missing: bool,
    make: impl FnOnce() -> io::Result<Box<dyn Apply>>,
) -> io::Result<Box<dyn Apply>> {
    match layer.available() {
        Ok(()) => make(),
        Err(_) if may_be_missing => Ok(Box::new(Nothing)),
        Err(error) => Err(error),
    }
}

/// The kernel's Landlock ABI; 0 for none.
fn abi() -> io::Result<u32> {
    landlock::abi(None).map_err(number)
}

/// Why a process without the policy's namespaces does not keep its guarantees
/// on this kernel, if it does not.
fn lost(alone: &Decoded) -> io::Result<Option<String>> {
    Ok(lost_under(alone, abi()?))
}

fn lost_under(alone: &Decoded, abi: u32) -> Option<String> {
    let lost = policy(alone).enforce.lost(false, abi)?;
    let why = match lost.keeper(false) {
        Keeper::Nothing(why) => String::from_utf8_lossy(why.to_bytes()).into_owned(),
        Keeper::Landlock(needed) => {
            format!("it takes Landlock ABI {needed}, and this kernel has {abi}")
        }
        Keeper::Namespaces | Keeper::Seccomp => String::new(),
    };
    let name = lost.guarantee.name();
    Some(format!("without namespaces nothing keeps {name:?}: {why}; enforce.waive gives it up"))
}

/// The error number of a failure; a refusal has none of its own.
fn number(failure: Failure) -> io::Error {
    match failure.error() {
        0 => Errno::PERM.into(),
        number => io::Error::from_raw_os_error(number.into()),
    }
}
