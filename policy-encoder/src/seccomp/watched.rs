//! A filter that tells a watcher what is called, and decides as before.
//!
//! What the filter refuses it asks about, so that whoever listens can say the
//! same and knows of it. What it allows it asks about where the call names
//! something: whoever listens lets the kernel go on.

use launcher_policy::seccomp::{FilterError, Instruction, MAX_INSTRUCTIONS, op, validate};
use launcher_policy::wire::Architecture;
use linux_raw_sys::general::{MAP_ANONYMOUS, PROT_EXEC};
use linux_raw_sys::ptrace as uapi;

use super::checks::HANDED_OVER_BY;
use super::reach::Reach;
use super::simulate::Simulator;
use super::tables;

/// Where `seccomp_data` has the architecture and the arguments.
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Which refusals a filter asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusals {
    /// Those that answer with an error. What ends a process or a thread does
    /// so unasked.
    Errors,
    /// All.
    All,
}

/// Why a filter cannot be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwatchable {
    /// It asks a supervisor already, and a call has one at most.
    Asks,
    /// It may refuse a call by which the launcher says that there is something
    /// to watch.
    Closes(&'static str),
    /// It would be longer than the kernel takes.
    Long,
    /// It is none that the kernel takes.
    Invalid(FilterError),
}

/// A bit of an argument, and whether it has to be set: only then is there
/// anything to tell of the call.
#[derive(Clone, Copy)]
struct Bits {
    argument: u32,
    mask: u32,
    set: bool,
}

/// What of a call is asked about; without any, all of it.
fn asked_of(name: &str) -> &'static [Bits] {
    match name {
        "mmap" => &[
            Bits { argument: 2, mask: PROT_EXEC, set: true },
            Bits { argument: 3, mask: MAP_ANONYMOUS, set: false },
        ],
        // A message to an address that it names.
        "sendto" => &[Bits { argument: 4, mask: u32::MAX, set: true }],
        _ => &[],
    }
}

/// Makes a filter ask about refusals, and about these calls where it allows them.
///
/// # Errors
///
/// Why that cannot be.
pub fn watched(
    filter: &[u8],
    architecture: Architecture,
    calls: &[&str],
    refusals: Refusals,
) -> Result<Vec<u8>, Unwatchable> {
    let simulator = Simulator::new(filter).map_err(Unwatchable::Invalid)?;
    if super::asks(filter) {
        return Err(Unwatchable::Asks);
    }
    let refusing = asking(simulator.instructions(), refusals, false);
    let telling = asking(simulator.instructions(), refusals, true);
    let instructions = joined(architecture, calls, &refusing, &telling);
    if instructions.len() > MAX_INSTRUCTIONS {
        return Err(Unwatchable::Long);
    }
    let bytes: Vec<u8> = instructions.iter().flat_map(|each| each.to_bytes()).collect();
    validate(&bytes).map_err(Unwatchable::Invalid)?;
    let made = Simulator::new(&bytes).map_err(Unwatchable::Invalid)?;
    for (name, _) in HANDED_OVER_BY {
        let number = tables::number(architecture, name);
        let reach = |number| Reach::of(&made, tables::audit(architecture), number);
        if number.is_some_and(|number| !reach(number).always_allows()) {
            return Err(Unwatchable::Closes(name));
        }
    }
    Ok(bytes)
}

/// A filter that allows everything.
pub fn open() -> Vec<u8> {
    plain(op::RETURN, uapi::SECCOMP_RET_ALLOW).to_bytes().to_vec()
}

/// A filter that asks about what it refuses, or about what it allows as well.
/// What it computes is not known, and stays.
fn asking(filter: &[Instruction], refusals: Refusals, allowed: bool) -> Vec<Instruction> {
    let ask = plain(op::RETURN, uapi::SECCOMP_RET_USER_NOTIF);
    let replaced = |&instruction: &Instruction| {
        if instruction.code != op::RETURN {
            return instruction;
        }
        let is_asked = match instruction.k & uapi::SECCOMP_RET_ACTION_FULL {
            uapi::SECCOMP_RET_ERRNO => true,
            uapi::SECCOMP_RET_ALLOW => allowed,
            uapi::SECCOMP_RET_LOG => false,
            _ => refusals == Refusals::All,
        };
        if is_asked { ask } else { instruction }
    };
    filter.iter().map(replaced).collect()
}

/// One filter of two, of which the second is for these calls.
fn joined(
    architecture: Architecture,
    calls: &[&str],
    first: &[Instruction],
    second: &[Instruction],
) -> Vec<Instruction> {
    // Each begins with a zero in the accumulator, as if it were alone.
    let clear = plain(op::LOAD_CONSTANT, 0);
    let tests: Vec<Vec<Instruction>> = calls
        .iter()
        .filter_map(|name| Some(test(tables::number(architecture, name)?, asked_of(name))))
        .collect();
    let start =
        [plain(op::LOAD, ARCHITECTURE), compare(op::JUMP_EQUAL, tables::audit(architecture), 1, 0)];
    let load = plain(op::LOAD, 0);
    // Behind the start: a jump to the first filter, the load, the tests, the
    // same jump again.
    let length = 2 + start.len() + tests.iter().map(Vec::len).sum::<usize>() + 1;
    let mut made: Vec<Instruction> = start.to_vec();
    let jump = |from: usize, to: usize| plain(op::JUMP, (to - from - 1) as u32);
    made.push(jump(made.len(), length));
    made.push(load);
    let to_second = length + 1 + first.len();
    for instruction in tests.into_iter().flatten() {
        let at = made.len();
        made.push(if instruction.code == op::JUMP { jump(at, to_second) } else { instruction });
    }
    made.push(jump(made.len(), length));
    made.push(clear);
    made.extend(first);
    made.push(clear);
    made.extend(second);
    made
}

/// Compares the number, and the bits of arguments; has a jump that is taken where
/// all is so. Elsewhere it leaves the number loaded for the next test.
fn test(number: u32, bits: &[Bits]) -> Vec<Instruction> {
    if bits.is_empty() {
        return vec![compare(op::JUMP_EQUAL, number, 0, 1), plain(op::JUMP, 0)];
    }
    // Of each argument a load and a comparison, then the jump and what loads the
    // number again.
    let rest = 2 * bits.len() as u8;
    let mut made = vec![compare(op::JUMP_EQUAL, number, 0, rest + 2)];
    for (at, Bits { argument, mask, set }) in bits.iter().enumerate() {
        // A machine of 64 bits has the lower half first.
        made.push(plain(op::LOAD, ARGUMENTS + 8 * argument));
        let otherwise = rest - 2 * at as u8 - 1;
        let (jt, jf) = if *set { (0, otherwise) } else { (otherwise, 0) };
        made.push(compare(op::JUMP_SET, *mask, jt, jf));
    }
    made.push(plain(op::JUMP, 0));
    made.push(plain(op::LOAD, 0));
    made
}

const fn compare(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

const fn plain(code: u16, k: u32) -> Instruction {
    compare(code, k, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::super::rules::Data;
    use super::*;

    const NATIVE: Architecture = Architecture::NATIVE;
    const ALLOW: u32 = uapi::SECCOMP_RET_ALLOW;
    const ASK: u32 = uapi::SECCOMP_RET_USER_NOTIF;
    const KILL: u32 = uapi::SECCOMP_RET_KILL_PROCESS;
    const EPERM: u32 = uapi::SECCOMP_RET_ERRNO | 1;

    fn number(name: &str) -> u32 {
        tables::number(NATIVE, name).expect("every architecture has it")
    }

    /// Answers these calls so, and allows others.
    fn filter(answers: &[(&str, u32)]) -> Vec<u8> {
        let tests = answers.iter().flat_map(|&(name, value)| {
            [compare(op::JUMP_EQUAL, number(name), 0, 1), plain(op::RETURN, value)]
        });
        let start = [plain(op::LOAD, 0)].into_iter().chain(tests);
        let all = start.chain([plain(op::RETURN, ALLOW)]);
        all.flat_map(|each| each.to_bytes()).collect()
    }

    fn answer(filter: &[u8], name: &str, arguments: [u64; 6]) -> u32 {
        let data = Data {
            number: number(name),
            architecture: tables::audit(NATIVE),
            instruction_pointer: 0,
            arguments,
        };
        Simulator::new(filter).expect("a valid filter").run(&data).value
    }

    #[test]
    fn refusals_and_what_names_something_are_asked_about() {
        let plain = filter(&[("getppid", EPERM), ("kexec_load", KILL), ("openat", EPERM)]);
        let calls = ["openat", "execve"];
        let made = watched(&plain, NATIVE, &calls, Refusals::Errors).expect("it is watched");
        let said = |name| answer(&made, name, [0; 6]);
        assert_eq!(["getppid", "openat", "execve"].map(said), [ASK; 3]);
        assert_eq!(["read", "write", "wait4", "kexec_load"].map(said), [ALLOW, ALLOW, ALLOW, KILL]);
        let made = watched(&plain, NATIVE, &calls, Refusals::All).expect("it is watched");
        assert_eq!(answer(&made, "kexec_load", [0; 6]), ASK);
    }

    #[test]
    fn of_some_calls_only_part_names_something() {
        let calls = ["mmap", "sendto", "execve"];
        let made = watched(&filter(&[]), NATIVE, &calls, Refusals::Errors).expect("it is watched");
        let map = |protection: u32, flags: u32| {
            answer(&made, "mmap", [0, 0, protection.into(), flags.into(), 0, 0])
        };
        assert_eq!([map(5, 2), map(1, 2), map(5, 0x22), map(3, 0x22)], [ASK, ALLOW, ALLOW, ALLOW]);
        let send = |address| answer(&made, "sendto", [3, 0, 0, 0, address, 0]);
        assert_eq!([send(0), send(0x7f00_0000_1000)], [ALLOW, ASK]);
        assert_eq!(answer(&made, "execve", [0; 6]), ASK);
    }

    #[test]
    fn calls_of_other_tables_are_decided_as_before() {
        let made = watched(&filter(&[]), NATIVE, &["execve"], Refusals::Errors);
        let data = Data {
            number: number("execve"),
            architecture: 1,
            instruction_pointer: 0,
            arguments: [0; 6],
        };
        let made = Simulator::new(&made.expect("it is watched")).expect("a valid filter");
        assert_eq!(made.run(&data).value, ALLOW);
    }

    #[test]
    fn what_cannot_be_watched_is_refused() {
        let made = |answers: &[_]| watched(&filter(answers), NATIVE, &[], Refusals::Errors);
        assert_eq!(made(&[("getppid", ASK)]), Err(Unwatchable::Asks));
        assert_eq!(made(&[("wait4", EPERM)]), Err(Unwatchable::Closes("wait4")));
        let long: Vec<_> = (0..2000).map(|_| ("getppid", EPERM)).collect();
        assert_eq!(made(&long), Err(Unwatchable::Long));
        assert_eq!(
            watched(&open(), NATIVE, &["write"], Refusals::Errors),
            Err(Unwatchable::Closes("write"))
        );
    }

    #[test]
    fn the_filter_of_every_preset_can_be_watched() {
        for preset in crate::presets::PRESETS {
            let (mut document, mut diagnostics) = crate::parse::toml(preset.text);
            document.extends.clear();
            let place = crate::Place {
                sysroot: "/".into(),
                directory: "/usr".into(),
                variables: [].into(),
            };
            let made = crate::encode_for(
                &document,
                &place,
                NATIVE,
                super::super::Optimize::Run,
                &mut diagnostics,
            );
            let Some(compiled) = made.and_then(|encoded| encoded.seccomp) else { continue };
            let calls = ["openat", "execve", "mmap"];
            let made = watched(&compiled.filter, NATIVE, &calls, Refusals::Errors);
            assert!(made.is_ok(), "{}: {made:?}", preset.name);
        }
    }
}
