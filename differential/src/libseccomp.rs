//! What libseccomp makes of rules.

use std::io::{Read, Seek};

use ::libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use policy_encoder::Architecture;
use policy_encoder::seccomp::rules::{Action, Call, Comparison, Condition, Rules, Width};
use policy_encoder::seccomp::tables;

use crate::{Unsupported, default_action, without_lists};

/// How libseccomp finds a number: `SCMP_FLTATR_CTL_OPTIMIZE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One comparison after the other, its default.
    Chain,
    /// A binary tree.
    Tree,
}

/// The number that a call has for the library; `None` if the library is older
/// than the call, or knows it for other architectures only.
#[must_use]
pub fn number(architecture: Architecture, name: &str) -> Option<u32> {
    let call = ScmpSyscall::from_name_by_arch(name, token(architecture)).ok()?;
    // Those of other architectures have negative numbers.
    u32::try_from(i32::from(call)).ok()
}

const fn token(architecture: Architecture) -> ScmpArch {
    match architecture {
        Architecture::X86_64 => ScmpArch::X8664,
        Architecture::Aarch64 => ScmpArch::Aarch64,
        Architecture::Riscv64 => ScmpArch::Riscv64,
    }
}

/// A filter for the rules' architecture alone. Calls that the library does not
/// know are left to its default.
///
/// # Errors
///
/// What the library cannot express: rules of a call with an action of its own
/// where none matches, comparisons of half an argument, two of one argument.
pub fn libseccomp(rules: &Rules, shape: Shape) -> Result<Vec<u8>, Unsupported> {
    let default = default_action(rules);
    let mut filter = ScmpFilterContext::new(action(default)?)?;
    filter.set_act_badarch(ScmpAction::KillProcess)?;
    let architecture = token(rules.architecture);
    filter.add_arch(architecture)?;
    if ScmpArch::native() != architecture {
        filter.remove_arch(ScmpArch::Native)?;
    }
    if shape == Shape::Tree {
        filter.set_ctl_optimize(2)?;
    }
    for (&number, call) in &rules.calls {
        let name = tables::name(rules.architecture, number).unwrap_or_default();
        if self::number(rules.architecture, name).is_some() {
            // Whatever the architecture, by the number of this machine's.
            add(&mut filter, ScmpSyscall::from_name(name)?, call, default)?;
        }
    }
    // The library writes to a descriptor.
    let mut file = tempfile::tempfile()?;
    filter.export_bpf(&file)?;
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn add(
    filter: &mut ScmpFilterContext,
    syscall: ScmpSyscall,
    call: &Call,
    default: Action,
) -> Result<(), Unsupported> {
    if call.otherwise != default {
        if !call.rules.is_empty() {
            return Err(Unsupported("rules, and an action of its own where none matches".into()));
        }
        filter.add_rule(action(call.otherwise)?, syscall)?;
    }
    // It takes no rule that does what happens anyway.
    let rules = call.rules.iter().filter(|rule| rule.action != default);
    for rule in rules.flat_map(without_lists) {
        let comparisons: Vec<_> =
            rule.conditions.iter().map(comparison).collect::<Result<_, _>>()?;
        filter.add_rule_conditional(action(rule.action)?, syscall, &comparisons)?;
    }
    Ok(())
}

fn comparison(condition: &Condition) -> Result<ScmpArgCompare, Unsupported> {
    let (op, value) = match (condition.width, &condition.comparison) {
        (Width::Bits32, Comparison::Equal(value)) => {
            (ScmpCompareOp::MaskedEqual(u32::MAX.into()), *value)
        }
        (Width::Bits32, Comparison::MaskedEqual { mask, value }) => {
            (ScmpCompareOp::MaskedEqual(mask & u64::from(u32::MAX)), *value)
        }
        (Width::Bits32, _) => return Err(Unsupported("a comparison of half an argument".into())),
        (Width::Bits64, comparison) => match *comparison {
            Comparison::Equal(value) => (ScmpCompareOp::Equal, value),
            Comparison::NotEqual(value) => (ScmpCompareOp::NotEqual, value),
            Comparison::Less(value) => (ScmpCompareOp::Less, value),
            Comparison::LessOrEqual(value) => (ScmpCompareOp::LessOrEqual, value),
            Comparison::Greater(value) => (ScmpCompareOp::Greater, value),
            Comparison::GreaterOrEqual(value) => (ScmpCompareOp::GreaterEqual, value),
            Comparison::MaskedEqual { mask, value } => (ScmpCompareOp::MaskedEqual(mask), value),
            Comparison::OneOf(_) => unreachable!("lists were written out"),
        },
    };
    Ok(ScmpArgCompare::new(condition.argument as u32, op, value))
}

fn action(action: Action) -> Result<ScmpAction, Unsupported> {
    Ok(match action {
        Action::KillProcess => ScmpAction::KillProcess,
        Action::Trap => ScmpAction::Trap,
        Action::Errno(number) => ScmpAction::Errno(number.into()),
        Action::Log => ScmpAction::Log,
        Action::Allow => ScmpAction::Allow,
        Action::Notify => return Err(Unsupported("notifications need a listener".into())),
    })
}
