//! What becomes of each system call, found by asking the filter.

use std::collections::BTreeMap;

use launcher_policy::wire::Architecture;
use linux_raw_sys::ptrace as uapi;
use serde::Serialize;

use crate::seccomp::rules::Data;
use crate::seccomp::simulate::Simulator;
use crate::seccomp::tables;

/// `AF_UNIX`, `AF_INET`, `SOCK_STREAM`, `SOCK_DGRAM` of socket(2).
pub(super) const UNIX: u64 = 1;
pub(super) const INET: u64 = 2;
pub(super) const STREAM: u64 = 1;
pub(super) const DATAGRAM: u64 = 2;

/// What a filter does with the system calls of its architecture.
#[derive(Clone, Debug, Serialize)]
pub struct SystemCalls {
    /// Those that are made, whatever their arguments.
    pub allowed: Vec<&'static str>,
    /// Those that are made with some arguments only.
    pub by_arguments: Vec<&'static str>,
    /// Those that are not, by what they answer: `EPERM`, `ENOSYS`, `kill`.
    pub denied: BTreeMap<String, Vec<&'static str>>,
}

/// What a filter does with each system call that has a name.
pub(super) fn of(filter: &[u8], architecture: Architecture) -> SystemCalls {
    let mut calls =
        SystemCalls { allowed: Vec::new(), by_arguments: Vec::new(), denied: BTreeMap::new() };
    // A policy that decodes has a filter that the kernel takes.
    let Ok(simulator) = Simulator::new(filter) else { return calls };
    for (number, name) in tables::calls(architecture) {
        let answers: Vec<u32> =
            samples().map(|arguments| ask(&simulator, architecture, number, arguments)).collect();
        let allowed = answers.iter().filter(|&&value| is_allowed(value)).count();
        if allowed == answers.len() {
            calls.allowed.push(name);
        } else if allowed > 0 {
            calls.by_arguments.push(name);
        } else {
            let answer = answers.first().map_or_else(String::new, |&value| word(value));
            calls.denied.entry(answer).or_default().push(name);
        }
    }
    calls
}

/// Whether a socket of this family and type can be made.
pub(super) fn makes(filter: &[u8], architecture: Architecture, family: u64, kind: u64) -> bool {
    let (Ok(simulator), Some(number)) =
        (Simulator::new(filter), tables::number(architecture, "socket"))
    else {
        return true;
    };
    is_allowed(ask(&simulator, architecture, number, [family, kind, 0, 0, 0, 0]))
}

/// Arguments with which a filter that looks at them is found out: small numbers
/// in each place, single bits, and everything.
fn samples() -> impl Iterator<Item = [u64; 6]> {
    let values = (1..64).chain((6..64).map(|bit| 1 << bit)).chain([u64::MAX, 0x5412, 0x541c]);
    let each = values.flat_map(|value| {
        (0..6).map(move |place| {
            let mut arguments = [0; 6];
            arguments[place] = value;
            arguments
        })
    });
    [[0; 6], [u64::MAX; 6]].into_iter().chain(each)
}

fn ask(simulator: &Simulator, architecture: Architecture, number: u32, arguments: [u64; 6]) -> u32 {
    let architecture = tables::audit(architecture);
    simulator.run(&Data { number, architecture, instruction_pointer: 0, arguments }).value
}

fn is_allowed(value: u32) -> bool {
    matches!(value & uapi::SECCOMP_RET_ACTION_FULL, uapi::SECCOMP_RET_ALLOW | uapi::SECCOMP_RET_LOG)
}

fn word(value: u32) -> String {
    let data = value & uapi::SECCOMP_RET_DATA;
    match value & uapi::SECCOMP_RET_ACTION_FULL {
        uapi::SECCOMP_RET_ERRNO => {
            let known = tables::errnos().find(|(number, _)| u32::from(*number) == data);
            known.map_or_else(|| data.to_string(), |(_, name)| name.to_owned())
        }
        uapi::SECCOMP_RET_TRAP => "trap".into(),
        uapi::SECCOMP_RET_USER_NOTIF => "ask".into(),
        _ => "kill".into(),
    }
}
