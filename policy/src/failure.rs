//! The first call of a launch that failed.
//!
//! A failure is a few numbers: it travels in registers through every stage and
//! fits into a message between processes. Its words are found when it is
//! reported, by whoever has the policy and room for text.

use crate::Stage;

/// What ended a launch. No later stage ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The stage in which it happened.
    pub stage: Stage,
    /// The system call, or the part of the launcher, that refused.
    pub call: Call,
    /// The kernel's error number, errno(3); 0 where the launcher refused.
    pub errno: u16,
    /// What it is about.
    pub subject: Subject,
    /// The launcher's own reason, where it is not the kernel's.
    pub refused: Option<&'static &'static str>,
}

impl Failure {
    /// A system call's error.
    pub const fn errno(stage: Stage, call: Call, errno: i32) -> Self {
        Self { stage, call, errno: errno as u16, subject: Subject::None, refused: None }
    }

    /// The launcher's own refusal.
    pub const fn refused(stage: Stage, call: Call, why: &'static &'static str) -> Self {
        Self { stage, call, errno: 0, subject: Subject::None, refused: Some(why) }
    }

    /// The same failure, with what it is about.
    #[must_use]
    pub const fn about(mut self, subject: Subject) -> Self {
        self.subject = subject;
        self
    }
}

/// What a failure is about. Numbers count the policy's lists from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Nothing in particular.
    None,
    /// The target of a mount.
    Target(u16),
    /// The source of a mount.
    Source(u16),
    /// A node of the skeleton.
    Node(u16),
    /// The directory that becomes the root.
    Root,
    /// The working directory.
    Cwd,
    /// The command.
    Command,
    /// An argument of the launcher.
    Argument(u16),
    /// The guarantee that is lost without namespaces.
    Guarantee,
    /// A path that the launcher itself knows.
    Path(&'static &'static str),
}

/// Defines [`Call`] and its names.
macro_rules! calls {
    ($($variant:ident $name:literal)*) => {
        /// What refused: a system call by its manual page, or a part of the
        /// launcher by the word of the policy or the argument it serves.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Call {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Call {
            /// Its name in messages.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

calls! {
    Arguments "arguments"
    Capset "capset"
    Chdir "chdir"
    Clone3 "clone3"
    CloseRange "close_range"
    CgroupFd "--cgroup-fd"
    Decode "decode"
    DieWithParent "die_with_parent"
    Dup3 "dup3"
    Enforce "enforce"
    Env "env"
    Execve "execve"
    Fchdir "fchdir"
    Fcntl "fcntl"
    Fd "--fd"
    Fsconfig "fsconfig"
    Fsmount "fsmount"
    Fsopen "fsopen"
    Fstat "fstat"
    Fstatfs "fstatfs"
    Ioctl "ioctl"
    KeepFds "keep_fds"
    Kill "kill"
    LandlockAddRule "landlock_add_rule"
    LandlockCreateRuleset "landlock_create_ruleset"
    LandlockRestrictSelf "landlock_restrict_self"
    Lseek "lseek"
    Memory "memory"
    Mkdirat "mkdirat"
    Mount "mount"
    MountSetattr "mount_setattr"
    MoveMount "move_mount"
    Open "open"
    Openat "openat"
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
    RtSigaction "rt_sigaction"
    RtSigprocmask "rt_sigprocmask"
    SchedSetaffinity "sched_setaffinity"
    Seccomp "seccomp"
    Send "send"
    Setgroups "setgroups"
    Sethostname "sethostname"
    Setpgid "setpgid"
    Setpriority "setpriority"
    Setresgid "setresgid"
    Setresuid "setresuid"
    Setsid "setsid"
    Signalfd "signalfd4"
    Socketpair "socketpair"
    StatusFd "--status-fd"
    Stdio "stdio"
    Symlinkat "symlinkat"
    Tcsetpgrp "tcsetpgrp"
    UidMap "uid_map"
    Umount2 "umount2"
    Unshare "unshare"
    Wait4 "wait4"
    WallTime "wall_time"
    Write "write"
}
