//! Rules out of a seed, that every compiler can be given, and arguments that
//! tell filters apart.

use fastrand::Rng;
use policy_encoder::Architecture;
use policy_encoder::seccomp::rules::{
    Action, Argument, Call, Comparison, Condition, Rule, Rules, Width,
};
use policy_encoder::seccomp::tables;

use crate::libseccomp_number;

/// What the comparisons of random rules may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparisons {
    /// None: a call is always or never allowed.
    None,
    /// Of whole arguments, at most one of each in a rule, as libseccomp has
    /// them.
    Whole,
    /// Of halves, too, and several of one argument.
    All,
}

/// Rules that allow some calls, some under conditions, and deny all others.
#[must_use]
pub fn rules(
    random: &mut Rng,
    architecture: Architecture,
    allowed: usize,
    comparisons: Comparisons,
) -> Rules {
    let denied = Action::Errno(1);
    let mut calls: Vec<(u32, &str)> = tables::calls(architecture)
        .filter(|(number, name)| libseccomp_number(architecture, name) == Some(*number))
        .collect();
    random.shuffle(&mut calls);
    let mut rules = Rules::native(
        architecture,
        calls.iter().map(|(number, _)| (*number, Call::always(denied))).collect(),
    );
    for (number, _) in calls.into_iter().take(allowed) {
        let conditional = comparisons != Comparisons::None && random.u8(..) < 80;
        let call = match conditional {
            true => Call { rules: call(random, comparisons), otherwise: denied },
            false => Call::always(Action::Allow),
        };
        rules.calls.insert(number, call);
    }
    rules
}

fn call(random: &mut Rng, comparisons: Comparisons) -> Vec<Rule> {
    // libseccomp 2.5.4 loses one of several rules whose inequalities on one
    // argument overlap; those that its users write are for single values.
    if comparisons == Comparisons::Whole && random.bool() {
        let argument = Argument::ALL[random.usize(..6)];
        let values = (0..random.usize(1..6)).map(|_| value(random));
        let equal = values.map(|value| Condition::long(argument, Comparison::Equal(value)));
        return equal
            .map(|condition| Rule { conditions: vec![condition], action: Action::Allow })
            .collect();
    }
    let count = if comparisons == Comparisons::Whole { 1 } else { random.usize(1..3) };
    (0..count)
        .map(|_| {
            let mut arguments = Argument::ALL.to_vec();
            random.shuffle(&mut arguments);
            let mut conditions: Vec<Condition> = arguments
                .into_iter()
                .take(random.usize(1..4))
                .map(|argument| condition(random, argument, comparisons))
                .collect();
            if comparisons == Comparisons::All && random.bool() {
                let again = conditions[0].argument;
                conditions.push(condition(random, again, comparisons));
            }
            Rule { conditions, action: Action::Allow }
        })
        .collect()
}

fn condition(random: &mut Rng, argument: Argument, comparisons: Comparisons) -> Condition {
    let value = value(random);
    // libseccomp takes seconds over some twenty rules of one call, which is
    // what lists come to when they are written out.
    let kinds = if comparisons == Comparisons::All { 8 } else { 7 };
    let comparison = match random.u8(0..kinds) {
        0 => Comparison::Equal(value),
        1 => Comparison::NotEqual(value),
        2 => Comparison::Less(value),
        3 => Comparison::LessOrEqual(value),
        4 => Comparison::Greater(value),
        5 => Comparison::GreaterOrEqual(value),
        6 => {
            let mask = self::value(random);
            Comparison::MaskedEqual { mask, value: value & mask }
        }
        _ => Comparison::OneOf((0..random.usize(1..5)).map(|_| self::value(random)).collect()),
    };
    match comparisons == Comparisons::All && random.bool() {
        true => Condition { argument, width: Width::Bits32, comparison: half(comparison) },
        false => Condition { argument, width: Width::Bits64, comparison },
    }
}

/// A comparison with a value that fits 32 bits: of others, compilers disagree
/// whether they are cut.
fn half(comparison: Comparison) -> Comparison {
    let cut = |value: u64| value & u64::from(u32::MAX);
    match comparison {
        Comparison::Equal(value) => Comparison::Equal(cut(value)),
        Comparison::NotEqual(value) => Comparison::NotEqual(cut(value)),
        Comparison::Less(value) => Comparison::Less(cut(value)),
        Comparison::LessOrEqual(value) => Comparison::LessOrEqual(cut(value)),
        Comparison::Greater(value) => Comparison::Greater(cut(value)),
        Comparison::GreaterOrEqual(value) => Comparison::GreaterOrEqual(cut(value)),
        Comparison::MaskedEqual { mask, value } => {
            Comparison::MaskedEqual { mask: cut(mask), value: cut(value) }
        }
        Comparison::OneOf(values) => Comparison::OneOf(values.into_iter().map(cut).collect()),
    }
}

/// A value as arguments have: mostly small, at an edge, or a flag.
fn value(random: &mut Rng) -> u64 {
    match random.u8(0..8) {
        0 => random.u64(..),
        1 => 1 << random.u8(0..64),
        2 => random.u64(0..4) << 32 | random.u64(0..4),
        3 => (1 << 32) - 2 + random.u64(0..4),
        4 => u64::MAX - random.u64(0..2),
        _ => random.u64(0..6),
    }
}

/// Arguments at and around every value at which a condition of the call may
/// change its mind: each everywhere, then random combinations.
#[must_use]
pub fn arguments(random: &mut Rng, call: &Call) -> Vec<[u64; 6]> {
    let mut edges = vec![0, u64::MAX];
    for condition in call.rules.iter().flat_map(|rule| &rule.conditions) {
        let values = match condition.comparison {
            Comparison::MaskedEqual { mask, value } => vec![mask, value, value | !mask],
            Comparison::OneOf(ref values) => values.clone(),
            Comparison::Equal(value)
            | Comparison::NotEqual(value)
            | Comparison::Less(value)
            | Comparison::LessOrEqual(value)
            | Comparison::Greater(value)
            | Comparison::GreaterOrEqual(value) => vec![value],
        };
        for value in values {
            let around = [value.wrapping_sub(1), value, value.wrapping_add(1)];
            edges.extend(around.map(|value| [value, value ^ 1 << 32]).as_flattened());
        }
    }
    edges.sort_unstable();
    edges.dedup();
    let everywhere = edges.iter().map(|edge| [*edge; 6]);
    let mixed = (0..if call.rules.is_empty() { 0 } else { 50 })
        .map(|_| std::array::from_fn(|_| edges[random.usize(..edges.len())]));
    everywhere.chain(mixed).collect()
}
