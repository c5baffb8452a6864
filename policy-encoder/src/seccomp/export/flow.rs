//! Which calls come to an instruction, and what the accumulator holds there.

use launcher_policy::seccomp::{Instruction, op};
use launcher_policy::wire::Architecture;

use super::super::reach::Reach;
use super::super::simulate::{Simulator, X};
use super::super::tables;

/// What is known of one instruction.
#[derive(Clone, Debug, Default)]
pub(super) struct Step {
    /// The calls that may come to it.
    pub(super) calls: Vec<&'static str>,
    /// Whether other numbers may, or other architectures.
    pub(super) others: bool,
    /// What the accumulator holds before it.
    pub(super) holds: Holds,
}

/// What the accumulator holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Holds {
    /// Nothing comes here.
    #[default]
    Nothing,
    /// The word of `seccomp_data` at this offset, or some of its bits.
    Word(u32),
    /// Something else, or now this and now that.
    Unknown,
}

/// One step for each instruction, and what the filter may do about each named
/// call, in the order of numbers.
pub(super) fn follow(filter: &Simulator, architecture: Architecture) -> (Vec<Step>, Vec<Reach>) {
    let instructions = filter.instructions();
    let mut steps = vec![Step::default(); instructions.len()];
    let audit = tables::audit(architecture);
    let mut reaches = Vec::new();
    for (number, name) in tables::calls(architecture) {
        let reach = Reach::of(filter, audit, number);
        for &at in &reach.instructions {
            steps[at].calls.push(name);
        }
        reaches.push(reach);
    }
    for reach in others(architecture).map(|(audit, number)| Reach::of(filter, audit, number)) {
        for &at in &reach.instructions {
            steps[at].others = true;
        }
    }
    if let Some(first) = steps.first_mut() {
        first.holds = Holds::Unknown;
    }
    for (at, instruction) in instructions.iter().enumerate() {
        let before = steps[at].holds;
        if before == Holds::Nothing {
            continue;
        }
        let after = match instruction.code {
            op::LOAD => Holds::Word(instruction.k),
            op::AND | op::TAX => before,
            code if code & 0x07 == 0x05 => before,
            _ => Holds::Unknown,
        };
        for target in targets(at, *instruction) {
            let holds = &mut steps[target].holds;
            *holds = match *holds {
                Holds::Nothing => after,
                same if same == after => same,
                _ => Holds::Unknown,
            };
        }
    }
    (steps, reaches)
}

/// What follows an instruction: nothing, the next, or where it jumps.
pub(super) fn targets(at: usize, Instruction { code, jt, jf, k }: Instruction) -> Vec<usize> {
    match code {
        op::RETURN | op::RETURN_A => Vec::new(),
        op::JUMP => vec![at + 1 + k as usize],
        _ if is_comparison(code) => vec![at + 1 + usize::from(jt), at + 1 + usize::from(jf)],
        _ => vec![at + 1],
    }
}

pub(super) fn is_comparison(code: u16) -> bool {
    let comparisons = [op::JUMP_EQUAL, op::JUMP_GREATER, op::JUMP_GREATER_EQUAL, op::JUMP_SET];
    comparisons.contains(&(code & !X))
}

/// Architectures and numbers beside the named calls: those between them, at
/// the edges of ranges, and one of another architecture.
pub(super) fn others(architecture: Architecture) -> impl Iterator<Item = (u32, u32)> {
    let newest = tables::newest(architecture);
    let between = (0..newest).filter(move |number| tables::name(architecture, *number).is_none());
    let edges = [1 << 30, 1 << 31, 3 << 30].into_iter().flat_map(|edge: u32| [edge - 1, edge]);
    let audit = tables::audit(architecture);
    between
        .chain([newest + 1])
        .chain(edges)
        .chain([u32::MAX - 1, u32::MAX])
        .map(move |number| (audit, number))
        .chain([(audit ^ 1, 1)])
}
