//! Which calls come to an instruction, and what the accumulator holds there.

use std::collections::{BTreeSet, HashSet};

use launcher_policy::seccomp::{Instruction, op};
use launcher_policy::wire::Architecture;
use linux_raw_sys::ptrace as uapi;

use super::super::reach::Reach;
use super::super::simulate::{Simulator, X};
use super::super::tables::{self, Abi};
use super::architecture_name;

/// What is known of one instruction.
#[derive(Clone, Debug, Default)]
pub(super) struct Step {
    /// The calls that may come to it, and their tables.
    pub(super) calls: Vec<(&'static str, Table)>,
    /// Whether other numbers may, or other architectures.
    pub(super) others: bool,
    /// What the accumulator holds before it.
    pub(super) holds: Holds,
}

impl Step {
    /// The names of the calls that may come to it.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.calls.iter().map(|(name, _)| *name).collect()
    }

    /// Those in words: of another table, with that.
    pub(super) fn words(&self) -> Vec<String> {
        self.calls.iter().map(|(name, table)| table.named(name)).collect()
    }

    /// The call of a number, if one table alone can have come here with it.
    pub(super) fn call(&self, number: u32) -> Option<&'static str> {
        let tables: Vec<Table> = self.calls.chunk_by(|a, b| a.1 == b.1).map(|of| of[0].1).collect();
        let is_one = tables.iter().all(|table| table.audit() == tables[0].audit());
        tables.iter().filter(|_| is_one).find_map(|table| table.call(number))
    }
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

/// One of the tables that a filter is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Table {
    architecture: Architecture,
    /// `None` for the architecture's own.
    abi: Option<Abi>,
}

impl Table {
    /// The architecture's own, and those beside it.
    pub(super) fn all(architecture: Architecture) -> impl Iterator<Item = Self> {
        let others = Abi::ALL.into_iter().filter(move |abi| abi.host() == architecture);
        let abis = std::iter::once(None).chain(others.map(Some));
        abis.map(move |abi| Self { architecture, abi })
    }

    /// What `seccomp_data.arch` says.
    pub(super) const fn audit(self) -> u32 {
        match self.abi {
            None => tables::audit(self.architecture),
            Some(abi) => abi.audit(),
        }
    }

    /// Its word.
    pub(super) const fn name(self) -> &'static str {
        match self.abi {
            None => architecture_name(self.architecture),
            Some(abi) => abi.name(),
        }
    }

    /// Its calls and their numbers.
    fn calls(self) -> Vec<(u32, &'static str)> {
        match self.abi {
            None => tables::calls(self.architecture).collect(),
            Some(abi) => abi.calls(),
        }
    }

    /// The name of a number.
    fn call(self, number: u32) -> Option<&'static str> {
        match self.abi {
            None => tables::name(self.architecture, number),
            Some(abi) => abi.calls().into_iter().find(|call| call.0 == number).map(|call| call.1),
        }
    }

    /// A call of it in words: of another table, with that.
    fn named(self, name: &str) -> String {
        self.abi.map_or_else(|| name.to_owned(), |abi| format!("{} {name}", abi.name()))
    }
}

/// A call of a table, and what the filter may do about it.
pub(super) struct Followed {
    pub(super) table: Table,
    pub(super) number: u32,
    pub(super) name: &'static str,
    pub(super) reach: Reach,
}

/// One step for each instruction, and what the filter may do about each named
/// call, in the order of tables and numbers. A table whose every call ends the
/// process is closed, and left out.
pub(super) fn follow(filter: &Simulator, architecture: Architecture) -> (Vec<Step>, Vec<Followed>) {
    let instructions = filter.instructions();
    let mut steps = vec![Step::default(); instructions.len()];
    let mut followed = Vec::new();
    for table in Table::all(architecture) {
        let calls: Vec<Followed> = table
            .calls()
            .into_iter()
            .map(|(number, name)| {
                let reach = Reach::of(filter, table.audit(), number);
                Followed { table, number, name, reach }
            })
            .collect();
        let is_open = |call: &Followed| call.reach.computes || call.reach.values != closed();
        if table.abi.is_none() || calls.iter().any(is_open) {
            followed.extend(calls);
        }
    }
    for call in &followed {
        for &at in &call.reach.instructions {
            steps[at].calls.push((call.name, call.table));
        }
    }
    for reach in
        others(&followed, architecture).map(|(audit, number)| Reach::of(filter, audit, number))
    {
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
    (steps, followed)
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
pub(super) fn others(
    followed: &[Followed],
    architecture: Architecture,
) -> impl Iterator<Item = (u32, u32)> {
    let named: HashSet<(u32, u32)> =
        followed.iter().map(|call| (call.table.audit(), call.number)).collect();
    let edges = [1 << 30, 1 << 31, 3 << 30].into_iter().flat_map(|edge: u32| [edge - 1, edge]);
    let numbers: Vec<u32> = (0..=tables::newest(architecture) + 1)
        .chain(edges)
        .chain([u32::MAX - 1, u32::MAX])
        .collect();
    let audits: BTreeSet<u32> = followed.iter().map(|call| call.table.audit()).collect();
    let foreign = (tables::audit(architecture) ^ 1, 1);
    audits
        .into_iter()
        .flat_map(move |audit| numbers.clone().into_iter().map(move |number| (audit, number)))
        .filter(move |other| !named.contains(other))
        .chain([foreign])
}

/// What a filter does about calls of tables that are not open.
fn closed() -> BTreeSet<u32> {
    [uapi::SECCOMP_RET_KILL_PROCESS].into()
}
