//! Names and numbers: system calls of each architecture, and error numbers.

use launcher_policy::wire::Architecture;
use linux_raw_sys::ptrace as uapi;
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
        false $(|| $name.parse::<syscalls::$table::Sysno>().is_ok())*
    };
}

/// The largest error number that a program outside the kernel can meet:
/// `EHWPOISON` of asm-generic/errno.h.
const LAST_ERRNO: u16 = 133;

/// Second names of error numbers, errno(3).
const ERRNO_ALIASES: [(&str, &str); 3] =
    [("EWOULDBLOCK", "EAGAIN"), ("EDEADLOCK", "EDEADLK"), ("ENOTSUP", "EOPNOTSUPP")];

/// The number that a system call has on an architecture.
#[must_use]
pub fn number(architecture: Architecture, name: &str) -> Option<u32> {
    with_table!(architecture, table => name.parse().ok().map(|call: table::Sysno| call as u32))
}

/// The name that a number has on an architecture.
#[must_use]
pub fn name(architecture: Architecture, number: u32) -> Option<&'static str> {
    let number = usize::try_from(number).ok()?;
    with_table!(architecture, table => table::Sysno::new(number).map(|call| call.name()))
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

/// Whether a system call of this name exists on any architecture of Linux, so
/// that a name is wrong only if it is wrong everywhere.
#[must_use]
pub fn exists(name: &str) -> bool {
    any_table!(name; x86_64 aarch64 riscv64 x86 arm loongarch64 mips mips64 powerpc powerpc64
        riscv32 s390x sparc sparc64)
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
