//! The first call of a launch that failed.
//!
//! A failure is a few numbers: it travels in half a register through every
//! stage. Its words are found when it is reported, by whoever has the policy
//! and room for text.

use core::num::NonZeroU32;

use crate::{Refusal, Stage, words};

/// What ended a launch. No later stage ran.
// Never zero, so that a result is told by one comparison; and no longer than
// a descriptor, so that a result with either fits into a register.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Failure(NonZeroU32);

/// A part of a failure: its lowest bit, and how many bits it has.
struct Part(u32, u32);

// What a call site knows lies in the lower half, what the kernel answers at
// the upper end: the shortest to put together on every architecture.
const SET: NonZeroU32 = NonZeroU32::MIN;
const CALL: Part = Part(1, 7);
const STAGE: Part = Part(8, 4);
const REFUSED: Part = Part(12, 7);
const SUBJECT: Part = Part(19, 5);
/// Below zero, as the kernel returns it. Linux numbers its errors up to 133.
const ERRNO: Part = Part(24, 8);

// Each part has room for its numbers; reasons are counted from 1.
const _: () = {
    assert!(Stage::ALL.len() <= STAGE.values());
    assert!(Call::ALL.len() <= CALL.values());
    assert!(Refusal::ALL.len() < REFUSED.values());
    assert!(Subject::ALL.len() <= SUBJECT.values());
};

impl Part {
    /// How many values it can have.
    const fn values(&self) -> usize {
        1 << self.1
    }

    /// Its bits.
    const fn mask(&self) -> u32 {
        (self.values() as u32 - 1) << self.0
    }
}

impl Failure {
    /// A system call's error.
    pub fn errno(stage: Stage, call: Call, errno: i32) -> Self {
        Self(SET)
            .with(STAGE, stage as u32)
            .with(CALL, call as u32)
            .with(ERRNO, errno.wrapping_neg() as u8 as u32)
    }

    /// The launcher's own refusal.
    pub fn refused(stage: Stage, call: Call, why: Refusal) -> Self {
        Self::errno(stage, call, 0).because(why)
    }

    /// The same failure, with the launcher's own reason.
    #[must_use]
    pub fn because(self, why: Refusal) -> Self {
        self.with(REFUSED, why as u32 + 1)
    }

    /// The same failure, with what it is about.
    #[must_use]
    pub fn about(self, subject: Subject) -> Self {
        Self(SET | self.0.get() & !SUBJECT.mask()).with(SUBJECT, subject as u32)
    }

    /// Sets a part that is not set.
    fn with(self, part: Part, value: u32) -> Self {
        Self(self.0 | value << part.0)
    }

    /// All of it, to be kept where only a number can be.
    pub const fn number(self) -> NonZeroU32 {
        self.0
    }

    /// The value of a part.
    const fn part(self, part: Part) -> u8 {
        (self.0.get() >> part.0 & (part.values() as u32 - 1)) as u8
    }

    /// The stage in which it happened.
    pub fn stage(self) -> Stage {
        variant(&Stage::ALL, self.part(STAGE)).unwrap_or(Stage::Input)
    }

    /// The system call, or the part of the launcher, that refused.
    pub fn call(self) -> Call {
        variant(Call::ALL, self.part(CALL)).unwrap_or(Call::Panic)
    }

    /// The kernel's error number, errno(3); 0 where the launcher refused.
    pub const fn error(self) -> u16 {
        self.part(ERRNO).wrapping_neg() as u16
    }

    /// The launcher's own reason, where it is not the kernel's.
    pub fn reason(self) -> Option<Refusal> {
        variant(Refusal::ALL, self.part(REFUSED).wrapping_sub(1))
    }

    /// What it is about. Which of several, whoever reports it has to know.
    pub fn subject(self) -> Subject {
        variant(Subject::ALL, self.part(SUBJECT)).unwrap_or(Subject::None)
    }
}

/// What [`Failure::number`] gave.
impl From<NonZeroU32> for Failure {
    fn from(number: NonZeroU32) -> Self {
        Self(number)
    }
}

/// The variant of this number.
fn variant<T: Copy>(all: &[T], number: u8) -> Option<T> {
    all.get(usize::from(number)).copied()
}

words! {
    /// What a failure is about: something of the policy or of the arguments,
    /// which whoever reports it has to find, or this path.
    pub enum Subject {
        /// Nothing in particular.
        None ""
        /// The target of a mount.
        Target ""
        /// The source of a mount.
        Source ""
        /// The object of a rule.
        Rule ""
        /// A directory that is granted by what is in it.
        Carved ""
        /// A node of the skeleton.
        Node ""
        /// The directory that becomes the root.
        Root ""
        /// The working directory.
        Cwd ""
        /// The command.
        Command ""
        /// An argument of the launcher.
        Argument ""
        /// The guarantee that nothing keeps.
        Guarantee ""
        DevNull "/dev/null"
        DevTty "/dev/tty"
        Proc "/proc"
        Setgroups "/proc/self/setgroups"
        GidMap "/proc/self/gid_map"
        UidMap "/proc/self/uid_map"
        OomScoreAdj "/proc/self/oom_score_adj"
        ProcSys "/proc/sys"
        ProcSysrqTrigger "/proc/sysrq-trigger"
        ProcIrq "/proc/irq"
        ProcBus "/proc/bus"
        ProcFs "/proc/fs"
        ProcAcpi "/proc/acpi"
        ProcPressure "/proc/pressure"
    }
}

words! {
    /// What refused: a system call by its manual page, or a part of the
    /// launcher by the word of the policy or the argument it serves.
    pub enum Call {
        Arguments "arguments"
        Bind "bind"
        Capset "capset"
        Chdir "chdir"
        Clone "clone"
        Clone3 "clone3"
        CloseRange "close_range"
        CgroupFd "--cgroup-fd"
        Decode "decode"
        DieWithParent "die_with_parent"
        Dup3 "dup3"
        Enforce "enforce"
        Env "env"
        ExecFd "--exec-fd"
        Eventfd "eventfd2"
        Execve "execve"
        Execveat "execveat"
        Fchdir "fchdir"
        Fcntl "fcntl"
        Fd "--fd"
        Fsconfig "fsconfig"
        Fsmount "fsmount"
        Getdents64 "getdents64"
        Guard "guard"
        Fsopen "fsopen"
        Fstat "fstat"
        Fstatfs "fstatfs"
        HoldTemplate "--hold-template"
        HoldNetworks "--hold-networks"
        Ioctl "ioctl"
        KeepFds "keep_fds"
        Kill "kill"
        LandlockAddRule "landlock_add_rule"
        LandlockCreateRuleset "landlock_create_ruleset"
        LandlockRestrictSelf "landlock_restrict_self"
        Listen "listen"
        ListenersFd "--listeners-fd"
        Lseek "lseek"
        Memory "memory"
        Mkdirat "mkdirat"
        Mknodat "mknodat"
        Mount "mount"
        MountSetattr "mount_setattr"
        MoveMount "move_mount"
        Open "open"
        Openat "openat"
        NetnsFd "--netns-fd"
        Openat2 "openat2"
        OpenTree "open_tree"
        Panic "panic"
        ParentFd "--parent-fd"
        PidfdOpen "pidfd_open"
        PidfdSendSignal "pidfd_send_signal"
        PivotRoot "pivot_root"
        Poll "poll"
        Prctl "prctl"
        Pread "pread"
        Prlimit "prlimit"
        Proc "proc"
        Processes "processes"
        CpuTime "cpu_time"
        Read "read"
        Readlink "readlink"
        Recv "recv"
        Request "request"
        RtSigaction "rt_sigaction"
        RtSigprocmask "rt_sigprocmask"
        SchedSetaffinity "sched_setaffinity"
        Seccomp "seccomp"
        Send "send"
        Serve "--serve"
        Setgroups "setgroups"
        Sethostname "sethostname"
        Setpgid "setpgid"
        Setpriority "setpriority"
        Setresgid "setresgid"
        Setresuid "setresuid"
        Setsid "setsid"
        Signalfd "signalfd4"
        Socket "socket"
        Socketpair "socketpair"
        StatusFd "--status-fd"
        ErrorFd "--error-fd"
        RulesetFd "--ruleset-fd"
        NotifyFd "--notify-fd"
        Statx "statx"
        Stdio "stdio"
        Symlinkat "symlinkat"
        Tcsetpgrp "tcsetpgrp"
        TemplateFd "--template-fd"
        UidMap "uid_map"
        Umount2 "umount2"
        Unshare "unshare"
        Wait4 "wait4"
        WallTime "wall_time"
        Write "write"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_about_what_was_said_last() {
        let failure = Failure::errno(Stage::Namespaces, Call::Open, 13).about(Subject::UidMap);
        let lost = failure.about(Subject::Guarantee);
        assert_eq!(lost.subject(), Subject::Guarantee);
        assert_eq!((lost.stage(), lost.call(), lost.error()), (Stage::Namespaces, Call::Open, 13));
        assert_eq!(lost.about(Subject::None).subject(), Subject::None);
    }
}
