//! Importing never panics, and what is imported as rules becomes a filter that
//! decides as they do; what is imported as a filter is one that the kernel
//! accepts.
#![no_main]

use fuzz::agrees;
use launcher_policy::seccomp::validate;
use libfuzzer_sys::fuzz_target;
use policy_encoder::Architecture;
use policy_encoder::seccomp::import::Imported;
use policy_encoder::seccomp::rules::Rules;
use policy_encoder::seccomp::tables;

fuzz_target!(|data: &[u8]| {
    for architecture in [Architecture::X86_64, Architecture::Aarch64, Architecture::Riscv64] {
        match Imported::parse(data, architecture) {
            Ok(Imported::Profile(profile)) => {
                let calls = tables::calls(architecture);
                let calls = calls.map(|(number, name)| (number, profile.call(name))).collect();
                agrees(&Rules::native(architecture, calls), [0; 6]);
            }
            Ok(Imported::Filter(instructions)) => {
                let filter: Vec<u8> =
                    instructions.iter().flat_map(|each| each.to_bytes()).collect();
                assert_eq!(filter, data);
                assert_eq!(validate(&filter), Ok(()));
            }
            Err(reason) => assert!(!reason.is_empty()),
        }
    }
});
