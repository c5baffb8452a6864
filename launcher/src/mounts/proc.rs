//! `/proc`: fresh, and closed where it reaches the whole system.

use core::ffi::CStr;

use launcher_policy::enforce::Mode as Enforce;
use launcher_policy::mounts::Mount;
use launcher_policy::{Call, Failure, Refusal, Subject};
use linux_raw_sys::general as uapi;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, move_mount};

use super::{Attach, STAGE, Spent, make};
use crate::landlock::Ruleset;
use crate::report::failed;
use crate::text::Text;
use crate::{Facility, Launch, sys};

/// What of /proc reaches beyond the command's own processes, and is covered
/// read-only. Not all of it exists on every kernel.
const COVERED: [Subject; 7] = [
    Subject::ProcSys,
    Subject::ProcSysrqTrigger,
    Subject::ProcIrq,
    Subject::ProcBus,
    Subject::ProcFs,
    Subject::ProcAcpi,
    Subject::ProcPressure,
];

/// A file that must not open for writing: it names a program that the kernel
/// runs outside of every sandbox, core(5).
const CORE_PATTERN: &CStr = c"sys/kernel/core_pattern";

const READ_ONLY: u64 = uapi::MOUNT_ATTR_RDONLY as u64;

/// Mounts a fresh /proc, read-only where the caller is root: the entries of
/// /proc/sys compare user ids, not capabilities. Where the kernel refuses a
/// fresh one, what stands there stays covered.
pub(super) fn attach(
    launch: &Launch<'static>,
    place: &Attach,
    mount: &Mount<'static>,
    ruleset: Option<Ruleset>,
) -> Result<(), Failure> {
    // Each launch mounts its own over that of a template.
    let root = launch.caller.uid == 0 || launch.options.hold.is_some();
    let attributes = u64::from(mount.attributes) | if root { READ_ONLY } else { 0 };
    let (proc, whole) = match make::proc(attributes) {
        // Inside a sandbox whose /proc is read-only only such a one is given.
        Err(failure) if is_refusal(&failure) && !root => (make::proc(attributes | READ_ONLY), true),
        answer => (answer, root),
    };
    let proc = match proc {
        Ok(proc) => proc,
        Err(failure) if is_refusal(&failure) => return cover(launch, place, mount, &failure),
        Err(failure) => return Err(failure),
    };
    if let Some(ruleset) = ruleset {
        ruleset.allow(&proc, mount.access)?;
    }
    place.move_to(mount, &proc)?;
    if !whole {
        cover_entries(&proc)?;
    }
    verify(&proc)?;
    place.spent.let_go(proc);
    Ok(())
}

/// Whether the kernel withholds a file system here: a fresh /proc it gives
/// only where the caller can see a whole one, and never without a PID
/// namespace.
pub(super) fn is_refusal(failure: &Failure) -> bool {
    i32::from(failure.error()) == Errno::PERM.raw_os_error()
}

/// A missing facility: an empty directory covers what is there.
fn cover(
    launch: &Launch<'static>,
    place: &Attach,
    mount: &Mount<'static>,
    failure: &Failure,
) -> Result<(), Failure> {
    if launch.policy.enforce.namespaces == Enforce::Require {
        return Err(*failure);
    }
    launch.shared.miss(Facility::Proc);
    let attributes = u64::from(mount.attributes | uapi::MOUNT_ATTR_RDONLY);
    place.move_to(mount, &make::tmpfs(4096, 0o555, attributes, Spent::Left)?)
}

/// Binds each entry onto itself, read-only.
fn cover_entries(proc: &OwnedFd) -> Result<(), Failure> {
    for path in COVERED {
        let at = |failure: Failure| failure.about(path);
        let mut name = Text::<32>::new();
        let name = name.text(path.name().strip_prefix("/proc/").unwrap_or_default());
        let name = name.c_str().unwrap_or_default();
        let entry = match make::clone_tree(proc, name, READ_ONLY) {
            Ok(entry) => entry,
            Err(failure) if i32::from(failure.error()) == Errno::NOENT.raw_os_error() => continue,
            Err(failure) => return Err(at(failure)),
        };
        let entry = sys::until_exec(entry);
        move_mount(entry, c"", proc, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(failed(STAGE, Call::MoveMount))
            .map_err(at)?;
    }
    Ok(())
}

/// Tries to open what must not open.
fn verify(proc: &OwnedFd) -> Result<(), Failure> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let resolve = rustix::fs::ResolveFlags::empty();
    match openat2(proc, CORE_PATTERN, flags, Mode::empty(), resolve) {
        Err(Errno::ROFS | Errno::ACCESS | Errno::PERM | Errno::NOENT) => Ok(()),
        Ok(_) => Err(Failure::refused(STAGE, Call::Proc, Refusal::CorePattern)),
        Err(error) => Err(failed(STAGE, Call::Openat2)(error)),
    }
}
