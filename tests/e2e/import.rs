//! Filters of others, imported, on the kernel.

use std::path::Path;

use harness::{Caller, Errno, Outcome, Sandbox, TempDir};
use launcher_policy::seccomp::{Instruction, op};
use linux_raw_sys::ptrace as uapi;
use policy_encoder::Architecture;
use policy_encoder::seccomp::tables;

#[test]
fn programs_run_under_the_default_profiles_of_docker_and_podman() {
    let directory =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy-encoder/testdata/seccomp");
    for caller in Caller::both() {
        for name in ["docker.json", "podman.json"] {
            let policy = format!("seccomp.import = {:?}", directory.join(name));
            let outcomes = Sandbox::new(&policy).caller(caller).probes(&[
                "fork",
                "threads 3",
                "syscall getpid",
                "syscall personality 0x0040000",
                "socket inet stream",
                "socket unix stream",
                "syscall clone3 0 0",
            ]);
            let [fork, threads, pid, personality, inet, unix, clone3] = &outcomes[..] else {
                panic!("{caller}, {name}: {outcomes:?}")
            };
            assert!(fork.is_ok() && threads.is_ok() && pid.is_ok(), "{caller}, {name}");
            assert!(personality.is_errno(), "{caller}, {name}");
            // The policy grants no network, whatever was imported.
            assert_eq!(*inet, Outcome::Errno(Errno::AFNOSUPPORT), "{caller}, {name}");
            assert!(unix.is_ok(), "{caller}, {name}");
            assert_eq!(*clone3, Outcome::Errno(Errno::NOSYS), "{caller}, {name}");
        }
        for open in ["syscall personality 0x0040000", "socket inet stream"] {
            assert!(Sandbox::outside().caller(caller).probe(open).is_ok(), "{caller}, {open}");
        }
    }
}

#[test]
fn an_imported_profile_decides_by_arguments() {
    let json = r#"{
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{
            "names": ["dup"], "action": "SCMP_ACT_ERRNO", "errnoRet": 33,
            "args": [{ "index": 0, "value": 1, "op": "SCMP_CMP_GE" }]
        }]
    }"#;
    let directory = TempDir::with_file("profile.json", json);
    let policy = format!("seccomp.import = {:?}", directory.join("profile.json"));
    let lines = ["syscall dup 0", "syscall dup 1"];
    for caller in Caller::both() {
        let outcomes = Sandbox::new(&policy).caller(caller).probes(&lines);
        assert!(outcomes[0].is_ok(), "{caller}: {outcomes:?}");
        assert_eq!(outcomes[1], Outcome::Errno(Errno::DOM), "{caller}");
        let control = Sandbox::outside().caller(caller).probes(&lines);
        assert!(control.iter().all(Outcome::is_ok), "{caller}: {control:?}");
    }
}

#[test]
fn an_imported_filter_decides_behind_the_guarantees() {
    let number = tables::number(Architecture::NATIVE, "getcwd").expect("it exists");
    let filter: Vec<u8> = [
        (op::LOAD, 0, 0, 0),
        (op::JUMP_EQUAL, 0, 1, number),
        (op::RETURN, 0, 0, uapi::SECCOMP_RET_ERRNO | 33),
        (op::RETURN, 0, 0, uapi::SECCOMP_RET_ALLOW),
    ]
    .iter()
    .flat_map(|&(code, jt, jf, k)| Instruction { code, jt, jf, k }.to_bytes())
    .collect();
    let directory = TempDir::new();
    std::fs::write(directory.join("filter.bpf"), filter).expect("it can be written");
    let policy = format!("seccomp.import = {:?}", directory.join("filter.bpf"));
    let lines = ["syscall getcwd", "syscall getpid", "socket inet stream", "tiocsti 0x5412"];
    for caller in Caller::both() {
        let outcomes = Sandbox::new(&policy).caller(caller).probes(&lines);
        assert_eq!(outcomes[0], Outcome::Errno(Errno::DOM), "{caller}");
        assert!(outcomes[1].is_ok(), "{caller}: {outcomes:?}");
        assert_eq!(outcomes[2], Outcome::Errno(Errno::AFNOSUPPORT), "{caller}");
        assert_eq!(outcomes[3], Outcome::Errno(Errno::PERM), "{caller}");
        let control = Sandbox::outside().caller(caller).probe("socket inet stream");
        assert!(control.is_ok(), "{caller}: {control:?}");
    }
}
