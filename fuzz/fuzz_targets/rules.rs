//! Any rules become a filter that the kernel accepts, unless it is too long,
//! and that decides as the rules do.
#![no_main]

use std::collections::BTreeMap;

use fuzz::agrees;
use libfuzzer_sys::arbitrary::{Arbitrary, Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use policy_encoder::Architecture;
use policy_encoder::seccomp::rules::{
    Action, Argument, Call, Comparison, Condition, Rule, Rules, Width,
};

fuzz_target!(|data: &[u8]| {
    let mut data = Unstructured::new(data);
    if let (Ok(rules), Ok(arguments)) = (rules(&mut data), <[u64; 6]>::arbitrary(&mut data)) {
        agrees(&rules, arguments);
    }
});

fn rules(data: &mut Unstructured<'_>) -> Result<Rules> {
    let architectures = [Architecture::X86_64, Architecture::Aarch64, Architecture::Riscv64];
    let architecture = *data.choose(&architectures)?;
    let mut calls = BTreeMap::new();
    for _ in 0..data.int_in_range(0..=64)? {
        // Dense, as numbers of calls are, or anything.
        let number = match u8::arbitrary(data)? {
            0..0xf0 => u32::from(u16::arbitrary(data)? % 512),
            _ => u32::arbitrary(data)?,
        };
        calls.insert(number, call(data)?);
    }
    Ok(Rules::native(architecture, calls))
}

fn call(data: &mut Unstructured<'_>) -> Result<Call> {
    let count = data.int_in_range(0..=4)?;
    let rules = (0..count).map(|_| rule(data)).collect::<Result<_>>()?;
    Ok(Call { rules, otherwise: action(data)? })
}

fn rule(data: &mut Unstructured<'_>) -> Result<Rule> {
    let count = data.int_in_range(0..=4)?;
    let conditions = (0..count).map(|_| condition(data)).collect::<Result<_>>()?;
    Ok(Rule { conditions, action: action(data)? })
}

fn condition(data: &mut Unstructured<'_>) -> Result<Condition> {
    let value = value(data)?;
    let comparison = match data.int_in_range(0..=7)? {
        0 => Comparison::Equal(value),
        1 => Comparison::NotEqual(value),
        2 => Comparison::Less(value),
        3 => Comparison::LessOrEqual(value),
        4 => Comparison::Greater(value),
        5 => Comparison::GreaterOrEqual(value),
        6 => Comparison::MaskedEqual { mask: value, value: self::value(data)? },
        _ => {
            let count = data.int_in_range(0..=8)?;
            Comparison::OneOf((0..count).map(|_| self::value(data)).collect::<Result<_>>()?)
        }
    };
    Ok(Condition {
        argument: *data.choose(&Argument::ALL)?,
        width: *data.choose(&[Width::Bits32, Width::Bits64])?,
        comparison,
    })
}

/// Small, around the middle, or anything.
fn value(data: &mut Unstructured<'_>) -> Result<u64> {
    Ok(match u8::arbitrary(data)? {
        small @ 0..0x80 => small.into(),
        near @ 0x80..0xa0 => (1 << 32) - 0x90 + u64::from(near),
        top @ 0xa0..0xc0 => u64::MAX - u64::from(top - 0xa0),
        bit @ 0xc0.. => match bit & 0x3f {
            0x3f => u64::arbitrary(data)?,
            bit => 1 << bit,
        },
    })
}

fn action(data: &mut Unstructured<'_>) -> Result<Action> {
    Ok(match data.int_in_range(0..=5)? {
        0 => Action::KillProcess,
        1 => Action::Trap,
        2 => Action::Errno(data.int_in_range(0..=4095)?),
        3 => Action::Notify,
        4 => Action::Log,
        _ => Action::Allow,
    })
}
