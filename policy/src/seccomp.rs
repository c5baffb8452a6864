//! The seccomp filter: classic BPF, carried as the bytes the kernel takes.

use linux_raw_sys::ptrace as uapi;
use serde::{Deserialize, Serialize};

use crate::Refusal;

/// The most instructions of a filter: `BPF_MAXINSNS` of linux/bpf_common.h.
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Size of one instruction: `struct sock_filter`.
pub const INSTRUCTION_SIZE: usize = 8;

/// Size of what a filter may load from: `struct seccomp_data`.
pub const DATA_SIZE: u32 = 64;

/// Flags of `SECCOMP_SET_MODE_FILTER` that a policy may carry.
pub const FILTER_FLAGS: u32 = uapi::SECCOMP_FILTER_FLAG_LOG | LISTENER_FLAGS;

/// Those of a filter that asks a supervisor, seccomp_unotify(2). The second one
/// has a caller wait for an answer whatever signals it gets but those that end
/// it; it is left out before Linux 5.19.
pub const LISTENER_FLAGS: u32 =
    uapi::SECCOMP_FILTER_FLAG_NEW_LISTENER | uapi::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;

/// The filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seccomp<'a> {
    /// Instructions of [`INSTRUCTION_SIZE`] bytes in the byte order of the
    /// frame's architecture.
    pub filter: &'a [u8],
    /// The filter where the namespaces could not be made, which closes what
    /// they would have kept; empty where it is the same.
    pub without_namespaces: &'a [u8],
    /// Flags of `SECCOMP_SET_MODE_FILTER`, within [`FILTER_FLAGS`]; of
    /// [`LISTENER_FLAGS`] both or none.
    pub flags: u32,
    /// Whether `TIOCSTI` and `TIOCLINUX` are closed, so that the command may
    /// keep its caller's terminal.
    pub terminal_is_safe: bool,
}

impl Seccomp<'_> {
    /// Whether it asks a supervisor about some calls.
    pub const fn asks(&self) -> bool {
        self.flags & LISTENER_FLAGS != 0
    }
}

/// One instruction: `struct sock_filter` of linux/filter.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when the comparison holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

impl Instruction {
    /// Reads an instruction in the byte order of this machine, which the
    /// frame's architecture has been compared with.
    pub const fn from_bytes(bytes: [u8; INSTRUCTION_SIZE]) -> Self {
        let [a, b, jt, jf, c, d, e, f] = bytes;
        Self { code: u16::from_ne_bytes([a, b]), jt, jf, k: u32::from_ne_bytes([c, d, e, f]) }
    }

    /// Writes an instruction as the kernel takes it.
    pub const fn to_bytes(self) -> [u8; INSTRUCTION_SIZE] {
        let [a, b] = self.code.to_ne_bytes();
        let [c, d, e, f] = self.k.to_ne_bytes();
        [a, b, self.jt, self.jf, c, d, e, f]
    }
}

/// Operations of classic BPF that seccomp allows: `seccomp_check_filter` in
/// the kernel's kernel/seccomp.c, plus those that the verifier rewrites, but
/// for the scratch memory. No compiler of filters uses that, and what the
/// kernel asks of it could only be checked with a table.
pub mod op {
    /// `A = data[k]`, 32 bits, aligned.
    pub const LOAD: u16 = 0x20;
    /// `A = sizeof(struct seccomp_data)`.
    pub const LOAD_LENGTH: u16 = 0x80;
    /// `A = k`.
    pub const LOAD_CONSTANT: u16 = 0x00;
    /// `X = k`.
    pub const LOADX_CONSTANT: u16 = 0x01;
    /// `X = sizeof(struct seccomp_data)`.
    pub const LOADX_LENGTH: u16 = 0x81;
    /// `X = A`.
    pub const TAX: u16 = 0x07;
    /// `A = X`.
    pub const TXA: u16 = 0x87;
    /// `A = -A`.
    pub const NEGATE: u16 = 0x84;
    /// Skip `k` instructions.
    pub const JUMP: u16 = 0x05;
    /// Skip `jt` if `A == k`, else `jf`.
    pub const JUMP_EQUAL: u16 = 0x15;
    /// Skip `jt` if `A > k`, else `jf`.
    pub const JUMP_GREATER: u16 = 0x25;
    /// Skip `jt` if `A >= k`, else `jf`.
    pub const JUMP_GREATER_EQUAL: u16 = 0x35;
    /// Skip `jt` if `A & k`, else `jf`.
    pub const JUMP_SET: u16 = 0x45;
    /// `A &= k`.
    pub const AND: u16 = 0x54;
    /// End with the action `k`.
    pub const RETURN: u16 = 0x06;
    /// End with the action `A`.
    pub const RETURN_A: u16 = 0x16;

    /// Compare with `X` instead of `k`, in jumps and arithmetic.
    pub(super) const X: u16 = 0x08;
    /// Arithmetic on `A`: add, subtract, multiply, divide, or, and, shifts,
    /// exclusive or.
    pub(super) const ARITHMETIC: [u16; 9] = [0x04, 0x14, 0x24, 0x34, 0x44, AND, 0x64, 0x74, 0xa4];
}

/// Why a filter is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterError {
    /// No instruction, or more than [`MAX_INSTRUCTIONS`], or a part of one.
    Size,
    /// An operation that seccomp does not know, at this instruction.
    Operation(u16),
    /// A jump behind the last instruction.
    Jump(u16),
    /// A load from outside `struct seccomp_data`, or unaligned.
    Load(u16),
    /// A constant division by zero or shift by more than 31.
    Operand(u16),
    /// The last instruction does not return.
    NoReturn,
}

impl FilterError {
    /// What is wrong, in a few words.
    pub const fn refusal(self) -> Refusal {
        match self {
            Self::Size => Refusal::FilterSize,
            Self::Operation(_) => Refusal::FilterOperation,
            Self::Jump(_) => Refusal::FilterJump,
            Self::Load(_) => Refusal::FilterLoad,
            Self::Operand(_) => Refusal::FilterOperand,
            Self::NoReturn => Refusal::FilterNoReturn,
        }
    }
}

/// Checks a filter as the kernel would: `bpf_check_classic` in
/// net/core/filter.c and `seccomp_check_filter` in kernel/seccomp.c. What is
/// accepted here is accepted there; scratch memory is accepted only there.
///
/// # Errors
///
/// The first rule that the filter breaks.
pub fn validate(filter: &[u8]) -> Result<(), FilterError> {
    let (instructions, rest) = filter.as_chunks::<INSTRUCTION_SIZE>();
    let count = instructions.len();
    if count == 0 || count > MAX_INSTRUCTIONS || !rest.is_empty() {
        return Err(FilterError::Size);
    }
    let mut last = op::JUMP;
    for (at, bytes) in instructions.iter().enumerate() {
        let instruction = Instruction::from_bytes(*bytes);
        // Both fit: `at` is below MAX_INSTRUCTIONS.
        let here = at as u16;
        let behind = (count - at - 1) as u32;
        check(instruction, here, behind)?;
        last = instruction.code;
    }
    match last {
        op::RETURN | op::RETURN_A => Ok(()),
        _ => Err(FilterError::NoReturn),
    }
}

/// Checks one instruction that has `behind` others after it.
fn check(instruction: Instruction, here: u16, behind: u32) -> Result<(), FilterError> {
    let Instruction { code, jt, jf, k } = instruction;
    match code {
        op::LOAD if k >= DATA_SIZE || !k.is_multiple_of(4) => Err(FilterError::Load(here)),
        op::JUMP if k >= behind => Err(FilterError::Jump(here)),
        op::JUMP
        | op::LOAD
        | op::LOAD_LENGTH
        | op::LOAD_CONSTANT
        | op::LOADX_CONSTANT
        | op::LOADX_LENGTH
        | op::TAX
        | op::TXA
        | op::NEGATE
        | op::RETURN
        | op::RETURN_A => Ok(()),
        _ => match code & !op::X {
            op::JUMP_EQUAL | op::JUMP_GREATER | op::JUMP_GREATER_EQUAL | op::JUMP_SET => {
                if u32::from(jt.max(jf)) >= behind {
                    Err(FilterError::Jump(here))
                } else {
                    Ok(())
                }
            }
            arithmetic if op::ARITHMETIC.contains(&arithmetic) => match (code, k) {
                (0x34, 0) | (0x64 | 0x74, 32..) => Err(FilterError::Operand(here)),
                _ => Ok(()),
            },
            _ => Err(FilterError::Operation(here)),
        },
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    fn filter(instructions: &[(u16, u8, u8, u32)]) -> Vec<u8> {
        instructions
            .iter()
            .flat_map(|&(code, jt, jf, k)| Instruction { code, jt, jf, k }.to_bytes())
            .collect()
    }

    #[test]
    fn a_filter_that_returns_is_valid() {
        assert_eq!(validate(&filter(&[(op::RETURN, 0, 0, 0)])), Ok(()));
        let jump = [
            (op::LOAD, 0, 0, 60),
            (op::JUMP_EQUAL, 1, 0, 7),
            (op::RETURN, 0, 0, 0),
            (op::RETURN, 0, 0, 1),
        ];
        assert_eq!(validate(&filter(&jump)), Ok(()));
    }

    #[test]
    fn each_rule_of_the_kernel_has_its_error() {
        let ret = (op::RETURN, 0, 0, 0);
        assert_eq!(validate(&[]), Err(FilterError::Size));
        assert_eq!(validate(&[6, 0, 0, 0, 0, 0, 0]), Err(FilterError::Size));
        assert_eq!(validate(&filter(&[ret; MAX_INSTRUCTIONS + 1])), Err(FilterError::Size));
        assert_eq!(validate(&filter(&[(0xffff, 0, 0, 0), ret])), Err(FilterError::Operation(0)));
        // The packet loads of other BPF users are not for seccomp.
        assert_eq!(validate(&filter(&[(0x28, 0, 0, 0), ret])), Err(FilterError::Operation(0)));
        assert_eq!(validate(&filter(&[(op::JUMP, 0, 0, 1), ret])), Err(FilterError::Jump(0)));
        assert_eq!(
            validate(&filter(&[(op::JUMP, 0, 0, u32::MAX), ret])),
            Err(FilterError::Jump(0))
        );
        assert_eq!(validate(&filter(&[(op::JUMP_EQUAL, 0, 1, 0), ret])), Err(FilterError::Jump(0)));
        assert_eq!(validate(&filter(&[ret, (op::JUMP_EQUAL, 0, 0, 0)])), Err(FilterError::Jump(1)));
        assert_eq!(validate(&filter(&[(op::LOAD, 0, 0, 64), ret])), Err(FilterError::Load(0)));
        assert_eq!(validate(&filter(&[(op::LOAD, 0, 0, 2), ret])), Err(FilterError::Load(0)));
        // Scratch memory: BPF_ST, BPF_STX, and the loads from it.
        for memory in [0x02, 0x03, 0x60, 0x61] {
            let filter = filter(&[(memory, 0, 0, 0), ret]);
            assert_eq!(validate(&filter), Err(FilterError::Operation(0)));
        }
        assert_eq!(validate(&filter(&[(0x34, 0, 0, 0), ret])), Err(FilterError::Operand(0)));
        assert_eq!(validate(&filter(&[(0x64, 0, 0, 32), ret])), Err(FilterError::Operand(0)));
        assert_eq!(validate(&filter(&[(op::LOAD, 0, 0, 0)])), Err(FilterError::NoReturn));
    }

    #[test]
    fn what_the_kernel_takes_at_its_limits_is_taken() {
        let ret = (op::RETURN, 0, 0, 0);
        assert_eq!(validate(&filter(&[ret; MAX_INSTRUCTIONS])), Ok(()));
        // The longest jumps, to the last instruction.
        let mut far = [ret; MAX_INSTRUCTIONS];
        far[0] = (op::JUMP, 0, 0, MAX_INSTRUCTIONS as u32 - 2);
        far[MAX_INSTRUCTIONS - 257] = (op::JUMP_EQUAL, 255, 255, 0);
        assert_eq!(validate(&filter(&far)), Ok(()));
        far[0].3 += 1;
        assert_eq!(validate(&filter(&far)), Err(FilterError::Jump(0)));
        far[0] = ret;
        far[MAX_INSTRUCTIONS - 256] = (op::JUMP_EQUAL, 0, 255, 0);
        assert_eq!(validate(&filter(&far)), Err(FilterError::Jump(MAX_INSTRUCTIONS as u16 - 256)));
        // Every word of the data, and no byte between or behind.
        for offset in 0..=DATA_SIZE + 4 {
            let is_word = offset < DATA_SIZE && offset % 4 == 0;
            let load = validate(&filter(&[(op::LOAD, 0, 0, offset), ret]));
            assert_eq!(load.is_ok(), is_word, "{offset}");
        }
        // What is behind a return is judged all the same.
        let behind = [ret, (op::LOAD, 0, 0, 64), ret];
        assert_eq!(validate(&filter(&behind)), Err(FilterError::Load(1)));
        assert_eq!(validate(&filter(&[ret, (op::RETURN_A, 0, 0, 0)])), Ok(()));
        assert_eq!(validate(&filter(&[(op::TAX, 0, 0, 0)])), Err(FilterError::NoReturn));
    }
}
