//! An interpreter of classic BPF, so that a filter's decisions can be known
//! without a kernel.
//!
//! It knows all that a policy may carry, not only what
//! [`compile`](super::compile) writes, so it can judge filters of others too.

use launcher_policy::seccomp::{FilterError, INSTRUCTION_SIZE, Instruction, op, validate};

use super::rules::Data;

/// The bit of an operation that takes `X` for its operand: `BPF_X`.
pub(super) const X: u16 = 0x08;

/// `A /= operand`
pub(super) const DIVIDE: u16 = 0x34;

/// What the kernel has a filter return that divides by zero.
pub(super) const DIVIDED_BY_ZERO: u32 = 0;

/// A filter that the kernel would accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simulator {
    instructions: Vec<Instruction>,
}

/// How a filter ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What it returned: `SECCOMP_RET_*` and its data.
    pub value: u32,
    /// How many instructions it took.
    pub executed: usize,
}

/// The state of a filter that runs.
struct Machine {
    a: u32,
    x: u32,
}

impl Simulator {
    /// Takes a filter.
    ///
    /// # Errors
    ///
    /// The rule of the kernel that the filter breaks.
    pub fn new(filter: &[u8]) -> Result<Self, FilterError> {
        validate(filter)?;
        let (instructions, _) = filter.as_chunks::<INSTRUCTION_SIZE>();
        Ok(Self {
            instructions: instructions.iter().copied().map(Instruction::from_bytes).collect(),
        })
    }

    /// What the filter consists of.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// Asks the filter about a system call.
    #[must_use]
    pub fn run(&self, data: &Data) -> Outcome {
        let mut machine = Machine { a: 0, x: 0 };
        let mut next = 0;
        let mut executed = 0;
        loop {
            // A valid filter jumps only forward and ends in a return.
            let instruction = self.instructions[next];
            next += 1;
            executed += 1;
            match machine.step(instruction, data) {
                Step::Skip(count) => next += count,
                Step::Return(value) => return Outcome { value, executed },
            }
        }
    }
}

/// What an instruction does to the order of instructions.
enum Step {
    Skip(usize),
    Return(u32),
}

impl Machine {
    fn step(&mut self, Instruction { code, jt, jf, k }: Instruction, data: &Data) -> Step {
        match code {
            op::LOAD => self.a = load(data, k),
            op::LOAD_LENGTH => self.a = launcher_policy::seccomp::DATA_SIZE,
            op::LOAD_CONSTANT => self.a = k,
            op::LOADX_CONSTANT => self.x = k,
            op::LOADX_LENGTH => self.x = launcher_policy::seccomp::DATA_SIZE,
            op::TAX => self.x = self.a,
            op::TXA => self.a = self.x,
            op::NEGATE => self.a = self.a.wrapping_neg(),
            op::JUMP => return Step::Skip(k as usize),
            op::RETURN => return Step::Return(k),
            op::RETURN_A => return Step::Return(self.a),
            _ => {
                let operand = if code & X == 0 { k } else { self.x };
                return self.compute(code & !X, operand, jt, jf);
            }
        }
        Step::Skip(0)
    }

    /// Jumps and arithmetic: the operations that take `k` or `X`.
    fn compute(&mut self, operation: u16, operand: u32, jt: u8, jf: u8) -> Step {
        if let Some(holds) = holds(operation, self.a, operand) {
            return Step::Skip(usize::from(if holds { jt } else { jf }));
        }
        match arithmetic(operation, self.a, operand) {
            Some(result) => {
                self.a = result;
                Step::Skip(0)
            }
            None => Step::Return(DIVIDED_BY_ZERO),
        }
    }
}

/// Whether a comparison holds; `None` if the operation is none.
pub(super) fn holds(operation: u16, a: u32, operand: u32) -> Option<bool> {
    match operation {
        op::JUMP_EQUAL => Some(a == operand),
        op::JUMP_GREATER => Some(a > operand),
        op::JUMP_GREATER_EQUAL => Some(a >= operand),
        op::JUMP_SET => Some(a & operand != 0),
        _ => None,
    }
}

/// What an operation makes of `A`; `None` ends the filter, as it divides by
/// zero.
pub(super) fn arithmetic(operation: u16, a: u32, operand: u32) -> Option<u32> {
    Some(match operation {
        0x04 => a.wrapping_add(operand),
        0x14 => a.wrapping_sub(operand),
        0x24 => a.wrapping_mul(operand),
        DIVIDE => a.checked_div(operand)?,
        0x44 => a | operand,
        op::AND => a & operand,
        0x64 => a.wrapping_shl(operand),
        0x74 => a.wrapping_shr(operand),
        0xa4 => a ^ operand,
        _ => unreachable!("the filter was validated"),
    })
}

/// Reads a word of `struct seccomp_data` as a little-endian machine lays it
/// out.
fn load(data: &Data, offset: u32) -> u32 {
    let half = |value: u64| if offset & 4 == 0 { value as u32 } else { (value >> 32) as u32 };
    match offset {
        0 => data.number,
        4 => data.architecture,
        8 | 12 => half(data.instruction_pointer),
        _ => half(data.arguments[(offset as usize - 16) / 8]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: Data = Data {
        number: 1,
        architecture: 2,
        instruction_pointer: 0x4_0000_0003,
        arguments: [
            0x6_0000_0005,
            0x8_0000_0007,
            0xa_0000_0009,
            0xc_0000_000b,
            0xe_0000_000d,
            0x10_0000_000f,
        ],
    };

    fn run(instructions: &[(u16, u8, u8, u32)]) -> Outcome {
        let filter: Vec<u8> = instructions
            .iter()
            .flat_map(|&(code, jt, jf, k)| Instruction { code, jt, jf, k }.to_bytes())
            .collect();
        Simulator::new(&filter).expect("a valid filter").run(&DATA)
    }

    #[test]
    fn every_word_of_the_data_is_where_the_kernel_puts_it() {
        for word in 0..16 {
            let outcome = run(&[(op::LOAD, 0, 0, 4 * word), (op::RETURN_A, 0, 0, 0)]);
            assert_eq!(outcome, Outcome { value: word + 1, executed: 2 });
        }
    }

    #[test]
    fn arithmetic_takes_a_constant_or_x() {
        for (operation, result) in [
            (0x04, 17),
            (0x14, 9),
            (0x24, 52),
            (0x34, 3),
            (0x44, 13),
            (op::AND, 4),
            (0x64, 13 << 4),
            (0x74, 0),
            (0xa4, 9),
        ] {
            let start = (op::LOAD_CONSTANT, 0, 0, 13);
            let end = (op::RETURN_A, 0, 0, 0);
            assert_eq!(run(&[start, (operation, 0, 0, 4), end]).value, result, "{operation:#x}");
            let with_x = [start, (op::LOADX_CONSTANT, 0, 0, 4), (operation | X, 0, 0, 0), end];
            assert_eq!(run(&with_x).value, result, "{operation:#x} X");
        }
        let end = (op::RETURN_A, 0, 0, 0);
        assert_eq!(
            run(&[(op::LOAD_CONSTANT, 0, 0, 1), (op::NEGATE, 0, 0, 0), end]).value,
            u32::MAX
        );
    }

    #[test]
    fn a_division_by_zero_ends_the_filter() {
        let filter =
            [(op::LOAD_CONSTANT, 0, 0, 9), (0x34 | X, 0, 0, 0), (op::RETURN, 0, 0, 0x7fff_0000)];
        assert_eq!(run(&filter), Outcome { value: 0, executed: 2 });
    }

    #[test]
    fn jumps_skip_what_they_say() {
        for (operation, k, holds) in [
            (op::JUMP_EQUAL, 5, true),
            (op::JUMP_EQUAL, 4, false),
            (op::JUMP_GREATER, 4, true),
            (op::JUMP_GREATER, 5, false),
            (op::JUMP_GREATER_EQUAL, 5, true),
            (op::JUMP_GREATER_EQUAL, 6, false),
            (op::JUMP_SET, 4, true),
            (op::JUMP_SET, 2, false),
        ] {
            let ends = [(op::RETURN, 0, 0, 0), (op::RETURN, 0, 0, 1), (op::RETURN, 0, 0, 2)];
            let mut filter = vec![(op::LOAD_CONSTANT, 0, 0, 5), (operation, 1, 2, k)];
            filter.extend(ends);
            let value = if holds { 1 } else { 2 };
            assert_eq!(run(&filter).value, value, "{operation:#x} {k}");
        }
        let jump = [(op::JUMP, 0, 0, 1), (op::RETURN, 0, 0, 1), (op::RETURN, 0, 0, 2)];
        assert_eq!(run(&jump), Outcome { value: 2, executed: 2 });
    }

    #[test]
    fn registers_keep_their_values() {
        let filter = [
            (op::LOAD_CONSTANT, 0, 0, 7),
            (op::LOADX_LENGTH, 0, 0, 0),
            (0x04 | X, 0, 0, 0),
            (op::TAX, 0, 0, 0),
            (op::LOAD_LENGTH, 0, 0, 0),
            (op::TXA, 0, 0, 0),
            (op::RETURN_A, 0, 0, 0),
        ];
        assert_eq!(run(&filter), Outcome { value: 71, executed: 7 });
    }
}
