//! `--probe-host`: what this host gives to its caller, in JSON.
//!
//! Everything is tried and nothing is concluded: `null` is a success, a word
//! the error that came instead. What changes a process is tried in a child,
//! which ends with it.

use core::sync::atomic::{AtomicU16, Ordering};

use launcher_policy::{Failure, words};
use linux_raw_sys::general as uapi;
use linux_raw_sys::landlock::LANDLOCK_ACCESS_FS_EXECUTE;
use linux_raw_sys::prctl;
use linux_raw_sys::ptrace::{SECCOMP_FILTER_FLAG_NEW_LISTENER, SECCOMP_RET_ALLOW};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::getpid;
use rustix::system::uname;

use crate::mounts::{Spent, make};
use crate::report::Line;
use crate::sys::{self, QUESTIONS};
use crate::text::Text;
use crate::{Caller, Stacks, namespaces};

words! {
    /// What is tried.
    pub enum Fact {
        // The namespaces of `FLAGS`, each with a user namespace around it.
        NewUser "newuser"
        NewNs "newns"
        NewPid "newpid"
        NewNet "newnet"
        NewIpc "newipc"
        NewUts "newuts"
        NewCgroup "newcgroup"
        NewTime "newtime"
        Together "together"
        /// What a privileged caller makes instead.
        WithoutUser "without_user"
        // What a child does in them.
        /// Mapping its own ids.
        Maps "maps"
        /// Making the mounts private.
        Private "private"
        Tmpfs "tmpfs"
        Proc "proc"
        Devpts "devpts"
        Overlay "overlay"
        /// Bringing it up in a network namespace.
        Loopback "loopback"
        // What a child puts on.
        Landlock "landlock"
        Filter "filter"
        Listener "listener"
        // The system calls of `QUESTIONS`.
        Clone3 "clone3"
        Openat2 "openat2"
        OpenTree "open_tree"
        MountSetattr "mount_setattr"
        /// A memfd that never becomes executable.
        NoexecSeal "noexec_seal"
        /// Waiting for a listener, interrupted by fatal signals only.
        WaitKillable "wait_killable"
        KillProcess "kill_process"
    }
}

/// What a policy asks for that says nothing of namespaces, but for the user
/// namespace.
const WITHOUT_USER: u32 = uapi::CLONE_NEWNS
    | uapi::CLONE_NEWPID
    | uapi::CLONE_NEWNET
    | uapi::CLONE_NEWIPC
    | uapi::CLONE_NEWUTS
    | uapi::CLONE_NEWCGROUP;

/// `CLONE_NEW*` of the first facts.
const FLAGS: [u32; Fact::Maps as usize] = [
    uapi::CLONE_NEWUSER,
    uapi::CLONE_NEWUSER | uapi::CLONE_NEWNS,
    uapi::CLONE_NEWUSER | uapi::CLONE_NEWPID,
    uapi::CLONE_NEWUSER | uapi::CLONE_NEWNET,
    uapi::CLONE_NEWUSER | uapi::CLONE_NEWIPC,
    uapi::CLONE_NEWUSER | uapi::CLONE_NEWUTS,
    uapi::CLONE_NEWUSER | uapi::CLONE_NEWCGROUP,
    uapi::CLONE_NEWUSER | uapi::CLONE_NEWTIME,
    uapi::CLONE_NEWUSER | WITHOUT_USER,
    WITHOUT_USER,
];

const _: () = assert!(Fact::ALL.len() - Fact::Clone3 as usize == QUESTIONS.len());

/// A seccomp filter of one instruction, `BPF_RET`, that allows everything.
const ALLOW: [u8; 8] = {
    let [low, high] = 6_u16.to_ne_bytes();
    let [a, b, c, d] = SECCOMP_RET_ALLOW.to_ne_bytes();
    [low, high, 0, 0, a, b, c, d]
};

/// The caller, and what has been tried for it.
pub struct Host {
    caller: Caller,
    /// 0 for what was not tried, 1 for a success, else the error and 1.
    facts: [AtomicU16; Fact::ALL.len()],
}

impl Host {
    /// Before anything was tried.
    pub fn new(caller: Caller) -> Self {
        Self { caller, facts: [const { AtomicU16::new(0) }; Fact::ALL.len()] }
    }

    #[inline(never)]
    fn note(&self, fact: usize, error: u16) {
        if let Some(place) = self.facts.get(fact) {
            place.store(error + 1, Ordering::Relaxed);
        }
    }

    /// Tries everything and writes it to standard output. The children run on
    /// a stack of `stacks`.
    ///
    /// # Errors
    ///
    /// write(2)
    // Its line is long, and no launch should have it on its stack.
    #[inline(never)]
    pub fn probe(&'static self, stacks: &'static Stacks) -> Result<usize, Errno> {
        let run = |flags: u32, main| error(sys::run(flags.into(), &stacks.command, main, self));
        for (place, &flags) in FLAGS.iter().enumerate() {
            self.note(place, run(flags, end));
        }
        run(uapi::CLONE_NEWUSER | uapi::CLONE_NEWNS | uapi::CLONE_NEWPID, try_mounts);
        run(0, try_layers);
        for (place, question) in QUESTIONS.iter().enumerate() {
            self.note(Fact::Clone3 as usize + place, error(sys::ask(question)));
        }
        let kernel = uname();
        let mut memory = Text::<4096>::new();
        let mut line = Line::new(&mut memory);
        line.text("{")
            .count("version", 1)
            .string("kernel", Some(kernel.release().to_bytes()))
            .string("machine", Some(kernel.machine().to_bytes()))
            .count("uid", self.caller.uid.into())
            .count("process", getpid().as_raw_nonzero().get().into())
            .count("capabilities", sys::capabilities())
            .count("no_new_privs", sys::prctl_answer(prctl::PR_GET_NO_NEW_PRIVS))
            .count("seccomp_mode", sys::prctl_answer(prctl::PR_GET_SECCOMP))
            .count("landlock_abi", sys::landlock_abi().unwrap_or(0).into())
            .count("landlock_errata", sys::landlock_errata().unwrap_or(0).into());
        for (fact, noted) in Fact::ALL.iter().zip(&self.facts) {
            if let Some(error) = noted.load(Ordering::Relaxed).checked_sub(1) {
                line.answer(fact.name(), error);
            }
        }
        rustix::io::write(sys::inherited(1), line.text("}\n").as_bytes())
    }
}

/// The number of an error, 0 of a success.
fn error(result: Result<(), Errno>) -> u16 {
    result.map_or_else(Errno::raw_os_error, |()| 0) as u16
}

/// The same of a stage's; what was made stays until the child ends.
fn failure(result: Result<OwnedFd, Failure>) -> u16 {
    result.map(sys::until_exec).map_or_else(Failure::error, |_| 0)
}

/// A child that only had to be made.
extern "C" fn end(_: &'static Host) -> ! {
    sys::exit_group(0)
}

/// A child in new user, mount and PID namespaces.
extern "C" fn try_mounts(host: &'static Host) -> ! {
    let maps = namespaces::map_caller(host.caller);
    host.note(Fact::Maps as usize, maps.map_or_else(Failure::error, |()| 0));
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    host.note(Fact::Private as usize, error(mount_change(c"/", private)));
    host.note(Fact::Tmpfs as usize, failure(make::tmpfs(4096, 0o555, 0, Spent::Left)));
    // As restricted as a /proc can be that is visible already.
    let proc = uapi::MOUNT_ATTR_RDONLY
        | uapi::MOUNT_ATTR_NOSUID
        | uapi::MOUNT_ATTR_NODEV
        | uapi::MOUNT_ATTR_NOEXEC;
    host.note(Fact::Proc as usize, failure(make::proc(proc.into())));
    host.note(Fact::Devpts as usize, failure(make::devpts(0, Spent::Left)));
    let overlay = match mount(c"", c"/", c"overlay", MountFlags::SILENT, None) {
        // It is allowed, and lacks its layers.
        Err(Errno::INVAL) => Ok(()),
        answer => answer,
    };
    host.note(Fact::Overlay as usize, error(overlay));
    if sys::unshare(uapi::CLONE_NEWNET).is_ok() {
        host.note(Fact::Loopback as usize, error(namespaces::raise_loopback()));
    }
    sys::exit_group(0)
}

/// A child that gives up what the last stages of a launch give up.
extern "C" fn try_layers(host: &'static Host) -> ! {
    // Without this the layers refuse, and say so.
    let _ = sys::prctl(prctl::PR_SET_NO_NEW_PRIVS, 1);
    let landlock = match sys::landlock_create_ruleset(LANDLOCK_ACCESS_FS_EXECUTE.into(), 0, 0) {
        Ok(ruleset) => sys::landlock_restrict_self(sys::until_exec(ruleset), 0),
        Err(error) => Err(error),
    };
    host.note(Fact::Landlock as usize, error(landlock));
    host.note(Fact::Filter as usize, error(sys::seccomp_set_mode_filter(&ALLOW, 0).map(drop)));
    let listener = sys::seccomp_set_mode_filter(&ALLOW, SECCOMP_FILTER_FLAG_NEW_LISTENER);
    host.note(Fact::Listener as usize, error(listener.map(drop)));
    sys::exit_group(0)
}
