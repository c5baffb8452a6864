//! What one filter lets through and the other does not.

use std::collections::BTreeSet;

use launcher_policy::seccomp::{INSTRUCTION_SIZE, Instruction, op};
use launcher_policy::wire::Architecture;
use linux_raw_sys::ptrace as uapi;

use crate::seccomp::rules::{Data, X32_BIT};
use crate::seccomp::shared;
use crate::seccomp::simulate::Simulator;
use crate::seccomp::tables;

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
    let mut found: Vec<String> = tables::calls(architecture)
        .filter(|(_, name)| shared::governing(name).is_none_or(|namespace| kept & namespace == 0))
        .filter(|(number, _)| {
            arguments(&constants).any(|arguments| {
                let data = data(tables::audit(architecture), *number, arguments);
                lets(&data) && !is_allowed(&other, &data)
            })
        })
        .map(|(_, name)| name.to_owned())
        .collect();
    let foreign = tables::audit(architecture) ^ 1;
    let odd = [
        ("system calls of another architecture", foreign, 1),
        ("system calls without a name", tables::audit(architecture), 100_000),
        ("x32 system calls", tables::audit(architecture), X32_BIT | 1),
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
