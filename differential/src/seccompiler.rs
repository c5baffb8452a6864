//! What the crate `seccompiler` makes of rules.

use std::collections::BTreeMap;

use ::seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use launcher_policy::seccomp::Instruction;
use policy_encoder::Architecture;
use policy_encoder::seccomp::rules::{Action, Call, Comparison, Condition, Rules, Width};

use crate::{Unsupported, bytes, default_action, without_lists};

/// A filter that knows one action where a rule matches and one where none
/// does.
///
/// # Errors
///
/// What the crate cannot express: a third action.
pub fn seccompiler(rules: &Rules) -> Result<Vec<u8>, Unsupported> {
    let default = default_action(rules);
    let mut matched: Option<Action> = None;
    let mut all = BTreeMap::new();
    for (&number, call) in &rules.calls {
        if call.otherwise == default && call.rules.is_empty() {
            continue;
        }
        for action in actions(call, default) {
            if *matched.get_or_insert(action) != action {
                return Err(Unsupported("more than two actions".into()));
            }
        }
        if call.otherwise != default && !call.rules.is_empty() {
            return Err(Unsupported("rules, and an action of its own where none matches".into()));
        }
        let mut list = Vec::new();
        let given = call.rules.iter().filter(|rule| rule.action != default);
        for rule in given.flat_map(without_lists) {
            if rule.conditions.is_empty() {
                return Err(Unsupported("a rule without a condition among others".into()));
            }
            let conditions = rule.conditions.iter().map(condition).collect::<Result<_, _>>()?;
            list.push(SeccompRule::new(conditions)?);
        }
        // None is a rule that always matches.
        if call.otherwise != default || !list.is_empty() {
            all.insert(i64::from(number), list);
        }
    }
    let architecture = match rules.architecture {
        Architecture::X86_64 => TargetArch::x86_64,
        Architecture::Aarch64 => TargetArch::aarch64,
        Architecture::Riscv64 => TargetArch::riscv64,
    };
    let unused = if default == Action::Allow { Action::Trap } else { Action::Allow };
    let matched = matched.unwrap_or(unused);
    let filter = SeccompFilter::new(all, action(default)?, action(matched)?, architecture)?;
    let program: BpfProgram = filter.try_into()?;
    let instructions: Vec<Instruction> = program
        .iter()
        .map(|each| Instruction { code: each.code, jt: each.jt, jf: each.jf, k: each.k })
        .collect();
    Ok(bytes(&instructions))
}

/// What a call may come to, beside the default.
fn actions(call: &Call, default: Action) -> impl Iterator<Item = Action> {
    let rules = call.rules.iter().map(|rule| rule.action);
    rules.chain([call.otherwise]).filter(move |action| *action != default)
}

fn condition(condition: &Condition) -> Result<SeccompCondition, Unsupported> {
    let (op, value) = match condition.comparison {
        Comparison::Equal(value) => (SeccompCmpOp::Eq, value),
        Comparison::NotEqual(value) => (SeccompCmpOp::Ne, value),
        Comparison::Less(value) => (SeccompCmpOp::Lt, value),
        Comparison::LessOrEqual(value) => (SeccompCmpOp::Le, value),
        Comparison::Greater(value) => (SeccompCmpOp::Gt, value),
        Comparison::GreaterOrEqual(value) => (SeccompCmpOp::Ge, value),
        Comparison::MaskedEqual { mask, value } => (SeccompCmpOp::MaskedEq(mask), value),
        Comparison::OneOf(_) => unreachable!("lists were written out"),
    };
    let width = match condition.width {
        Width::Bits32 => SeccompCmpArgLen::Dword,
        Width::Bits64 => SeccompCmpArgLen::Qword,
    };
    Ok(SeccompCondition::new(condition.argument as u8, width, op, value)?)
}

fn action(action: Action) -> Result<SeccompAction, Unsupported> {
    Ok(match action {
        Action::KillProcess => SeccompAction::KillProcess,
        Action::Trap => SeccompAction::Trap,
        Action::Errno(number) => SeccompAction::Errno(number.into()),
        Action::Log => SeccompAction::Log,
        Action::Allow => SeccompAction::Allow,
        Action::Notify => return Err(Unsupported("notifications".into())),
    })
}
