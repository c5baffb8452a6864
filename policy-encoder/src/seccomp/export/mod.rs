//! A filter for people and for other programs: assembly with names, or JSON.
//!
//! Both are made from the instructions alone, so they show what the kernel
//! gets, whoever wrote it.

mod asm;
mod constants;
mod flow;
mod json;

pub use asm::asm;
pub use json::json;

use launcher_policy::wire::Architecture;
use linux_raw_sys::ptrace as uapi;

use super::tables;

/// `SECCOMP_RET_ERRNO` and its like in words.
fn action(value: u32) -> String {
    let data = value & uapi::SECCOMP_RET_DATA;
    match value & uapi::SECCOMP_RET_ACTION_FULL {
        uapi::SECCOMP_RET_KILL_PROCESS => "kill".to_owned(),
        uapi::SECCOMP_RET_KILL_THREAD => "kill-thread".to_owned(),
        uapi::SECCOMP_RET_TRAP => "trap".to_owned(),
        uapi::SECCOMP_RET_ERRNO => {
            let known = tables::errnos().find(|(number, _)| u32::from(*number) == data);
            known.map_or_else(|| format!("errno {data}"), |(_, name)| format!("errno {name}"))
        }
        uapi::SECCOMP_RET_USER_NOTIF => "notify".to_owned(),
        uapi::SECCOMP_RET_TRACE => format!("trace {data}"),
        uapi::SECCOMP_RET_LOG => "log".to_owned(),
        uapi::SECCOMP_RET_ALLOW => "allow".to_owned(),
        // Whatever the kernel does not know ends the process.
        _ => format!("kill ({value:#x})"),
    }
}

const fn architecture_name(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "x86_64",
        Architecture::Aarch64 => "aarch64",
        Architecture::Riscv64 => "riscv64",
    }
}
