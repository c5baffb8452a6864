//! What a filter may answer to a system call, whatever the arguments.
//!
//! The filter is followed with the number and the architecture known and all
//! else unknown, and where a comparison is of something unknown, both ways:
//! nothing that can happen is missed. What is compared twice may be found
//! equal once and different once, so an answer that cannot happen may be
//! among those found.

use std::collections::{BTreeSet, HashSet};

use launcher_policy::seccomp::{Instruction, op};
use linux_raw_sys::ptrace as uapi;

use super::simulate::{DIVIDE, DIVIDED_BY_ZERO, Simulator, X, arithmetic, holds};

/// How many states are told apart before registers count as unknown: far
/// more than any filter that a compiler writes has.
const MAX_STATES: usize = 1 << 16;

/// What a filter may do about one system call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// What it may return: `SECCOMP_RET_*` and its data.
    pub values: BTreeSet<u32>,
    /// Whether it may return something else as well, which it computes.
    pub computes: bool,
    /// Where in `seccomp_data` it looks, beside number and architecture.
    pub words: BTreeSet<u32>,
    /// The instructions that it may come to, by their places.
    pub instructions: BTreeSet<usize>,
}

/// A place in the filter, with what is known of the registers there.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    next: usize,
    a: Option<u32>,
    x: Option<u32>,
}

/// Whether a filter's answer lets the call be made.
fn is_allowed(value: &u32) -> bool {
    let action = value & uapi::SECCOMP_RET_ACTION_FULL;
    matches!(action, uapi::SECCOMP_RET_ALLOW | uapi::SECCOMP_RET_LOG)
}

impl Reach {
    /// Follows a filter for a number of an architecture (`AUDIT_ARCH_*`).
    #[must_use]
    pub fn of(filter: &Simulator, architecture: u32, number: u32) -> Self {
        let mut reach = Self::default();
        let mut seen = HashSet::new();
        let mut open = vec![State { next: 0, a: Some(0), x: Some(0) }];
        while let Some(mut state) = open.pop() {
            if seen.len() >= MAX_STATES {
                (state.a, state.x) = (None, None);
            }
            if !seen.insert(state) {
                continue;
            }
            // A valid filter jumps only forward and ends in a return.
            let instruction = filter.instructions()[state.next];
            reach.instructions.insert(state.next);
            reach.follow(state, instruction, [number, architecture], &mut open);
        }
        reach
    }

    /// Whether the call may be made, be it logged.
    #[must_use]
    pub fn may_allow(&self) -> bool {
        self.computes || self.values.iter().any(is_allowed)
    }

    /// Whether the call is made whatever its arguments, be it logged.
    pub(super) fn always_allows(&self) -> bool {
        !self.computes && self.values.iter().all(is_allowed)
    }

    /// Whether the process may go on behind the call, be it denied.
    pub(super) fn may_go_on(&self) -> bool {
        let ends = |value: &u32| {
            let action = value & uapi::SECCOMP_RET_ACTION_FULL;
            matches!(
                action,
                uapi::SECCOMP_RET_KILL_PROCESS
                    | uapi::SECCOMP_RET_KILL_THREAD
                    | uapi::SECCOMP_RET_TRAP
            )
        };
        self.computes || !self.values.iter().all(ends)
    }

    fn follow(
        &mut self,
        State { next, a, x }: State,
        Instruction { code, jt, jf, k }: Instruction,
        known: [u32; 2],
        open: &mut Vec<State>,
    ) {
        let next = next + 1;
        let state = match code {
            op::RETURN => {
                self.values.insert(k);
                return;
            }
            op::RETURN_A => {
                match a {
                    Some(value) => _ = self.values.insert(value),
                    None => self.computes = true,
                }
                return;
            }
            op::LOAD => {
                let word = known.get(k as usize / 4).copied();
                if word.is_none() {
                    self.words.insert(k);
                }
                State { next, a: word, x }
            }
            op::LOAD_LENGTH => State { next, a: Some(launcher_policy::seccomp::DATA_SIZE), x },
            op::LOAD_CONSTANT => State { next, a: Some(k), x },
            op::LOADX_LENGTH => State { next, a, x: Some(launcher_policy::seccomp::DATA_SIZE) },
            op::LOADX_CONSTANT => State { next, a, x: Some(k) },
            op::TAX => State { next, a, x: a },
            op::TXA => State { next, a: x, x },
            op::NEGATE => State { next, a: a.map(u32::wrapping_neg), x },
            op::JUMP => State { next: next + k as usize, a, x },
            _ => {
                let operand = if code & X == 0 { Some(k) } else { x };
                let operation = code & !X;
                if is_comparison(operation) {
                    let known =
                        a.zip(operand).and_then(|(a, operand)| holds(operation, a, operand));
                    let ways = [(true, jt), (false, jf)].into_iter();
                    let ways = ways.filter(|(way, _)| known.is_none_or(|known| known == *way));
                    open.extend(ways.map(|(_, skip)| State {
                        next: next + usize::from(skip),
                        a,
                        x,
                    }));
                    return;
                }
                // A division by what is not known may be one by zero.
                let divides = operation == DIVIDE && operand.is_none_or(|operand| operand == 0);
                if divides {
                    self.values.insert(DIVIDED_BY_ZERO);
                }
                match a.zip(operand).map(|(a, operand)| arithmetic(operation, a, operand)) {
                    Some(None) => return,
                    Some(result) => State { next, a: result, x },
                    None => State { next, a: None, x },
                }
            }
        };
        open.push(state);
    }
}

const fn is_comparison(operation: u16) -> bool {
    matches!(operation, op::JUMP_EQUAL | op::JUMP_GREATER | op::JUMP_GREATER_EQUAL | op::JUMP_SET)
}

#[cfg(test)]
mod tests {
    use super::super::rules::Data;
    use super::*;

    fn reach(instructions: &[(u16, u8, u8, u32)]) -> Reach {
        let filter: Vec<u8> = instructions
            .iter()
            .flat_map(|&(code, jt, jf, k)| Instruction { code, jt, jf, k }.to_bytes())
            .collect();
        Reach::of(&Simulator::new(&filter).expect("a valid filter"), 2, 1)
    }

    #[test]
    fn what_is_known_decides_and_what_is_not_goes_both_ways() {
        let ends = [(op::RETURN, 0, 0, 10), (op::RETURN, 0, 0, 11)];
        let on = |word: u32, k: u32| {
            let start = [(op::LOAD, 0, 0, word), (op::JUMP_EQUAL, 1, 0, k)];
            reach(&[start, ends].concat())
        };
        assert_eq!(on(0, 1).values, [11].into());
        assert_eq!(on(0, 2).values, [10].into());
        assert_eq!(on(4, 2).values, [11].into());
        assert_eq!(on(16, 2).values, [10, 11].into());
        assert_eq!(on(16, 2).words, [16].into());
        assert!(on(0, 1).words.is_empty());
        assert_eq!(on(0, 1).instructions, [0, 1, 3].into());
    }

    #[test]
    fn an_answer_that_is_computed_is_found_where_it_is_known() {
        let known = [(op::LOAD, 0, 0, 0), (0x04, 0, 0, 5), (op::RETURN_A, 0, 0, 0)];
        let found = reach(&known);
        assert_eq!((found.values, found.computes), ([6].into(), false));
        let unknown = [(op::LOAD, 0, 0, 24), (0x04, 0, 0, 5), (op::RETURN_A, 0, 0, 0)];
        let found = reach(&unknown);
        assert_eq!((found.values, found.computes), ([].into(), true));
    }

    #[test]
    fn a_division_by_what_may_be_zero_may_end_the_filter() {
        let filter = [
            (op::LOAD, 0, 0, 16),
            (op::TAX, 0, 0, 0),
            (op::LOAD_CONSTANT, 0, 0, 9),
            (DIVIDE | X, 0, 0, 0),
            (op::RETURN, 0, 0, uapi::SECCOMP_RET_ALLOW),
        ];
        assert_eq!(reach(&filter).values, [0, uapi::SECCOMP_RET_ALLOW].into());
        let surely = [
            (op::LOADX_CONSTANT, 0, 0, 0),
            (DIVIDE | X, 0, 0, 0),
            (op::RETURN, 0, 0, uapi::SECCOMP_RET_ALLOW),
        ];
        assert_eq!(reach(&surely).values, [0].into());
    }

    #[test]
    fn a_filter_that_has_too_many_states_still_has_an_end_and_all_answers() {
        // Each pair doubles the values that the accumulator may have.
        let mut filter = vec![(op::LOAD_CONSTANT, 0, 0, 0), (op::TAX, 0, 0, 0)];
        for bit in 0..31 {
            filter.extend([
                (op::LOAD, 0, 0, 16),
                (op::JUMP_SET, 0, 3, 1 << bit),
                (op::TXA, 0, 0, 0),
                (0x04, 0, 0, 1 << bit),
                (op::TAX, 0, 0, 0),
            ]);
        }
        filter.extend([
            (op::TXA, 0, 0, 0),
            (op::JUMP_EQUAL, 1, 0, 12_345),
            (op::RETURN, 0, 0, 1),
            (op::RETURN, 0, 0, 2),
        ]);
        assert_eq!(reach(&filter).values, [1, 2].into());
    }

    #[test]
    fn every_answer_of_a_simulation_is_found() {
        let calls = [(1, 2), (7, 3)];
        for (number, first) in calls {
            let filter = [
                (op::LOAD, 0, 0, 16),
                (0x44, 0, 0, 1),
                (op::JUMP_GREATER, 1, 0, 2),
                (op::RETURN, 0, 0, 1),
                (op::RETURN, 0, 0, 2),
            ];
            let bytes: Vec<u8> = filter
                .iter()
                .flat_map(|&(code, jt, jf, k)| Instruction { code, jt, jf, k }.to_bytes())
                .collect();
            let simulator = Simulator::new(&bytes).expect("a valid filter");
            let data = Data {
                number,
                architecture: 2,
                instruction_pointer: 0,
                arguments: [first, 0, 0, 0, 0, 0],
            };
            let value = simulator.run(&data).value;
            assert!(Reach::of(&simulator, 2, number).values.contains(&value));
        }
    }
}
