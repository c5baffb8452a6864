//! What is done to a compiled filter as a whole, whatever it decides.

use launcher_policy::seccomp::{Instruction, op};
use linux_raw_sys::ptrace as uapi;

/// Where `seccomp_data` has an argument: what no filter knows beforehand.
const ARGUMENT: u32 = 16;

/// What a filter is to be cheap at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Optimize {
    /// System calls: when the filter is installed, the kernel finds the calls
    /// that it always allows, and does not run it for them again.
    #[default]
    Run,
    /// The launch: the kernel does not look for such calls, and runs the
    /// filter for each that is made.
    Launch,
}

impl Optimize {
    /// Makes a filter so.
    pub fn apply(self, filter: &mut Vec<Instruction>) {
        match self {
            Self::Run => {}
            // The kernel's search for a number ends at the first load of
            // anything but number and architecture, `seccomp_is_const_allow`
            // of kernel/seccomp.c: here, for every number.
            Self::Launch => filter.insert(0, plain(op::LOAD, ARGUMENT)),
        }
    }
}

/// Puts a filter before another: what the first lets through is for the
/// second to decide, as if both were installed. What the first logs is logged
/// where the second allows it, for which there is a copy of the second.
pub(super) fn stack(first: &[Instruction], second: &[Instruction]) -> Vec<Instruction> {
    // A filter starts with a zero in the accumulator.
    let clear = plain(op::LOAD_CONSTANT, 0);
    let logging = second.iter().map(|&instruction| match (instruction.code, instruction.k) {
        (op::RETURN, uapi::SECCOMP_RET_ALLOW) => plain(op::RETURN, uapi::SECCOMP_RET_LOG),
        // What it computes is not known: it stays, and may be let through
        // without a log.
        _ => instruction,
    });
    let logs = |each: &Instruction| (each.code, each.k) == (op::RETURN, uapi::SECCOMP_RET_LOG);
    let copy: Vec<Instruction> = match first.iter().any(logs) {
        true => [clear].into_iter().chain(logging).collect(),
        false => Vec::new(),
    };
    let count = first.len();
    let redirected = first.iter().enumerate().map(|(at, &instruction)| {
        let after = count - at - 1;
        match (instruction.code, instruction.k) {
            (op::RETURN, uapi::SECCOMP_RET_ALLOW) => plain(op::JUMP, after as u32),
            (op::RETURN, uapi::SECCOMP_RET_LOG) => {
                plain(op::JUMP, (after + 1 + second.len()) as u32)
            }
            _ => instruction,
        }
    });
    redirected.chain([clear]).chain(second.iter().copied()).chain(copy).collect()
}

const fn plain(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

#[cfg(test)]
mod tests {
    use super::super::rules::Data;
    use super::super::simulate::Simulator;
    use super::*;

    const ALLOW: u32 = uapi::SECCOMP_RET_ALLOW;
    const LOG: u32 = uapi::SECCOMP_RET_LOG;
    const ERRNO: u32 = uapi::SECCOMP_RET_ERRNO;

    fn simulator(filter: &[Instruction]) -> Simulator {
        let bytes: Vec<u8> = filter.iter().flat_map(|each| each.to_bytes()).collect();
        Simulator::new(&bytes).expect("a valid filter")
    }

    fn data(number: u32) -> Data {
        Data { number, architecture: 0, instruction_pointer: 0, arguments: [number.into(); 6] }
    }

    /// Answers one number so, and all others otherwise.
    fn one(number: u32, then: u32, otherwise: u32) -> Vec<Instruction> {
        vec![
            plain(op::LOAD, 0),
            Instruction { code: op::JUMP_EQUAL, jt: 1, jf: 0, k: number },
            plain(op::RETURN, otherwise),
            plain(op::RETURN, then),
        ]
    }

    #[test]
    fn what_both_let_through_passes_and_what_one_denies_does_not() {
        let both = simulator(&stack(&one(1, ERRNO | 1, ALLOW), &one(2, ERRNO | 2, ALLOW)));
        assert_eq!(both.run(&data(1)).value, ERRNO | 1);
        assert_eq!(both.run(&data(2)).value, ERRNO | 2);
        assert_eq!(both.run(&data(3)).value, ALLOW);
    }

    #[test]
    fn what_the_first_only_logs_the_second_may_deny() {
        let both = simulator(&stack(&one(1, LOG, ALLOW), &one(1, ERRNO | 2, ALLOW)));
        assert_eq!(both.run(&data(1)).value, ERRNO | 2);
    }

    #[test]
    fn what_the_first_logs_is_logged_where_the_second_allows_it() {
        let both = simulator(&stack(&one(1, LOG, ALLOW), &one(2, ERRNO | 2, ALLOW)));
        assert_eq!(both.run(&data(1)).value, LOG);
        assert_eq!(both.run(&data(2)).value, ERRNO | 2);
        assert_eq!(both.run(&data(3)).value, ALLOW);
    }

    #[test]
    fn the_second_finds_the_registers_as_if_it_were_alone() {
        // Allows what is zero in a register that it never loads.
        let second = [
            Instruction { code: op::JUMP_EQUAL, jt: 1, jf: 0, k: 0 },
            plain(op::RETURN, ERRNO | 2),
            plain(op::RETURN, ALLOW),
        ];
        let both = simulator(&stack(&one(1, ERRNO | 1, ALLOW), &second));
        assert_eq!(both.run(&data(7)).value, ALLOW);
    }

    #[test]
    fn what_is_cheap_to_launch_decides_the_same() {
        let mut filter = one(1, ERRNO | 1, ALLOW);
        Optimize::Launch.apply(&mut filter);
        assert_eq!((filter[0].code, filter[0].k), (op::LOAD, ARGUMENT));
        for number in [0, 1, 2] {
            let expected = if number == 1 { ERRNO | 1 } else { ALLOW };
            assert_eq!(simulator(&filter).run(&data(number)).value, expected);
        }
    }
}
