//! Every system call of every table through the kernel: what it decides is
//! what the filter decides when it is simulated.
//!
//! All arguments are -1, which no call has a use for: no descriptor, no
//! process, no address, and bits that no flag has.

use harness::{Caller, Errno, IN_PLACE, Outcome, Sandbox};
use policy_encoder::Architecture;
use policy_encoder::seccomp::rules::Data;
use policy_encoder::seccomp::simulate::Simulator;
use policy_encoder::seccomp::tables::{self, Abi};
use policy_encoder::seccomp::{groups, profile};

/// Calls that are not made where they are open, and why.
const NOT_MADE: [(&str, &str); 11] = [
    ("exit", "ends the probe"),
    ("exit_group", "ends the probe"),
    ("fork", "answers twice"),
    ("vfork", "answers twice"),
    ("pause", "waits for ever"),
    ("sigsuspend", "waits for ever"),
    ("rt_sigreturn", "goes on where the stack says"),
    ("sigreturn", "goes on where the stack says"),
    ("uprobe", "passes every filter, and kills who is not a probe of the kernel's"),
    ("uretprobe", "passes every filter, and kills who is not a probe of the kernel's"),
    ("sync", "waits for every disk of the host"),
];

/// What a denied call answers: no call does so by itself with such arguments.
const DENIED: Errno = Errno::DOM;

const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;

/// A table, and the probe's way into it.
#[derive(Clone, Copy)]
enum Table {
    Native,
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "x86_64 has others"))]
    Other(Abi),
}

impl Table {
    fn calls(self) -> Vec<(u32, &'static str)> {
        match self {
            Self::Native => tables::calls(Architecture::NATIVE).collect(),
            Self::Other(abi) => abi.calls(),
        }
    }

    fn audit(self) -> u32 {
        match self {
            Self::Native => tables::audit(Architecture::NATIVE),
            Self::Other(abi) => abi.audit(),
        }
    }

    fn line(self, number: u32) -> String {
        let verb = if matches!(self, Self::Other(Abi::I386)) { "int80" } else { "syscall" };
        format!("{verb} {number} -1 -1 -1 -1 -1 -1")
    }

    /// The arguments as a filter sees them.
    fn arguments(self) -> [u64; 6] {
        match self {
            Self::Other(Abi::I386) => [u32::MAX.into(); 6],
            Self::Native | Self::Other(_) => [u64::MAX; 6],
        }
    }
}

/// The filter of a policy.
fn simulator(policy: &str) -> Simulator {
    let bytes = harness::encode(policy);
    let policy = launcher_policy::wire::decode(&bytes).expect("it was encoded");
    Simulator::new(policy.seccomp.expect("a filter").filter).expect("it was validated")
}

/// Makes every call of a table under a policy, and compares.
fn every_call_is_decided_as_simulated(policy: &str, table: Table, caller: Caller) {
    let policy = format!("seccomp.errno = \"EDOM\"\n{policy}");
    let simulator = simulator(&policy);
    let decide = |number| {
        let (architecture, arguments) = (table.audit(), table.arguments());
        simulator.run(&Data { number, architecture, instruction_pointer: 0, arguments }).value
    };
    let is_made = |&(number, name): &(u32, &str)| {
        let skipped = NOT_MADE.iter().any(|(other, _)| *other == name);
        !skipped || decide(number) != ALLOW
    };
    let calls: Vec<(u32, &str)> = table.calls().into_iter().filter(is_made).collect();
    let lines: Vec<String> = calls.iter().map(|(number, _)| table.line(*number)).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let outcomes = Sandbox::new(&policy).caller(caller).probes(&lines);
    for ((number, name), outcome) in calls.into_iter().zip(outcomes) {
        match decide(number) {
            ALLOW => {
                let is_answered = outcome.is_ok() || outcome.is_errno();
                let is_denied = outcome == Outcome::Errno(DENIED);
                assert!(is_answered && !is_denied, "{caller}, {policy}, {name}: {outcome:?}");
            }
            denied => {
                let errno = Errno::from_raw_os_error((denied & 0xffff) as i32);
                assert_eq!(denied & !0xffff, ERRNO, "{policy}, {name}");
                assert_eq!(outcome, Outcome::Errno(errno), "{caller}, {policy}, {name}");
            }
        }
    }
}

/// The names of all groups, as an array of TOML.
fn all_groups() -> String {
    let names: Vec<String> =
        groups::GROUPS.iter().map(|group| format!("{:?}", group.name)).collect();
    format!("[{}]", names.join(", "))
}

#[test]
fn every_call_is_decided_as_its_profile_says() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        for profile in ["default", "strict", "unconfined"] {
            let policy = format!("seccomp.profile = {profile:?}");
            every_call_is_decided_as_simulated(&policy, Table::Native, caller);
            let alone = format!("{IN_PLACE}\n{policy}");
            every_call_is_decided_as_simulated(&alone, Table::Native, caller);
        }
        let ports = "network = { access = \"host\", connect_tcp = [1] }";
        every_call_is_decided_as_simulated(ports, Table::Native, caller);
    }
}

#[test]
fn every_call_of_every_group_opens_with_it() {
    for caller in Caller::both() {
        let policy = format!(
            "seccomp.profile = \"strict\"
seccomp.allow = {}",
            all_groups()
        );
        every_call_is_decided_as_simulated(&policy, Table::Native, caller);
    }
}

#[test]
fn every_call_of_every_group_is_denied_with_it() {
    // Where the sixth argument is -1, so that the probe itself can live. What
    // cannot be denied, by us or by any filter, is left out.
    let groups = Caller::both()
        .into_iter()
        .flat_map(|caller| groups::GROUPS.iter().map(move |group| (group, caller)));
    for (group, caller) in groups {
        let members = groups::calls(group.name).expect("a group");
        let left_out =
            ["execve", "write", "exit_group", "exit", "rt_sigreturn", "uprobe", "uretprobe"];
        let calls: Vec<(u32, &str)> = Table::Native
            .calls()
            .into_iter()
            .filter(|(_, name)| members.contains(name) && !left_out.contains(name))
            .collect();
        if calls.is_empty() {
            continue;
        }
        let names: Vec<&str> = calls.iter().map(|(_, name)| *name).collect();
        let policy = format!(
            "seccomp.profile = \"unconfined\"\n[[seccomp.rule]]\ncall = {names:?}\n\
             args = [{{ index = 5, op = \"equal\", value = -1 }}]\n\
             action = \"errno\"\nerrno = \"EDOM\""
        );
        let lines: Vec<String> =
            calls.iter().map(|(number, _)| Table::Native.line(*number)).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let outcomes = Sandbox::new(&policy).caller(caller).probes(&lines);
        for (name, outcome) in names.iter().zip(outcomes) {
            assert_eq!(outcome, Outcome::Errno(DENIED), "{caller}, {}, {name}", group.name);
        }
    }
}

#[test]
fn what_the_profiles_close_is_closed_for_the_kernel() {
    // Not by simulation: by the list that the documents show.
    let closed: Vec<&str> = profile::CLOSED.iter().flat_map(|part| part.calls).copied().collect();
    let mut closed: Vec<&str> = groups::expand(&closed).into_iter().collect();
    // Which no namespace is made with, is open.
    closed
        .retain(|name| *name != "unshare" && tables::number(Architecture::NATIVE, name).is_some());
    let lines: Vec<String> =
        closed.iter().map(|name| format!("syscall {name} -1 -1 -1 -1 -1 -1")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    for caller in Caller::both() {
        for profile in ["default", "strict"] {
            let policy = format!("seccomp = {{ profile = {profile:?}, errno = \"EDOM\" }}");
            let outcomes = Sandbox::new(&policy).caller(caller).probes(&lines);
            for (name, outcome) in closed.iter().zip(outcomes) {
                assert_eq!(outcome, Outcome::Errno(DENIED), "{caller}, {profile}, {name}");
            }
        }
    }
}

#[test]
fn what_is_denied_fails_ends_the_process_or_is_logged() {
    for caller in Caller::both() {
        for action in ["kill", "trap"] {
            let policy = format!("seccomp.action = {action:?}");
            let sandbox = Sandbox::new(&policy).caller(caller);
            for call in ["syscall keyctl 99", "syscall ptrace 99", "syscall clone 0x10000200"] {
                let output = sandbox.run([sandbox.probe_path(), call.into()]);
                assert_eq!(output.code(), 128 + 31, "{caller}, {action}, {call}: {output:?}");
                assert_eq!(output.stdout_text(), "", "{caller}, {action}, {call}");
            }
            // What programs go on from stays an error.
            assert_eq!(sandbox.probe("syscall clone3"), Outcome::Errno(Errno::NOSYS), "{caller}");
            let socket = sandbox.probe("socket inet stream");
            assert_eq!(socket, Outcome::Errno(Errno::AFNOSUPPORT), "{caller}");
        }
        let log = Sandbox::new("seccomp = { action = \"log\", errno = \"EDOM\" }").caller(caller);
        let outcomes = log.probes(&["syscall ptrace 99", "tiocsti", "socket inet stream"]);
        assert_ne!(outcomes[0], Outcome::Errno(DENIED), "{caller}");
        assert_eq!(outcomes[1], Outcome::Errno(DENIED), "{caller}");
        assert_eq!(outcomes[2], Outcome::Errno(Errno::AFNOSUPPORT), "{caller}");
    }
}

#[test]
fn a_rule_compares_arguments_as_the_kernel_passes_them() {
    let open = Outcome::Errno(Errno::BADF);
    let upper = 1_u64 << 32;
    // The third argument of fcntl is a long, the second an int.
    for (test, denied, allowed) in [
        ("op = 'equal', value = 5", vec![5], vec![6, 5 | upper]),
        ("op = 'not-equal', value = 5", vec![6, 5 | upper], vec![5]),
        ("op = 'less', value = 5", vec![4, 0], vec![5, upper]),
        ("op = 'less-equal', value = 5", vec![5], vec![6, upper]),
        ("op = 'greater', value = 5", vec![6, upper, u64::MAX], vec![5]),
        ("op = 'greater-equal', value = 5", vec![5, upper], vec![4]),
        ("op = 'masked-equal', value = 4, mask = 6", vec![4, 13, upper | 12], vec![6, upper]),
        ("op = 'one-of', values = [3, 9, 'O_APPEND']", vec![3, 9, 0x400], vec![4, 9 | upper]),
        ("op = 'equal', value = 5, width = 32", vec![5, 5 | upper], vec![6]),
    ] {
        let policy = format!(
            "[[seccomp.rule]]\ncall = 'fcntl'\naction = 'errno'\nerrno = 'EDOM'\n\
             args = [{{ index = 1, op = 'equal', value = 'F_SETPIPE_SZ' }}, {{ index = 2, {test} }}]"
        );
        let line = |value: &u64| format!("syscall fcntl -1 1031 {value}");
        let lines: Vec<String> = denied.iter().chain(&allowed).map(line).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        for caller in Caller::both() {
            let outcomes = Sandbox::new(&policy).caller(caller).probes(&lines);
            let (one, other) = outcomes.split_at(denied.len());
            assert!(one.iter().all(|outcome| *outcome == Outcome::Errno(DENIED)), "{test} {one:?}");
            assert!(other.iter().all(|outcome| *outcome == open), "{test} {other:?}");
        }
    }
}

#[test]
fn a_file_in_memory_is_run_where_files_that_are_written_are() {
    // ENOEXEC: it is empty.
    let run = Outcome::Errno(Errno::NOEXEC);
    for caller in Caller::both() {
        let outcome = |policy: &str| Sandbox::new(policy).caller(caller).probe("memfd-exec");
        assert_eq!(outcome(""), Outcome::Errno(Errno::PERM), "{caller}");
        assert_eq!(outcome("seccomp.allow = [\"memfd_create\"]"), run, "{caller}");
        let executable = "filesystem = { write = [\"/tmp\"], execute = [\"/tmp\"] }";
        assert_eq!(outcome(executable), run, "{caller}");
        assert_eq!(Sandbox::outside().caller(caller).probe("memfd-exec"), run, "{caller}");
        // MFD_CLOEXEC | MFD_NOEXEC_SEAL, of a name that is nowhere; before
        // Linux 6.3 there is no such flag.
        let sealed = "syscall memfd_create -1 9";
        let kernel = Sandbox::outside().caller(caller).probe(sealed);
        let answers = [Outcome::Errno(Errno::FAULT), Outcome::Errno(Errno::INVAL)];
        assert!(answers.contains(&kernel), "{caller}: {kernel:?}");
        assert_eq!(Sandbox::new("").caller(caller).probe(sealed), kernel, "{caller}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn every_call_of_another_table_is_decided_as_simulated_where_it_is_open() {
    harness::needs_landlock!(6);
    let mut tables = vec![Table::Other(Abi::X32)];
    if Sandbox::outside().probe("int80 20").is_ok() {
        tables.push(Table::Other(Abi::I386));
    } else {
        harness::skipped("ia32", "this kernel has no 32-bit system calls");
    }
    for table in tables {
        for caller in Caller::both() {
            for profile in ["default", "strict"] {
                let open = "seccomp.architectures = [\"x32\", \"i386\"]";
                let policy = format!("{open}\nseccomp.profile = {profile:?}");
                // A kernel without x32 says ENOSYS to what the filter lets through.
                every_call_is_decided_as_simulated(&policy, table, caller);
                let alone = format!("{IN_PLACE}\n{policy}");
                every_call_is_decided_as_simulated(&alone, table, caller);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_call_of_a_table_that_is_not_open_ends_the_process() {
    let x32 = format!("syscall {}", Abi::X32.number("getpid").expect("it has one"));
    for caller in Caller::both() {
        for (open, closed) in [("x32", "int80 20"), ("i386", x32.as_str())] {
            let policy = format!("seccomp.architectures = [{open:?}]");
            let sandbox = Sandbox::new(&policy).caller(caller);
            let output = sandbox.run([sandbox.probe_path(), closed.into()]);
            if closed.starts_with("int80") && !Sandbox::outside().probe(closed).is_ok() {
                harness::skipped("ia32", "this kernel has no 32-bit system calls");
                continue;
            }
            assert_eq!(output.code(), 128 + 31, "{caller}, {open}: {output:?}");
        }
        if Sandbox::outside().probe("int80 20").is_ok() {
            let open = Sandbox::new("seccomp.architectures = [\"i386\"]").caller(caller);
            assert_eq!(open.probe("int80 20"), open.probe("syscall getpid"), "{caller}");
        }
    }
}
