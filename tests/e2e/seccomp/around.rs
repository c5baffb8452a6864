//! Ways around a filter: other names for what is closed, and arguments that
//! the kernel reads otherwise than a filter might.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

use harness::{Caller, Errno, Outcome, Sandbox, TempDir};
use launcher_policy::seccomp::{Instruction, op};
use policy_encoder::Architecture;
use policy_encoder::seccomp::tables;
#[cfg(target_arch = "x86_64")]
use policy_encoder::seccomp::tables::Abi;

/// No UNIX sockets, by the filter alone: every path is in view.
const NO_UNIX: &str = r#"
    filesystem = { tmp = "none", proc = false, dev = "none" }
    network.unix = "none"
    enforce.namespaces = "off"
    "#;

#[test]
fn a_pair_of_sockets_reaches_no_other_socket() {
    for caller in Caller::both() {
        let directory = TempDir::new();
        let path = directory.join("socket");
        let server = UnixDatagram::bind(&path).expect("it is bound");
        server.set_nonblocking(true).expect("it has flags");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).expect("it is given");
        let lines = ["send dgram", "send raw", "connect dgram", "connect raw"];
        // These stay with their peers by themselves.
        let bound = ["send stream", "connect stream", "connect seqpacket"];
        let ask = |sandbox: Sandbox, lines: &[&str]| {
            let lines: Vec<String> =
                lines.iter().map(|line| format!("pair-{line} {directory}/socket")).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            sandbox.caller(caller).probes(&lines)
        };

        let inside = ask(Sandbox::new(NO_UNIX), &lines);
        let got_inside = server.recv(&mut [0; 1]).is_ok();
        let outside = ask(Sandbox::outside(), &lines);
        let got_outside = server.recv(&mut [0; 1]).is_ok();

        assert_eq!(inside, vec![Outcome::Errno(Errno::SOCKTNOSUPPORT); lines.len()], "{caller}");
        assert!(outside.iter().all(Outcome::is_ok), "{caller}: {outside:?}");
        assert!(got_outside && !got_inside, "{caller}");
        for sandbox in [Sandbox::new(NO_UNIX), Sandbox::outside()] {
            let outcomes = ask(sandbox, &bound);
            assert!(outcomes.iter().all(Outcome::is_errno), "{caller}: {outcomes:?}");
        }
    }
}

#[test]
fn bits_that_the_kernel_does_not_look_at_open_nothing() {
    // A call and its first two arguments, of which one is the `int` that is
    // judged; its error number, and what the kernel itself would answer.
    let denied = Errno::DOM;
    let calls = [
        ("socket", [2, 1], 0, Errno::AFNOSUPPORT),
        ("socketpair", [2, 1], 0, Errno::AFNOSUPPORT),
        ("ioctl", [0, 0x5412], 1, denied),
        ("clone", [0x1000_0200, 0], 0, denied),
        ("personality", [0x0004_0000, 0], 0, denied),
        ("memfd_create", [u64::MAX, 1], 1, denied),
    ];
    let upper = [0, 1 << 32, 1 << 63, !u64::from(u32::MAX)];
    let line = |name: &str, mut arguments: [u64; 2], judged: usize, upper: u64| {
        arguments[judged] |= upper;
        format!("syscall {name} {} {}", arguments[0], arguments[1])
    };
    let lines = calls.map(|(name, given, judged, _)| upper.map(|up| line(name, given, judged, up)));
    let lines: Vec<&str> = lines.as_flattened().iter().map(String::as_str).collect();
    let expected = calls.map(|(_, _, _, errno)| [errno; 4]);
    for caller in Caller::both() {
        for profile in ["default", "strict"] {
            let policy = format!("seccomp = {{ profile = {profile:?}, errno = \"EDOM\" }}");
            let outcomes = Sandbox::new(&policy).caller(caller).probes(&lines);
            for ((line, outcome), errno) in lines.iter().zip(outcomes).zip(expected.as_flattened())
            {
                assert_eq!(outcome, Outcome::Errno(*errno), "{caller}, {profile}, {line}");
            }
        }
        // The kernel takes each for the same call, whatever the upper half.
        let outcomes = Sandbox::outside().caller(caller).probes(&lines);
        for (call, same) in calls.iter().zip(outcomes.chunks(upper.len())) {
            let word = |outcome: &Outcome| outcome.is_ok().then_some(()).ok_or(outcome.clone());
            assert!(same.iter().all(|each| word(each) == word(&same[0])), "{call:?}: {same:?}");
            assert_ne!(same[0], Outcome::Errno(call.3), "{caller}, {call:?}");
        }
    }
}

#[test]
fn a_filter_of_the_commands_own_opens_nothing() {
    // Allowing, logging, asking a tracer and asking a supervisor.
    let answers = [0x7fff_0000_u32, 0x7ffc_0000, 0x7ff0_0000, 0x7fc0_0000];
    for caller in Caller::both() {
        for profile in ["default", "strict"] {
            let policy = format!("seccomp = {{ profile = {profile:?}, errno = \"EDOM\" }}");
            for answer in answers {
                // For keyctl(2) alone: load the number, compare, return.
                let number = tables::number(Architecture::NATIVE, "keyctl").expect("it exists");
                let filter: String = [
                    (op::LOAD, 0, 0, 0),
                    (op::JUMP_EQUAL, 0, 1, number),
                    (op::RETURN, 0, 0, answer),
                    (op::RETURN, 0, 0, 0x7fff_0000),
                ]
                .iter()
                .flat_map(|&(code, jt, jf, k)| Instruction { code, jt, jf, k }.to_bytes())
                .map(|byte| format!("{byte:02x}"))
                .collect();
                let line = format!("under-filter {filter} {number} 99 0 0 0 0 0");
                let outcome = Sandbox::new(&policy).caller(caller).probe(&line);
                let denied = Errno::DOM.raw_os_error().to_string();
                assert_eq!(outcome, Outcome::Ok(denied), "{caller}, {profile}, {answer:x}");
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_call_of_another_table_ends_the_process() {
    // getpid: with the x32 bit, and of the 32-bit table.
    let x32 = format!("syscall {}", Abi::X32.number("getpid").expect("it has one"));
    let i386 = "int80 20".to_owned();
    let has_i386 = Sandbox::outside().probe(&i386).is_ok();
    if !has_i386 {
        harness::skipped("ia32", "this kernel has no 32-bit system calls");
    }
    for caller in Caller::both() {
        for profile in ["default", "strict", "unconfined"] {
            for call in [&x32, &i386] {
                if call == &i386 && !has_i386 {
                    continue;
                }
                let policy = format!("seccomp.profile = {profile:?}");
                let sandbox = Sandbox::new(&policy).caller(caller);
                let output = sandbox.run([&sandbox.probe_path(), call]);
                assert_eq!(output.code(), 128 + 31, "{caller}, {profile}, {call}: {output:?}");
                assert_eq!(output.stdout_text(), "", "{caller}, {profile}, {call}");
            }
        }
        // execve of x32 without the bit, which older kernels take for it.
        let outcome = Sandbox::new("").caller(caller).probe("syscall 520 0 0 0");
        assert_eq!(outcome, Outcome::Errno(Errno::NOSYS), "{caller}");
    }
}
