//! What one filter lets through and the other does not.

use std::collections::BTreeSet;

use launcher_policy::seccomp::{INSTRUCTION_SIZE, Instruction, op};
use launcher_policy::wire::Architecture;
use linux_raw_sys::ptrace as uapi;

use crate::seccomp::rules::Data;
use crate::seccomp::shared;
use crate::seccomp::simulate::Simulator;
use crate::seccomp::tables::{self, Abi};

/// The names of the system calls that `own` lets through with arguments for
/// which `other` does not; `None` is no filter. `kept` are the namespaces that
/// only the first policy has, so that these calls reach nothing of the host's.
pub(super) fn excess(
    own: Option<&[u8]>,
    other: Option<&[u8]>,
    kept: u32,
    architecture: Architecture,
) -> Vec<String> {
    let Some(other) = other else { return Vec::new() };
    let constants = constants(other).chain(own.into_iter().flat_map(constants)).collect();
    let (Ok(own), Ok(other)) = (own.map(Simulator::new).transpose(), Simulator::new(other)) else {
        // A policy that was decoded has no such filter.
        return vec!["a filter that the kernel would refuse".to_owned()];
    };
    let lets = |data: &Data| match &own {
        Some(own) => is_allowed(own, data),
        None => true,
    };
    let governed = |name| shared::governing(name).is_some_and(|namespace| kept & namespace != 0);
    let exceeds = |architecture, number| {
        arguments(&constants).any(|arguments| {
            let data = data(architecture, number, arguments);
            lets(&data) && !is_allowed(&other, &data)
        })
    };
    let audit = tables::audit(architecture);
    let mut found: Vec<String> = tables::calls(architecture)
        .filter(|&(number, name)| !governed(name) && exceeds(audit, number))
        .map(|(_, name)| name.to_owned())
        .collect();
    for abi in Abi::ALL.into_iter().filter(|abi| abi.host() == architecture) {
        let data = |number| data(abi.audit(), number, [0; 6]);
        let calls = abi.calls();
        // Most filters kill the whole table.
        if !calls.iter().any(|(number, _)| lets(&data(*number))) {
            continue;
        }
        if !calls.iter().any(|(number, _)| is_allowed(&other, &data(*number))) {
            found.push(format!("system calls of {}", abi.name()));
            continue;
        }
        let calls = calls.into_iter();
        let more = calls.filter(|&(number, name)| !governed(name) && exceeds(abi.audit(), number));
        found.extend(more.map(|(_, name)| format!("{name} of {}", abi.name())));
    }
    let foreign = audit ^ 1;
    let odd = [
        ("system calls of another architecture", foreign, 1),
        ("system calls without a name", audit, 100_000),
    ];
    for (what, audit, number) in odd {
        let data = data(audit, number, [0; 6]);
        if lets(&data) && !is_allowed(&other, &data) {
            found.push(what.to_owned());
        }
    }
    found
}

fn data(architecture: u32, number: u32, arguments: [u64; 6]) -> Data {
    Data { number, architecture, instruction_pointer: 0, arguments }
}

/// Whether the call is made, be it watched.
fn is_allowed(filter: &Simulator, data: &Data) -> bool {
    let action = filter.run(data).value & uapi::SECCOMP_RET_ACTION_FULL;
    // Actions are ordered by how much they let through, but for the one that
    // kills the whole process: it is negative.
    (uapi::SECCOMP_RET_USER_NOTIF..=uapi::SECCOMP_RET_ALLOW).contains(&action)
}

/// What a filter compares with.
fn constants(filter: &[u8]) -> impl Iterator<Item = u64> {
    let (instructions, _) = filter.as_chunks::<INSTRUCTION_SIZE>();
    let compares = |code: u16| {
        [op::JUMP_EQUAL, op::JUMP_GREATER, op::JUMP_GREATER_EQUAL, op::JUMP_SET].contains(&code)
    };
    instructions
        .iter()
        .copied()
        .map(Instruction::from_bytes)
        .filter(move |instruction| compares(instruction.code))
        .flat_map(|instruction| [instruction.k, instruction.k.wrapping_add(1)])
        .map(u64::from)
}

/// Arguments worth asking about: each constant in each place, and everywhere.
fn arguments(constants: &BTreeSet<u64>) -> impl Iterator<Item = [u64; 6]> {
    constants.iter().copied().chain([0, u64::from(u32::MAX), u64::MAX]).flat_map(|value| {
        let alone = (0..6).map(move |place| {
            let mut arguments = [0; 6];
            if let Some(argument) = arguments.get_mut(place) {
                *argument = value;
            }
            arguments
        });
        alone.chain([[value; 6]])
    })
}
