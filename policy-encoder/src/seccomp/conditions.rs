//! The arguments of a rule: names to numbers, words to comparisons.

use launcher_policy::wire::Architecture;

use super::rules::{Argument, Comparison, Condition, Width};
use super::{constants, unknown, widths};
use crate::Spanned;
use crate::diagnostic::Diagnostics;
use crate::document::{ArgumentRule, Number, Operator};
use crate::parse::nearest;

/// What must hold of one argument, whatever the system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Test {
    argument: Argument,
    /// Where the author says it.
    width: Option<Width>,
    comparison: Comparison,
}

impl Test {
    /// As a condition on a system call.
    pub(super) fn condition(&self, name: &str) -> Condition {
        let width = self.width.unwrap_or_else(|| widths::of(name, self.argument as usize));
        let comparison = match width {
            // What is negative is a number of 32 bits there.
            Width::Bits32 => self.comparison.clone().narrowed(),
            Width::Bits64 => self.comparison.clone(),
        };
        Condition { argument: self.argument, width, comparison }
    }
}

/// What an argument of a rule means for the calls that the rule is about;
/// `None` if a diagnostic says what is wrong.
pub(super) fn resolve(
    written: &Spanned<ArgumentRule>,
    calls: &[&str],
    architecture: Architecture,
    diagnostics: &mut Diagnostics,
) -> Option<Test> {
    let rule = written.get_ref();
    let argument = Argument::ALL.get(usize::from(*rule.index.get_ref())).copied();
    if argument.is_none() {
        let message = "a system call has the arguments 0 to 5";
        diagnostics.error(rule.index.span(), message);
    }
    let width = width(rule, calls, diagnostics);
    let comparison = comparison(written, architecture, diagnostics);
    let test = Test { argument: argument?, width: width?, comparison: comparison? };
    check_size(written, &test, calls, diagnostics);
    Some(test)
}

/// The width that is written, which is warned of where the kernel looks at
/// less.
fn width(
    rule: &ArgumentRule,
    calls: &[&str],
    diagnostics: &mut Diagnostics,
) -> Option<Option<Width>> {
    let Some(width) = &rule.width else { return Some(None) };
    match width.get_ref() {
        32 => Some(Some(Width::Bits32)),
        64 => {
            let index = usize::from(*rule.index.get_ref());
            let passed = calls.iter().find(|name| widths::of(name, index) == Width::Bits32);
            if let Some(name) = passed {
                let message = format!("of argument {index} of {name} the kernel looks at 32 bits");
                diagnostics
                    .warning(width.span(), message)
                    .help("a rule that compares 64 is passed by a bit that the kernel ignores");
            }
            Some(Some(Width::Bits64))
        }
        _ => {
            diagnostics.error(width.span(), "a width is 32 or 64 bits");
            None
        }
    }
}

/// What the argument is compared with.
fn comparison(
    written: &Spanned<ArgumentRule>,
    architecture: Architecture,
    diagnostics: &mut Diagnostics,
) -> Option<Comparison> {
    let rule = written.get_ref();
    let ArgumentRule { op, value, values, mask, .. } = rule;
    let missing = match op {
        Operator::OneOf => values.is_none().then_some("\"one-of\" needs \"values\""),
        Operator::MaskedEqual if mask.is_none() => Some("\"masked-equal\" needs a \"mask\""),
        _ => value.is_none().then_some("there is no \"value\" to compare with"),
    };
    if let Some(message) = missing {
        diagnostics.error(written.span(), message);
    }
    let surplus = [
        value.as_ref().filter(|_| *op == Operator::OneOf).map(|value| ("value", value.span())),
        values.as_ref().filter(|_| *op != Operator::OneOf).map(|list| ("values", list.span())),
        mask.as_ref().filter(|_| *op != Operator::MaskedEqual).map(|mask| ("mask", mask.span())),
    ];
    let mut is_clear = true;
    for (key, span) in surplus.into_iter().flatten() {
        diagnostics.error(span, format!("{key:?} has no meaning for this \"op\""));
        is_clear = false;
    }
    let mut read = |written: &Spanned<Number>| number(written, architecture, diagnostics);
    // All are read, so that all that is wrong is said.
    let value = value.as_ref().map(&mut read);
    let mask = mask.as_ref().map(&mut read);
    let values: Option<Vec<_>> =
        values.as_ref().map(|list| list.get_ref().iter().map(&mut read).collect());
    if !is_clear {
        return None;
    }
    if *op == Operator::OneOf {
        return values?.into_iter().collect::<Option<_>>().map(Comparison::OneOf);
    }
    let value = value??;
    Some(match op {
        Operator::Equal => Comparison::Equal(value),
        Operator::NotEqual => Comparison::NotEqual(value),
        Operator::Less => Comparison::Less(value),
        Operator::LessEqual => Comparison::LessOrEqual(value),
        Operator::Greater => Comparison::Greater(value),
        Operator::GreaterEqual => Comparison::GreaterOrEqual(value),
        Operator::MaskedEqual => {
            let mask = mask??;
            if value & !mask != 0 {
                let message = format!("{value:#x} has bits that the mask {mask:#x} has not");
                diagnostics
                    .error(written.span(), message)
                    .help("what is compared is the argument with the bits of the mask alone");
            }
            Comparison::MaskedEqual { mask, value }
        }
        Operator::OneOf => return None,
    })
}

/// A number, or names joined by `|`.
fn number(
    written: &Spanned<Number>,
    architecture: Architecture,
    diagnostics: &mut Diagnostics,
) -> Option<u64> {
    let text = match written.get_ref() {
        Number::Integer(number) => return Some(number.cast_unsigned()),
        Number::Text(text) => text,
    };
    let mut all = Some(0);
    for word in text.split('|').map(str::trim) {
        let value = digits(word).or_else(|| constants::value(architecture, word));
        if value.is_none() {
            complain(word, written, diagnostics);
        }
        all = all.zip(value).map(|(all, value)| all | value);
    }
    all
}

fn complain(word: &str, written: &Spanned<Number>, diagnostics: &mut Diagnostics) {
    if constants::names().any(|name| name == word) {
        let message = format!("{word} is not a constant of this architecture");
        diagnostics.error(written.span(), message).help("--arch names another one");
        return;
    }
    let meant = nearest(&word.to_uppercase(), constants::names());
    unknown("constant", word, written.span(), meant, diagnostics);
}

/// A number in digits, `0x` before hexadecimal ones and `0o` before octal.
fn digits(word: &str) -> Option<u64> {
    match word.split_at_checked(2) {
        Some(("0x", digits)) => u64::from_str_radix(digits, 16).ok(),
        Some(("0o", digits)) => u64::from_str_radix(digits, 8).ok(),
        _ => word.parse().ok(),
    }
}

/// Refuses values that no argument has.
fn check_size(
    written: &Spanned<ArgumentRule>,
    test: &Test,
    calls: &[&str],
    diagnostics: &mut Diagnostics,
) {
    for name in calls {
        let condition = test.condition(name);
        let too_large =
            condition.comparison.values().find(|value| value & !condition.width.mask() != 0);
        if let Some(value) = too_large {
            let index = test.argument as usize;
            let message =
                format!("{value:#x} is more than the 32 bits of argument {index} of {name}");
            diagnostics.error(written.span(), message);
            return;
        }
    }
}
