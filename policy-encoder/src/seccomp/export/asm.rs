//! Assembly, as the kernel's bpf_asm reads it, with names in labels and
//! comments.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use launcher_policy::seccomp::{FilterError, Instruction, op};
use launcher_policy::wire::Architecture;

use super::super::simulate::{Simulator, X};
use super::flow::{Holds, Step, Table, follow, is_comparison, targets};
use super::{action, architecture_name, constants};

/// How many names are listed before the rest is counted.
const LISTED: usize = 6;

/// Where comments stand.
const COMMENTS: usize = 44;

/// Writes a filter as assembly.
///
/// # Errors
///
/// What makes it no filter.
pub fn asm(filter: &[u8], architecture: Architecture) -> Result<String, FilterError> {
    let simulator = Simulator::new(filter)?;
    let instructions = simulator.instructions();
    let (steps, _) = follow(&simulator, architecture);
    let labels = labels(instructions, &steps);
    let mut text =
        format!("; {}, {} instructions\n", architecture_name(architecture), instructions.len());
    for (at, (&instruction, step)) in instructions.iter().zip(&steps).enumerate() {
        if let Some(label) = labels.get(&at) {
            let _ = write!(text, "{label}:");
            if let Some(calls) = listed(step, label) {
                let _ = write!(text, "{:width$}; {calls}", "", width = pad(label.len() + 1));
            }
            text.push('\n');
        }
        let line = format!("        {}", self::instruction(at, instruction, &labels));
        let comment = comment(instruction, step, architecture);
        match comment {
            Some(comment) => {
                let _ = writeln!(text, "{line}{:width$}; {comment}", "", width = pad(line.len()));
            }
            None => {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    Ok(text)
}

const fn pad(length: usize) -> usize {
    let left = COMMENTS.saturating_sub(length);
    if left == 0 { 1 } else { left }
}

/// A name for each instruction that is jumped to: what it returns, or the one
/// call that comes there, or its place.
fn labels(instructions: &[Instruction], steps: &[Step]) -> BTreeMap<usize, String> {
    let mut targets: BTreeSet<usize> = BTreeSet::new();
    for (at, &instruction) in instructions.iter().enumerate() {
        if instruction.code == op::JUMP || is_comparison(instruction.code) {
            let skipped = |target: &usize| *target != at + 1 || names_both(instruction);
            targets.extend(self::targets(at, instruction).into_iter().filter(skipped));
        }
    }
    let mut used: BTreeMap<String, usize> = BTreeMap::new();
    targets
        .into_iter()
        .map(|at| {
            let name = match (instructions[at].code, steps[at].calls.as_slice()) {
                (op::RETURN, _) => action(instructions[at].k)
                    .replace(|letter: char| !letter.is_ascii_alphanumeric(), "_"),
                (_, [_]) if !steps[at].others => steps[at].words().concat().replace(' ', "_"),
                _ => format!("L{at}"),
            };
            let count = used.entry(name.clone()).or_default();
            *count += 1;
            (at, if *count == 1 { name } else { format!("{name}_{count}") })
        })
        .collect()
}

/// The calls that come to a label, where it does not name them and they are
/// not most of all.
fn listed(step: &Step, label: &str) -> Option<String> {
    let calls = step.words();
    let is_named = matches!(&calls[..], [call] if label.starts_with(&call.replace(' ', "_")));
    if calls.is_empty() || is_named {
        return None;
    }
    let (first, rest) = calls.split_at(calls.len().min(LISTED));
    let mut text = first.join(", ");
    if !rest.is_empty() {
        let _ = write!(text, " and {} others", rest.len());
    }
    if step.others {
        text.push_str(", numbers without a name");
    }
    Some(text)
}

fn instruction(at: usize, instruction: Instruction, labels: &BTreeMap<usize, String>) -> String {
    let Instruction { code, jt, jf, k } = instruction;
    let label = |target: usize| labels.get(&target).map_or("?", String::as_str);
    let operand = if code & X == 0 { format!("#{k:#x}") } else { "x".to_owned() };
    match code {
        op::LOAD => format!("ld [{k}]"),
        op::LOAD_LENGTH => "ld #len".to_owned(),
        op::LOAD_CONSTANT => format!("ld #{k:#x}"),
        op::LOADX_LENGTH => "ldx #len".to_owned(),
        op::LOADX_CONSTANT => format!("ldx #{k:#x}"),
        op::TAX => "tax".to_owned(),
        op::TXA => "txa".to_owned(),
        op::NEGATE => "neg".to_owned(),
        op::RETURN => format!("ret #{k:#010x}"),
        op::RETURN_A => "ret a".to_owned(),
        op::JUMP => format!("jmp {}", label(at + 1 + k as usize)),
        _ if is_comparison(code) => {
            let targets = targets(at, instruction);
            let (yes, no) = (label(targets[0]), label(targets[1]));
            let (name, opposite) = comparison(code & !X);
            match (jt, jf) {
                _ if names_both(instruction) => format!("{name} {operand},{yes},{no}"),
                (0, _) => format!("{opposite} {operand},{no}"),
                _ => format!("{name} {operand},{yes}"),
            }
        }
        _ => format!("{} {operand}", arithmetic(code & !X)),
    }
}

/// Whether a comparison is written with both labels: neither of them is what
/// follows anyway, or there is no word for the opposite.
const fn names_both(Instruction { code, jt, jf, .. }: Instruction) -> bool {
    match (jt, jf) {
        (0, 0) => true,
        (0, 1..) => code & !X == op::JUMP_SET,
        (1.., 0) => false,
        (1.., 1..) => true,
    }
}

/// The words for a comparison and for its opposite.
const fn comparison(operation: u16) -> (&'static str, &'static str) {
    match operation {
        op::JUMP_EQUAL => ("jeq", "jne"),
        op::JUMP_GREATER => ("jgt", "jle"),
        op::JUMP_GREATER_EQUAL => ("jge", "jlt"),
        _ => ("jset", "jset"),
    }
}

const fn arithmetic(operation: u16) -> &'static str {
    match operation {
        0x04 => "add",
        0x14 => "sub",
        0x24 => "mul",
        0x34 => "div",
        0x44 => "or",
        op::AND => "and",
        0x64 => "lsh",
        0x74 => "rsh",
        _ => "xor",
    }
}

/// What an instruction looks at, or what its operand means.
fn comment(instruction: Instruction, step: &Step, architecture: Architecture) -> Option<String> {
    let Instruction { code, k, .. } = instruction;
    match (code, step.holds) {
        (op::RETURN, _) => Some(action(k)),
        (op::LOAD, _) => Some(word(k)),
        (op::JUMP_EQUAL, Holds::Word(4)) => Table::all(architecture)
            .find(|table| table.audit() == k)
            .map(|table| table.name().to_owned()),
        (op::JUMP_EQUAL, Holds::Word(0)) => step.call(k).map(str::to_owned),
        (op::JUMP_GREATER_EQUAL, Holds::Word(0)) => {
            step.call(k).map(|name| format!("from {name} on"))
        }
        (op::JUMP_GREATER, Holds::Word(0)) => step.call(k).map(|name| format!("behind {name}")),
        (_, Holds::Word(offset)) if looks(code) && offset >= 16 => {
            let argument = (offset as usize - 16) / 8;
            // The upper half of a small value is zero, which means nothing.
            if !offset.is_multiple_of(8) {
                return None;
            }
            match code {
                op::JUMP_SET | op::AND => constants::bits(architecture, &step.names(), argument, k),
                _ => constants::name(architecture, &step.names(), argument, k).map(str::to_owned),
            }
        }
        _ => None,
    }
}

/// Whether an instruction asks about the accumulator with its operand.
fn looks(code: u16) -> bool {
    code == op::AND || is_comparison(code) && code & X == 0
}

/// A word of `seccomp_data`.
fn word(offset: u32) -> String {
    match offset {
        0 => "the number".to_owned(),
        4 => "the architecture".to_owned(),
        8 => "the instruction pointer, lower half".to_owned(),
        12 => "the instruction pointer, upper half".to_owned(),
        _ => {
            let half = if offset.is_multiple_of(8) { "lower" } else { "upper" };
            format!("argument {}, {half} half", (offset - 16) / 8)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::super::compile;
    use super::super::super::rules::{Action, Argument, Call, Comparison, Condition, Rule, Rules};
    use super::super::super::tables::Abi;
    use super::*;

    fn filter() -> Vec<u8> {
        let unix = Condition::int(Argument::First, Comparison::Equal(1));
        let socket = Call {
            rules: vec![Rule { conditions: vec![unix], action: Action::Allow }],
            otherwise: Action::Errno(97),
        };
        let calls = BTreeMap::from([
            (0, Call::always(Action::Allow)),
            (1, Call::always(Action::Allow)),
            (41, socket),
        ]);
        let rules = Rules::native(Architecture::X86_64, calls);
        compile(&rules).iter().flat_map(|each| each.to_bytes()).collect()
    }

    #[test]
    fn a_filter_is_readable() {
        let text = asm(&filter(), Architecture::X86_64).expect("a filter");
        for part in [
            "; x86_64, ",
            "ld [4]                              ; the architecture",
            "jne #0xc000003e,kill                ; x86_64",
            "; the number",
            "jne #0x29,errno_ENOSYS              ; socket\n",
            "; argument 0, lower half",
            "; AF_UNIX",
            "ret #0x00050061                     ; errno EAFNOSUPPORT",
            "kill:\n",
            "allow:",
        ] {
            assert!(text.contains(part), "{part} is missing from:\n{text}");
        }
    }

    /// The same with a table beside it, where other numbers have these names.
    fn with_i386() -> Vec<u8> {
        let calls = [0, 1].map(|number| (number, Call::always(Action::Allow)));
        let namespaces = Comparison::MaskedEqual { mask: 0x1002_0000, value: 0 };
        let plain = Condition::int(Argument::First, namespaces);
        let clone = Call {
            rules: vec![Rule { conditions: vec![plain], action: Action::Allow }],
            otherwise: Action::Errno(1),
        };
        let mut rules = Rules::native(Architecture::X86_64, calls.into());
        rules.others.insert(Abi::I386, [(3, Call::always(Action::Allow)), (120, clone)].into());
        compile(&rules).iter().flat_map(|each| each.to_bytes()).collect()
    }

    #[test]
    fn calls_of_other_tables_have_their_names() {
        let text = asm(&with_i386(), Architecture::X86_64).expect("a filter");
        let has = |part: &str| text.lines().any(|line| line.contains(part));
        assert!(has("#0x40000003,") && has("; i386"), "{text}");
        for number in ["#0x3,", "#0x78,"] {
            let line = text.lines().find(|line| line.contains(number)).unwrap_or_default();
            let name = if number == "#0x3," { "; read" } else { "; clone" };
            assert!(line.ends_with(name), "{text}");
        }
        assert!(has("; CLONE_NEWNS|CLONE_NEWUSER"), "{text}");
        assert!(has("; read, write, i386 read, i386 clone"), "{text}");
    }

    #[test]
    fn every_label_that_is_jumped_to_stands_once() {
        let text = asm(&with_i386(), Architecture::X86_64).expect("a filter");
        let code = |line: &str| line.split(';').next().unwrap_or_default().trim().to_owned();
        let labels: Vec<String> = text
            .lines()
            .filter(|line| !line.starts_with([' ', ';']))
            .map(|line| code(line).trim_end_matches(':').to_owned())
            .collect();
        let unique: BTreeSet<&String> = labels.iter().collect();
        assert_eq!(unique.len(), labels.len());
        for line in text.lines().map(code).filter(|line| line.starts_with('j')) {
            for label in line.split([',', ' ']).skip(1).filter(|word| !word.starts_with('#')) {
                assert!(labels.iter().any(|known| known == label), "{label} of {line}");
            }
        }
    }

    #[test]
    fn every_operation_can_be_written() {
        let operations = [
            (op::LOAD_LENGTH, "ld #len"),
            (op::LOAD_CONSTANT, "ld #0x3"),
            (op::LOADX_LENGTH, "ldx #len"),
            (op::LOADX_CONSTANT, "ldx #0x3"),
            (op::TAX, "tax"),
            (op::TXA, "txa"),
            (op::NEGATE, "neg"),
            (0x04, "add #0x3"),
            (0x1c, "sub x"),
            (0x24, "mul #0x3"),
            (0x3c, "div x"),
            (0x44, "or #0x3"),
            (op::AND, "and #0x3"),
            (0x6c, "lsh x"),
            (0x74, "rsh #0x3"),
            (0xac, "xor x"),
            (0x2d, "jgt x,allow,allow"),
            (op::JUMP_SET, "jset #0x3,allow,allow"),
            (op::RETURN_A, "ret a"),
        ];
        for (code, expected) in operations {
            let filter: Vec<u8> = [(code, 3), (op::RETURN, 0x7fff_0000)]
                .iter()
                .flat_map(|&(code, k)| Instruction { code, jt: 0, jf: 0, k }.to_bytes())
                .collect();
            let text = asm(&filter, Architecture::Aarch64).expect("a filter");
            assert!(text.contains(expected), "{expected} is missing from:\n{text}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        assert_eq!(asm(b"", Architecture::X86_64), Err(FilterError::Size));
    }
}
