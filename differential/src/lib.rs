//! The filters that others make of the same rules, to compare with: decisions
//! in the tests of this crate, cost in `benches/filter.rs`.

pub mod random;

mod libseccomp;
mod seccompiler;

use launcher_policy::seccomp::Instruction;
use policy_encoder::seccomp::rules::{Action, Comparison, Condition, Rule, Rules};

pub use libseccomp::{Shape, libseccomp, number as libseccomp_number};
pub use seccompiler::seccompiler;

/// Why another compiler cannot be given these rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported(
    /// In words.
    pub String,
);

impl<E: std::error::Error> From<E> for Unsupported {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// This project's own filter.
#[must_use]
pub fn own(rules: &Rules) -> Vec<u8> {
    bytes(&policy_encoder::seccomp::compile(rules))
}

/// Instructions as the kernel takes them.
#[must_use]
pub fn bytes(instructions: &[Instruction]) -> Vec<u8> {
    instructions.iter().flat_map(|each| each.to_bytes()).collect()
}

/// The action that a compiler is given for whatever is not named: what calls
/// with rules fall back to, else what most calls get.
fn default_action(rules: &Rules) -> Action {
    let conditional = rules.calls.values().find(|call| !call.rules.is_empty());
    if let Some(call) = conditional {
        return call.otherwise;
    }
    let actions: Vec<Action> = rules.calls.values().map(|call| call.otherwise).collect();
    let count = |action: &Action| actions.iter().filter(|each| *each == action).count();
    actions.iter().copied().max_by_key(count).unwrap_or(Action::Allow)
}

/// A rule as several without `OneOf`, which only this project has.
fn without_lists(rule: &Rule) -> Vec<Rule> {
    let mut rules = vec![Rule { conditions: Vec::new(), action: rule.action }];
    for condition in &rule.conditions {
        let alternatives: Vec<Condition> = match &condition.comparison {
            Comparison::OneOf(values) => values
                .iter()
                .map(|value| Condition {
                    comparison: Comparison::Equal(*value),
                    ..condition.clone()
                })
                .collect(),
            _ => vec![condition.clone()],
        };
        rules = rules
            .iter()
            .flat_map(|rule| {
                alternatives.iter().map(|alternative| {
                    let mut rule = rule.clone();
                    rule.conditions.push(alternative.clone());
                    rule
                })
            })
            .collect();
    }
    rules
}
