//! Names and numbers: system calls of each architecture, and error numbers.

use std::collections::BTreeSet;

use launcher_policy::wire::Architecture;
use linux_raw_sys::ptrace as uapi;
use serde::{Deserialize, Serialize};
use syscalls::Errno;

/// Runs an expression with `$table` standing for the `syscalls` module of an
/// architecture.
macro_rules! with_table {
    ($architecture:expr, $table:ident => $body:expr) => {
        match $architecture {
            Architecture::X86_64 => {
                use syscalls::x86_64 as $table;
                $body
            }
            Architecture::Aarch64 => {
                use syscalls::aarch64 as $table;
                $body
            }
            Architecture::Riscv64 => {
                use syscalls::riscv64 as $table;
                $body
            }
        }
    };
}

/// Whether one of these modules of `syscalls` has the name.
macro_rules! any_table {
    ($name:expr; $($table:ident)*) => {
        false $(|| raw($name).parse::<syscalls::$table::Sysno>().is_ok())*
    };
}

/// The number of a name in a module of `syscalls`.
macro_rules! parsed {
    ($($table:ident)::+, $name:expr) => {
        raw($name).parse().ok().map(|call: $($table)::+::Sysno| call as u32)
    };
}

/// The name of a number in a module of `syscalls`.
macro_rules! named {
    ($($table:ident)::+, $number:expr) => {
        usize::try_from($number)
            .ok()
            .and_then($($table)::+::Sysno::new)
            .map(|call| call.name().trim_start_matches("r#"))
    };
}

/// A name as `syscalls` has it: one is a keyword of Rust.
fn raw(name: &str) -> &str {
    if name == "break" { "r#break" } else { name }
}

/// The bit that marks a number of the x32 interface: `__X32_SYSCALL_BIT` of
/// asm/unistd.h.
pub const X32_BIT: u32 = 0x4000_0000;

/// The largest error number that a program outside the kernel can meet:
/// `EHWPOISON` of asm-generic/errno.h.
const LAST_ERRNO: u16 = 133;

/// Second names of error numbers, errno(3).
const ERRNO_ALIASES: [(&str, &str); 3] =
    [("EWOULDBLOCK", "EAGAIN"), ("EDEADLOCK", "EDEADLK"), ("ENOTSUP", "EOPNOTSUPP")];

/// The number that a system call has on an architecture.
#[must_use]
pub fn number(architecture: Architecture, name: &str) -> Option<u32> {
    with_table!(architecture, table => parsed!(table, name))
}

/// The name that a number has on an architecture.
#[must_use]
pub fn name(architecture: Architecture, number: u32) -> Option<&'static str> {
    with_table!(architecture, table => named!(table, number))
}

/// Every system call of an architecture, in the order of their numbers.
pub fn calls(architecture: Architecture) -> impl Iterator<Item = (u32, &'static str)> {
    // `Sysno::iter` leaves out the last one.
    (0..=newest(architecture))
        .filter_map(move |number| name(architecture, number).map(|name| (number, name)))
}

/// The largest number that has a name on an architecture.
#[must_use]
pub fn newest(architecture: Architecture) -> u32 {
    with_table!(architecture, table => table::Sysno::last() as u32)
}

/// Another table of system calls, that a kernel may have beside its own.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Abi {
    /// 32-bit programs on x86_64.
    I386,
    /// Programs with 32-bit pointers on x86_64: its own architecture, with a
    /// bit in the number.
    X32,
    /// 32-bit programs on aarch64.
    Arm,
}

impl Abi {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::I386, Self::X32, Self::Arm];

    /// Its word in a document.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::I386 => "i386",
            Self::X32 => "x32",
            Self::Arm => "arm",
        }
    }

    /// The architecture whose kernel may have it.
    #[must_use]
    pub const fn host(self) -> Architecture {
        match self {
            Self::I386 | Self::X32 => Architecture::X86_64,
            Self::Arm => Architecture::Aarch64,
        }
    }

    /// What `seccomp_data.arch` says: `AUDIT_ARCH_*` of linux/audit.h.
    #[must_use]
    pub const fn audit(self) -> u32 {
        match self {
            Self::I386 => uapi::AUDIT_ARCH_I386,
            Self::X32 => uapi::AUDIT_ARCH_X86_64,
            Self::Arm => uapi::AUDIT_ARCH_ARM,
        }
    }

    /// The number that a system call has, the bit of x32 included.
    #[must_use]
    pub fn number(self, name: &str) -> Option<u32> {
        let own = |list: &[(u32, &str)]| {
            list.iter().find(|(_, own)| *own == name).map(|(number, _)| *number)
        };
        match self {
            Self::I386 => parsed!(syscalls::x86, name),
            Self::Arm => own(&ARM_PRIVATE).or_else(|| parsed!(syscalls::arm, name)),
            Self::X32 => own(&X32)
                .or_else(|| number(Architecture::X86_64, name).filter(|&number| is_common(number)))
                .map(|number| number | X32_BIT),
        }
    }

    /// Every system call, in the order of their numbers.
    #[must_use]
    pub fn calls(self) -> Vec<(u32, &'static str)> {
        match self {
            Self::I386 => (0..=syscalls::x86::Sysno::last() as u32)
                .filter_map(|number| Some((number, named!(syscalls::x86, number)?)))
                .collect(),
            Self::Arm => (0..=syscalls::arm::Sysno::last() as u32)
                .filter_map(|number| Some((number, named!(syscalls::arm, number)?)))
                .chain(ARM_PRIVATE)
                .collect(),
            Self::X32 => {
                let mut calls: Vec<_> = calls(Architecture::X86_64)
                    .filter(|(number, _)| is_common(*number))
                    .chain(X32)
                    .map(|(number, name)| (number | X32_BIT, name))
                    .collect();
                calls.sort_unstable();
                calls
            }
        }
    }
}

/// Calls that arm has to itself and an aarch64 kernel offers its programs,
/// arch/arm64/include/asm/unistd.h: without `set_tls` no thread starts.
const ARM_PRIVATE: [(u32, &str); 2] = [(0xf_0002, "cacheflush"), (0xf_0005, "set_tls")];

/// Calls that x32 has numbers of its own for, because what they point at is
/// laid out otherwise: the lines marked x32 of the kernel's
/// arch/x86/entry/syscalls/syscall_64.tbl.
const X32: [(u32, &str); 36] = [
    (512, "rt_sigaction"),
    (513, "rt_sigreturn"),
    (514, "ioctl"),
    (515, "readv"),
    (516, "writev"),
    (517, "recvfrom"),
    (518, "sendmsg"),
    (519, "recvmsg"),
    (520, "execve"),
    (521, "ptrace"),
    (522, "rt_sigpending"),
    (523, "rt_sigtimedwait"),
    (524, "rt_sigqueueinfo"),
    (525, "sigaltstack"),
    (526, "timer_create"),
    (527, "mq_notify"),
    (528, "kexec_load"),
    (529, "waitid"),
    (530, "set_robust_list"),
    (531, "get_robust_list"),
    (532, "vmsplice"),
    (533, "move_pages"),
    (534, "preadv"),
    (535, "pwritev"),
    (536, "rt_tgsigqueueinfo"),
    (537, "recvmmsg"),
    (538, "sendmmsg"),
    (539, "process_vm_readv"),
    (540, "process_vm_writev"),
    (541, "setsockopt"),
    (542, "getsockopt"),
    (543, "io_setup"),
    (544, "io_submit"),
    (545, "execveat"),
    (546, "preadv2"),
    (547, "pwritev2"),
];

/// Calls that x86_64 has to itself and x32 has not at all: lines marked 64 of
/// the same table, whose names [`X32`] lacks.
const X86_64_ONLY: [&str; 12] = [
    "_sysctl",
    "uselib",
    "create_module",
    "get_kernel_syms",
    "query_module",
    "nfsservctl",
    "set_thread_area",
    "get_thread_area",
    "epoll_ctl_old",
    "epoll_wait_old",
    "vserver",
    "uretprobe",
];

/// Whether x32 has a call of x86_64 by the same number.
fn is_common(number: u32) -> bool {
    let Some(name) = name(Architecture::X86_64, number) else { return false };
    !X86_64_ONLY.contains(&name) && !X32.iter().any(|(_, own)| *own == name)
}

/// Whether a system call of this name exists on any architecture of Linux, so
/// that a name is wrong only if it is wrong everywhere.
#[must_use]
pub fn exists(name: &str) -> bool {
    ARM_PRIVATE.iter().any(|(_, own)| *own == name)
        || any_table!(name; x86_64 aarch64 riscv64 x86 arm loongarch64 mips mips64 powerpc powerpc64
        riscv32 s390x sparc sparc64)
}

/// Every name that some table of ours has, once.
#[must_use]
pub fn all_names() -> BTreeSet<&'static str> {
    let native = [Architecture::X86_64, Architecture::Aarch64, Architecture::Riscv64];
    let native = native.into_iter().flat_map(calls);
    native.chain(Abi::ALL.into_iter().flat_map(Abi::calls)).map(|(_, name)| name).collect()
}

/// What `seccomp_data.arch` says on an architecture: `AUDIT_ARCH_*` of
/// linux/audit.h.
#[must_use]
pub const fn audit(architecture: Architecture) -> u32 {
    match architecture {
        Architecture::X86_64 => uapi::AUDIT_ARCH_X86_64,
        Architecture::Aarch64 => uapi::AUDIT_ARCH_AARCH64,
        Architecture::Riscv64 => uapi::AUDIT_ARCH_RISCV64,
    }
}

/// The error number of a name of errno(3).
#[must_use]
pub fn errno(name: &str) -> Option<u16> {
    let alias = ERRNO_ALIASES.iter().find(|(alias, _)| *alias == name);
    let name = alias.map_or(name, |(_, name)| name);
    errnos().find(|(_, known)| *known == name).map(|(number, _)| number)
}

/// Every error number and its name.
pub fn errnos() -> impl Iterator<Item = (u16, &'static str)> {
    (1..=LAST_ERRNO).filter_map(|number| {
        let (name, _) = Errno::new(i32::from(number)).name_and_description()?;
        Some((number, name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_those_of_the_kernel() {
        for (architecture, execve, openat) in [
            (Architecture::X86_64, 59, 257),
            (Architecture::Aarch64, 221, 56),
            (Architecture::Riscv64, 221, 56),
        ] {
            assert_eq!(number(architecture, "execve"), Some(execve));
            assert_eq!(name(architecture, openat), Some("openat"));
            assert_eq!(number(architecture, "mseal"), Some(462));
        }
        assert_eq!(number(Architecture::X86_64, "open"), Some(2));
        assert_eq!(number(Architecture::Aarch64, "open"), None);
    }

    #[test]
    fn every_call_is_listed_once_up_to_the_newest() {
        for architecture in [Architecture::X86_64, Architecture::Aarch64, Architecture::Riscv64] {
            let numbers: Vec<u32> = calls(architecture).map(|(number, _)| number).collect();
            assert!(numbers.is_sorted_by(|a, b| a < b));
            assert_eq!(numbers.last(), Some(&newest(architecture)));
            assert!(
                calls(architecture)
                    .all(|(number, name)| super::number(architecture, name) == Some(number))
            );
        }
    }

    #[test]
    fn other_tables_of_a_kernel_have_their_own_numbers() {
        for (abi, name, number) in [
            (Abi::I386, "execve", 11),
            (Abi::I386, "socketcall", 102),
            (Abi::I386, "break", 17),
            (Abi::I386, "clock_gettime64", 403),
            (Abi::Arm, "execve", 11),
            (Abi::Arm, "set_tls", 0xf_0005),
            (Abi::X32, "getpid", X32_BIT | 39),
            (Abi::X32, "execve", X32_BIT | 520),
            (Abi::X32, "ioctl", X32_BIT | 514),
        ] {
            assert_eq!(abi.number(name), Some(number), "{abi:?} {name}");
        }
        assert_eq!(Abi::X32.number("uselib"), None);
        for abi in Abi::ALL {
            let calls = abi.calls();
            assert!(calls.is_sorted_by(|a, b| a.0 < b.0), "{abi:?}");
            assert!(calls.len() > 320, "{abi:?} {}", calls.len());
            assert!(calls.iter().all(|(number, name)| abi.number(name) == Some(*number)));
        }
    }

    #[test]
    fn a_name_of_another_architecture_exists_and_a_misspelt_one_does_not() {
        assert!(exists("vm86"));
        assert!(exists("riscv_flush_icache"));
        assert!(!exists("opennat"));
        assert!(!exists(""));
    }

    #[test]
    fn error_numbers_have_their_names_and_aliases() {
        assert_eq!(errno("EPERM"), Some(1));
        assert_eq!(errno("ENOSYS"), Some(38));
        assert_eq!(errno("EWOULDBLOCK"), errno("EAGAIN"));
        assert_eq!(errno("ENOTSUP"), Some(95));
        assert_eq!(errno("EHWPOISON"), Some(LAST_ERRNO));
        // A number that the kernel keeps to itself.
        assert_eq!(errno("ERESTARTSYS"), None);
        assert_eq!(errno("eperm"), None);
    }
}
