//! For the same rules, other compilers' filters decide as this project's
//! does, for every number and for arguments at every edge; and where not, it
//! is for a reason that is named here.

use differential::random::{self, Comparisons};
use differential::{Shape, libseccomp, libseccomp_number, own, seccompiler};
use fastrand::Rng;
use launcher_policy::seccomp::validate;
use linux_raw_sys::ptrace as uapi;
use policy_encoder::Architecture;
use policy_encoder::seccomp::import::{Imported, Profile};
use policy_encoder::seccomp::rules::{Data, Rules, X32_BIT};
use policy_encoder::seccomp::simulate::Simulator;
use policy_encoder::seccomp::tables;

const ARCHITECTURES: [Architecture; 3] =
    [Architecture::X86_64, Architecture::Aarch64, Architecture::Riscv64];

const KILL: u32 = uapi::SECCOMP_RET_KILL_PROCESS;
const ENOSYS: u32 = uapi::SECCOMP_RET_ERRNO | 38;

fn simulator(filter: &[u8]) -> Simulator {
    assert_eq!(validate(filter), Ok(()));
    Simulator::new(filter).expect("validated")
}

/// Compares two filters for every call that the library knows.
fn compare(rules: &Rules, other: &[u8], random: &mut Rng, what: &str) {
    let (own, other) = (simulator(&own(rules)), simulator(other));
    let architecture = tables::audit(rules.architecture);
    for (&number, call) in &rules.calls {
        let name = tables::name(rules.architecture, number).unwrap_or_default();
        if libseccomp_number(rules.architecture, name) != Some(number) {
            continue;
        }
        for arguments in random::arguments(random, call) {
            let data = Data { number, architecture, instruction_pointer: 0, arguments };
            let (own, other) = (own.run(&data).value, other.run(&data).value);
            assert_eq!(own, rules.decide(&data).value(), "{name} {arguments:x?} {call:?}");
            assert_eq!(own, other, "{what}: {name} {arguments:x?} {call:?}");
        }
    }
    // A number that no call has may be newer than the table: it does not
    // exist. Others give it what they give calls that are not named.
    for number in [tables::newest(rules.architecture) + 1, 5000, X32_BIT - 1] {
        let data = Data { number, architecture, instruction_pointer: 0, arguments: [0; 6] };
        assert_eq!(own.run(&data).value, ENOSYS);
    }
    let foreign =
        Data { number: 1, architecture: 0x4000_0003, instruction_pointer: 0, arguments: [0; 6] };
    assert_eq!((own.run(&foreign).value, other.run(&foreign).value), (KILL, KILL), "{what}");
    if rules.architecture == Architecture::X86_64 {
        let x32 = Data { number: X32_BIT | 1, architecture, ..foreign };
        assert_eq!(own.run(&x32).value, KILL);
        // seccompiler takes x32 for numbers like others.
        if what != "seccompiler" {
            assert_eq!(other.run(&x32).value, KILL, "{what}");
        }
    }
}

#[test]
fn names_have_the_numbers_that_libseccomp_gives_them() {
    for architecture in ARCHITECTURES {
        let mut compared = 0;
        for (number, name) in tables::calls(architecture) {
            if let Some(other) = libseccomp_number(architecture, name) {
                assert_eq!(number, other, "{architecture:?} {name}");
                compared += 1;
            }
        }
        assert!(compared > 280, "{architecture:?}: {compared}");
    }
}

fn for_random_rules(
    seed: u64,
    comparisons: Comparisons,
    mut compare: impl FnMut(&Rules, &mut Rng),
) {
    let mut random = Rng::with_seed(seed);
    for architecture in ARCHITECTURES {
        for allowed in [1, 10, 50, 100, 300] {
            for _ in 0..2 {
                let rules = random::rules(&mut random, architecture, allowed, comparisons);
                compare(&rules, &mut random);
            }
        }
    }
}

#[test]
fn libseccomp_decides_the_same_about_names() {
    for_random_rules(1, Comparisons::None, |rules, random| {
        for shape in [Shape::Chain, Shape::Tree] {
            let other = libseccomp(rules, shape).expect("it can be expressed");
            compare(rules, &other, random, "libseccomp");
        }
    });
}

#[test]
fn libseccomp_decides_the_same_about_arguments() {
    for_random_rules(2, Comparisons::Whole, |rules, random| {
        for shape in [Shape::Chain, Shape::Tree] {
            let other = libseccomp(rules, shape).expect("it can be expressed");
            compare(rules, &other, random, "libseccomp");
        }
    });
}

#[test]
fn seccompiler_decides_the_same_about_names() {
    for_random_rules(3, Comparisons::None, |rules, random| {
        let other = seccompiler(rules).expect("it can be expressed");
        compare(rules, &other, random, "seccompiler");
    });
}

#[test]
fn seccompiler_decides_the_same_about_arguments() {
    for_random_rules(4, Comparisons::All, |rules, random| {
        let other = seccompiler(rules).expect("it can be expressed");
        compare(rules, &other, random, "seccompiler");
    });
}

#[test]
fn imported_profiles_decide_as_libseccomp_has_them() {
    let mut random = Rng::with_seed(5);
    for architecture in ARCHITECTURES {
        for json in [
            &include_bytes!("../../policy-encoder/testdata/seccomp/docker.json")[..],
            include_bytes!("../../policy-encoder/testdata/seccomp/podman.json"),
        ] {
            let profile = Profile::parse(json, architecture).expect("it can be imported");
            let calls = tables::calls(architecture);
            let calls = calls.map(|(number, name)| (number, profile.call(name))).collect();
            let rules = Rules::native(architecture, calls);
            for shape in [Shape::Chain, Shape::Tree] {
                let other = libseccomp(&rules, shape).expect("it can be expressed");
                compare(&rules, &other, &mut random, "libseccomp");
            }
        }
    }
}

#[test]
fn what_libseccomp_writes_can_be_imported() {
    let mut random = Rng::with_seed(6);
    for architecture in ARCHITECTURES {
        let rules = random::rules(&mut random, architecture, 100, Comparisons::Whole);
        for shape in [Shape::Chain, Shape::Tree] {
            let filter = libseccomp(&rules, shape).expect("it can be expressed");
            let imported = Imported::parse(&filter, architecture);
            assert!(matches!(imported, Ok(Imported::Filter(_))), "{imported:?}");
        }
        let filter = seccompiler(&rules).expect("it can be expressed");
        assert!(Imported::parse(&filter, architecture).is_ok());
    }
}
