//! The simulator of filters, by which everything else about them is tested,
//! against the kernel: random filters of every operation.

use fastrand::Rng;
use harness::{Outcome, Sandbox};
use launcher_policy::seccomp::{Instruction, op};
use linux_raw_sys::ptrace as uapi;
use policy_encoder::Architecture;
use policy_encoder::seccomp::rules::Data;
use policy_encoder::seccomp::simulate::Simulator;
use policy_encoder::seccomp::tables;

/// The operations that take `k`, and with `BPF_X` the register X.
const ARITHMETIC: [u16; 9] = [0x04, 0x14, 0x24, 0x34, 0x44, op::AND, 0x64, 0x74, 0xa4];
const COMPARISONS: [u16; 4] =
    [op::JUMP_EQUAL, op::JUMP_GREATER, op::JUMP_GREATER_EQUAL, op::JUMP_SET];
const X: u16 = 0x08;

/// What a filter returns for an error number.
const ERRNO: u32 = uapi::SECCOMP_RET_ERRNO;

/// The call that is judged, which does no harm.
const CALL: &str = "getppid";

#[test]
fn the_kernel_ends_filters_as_the_simulator_does() {
    let number = tables::number(Architecture::NATIVE, CALL).expect("it exists");
    let mut random = Rng::with_seed(7);
    let (mut compared, mut divided) = (0, 0);
    for _ in 0..60 {
        let filter = filter(&mut random, number);
        let bytes: Vec<u8> = filter.iter().flat_map(|each| each.to_bytes()).collect();
        let simulator = Simulator::new(&bytes).expect("a valid filter");
        let mut line = format!("under-filter {} {number}", hex(&bytes));
        let mut expected = Vec::new();
        for _ in 0..40 {
            let arguments: [u64; 6] = std::array::from_fn(|_| value(&mut random));
            let data = Data {
                number,
                architecture: tables::audit(Architecture::NATIVE),
                instruction_pointer: 0,
                arguments,
            };
            match simulator.run(&data).value {
                // It divides by zero, which ends the process.
                0 => divided += 1,
                value => {
                    assert_eq!(value & uapi::SECCOMP_RET_ACTION_FULL, ERRNO);
                    expected.push((value & uapi::SECCOMP_RET_DATA).to_string());
                    arguments.iter().for_each(|each| line.push_str(&format!(" {each:#x}")));
                }
            }
        }
        if expected.is_empty() {
            continue;
        }
        compared += expected.len();
        let outcome = Sandbox::outside().probe(&line);
        assert_eq!(outcome, Outcome::Ok(expected.join(",")), "{filter:#x?}");
    }
    // Most calls, but not all of one answer, came to something to compare.
    assert!(compared > 1000 && divided > 0, "{compared} {divided}");
}

#[test]
fn a_division_by_zero_ends_the_process() {
    let number = tables::number(Architecture::NATIVE, CALL).expect("it exists");
    let filter = guarded(number, &[plain(op::LOAD, 16), plain(op::TAX, 0), plain(0x34 | X, 0)]);
    let bytes: Vec<u8> = filter.iter().flat_map(|each| each.to_bytes()).collect();
    let probe = |first: u64| {
        let line = format!("under-filter {} {number} {first} 0 0 0 0 0", hex(&bytes));
        Sandbox::outside().probe(&line)
    };
    // What it divides is what it divides by.
    assert_eq!(probe(9), Outcome::Ok("1".into()));
    let Outcome::Silent(output) = probe(0) else { panic!("it lives") };
    assert_eq!(output.code(), 128 + 31, "{output:?}");
}

/// A filter that answers the call with an error number, and allows others.
fn filter(random: &mut Rng, number: u32) -> Vec<Instruction> {
    let length = random.usize(5..40);
    let body: Vec<Instruction> =
        (0..length).map(|at| instruction(random, (length - at - 1) as u8)).collect();
    guarded(number, &body)
}

/// The instructions for the call alone; whatever they leave in `A` becomes an
/// error number.
fn guarded(number: u32, body: &[Instruction]) -> Vec<Instruction> {
    let start = [
        plain(op::LOAD, 0),
        Instruction { code: op::JUMP_EQUAL, jt: 1, jf: 0, k: number },
        plain(op::RETURN, uapi::SECCOMP_RET_ALLOW),
    ];
    let end = [plain(op::AND, 0xfff), plain(0x44, ERRNO), plain(op::RETURN_A, 0)];
    [&start[..], body, &end[..]].concat()
}

/// Any operation, with `left` others behind it before the end.
fn instruction(random: &mut Rng, left: u8) -> Instruction {
    let k = value(random) as u32;
    match random.u8(0..14) {
        0..3 => {
            // Where the call is made differs from run to run.
            let words = [0, 4, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60];
            plain(op::LOAD, words[random.usize(..words.len())])
        }
        3 => plain(op::LOAD_CONSTANT, k),
        4 => plain(op::LOADX_CONSTANT, k),
        5 => plain(if random.bool() { op::LOAD_LENGTH } else { op::LOADX_LENGTH }, 0),
        6 => plain(op::TAX, 0),
        7 => plain(if random.bool() { op::TXA } else { op::NEGATE }, 0),
        8 if random.u8(..) < 64 => plain(op::RETURN, ERRNO | random.u32(0..4096)),
        9 => plain(op::JUMP, random.u8(0..=left).into()),
        10 | 11 => Instruction {
            code: COMPARISONS[random.usize(..4)] | if random.bool() { X } else { 0 },
            jt: random.u8(0..=left),
            jf: random.u8(0..=left),
            k,
        },
        _ => {
            let operation = ARITHMETIC[random.usize(..ARITHMETIC.len())];
            match (operation, random.bool()) {
                (0x64 | 0x74, false) => plain(operation, k % 32),
                (0x34, false) => plain(operation, k.max(1)),
                (_, false) => plain(operation, k),
                (_, true) => plain(operation | X, 0),
            }
        }
    }
}

/// A value as arguments have: mostly small, at an edge, or a flag.
fn value(random: &mut Rng) -> u64 {
    match random.u8(0..8) {
        0 => random.u64(..),
        1 => 1 << random.u8(0..64),
        2 => (1 << 32) - 2 + random.u64(0..4),
        3 => u64::MAX - random.u64(0..2),
        _ => random.u64(0..40),
    }
}

const fn plain(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
