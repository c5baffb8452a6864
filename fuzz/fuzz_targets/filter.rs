//! Judging a filter never panics and agrees with the kernel's own rules, told
//! here a second time, but for scratch memory, which no policy uses; and what
//! is accepted runs to its end.
#![no_main]

use launcher_policy::seccomp::{INSTRUCTION_SIZE, Instruction, validate};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use policy_encoder::seccomp::rules::Data;
use policy_encoder::seccomp::simulate::Simulator;

/// A filter, and a system call to judge.
#[derive(Arbitrary, Debug)]
struct Input<'a> {
    number: u32,
    architecture: u32,
    arguments: [u64; 6],
    filter: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let accepted = validate(input.filter).is_ok();
    let (instructions, rest) = input.filter.as_chunks::<INSTRUCTION_SIZE>();
    let instructions: Vec<_> = instructions.iter().copied().map(Instruction::from_bytes).collect();
    assert_eq!(accepted, rest.is_empty() && the_kernel_accepts(&instructions), "{instructions:?}");
    if accepted {
        let outcome = Simulator::new(input.filter).expect("it was accepted").run(&Data {
            number: input.number,
            architecture: input.architecture,
            instruction_pointer: 0,
            arguments: input.arguments,
        });
        assert!((1..=instructions.len()).contains(&outcome.executed));
    }
});

/// `seccomp_check_filter` of kernel/seccomp.c and `bpf_check_classic` of
/// net/core/filter.c, in their words.
fn the_kernel_accepts(filter: &[Instruction]) -> bool {
    (1..=4096).contains(&filter.len())
        && filter.iter().all(seccomp_knows)
        && filter.iter().enumerate().all(|(pc, each)| is_possible(each, pc, filter.len()))
        && filter.last().is_some_and(|last| matches!(last.code, 0x06 | 0x16))
}

/// The list of `seccomp_check_filter`, without BPF_MEM, BPF_ST and BPF_STX.
fn seccomp_knows(instruction: &Instruction) -> bool {
    match instruction.code {
        // BPF_LD | BPF_W | BPF_ABS
        0x20 => instruction.k < 64 && instruction.k & 3 == 0,
        // BPF_LD and BPF_LDX of BPF_LEN, BPF_IMM
        0x80 | 0x81 | 0x00 | 0x01 => true,
        // BPF_RET of BPF_K, BPF_A; BPF_MISC of BPF_TAX, BPF_TXA; BPF_NEG
        0x06 | 0x16 | 0x07 | 0x87 | 0x84 => true,
        // BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, of BPF_K, BPF_X
        0x04 | 0x0c | 0x14 | 0x1c | 0x24 | 0x2c | 0x34 | 0x3c => true,
        // BPF_OR, BPF_AND, BPF_LSH, BPF_RSH, BPF_XOR, of BPF_K, BPF_X
        0x44 | 0x4c | 0x54 | 0x5c | 0x64 | 0x6c | 0x74 | 0x7c | 0xa4 | 0xac => true,
        // BPF_JA; BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET, of BPF_K, BPF_X
        0x05 | 0x15 | 0x1d | 0x25 | 0x2d | 0x35 | 0x3d | 0x45 | 0x4d => true,
        _ => false,
    }
}

/// The switch of `bpf_check_classic`.
fn is_possible(instruction: &Instruction, pc: usize, length: usize) -> bool {
    let Instruction { code, jt, jf, k } = *instruction;
    let is_inside = |target: u64| target < length as u64;
    match code {
        0x34 => k != 0,
        0x64 | 0x74 => k < 32,
        0x05 => is_inside(pc as u64 + 1 + u64::from(k)),
        _ if code & 0x07 == 0x05 => {
            [jt, jf].iter().all(|&skip| is_inside(pc as u64 + 1 + u64::from(skip)))
        }
        _ => true,
    }
}
