//! Rules: what a filter decides, before it becomes instructions.
//!
//! Everything about a decision is here and nothing about instructions, so
//! that [`Rules::decide`] can be read and believed, and what
//! [`compile`](super::compile) makes of the rules be compared with it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use launcher_policy::wire::Architecture;
use linux_raw_sys::errno::ENOSYS;
use linux_raw_sys::ptrace as uapi;

pub use super::tables::X32_BIT;
use super::tables::{self, Abi};

/// What a whole filter decides.
///
/// A call of another architecture, and on x86_64 of the x32 interface, kills
/// the process, unless it has rules of its own in `others`. A number that
/// the rules lack gets `ENOSYS`, as from a kernel that does not have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The architecture whose numbers these are.
    pub architecture: Architecture,
    /// What happens to each system call, by number.
    pub calls: BTreeMap<u32, Call>,
    /// The same for the other tables of that architecture's kernel.
    pub others: BTreeMap<Abi, BTreeMap<u32, Call>>,
}

/// What happens to one system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The first rule that matches decides.
    pub rules: Vec<Rule>,
    /// What happens where none does.
    pub otherwise: Action,
}

/// An action, under conditions on the arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// All of these must hold; without any the rule always matches.
    pub conditions: Vec<Condition>,
    /// What happens then.
    pub action: Action,
}

/// A condition on one argument of a system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which argument.
    pub argument: Argument,
    /// How much of it is looked at.
    pub width: Width,
    /// What it is compared with.
    pub comparison: Comparison,
}

/// The place of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Argument {
    First,
    Second,
    Third,
    Fourth,
    Fifth,
    Sixth,
}

/// How much of an argument the kernel looks at, which is what the filter must
/// look at: the kernel ignores the upper half of an `int`, and a filter that
/// does not can be passed by setting a bit there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// The lower half: `int`, `unsigned int`.
    Bits32,
    /// All of it: `long`, `size_t`.
    Bits64,
}

/// What an argument is compared with, without a sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// It is this.
    Equal(u64),
    /// It is not this.
    NotEqual(u64),
    /// It is less.
    Less(u64),
    /// It is this or less.
    LessOrEqual(u64),
    /// It is greater.
    Greater(u64),
    /// It is this or greater.
    GreaterOrEqual(u64),
    /// Its bits under the mask are these.
    MaskedEqual {
        /// The bits that are looked at.
        mask: u64,
        /// What they are.
        value: u64,
    },
    /// It is one of these.
    OneOf(Vec<u64>),
}

/// What the kernel does with a system call: `SECCOMP_RET_*` of seccomp(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Ends the process as if by `SIGSYS`.
    KillProcess,
    /// Sends `SIGSYS` to the thread.
    Trap,
    /// Returns this error number, at most 4095.
    Errno(u16),
    /// Asks the process that listens on the filter.
    Notify,
    /// Makes the call and logs it.
    Log,
    /// Makes the call.
    Allow,
}

/// What the kernel tells a filter about a system call: `struct seccomp_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data {
    /// The number of the call.
    pub number: u32,
    /// `AUDIT_ARCH_*`
    pub architecture: u32,
    /// Where the call was made.
    pub instruction_pointer: u64,
    /// The arguments as the registers hold them.
    pub arguments: [u64; 6],
}

impl Rules {
    /// Rules about an architecture's own table alone.
    #[must_use]
    pub const fn native(architecture: Architecture, calls: BTreeMap<u32, Call>) -> Self {
        Self { architecture, calls, others: BTreeMap::new() }
    }

    /// What happens to a call.
    #[must_use]
    pub fn decide(&self, data: &Data) -> Action {
        let (calls, unnamed) = if data.architecture == tables::audit(self.architecture) {
            let x32 = self.others.get(&Abi::X32).filter(|_| data.number & X32_BIT != 0);
            (x32.unwrap_or(&self.calls), self.unnamed_ranges())
        } else {
            match self.foreign().find(|(audit, _)| *audit == data.architecture) {
                Some((_, calls)) => (calls, ALL_UNKNOWN),
                None => return Action::KillProcess,
            }
        };
        calls.get(&data.number).map_or_else(
            || self::unnamed(unnamed, data.number),
            |call| call.decide(&data.arguments),
        )
    }

    /// The tables that another architecture's name leads to, and that name:
    /// `AUDIT_ARCH_*`.
    pub(super) fn foreign(&self) -> impl Iterator<Item = (u32, &BTreeMap<u32, Call>)> {
        let native = tables::audit(self.architecture);
        let others = self.others.iter().map(|(abi, calls)| (abi.audit(), calls));
        others.filter(move |(audit, _)| *audit != native)
    }

    /// What happens to numbers that no system call of the architecture has,
    /// as ranges: where each begins.
    pub(super) fn unnamed_ranges(&self) -> &'static [(u32, Action)] {
        match self.architecture {
            Architecture::X86_64 if !self.others.contains_key(&Abi::X32) => &[
                (0, UNKNOWN),
                (X32_BIT, Action::KillProcess),
                (X32_BIT << 1, UNKNOWN),
                (X32_BIT | X32_BIT << 1, Action::KillProcess),
                // Not an x32 call: what a tracer sets to skip a call, and what
                // programs use for a call that surely does not exist.
                (u32::MAX, UNKNOWN),
            ],
            Architecture::X86_64 | Architecture::Aarch64 | Architecture::Riscv64 => ALL_UNKNOWN,
        }
    }
}

/// Nothing but numbers newer than the table.
pub(super) const ALL_UNKNOWN: &[(u32, Action)] = &[(0, UNKNOWN)];

/// What happens to a number by such ranges.
pub(super) fn unnamed(ranges: &[(u32, Action)], number: u32) -> Action {
    let range = ranges.iter().rev().find(|(start, _)| *start <= number);
    range.map_or(UNKNOWN, |(_, action)| *action)
}

/// What a number newer than the table gets: never `Allow`.
const UNKNOWN: Action = Action::Errno(ENOSYS as u16);

impl Call {
    /// The same for all arguments.
    #[must_use]
    pub const fn always(action: Action) -> Self {
        Self { rules: Vec::new(), otherwise: action }
    }

    /// The same where a guarantee allows the call, else what the guarantee
    /// says. What is denied here stays denied as it is.
    #[must_use]
    pub fn within(self, guarantee: &Self) -> Self {
        let mut rules: Vec<Rule> = Vec::new();
        for rule in self.rules {
            if !rule.action.may_be_made() {
                rules.push(rule);
                continue;
            }
            let limited = guarantee.limit(rule.action);
            rules.extend(limited.rules.into_iter().map(|limit| Rule {
                conditions: [rule.conditions.as_slice(), &limit.conditions].concat(),
                action: limit.action,
            }));
            rules.push(Rule { action: limited.otherwise, ..rule });
        }
        if !self.otherwise.may_be_made() {
            return Self { rules, otherwise: self.otherwise };
        }
        let limited = guarantee.limit(self.otherwise);
        rules.extend(limited.rules);
        Self { rules, otherwise: limited.otherwise }
    }

    /// A guarantee, with another action for what it allows.
    fn limit(&self, allowed: Action) -> Self {
        let limit = |action: Action| if action.is_allowed() { allowed } else { action };
        let rules = self
            .rules
            .iter()
            .map(|rule| Rule { conditions: rule.conditions.clone(), action: limit(rule.action) });
        Self { rules: rules.collect(), otherwise: limit(self.otherwise) }
    }

    /// The same on a machine of 32 bits.
    #[must_use]
    pub(super) fn narrowed(mut self) -> Self {
        for condition in self.rules.iter_mut().flat_map(|rule| &mut rule.conditions) {
            condition.width = Width::Bits32;
            condition.comparison = condition.comparison.clone().narrowed();
        }
        self
    }

    /// What happens with these arguments.
    #[must_use]
    pub fn decide(&self, arguments: &[u64; 6]) -> Action {
        let rule = self.rules.iter().find(|rule| rule.matches(arguments));
        rule.map_or(self.otherwise, |rule| rule.action)
    }
}

impl Rule {
    fn matches(&self, arguments: &[u64; 6]) -> bool {
        self.conditions.iter().all(|condition| condition.holds(arguments))
    }
}

impl Condition {
    /// A condition on an `int`.
    #[must_use]
    pub const fn int(argument: Argument, comparison: Comparison) -> Self {
        Self { argument, width: Width::Bits32, comparison }
    }

    /// A condition on a `long`.
    #[must_use]
    pub const fn long(argument: Argument, comparison: Comparison) -> Self {
        Self { argument, width: Width::Bits64, comparison }
    }

    /// Whether it holds of these arguments.
    #[must_use]
    pub fn holds(&self, arguments: &[u64; 6]) -> bool {
        let actual = arguments[self.argument as usize] & self.width.mask();
        match self.comparison {
            Comparison::Equal(value) => actual == value,
            Comparison::NotEqual(value) => actual != value,
            Comparison::Less(value) => actual < value,
            Comparison::LessOrEqual(value) => actual <= value,
            Comparison::Greater(value) => actual > value,
            Comparison::GreaterOrEqual(value) => actual >= value,
            Comparison::MaskedEqual { mask, value } => actual & mask == value,
            Comparison::OneOf(ref values) => values.contains(&actual),
        }
    }
}

impl Argument {
    /// All of them, in order.
    pub const ALL: [Self; 6] =
        [Self::First, Self::Second, Self::Third, Self::Fourth, Self::Fifth, Self::Sixth];
}

impl Width {
    /// The bits that are looked at.
    #[must_use]
    pub const fn mask(self) -> u64 {
        match self {
            Self::Bits32 => u32::MAX as u64,
            Self::Bits64 => u64::MAX,
        }
    }
}

impl Comparison {
    /// What the argument is compared with.
    pub(super) fn values(&self) -> impl Iterator<Item = u64> {
        let (list, single) = match self {
            Self::Equal(value)
            | Self::NotEqual(value)
            | Self::Less(value)
            | Self::LessOrEqual(value)
            | Self::Greater(value)
            | Self::GreaterOrEqual(value)
            | Self::MaskedEqual { value, .. } => ([].as_slice(), Some(*value)),
            Self::OneOf(values) => (values.as_slice(), None),
        };
        list.iter().copied().chain(single)
    }

    /// The same of a number of 32 bits: what was negative still is.
    #[must_use]
    pub(super) fn narrowed(self) -> Self {
        let narrow = |value: u64| match value {
            0xffff_ffff_8000_0000.. => value & u64::from(u32::MAX),
            _ => value,
        };
        match self {
            Self::Equal(value) => Self::Equal(narrow(value)),
            Self::NotEqual(value) => Self::NotEqual(narrow(value)),
            Self::Less(value) => Self::Less(narrow(value)),
            Self::LessOrEqual(value) => Self::LessOrEqual(narrow(value)),
            Self::Greater(value) => Self::Greater(narrow(value)),
            Self::GreaterOrEqual(value) => Self::GreaterOrEqual(narrow(value)),
            Self::MaskedEqual { mask, value } => {
                Self::MaskedEqual { mask: mask & u64::from(u32::MAX), value: narrow(value) }
            }
            Self::OneOf(values) => Self::OneOf(values.into_iter().map(narrow).collect()),
        }
    }

    /// The values that satisfy it, ascending and apart; `None` for a mask,
    /// whose values are no ranges.
    pub(super) fn ranges(&self) -> Option<Vec<RangeInclusive<u64>>> {
        let below = |value: u64| value.checked_sub(1).map(|last| 0..=last);
        let above = |value: u64| value.checked_add(1).map(|first| first..=u64::MAX);
        Some(match *self {
            Self::Equal(value) => vec![value..=value],
            Self::NotEqual(value) => below(value).into_iter().chain(above(value)).collect(),
            Self::Less(value) => below(value).into_iter().collect(),
            Self::LessOrEqual(value) => vec![0..=value],
            Self::Greater(value) => above(value).into_iter().collect(),
            Self::GreaterOrEqual(value) => vec![value..=u64::MAX],
            Self::MaskedEqual { .. } => return None,
            Self::OneOf(ref values) => {
                let mut values = values.clone();
                values.sort_unstable();
                values.dedup();
                values.into_iter().map(|value| value..=value).collect()
            }
        })
    }
}

impl Action {
    /// What the filter returns for it.
    #[must_use]
    pub const fn value(self) -> u32 {
        match self {
            Self::KillProcess => uapi::SECCOMP_RET_KILL_PROCESS,
            Self::Trap => uapi::SECCOMP_RET_TRAP,
            Self::Errno(number) => uapi::SECCOMP_RET_ERRNO | number as u32,
            Self::Notify => uapi::SECCOMP_RET_USER_NOTIF,
            Self::Log => uapi::SECCOMP_RET_LOG,
            Self::Allow => uapi::SECCOMP_RET_ALLOW,
        }
    }

    /// Whether the call is made, or a supervisor may have it made.
    #[must_use]
    pub const fn may_be_made(self) -> bool {
        matches!(self, Self::Allow | Self::Log | Self::Notify)
    }

    /// Whether the call is made.
    #[must_use]
    pub const fn is_allowed(self) -> bool {
        matches!(self, Self::Allow | Self::Log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(number: u32, first: u64) -> Data {
        Data {
            number,
            architecture: uapi::AUDIT_ARCH_X86_64,
            instruction_pointer: 0,
            arguments: [first, 0, 0, 0, 0, 0],
        }
    }

    fn rules(call: Call) -> Rules {
        Rules::native(Architecture::X86_64, BTreeMap::from([(7, call)]))
    }

    fn holds(width: Width, comparison: Comparison, actual: u64) -> bool {
        Condition { argument: Argument::First, width, comparison }.holds(&[actual, 0, 0, 0, 0, 0])
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rule = |value, action| Rule {
            conditions: vec![Condition::int(Argument::First, Comparison::LessOrEqual(value))],
            action,
        };
        let call = Call {
            rules: vec![rule(1, Action::Errno(1)), rule(2, Action::Trap)],
            otherwise: Action::Allow,
        };
        let rules = rules(call);
        assert_eq!(rules.decide(&data(7, 1)), Action::Errno(1));
        assert_eq!(rules.decide(&data(7, 2)), Action::Trap);
        assert_eq!(rules.decide(&data(7, 3)), Action::Allow);
    }

    #[test]
    fn foreign_calls_kill_and_unknown_ones_do_not_exist() {
        let rules = rules(Call::always(Action::Allow));
        let foreign = Data { architecture: uapi::AUDIT_ARCH_I386, ..data(7, 0) };
        assert_eq!(rules.decide(&foreign), Action::KillProcess);
        assert_eq!(rules.decide(&data(7 | X32_BIT, 0)), Action::KillProcess);
        assert_eq!(rules.decide(&data(0x7fff_ffff, 0)), Action::KillProcess);
        assert_eq!(rules.decide(&data(0xffff_fffe, 0)), Action::KillProcess);
        for unknown in [8, 0x3fff_ffff, 0x8000_0000, 0xbfff_ffff, u32::MAX] {
            assert_eq!(rules.decide(&data(unknown, 0)), UNKNOWN, "{unknown:#x}");
        }
    }

    #[test]
    fn another_table_is_judged_by_its_own_rules() {
        let mut rules = rules(Call::always(Action::Allow));
        let denied = Call::always(Action::Errno(1));
        rules.others.insert(Abi::I386, BTreeMap::from([(7, denied.clone())]));
        let foreign = |number| Data { architecture: uapi::AUDIT_ARCH_I386, ..data(number, 0) };
        assert_eq!(rules.decide(&foreign(7)), Action::Errno(1));
        assert_eq!(rules.decide(&foreign(8)), UNKNOWN);
        assert_eq!(rules.decide(&foreign(8 | X32_BIT)), UNKNOWN);
        assert_eq!(rules.decide(&data(7 | X32_BIT, 0)), Action::KillProcess);
        rules.others.insert(Abi::X32, BTreeMap::from([(7 | X32_BIT, denied)]));
        assert_eq!(rules.decide(&data(7 | X32_BIT, 0)), Action::Errno(1));
        assert_eq!(rules.decide(&data(8 | X32_BIT, 0)), UNKNOWN);
        assert_eq!(rules.decide(&data(7, 0)), Action::Allow);
        let arm = Data { architecture: uapi::AUDIT_ARCH_ARM, ..data(7, 0) };
        assert_eq!(rules.decide(&arm), Action::KillProcess);
    }

    #[test]
    fn a_guarantee_limits_what_is_allowed_and_nothing_else() {
        let rule = |comparison, action| Rule {
            conditions: vec![Condition::int(Argument::First, comparison)],
            action,
        };
        let actions = [Action::Allow, Action::Log, Action::Errno(1), Action::KillProcess];
        for (one, two, three) in actions
            .iter()
            .flat_map(|one| actions.map(|two| (one, two)))
            .flat_map(|(one, two)| actions.map(|three| (*one, two, three)))
        {
            let call = Call {
                rules: vec![rule(Comparison::Less(3), one), rule(Comparison::Equal(4), two)],
                otherwise: three,
            };
            let guarantee = Call {
                rules: vec![
                    rule(Comparison::OneOf(vec![1, 4]), Action::Allow),
                    rule(Comparison::Greater(5), Action::Allow),
                ],
                otherwise: Action::Errno(9),
            };
            let within = call.clone().within(&guarantee);
            for first in 0..8 {
                let arguments = [first, 0, 0, 0, 0, 0];
                let own = call.decide(&arguments);
                let limit = guarantee.decide(&arguments);
                let expected = if own.may_be_made() && !limit.may_be_made() { limit } else { own };
                assert_eq!(within.decide(&arguments), expected, "{call:?} {first}");
            }
        }
    }

    #[test]
    fn a_32_bit_condition_ignores_the_upper_half() {
        let upper = 1 << 32;
        assert!(holds(Width::Bits32, Comparison::Equal(5), upper | 5));
        assert!(!holds(Width::Bits64, Comparison::Equal(5), upper | 5));
        assert!(!holds(Width::Bits32, Comparison::Greater(5), upper));
        assert!(!holds(Width::Bits32, Comparison::Equal(upper | 5), upper | 5));
    }

    #[test]
    fn ranges_hold_what_the_comparison_holds() {
        let edges = [0, 1, 4, 5, 6, u64::MAX - 1, u64::MAX];
        for value in edges {
            for comparison in [
                Comparison::Equal(value),
                Comparison::NotEqual(value),
                Comparison::Less(value),
                Comparison::LessOrEqual(value),
                Comparison::Greater(value),
                Comparison::GreaterOrEqual(value),
                Comparison::OneOf(vec![value, 5, 0, value]),
                Comparison::OneOf(Vec::new()),
            ] {
                let ranges = comparison.ranges().expect("no mask");
                for actual in edges {
                    assert_eq!(
                        ranges.iter().any(|range| range.contains(&actual)),
                        holds(Width::Bits64, comparison.clone(), actual),
                        "{comparison:?} {actual:#x}"
                    );
                }
            }
        }
    }
}
