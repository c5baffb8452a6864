//! The words of `[seccomp]`: rules, groups, actions, profiles, tables.

use super::*;

const TRAP: u32 = ptrace::SECCOMP_RET_TRAP;
const LOG: u32 = ptrace::SECCOMP_RET_LOG;

fn filter(text: &str) -> Filter {
    Filter::new(Architecture::X86_64, text, &CLOSED)
}

/// A document of one rule; `errors` come with the place that they point at.
fn errors(rule: &str) -> Vec<String> {
    messages(&format!("[[seccomp.rule]]\n{rule}\n"), &CLOSED)
}

#[test]
fn the_first_rule_that_matches_decides_before_everything_else() {
    let filter = filter(
        r#"
        [seccomp]
        deny = ["kill"]
        allow = ["getpid"]
        [[seccomp.rule]]
        call = ["kill", "getpid"]
        args = [{ index = 1, op = "equal", value = "SIGTERM" }]
        action = "allow"
        [[seccomp.rule]]
        call = "kill"
        args = [{ index = 1, op = "less-equal", value = "SIGTERM" }, { index = 0, op = "equal", value = 7 }]
        action = "errno"
        errno = "EACCES"
        [[seccomp.rule]]
        call = "@clock"
        action = "kill"
        "#,
    );
    assert_eq!(filter.call("kill", &[7, 15]), ALLOW);
    assert_eq!(filter.call("kill", &[7, 14]), errno(13));
    assert_eq!(filter.call("kill", &[8, 14]), PERM);
    assert_eq!(filter.call("getpid", &[]), ALLOW);
    assert_eq!(filter.call("adjtimex", &[]), KILL);
    assert_eq!(filter.call("gettid", &[]), ALLOW);
}

#[test]
fn every_operator_compares_as_it_says() {
    for (test, yes, no) in [
        ("op = 'equal', value = 5", 5, 6),
        ("op = 'not-equal', value = 5", 6, 5),
        ("op = 'less', value = 5", 4, 5),
        ("op = 'less-equal', value = 5", 5, 6),
        ("op = 'greater', value = 5", 6, 5),
        ("op = 'greater-equal', value = 5", 5, 4),
        ("op = 'masked-equal', value = 4, mask = 6", 13, 15),
        ("op = 'masked-equal', value = '0x4', mask = '0o6'", 13, 15),
        ("op = 'one-of', values = [1, '5', 9]", 9, 8),
        ("op = 'equal', value = -1", u64::MAX, 1),
        ("op = 'equal', value = 'PROT_READ|PROT_EXEC'", 5, 1),
        ("op = 'greater', value = '0xffffffffffffff00'", u64::MAX, 0xffff_ffff),
    ] {
        let text = format!(
            "[[seccomp.rule]]\ncall = 'brk'\nargs = [{{ index = 0, {test} }}]\naction = 'trap'"
        );
        let filter = filter(&text);
        assert_eq!(filter.call("brk", &[yes]), TRAP, "{test}");
        assert_eq!(filter.call("brk", &[no]), ALLOW, "{test}");
    }
}

#[test]
fn an_argument_is_compared_as_far_as_the_kernel_looks() {
    let rule = |call: &str, more: &str| {
        filter(&format!(
            "[[seccomp.rule]]\ncall = '{call}'\naction = 'trap'\n\
             args = [{{ index = 1, op = 'equal', value = 5{more} }}]"
        ))
    };
    // Of the request the kernel ignores the upper half, of a size it does not.
    let upper = 5 | 1 << 32;
    assert_eq!(rule("ioctl", "").call("ioctl", &[0, upper]), TRAP);
    assert_eq!(rule("munmap", "").call("munmap", &[0, upper]), ALLOW);
    assert_eq!(rule("munmap", ", width = 32").call("munmap", &[0, upper]), TRAP);
    assert_eq!(
        errors(
            "call = 'ioctl'\naction = 'trap'\n\
             args = [{ index = 1, op = 'equal', value = 5, width = 64 }]"
        ),
        ["64: of argument 1 of ioctl the kernel looks at 32 bits; a rule that compares 64 is \
          passed by a bit that the kernel ignores"]
    );
    // A negative int is one in 32 bits.
    let negative = "[[seccomp.rule]]\ncall = 'openat'\naction = 'trap'\n\
                    args = [{ index = 0, op = 'equal', value = 'AT_FDCWD' }]";
    for at in [-100_i64 as u64, 0xffff_ff9c] {
        assert_eq!(filter(negative).call("openat", &[at]), TRAP);
    }
}

#[test]
fn what_is_wrong_with_a_rule_is_said_at_its_place() {
    let argument =
        |argument: &str| errors(&format!("call = 'socket'\naction = 'allow'\nargs = [{argument}]"));
    for (text, complaint) in [
        ("{ index = 6, op = 'equal', value = 0 }", "6: a system call has the arguments 0 to 5; "),
        (
            "{ index = 0, op = 'equal', value = 'AF_UNX' }",
            "'AF_UNX': unknown constant \"AF_UNX\"; did you mean \"AF_UNIX\"?",
        ),
        (
            "{ index = 0, op = 'equal', value = 0, mask = 1 }",
            "1: \"mask\" has no meaning for this \"op\"; ",
        ),
        ("{ index = 0, op = 'equal', value = 0, width = 16 }", "16: a width is 32 or 64 bits; "),
    ] {
        assert_eq!(argument(text), [complaint], "{text}");
    }
    for (text, complaint) in [
        ("{ index = 0, op = 'equal' }", "there is no \"value\" to compare with; "),
        ("{ index = 0, op = 'one-of', value = 1 }", "\"one-of\" needs \"values\"; "),
        ("{ index = 0, op = 'masked-equal', value = 1 }", "\"masked-equal\" needs a \"mask\"; "),
        (
            "{ index = 0, op = 'masked-equal', value = 3, mask = 1 }",
            "0x3 has bits that the mask 0x1 has not; what is compared is the argument with the \
             bits of the mask alone",
        ),
        (
            "{ index = 0, op = 'equal', value = 0x100000000 }",
            "0x100000000 is more than the 32 bits of argument 0 of socket; ",
        ),
    ] {
        assert_eq!(argument(text)[0], format!("{text}: {complaint}"));
    }
    assert_eq!(
        errors("call = ['opennat', '@fielsystem']\naction = 'log'"),
        [
            "'opennat': unknown system call \"opennat\"; did you mean \"openat\"?",
            "'@fielsystem': unknown group \"@fielsystem\"; did you mean \"@file-system\"?",
        ]
    );
    assert_eq!(
        errors("call = 'brk'\naction = 'kill'\nerrno = 'EPERM'"),
        ["'EPERM': \"errno\" has no meaning for this \"action\"; "]
    );
}

#[test]
fn a_constant_is_the_one_of_the_architecture() {
    let text = "[[seccomp.rule]]\ncall = 'openat'\naction = 'trap'\n\
                args = [{ index = 2, op = 'equal', value = 'O_DIRECTORY' }]";
    for (architecture, value) in [(Architecture::X86_64, 0x1_0000), (Architecture::Aarch64, 0x4000)]
    {
        let filter = Filter::new(architecture, text, &CLOSED);
        assert_eq!(filter.call("openat", &[0, 0, value]), TRAP);
    }
    let text = text.replace("O_DIRECTORY", "MAP_32BIT");
    let (_, diagnostics) = try_resolve(Architecture::Aarch64, &text, &CLOSED);
    let messages: Vec<_> = diagnostics.iter().map(|each| each.message.as_str()).collect();
    assert_eq!(messages, ["MAP_32BIT is not a constant of this architecture"]);
}

#[test]
fn nothing_that_an_author_writes_opens_what_another_table_closes() {
    let allow_all = r#"
        [seccomp]
        profile = "unconfined"
        allow = ["socket", "prctl", "ioctl", "@network-io", "@process"]
        [[seccomp.rule]]
        call = ["socket", "prctl", "ioctl", "socketcall"]
        action = "allow"
        [[seccomp.rule]]
        call = "@system-service"
        action = "log"
        "#;
    let facts = Facts { pdeathsig_relied_on: true, ..CLOSED };
    let logged = allow_all.replace("[seccomp]\n", "[seccomp]\naction = 'log'\n");
    for text in [allow_all, &logged] {
        let filter = Filter::new(Architecture::X86_64, text, &facts);
        assert_eq!(filter.call("socket", &[2, 1, 0]), NO_FAMILY);
        assert_eq!(filter.call("socketpair", &[2, 1, 0]), NO_FAMILY);
        assert_eq!(filter.call("ioctl", &[0, 0x5412]), PERM);
        assert_eq!(filter.call("prctl", &[1, 0]), PERM);
        assert_eq!(filter.call("socket", &[1, 1, 0]), ALLOW);
        // Only what is made is logged.
        assert_eq!(filter.call("getcwd", &[]), LOG);
        assert_eq!(filter.call("io_uring_setup", &[]), PERM);
    }
}

#[test]
fn a_rule_may_be_stricter_than_what_another_table_says() {
    let text = "[[seccomp.rule]]\ncall = 'socket'\naction = 'kill'\n\
                args = [{ index = 1, op = 'masked-equal', value = 'SOCK_DGRAM', mask = 15 }]";
    let filter = filter(text);
    assert_eq!(filter.call("socket", &[1, 2, 0]), KILL);
    assert_eq!(filter.call("socket", &[2, 2, 0]), KILL);
    assert_eq!(filter.call("socket", &[1, 1, 0]), ALLOW);
    assert_eq!(filter.call("socket", &[2, 1, 0]), NO_FAMILY);
    assert!(messages(text, &CLOSED).is_empty());
}

#[test]
fn a_rule_that_opens_less_than_it_says_is_warned_of() {
    let rule = |values: &str| {
        format!(
            "[[seccomp.rule]]\ncall = 'socket'\naction = 'allow'\n\
             args = [{{ index = 0, op = 'one-of', values = [{values}] }}]"
        )
    };
    assert_eq!(
        messages(&rule("'AF_UNIX', 'AF_INET'"), &CLOSED),
        ["'socket': what this rule allows of socket is not all open: [network] decides; "]
    );
    assert!(messages(&rule("'AF_UNIX'"), &CLOSED).is_empty());
    assert!(messages(&rule("'AF_UNIX', 'AF_INET'"), &OPEN).is_empty());
    let window = "[[seccomp.rule]]\ncall = 'ioctl'\naction = 'allow'\n\
                  args = [{ index = 1, op = 'equal', value = 'TIOCGWINSZ' }]";
    assert!(messages(window, &CLOSED).is_empty());
    assert_eq!(messages(&window.replace("TIOCGWINSZ", "TIOCSTI"), &CLOSED).len(), 1);
}

#[test]
fn what_the_launcher_needs_cannot_be_denied_by_a_rule_or_a_group() {
    assert_eq!(
        messages("seccomp.deny = ['@basic-io']", &CLOSED),
        ["'@basic-io': @basic-io cannot be denied, it has write: the launcher could not report \
          that it failed; "]
    );
    for action in ["errno", "kill", "trap"] {
        let rule = format!("call = ['getpid', 'execve']\naction = '{action}'");
        assert_eq!(
            errors(&rule),
            ["'execve': execve cannot be denied: the launcher could not run the command; "]
        );
    }
    assert!(errors("call = 'execve'\naction = 'log'").is_empty());
    for text in ["", "seccomp.profile = 'strict'", "seccomp.profile = 'unconfined'"] {
        for architecture in ARCHITECTURES {
            let filter = Filter::new(architecture, text, &ALONE);
            for (name, _) in REQUIRED {
                assert_eq!(filter.call(name, &[]), ALLOW, "{text} {name}");
            }
        }
    }
}

#[test]
fn an_action_is_what_becomes_of_whatever_ends_denied() {
    for (action, expected) in [("kill", KILL), ("trap", TRAP), ("log", LOG), ("errno", PERM)] {
        let filter = filter(&format!("seccomp = {{ action = '{action}', deny = ['getpid'] }}"));
        assert_eq!(filter.call("getpid", &[]), expected, "{action}");
        assert_eq!(filter.call("mount", &[]), expected, "{action}");
        assert_eq!(filter.call("clone", &[0x1000_0000]), expected, "{action}");
        // What programs go on from, and what another table closes.
        assert_eq!(filter.call("clone3", &[]), errno(38), "{action}");
        assert_eq!(filter.call("socket", &[2, 1, 0]), NO_FAMILY, "{action}");
        let hard = if action == "log" { PERM } else { expected };
        assert_eq!(filter.call("ioctl", &[0, 0x5412]), hard, "{action}");
        assert_eq!(filter.call("io_uring_setup", &[]), hard, "{action}");
    }
    assert_eq!(
        filter("seccomp = { action = 'log', errno = 'EDOM' }").call("ioctl", &[0, 0x5412]),
        errno(33)
    );
}

#[test]
fn what_a_supervisor_is_told_by_is_neither_denied_nor_asked_about() {
    assert_eq!(errors("call = 'openat'\naction = 'notify'"), [""; 0]);
    // It stands nowhere, and has no help.
    let wait = ": with \"notify\" wait4 must be open: the launcher waits by it until the supervisor \
                was told; ";
    assert_eq!(errors("call = ['openat', 'wait4']\naction = 'notify'"), [wait]);
    let some = "call = 'wait4'\naction = 'notify'\nargs = [{ index = 0, op = 'equal', value = 1 }]";
    assert_eq!(errors(some), [wait]);
    // Without a supervisor it is the author's business.
    assert_eq!(errors("call = 'wait4'\naction = 'errno'"), [""; 0]);
}

#[test]
fn a_group_opens_what_the_profile_does_not_list() {
    let filter = filter("seccomp = { profile = 'strict', allow = ['@ipc', '@debug', '@mount'] }");
    for name in ["shmget", "mq_open", "ptrace", "process_vm_readv", "mount", "setns"] {
        assert_eq!(filter.call(name, &[]), ALLOW, "{name}");
    }
    assert_eq!(filter.call("keyctl", &[]), PERM);
    assert_eq!(filter.call("io_setup", &[]), PERM);
}

#[test]
fn a_group_lifts_no_condition_and_no_closure() {
    let groups = "'@aio', '@ipc', '@process', '@mount', '@system-service', '@file-system'";
    let facts = Facts { writable_is_executable: false, ..ALONE };
    for text in [
        format!("seccomp.allow = [{groups}]"),
        format!("[[seccomp.rule]]\ncall = [{groups}]\naction = 'allow'"),
    ] {
        let filter = Filter::new(Architecture::X86_64, &text, &facts);
        for name in ["io_uring_setup", "shmget", "chmod", "memfd_create"] {
            assert_eq!(filter.call(name, &[]), PERM, "{name}");
        }
        assert_eq!(filter.call("clone3", &[]), errno(38));
        assert_eq!(filter.call("clone", &[0x1000_0000]), PERM);
        assert_eq!(filter.call("unshare", &[0x1000_0000]), PERM);
        assert_eq!(filter.call("prlimit64", &[77]), PERM);
        assert_eq!(filter.call("io_setup", &[]), ALLOW);
        assert!(messages(&text, &facts).is_empty());
    }
    let named = "seccomp.allow = ['memfd_create', 'clone', 'chmod']";
    let filter = Filter::new(Architecture::X86_64, named, &facts);
    assert_eq!(filter.call("memfd_create", &[]), ALLOW);
    assert_eq!(filter.call("clone", &[0x1000_0000]), ALLOW);
    assert_eq!(filter.call("chmod", &[]), ALLOW);
}

#[test]
fn a_group_is_denied_whole_but_for_what_a_rule_says() {
    let text = "[seccomp]\ndeny = ['@network-io']\nallow = ['bind', '@network-io']\n\
                [[seccomp.rule]]\ncall = 'listen'\naction = 'allow'";
    let filter = filter(text);
    for name in ["bind", "socket", "sendto"] {
        assert_eq!(filter.call(name, &[1]), PERM, "{name}");
    }
    assert_eq!(filter.call("listen", &[]), ALLOW);
    assert_eq!(
        messages(text, &CLOSED),
        [
            "'bind': bind is both allowed and denied; it is denied; ",
            "'@network-io': @network-io is both allowed and denied; it is denied; ",
        ]
    );
}

#[test]
fn a_ring_by_a_rule_is_a_ring() {
    assert_eq!(
        errors("call = 'io_uring_setup'\naction = 'allow'"),
        ["'io_uring_setup': io_uring_setup cannot be allowed while [network] limits sockets; \
          enforce.namespaces = \"require\" makes sure of the network namespace"]
    );
    assert!(errors("call = 'io_uring_setup'\naction = 'kill'").is_empty());
}

#[test]
fn a_file_in_memory_cannot_be_run_where_nothing_else_that_is_written_can() {
    let facts = Facts { writable_is_executable: false, ..CLOSED };
    for text in ["", "seccomp.profile = 'unconfined'"] {
        let filter = Filter::new(Architecture::X86_64, text, &facts);
        for flags in [0, 1, 0x10, 0x8 << 32] {
            assert_eq!(filter.call("memfd_create", &[0, flags]), PERM, "{flags:#x}");
        }
        for flags in [0x8, 0xb, 0x8 | 1 << 40] {
            assert_eq!(filter.call("memfd_create", &[0, flags]), ALLOW, "{flags:#x}");
        }
    }
    let strict = Filter::new(Architecture::X86_64, "seccomp.profile = 'strict'", &facts);
    assert_eq!(strict.call("memfd_create", &[0, 0x8]), PERM);
    assert_eq!(default(&CLOSED).call("memfd_create", &[0, 0]), ALLOW);
}

/// A file that is a profile, and a document that names it.
struct Profile(std::path::PathBuf);

impl Profile {
    fn new(name: &str, text: &str) -> (Self, String) {
        let path = std::env::temp_dir().join(format!("{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).expect("it is written");
        let document = format!("[seccomp]\nprofile = {path:?}\n");
        (Self(path), document)
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_file_is_a_profile() {
    let (_file, document) = Profile::new(
        "whole",
        r#"
        description = "for a service"
        [seccomp]
        profile = "strict"
        allow = ["ptrace", "getppid"]
        deny = ["getpid"]
        errno = "EDOM"
        architectures = ["i386"]
        [[seccomp.rule]]
        call = "kill"
        args = [{ index = 1, op = "equal", value = "SIGKILL" }]
        action = "errno"
        "#,
    );
    let filter = filter(&document);
    assert_eq!(filter.call("ptrace", &[]), ALLOW);
    for name in ["getpid", "shmget"] {
        assert_eq!(filter.call(name, &[]), errno(33), "{name}");
    }
    assert_eq!(filter.call("kill", &[1, 9]), errno(33));
    assert_eq!(filter.call("kill", &[1, 15]), ALLOW);
    assert_eq!(filter.call("socket", &[2, 1, 0]), NO_FAMILY);
    assert_eq!(filter.other(Abi::I386, "getppid", &[]), ALLOW);

    // The document decides before it, and how whatever ends denied does.
    let above =
        format!("{document}errno = 'EBUSY'\nallow = ['getpid', '@ipc']\ndeny = ['getppid']");
    let filter = self::filter(&above);
    assert_eq!(filter.call("getpid", &[]), ALLOW);
    assert_eq!(filter.call("shmget", &[]), ALLOW);
    assert_eq!(filter.call("getppid", &[]), errno(16));
    assert_eq!(filter.call("mount", &[]), errno(16));
    assert_eq!(filter.call("kill", &[1, 9]), errno(16));
}

#[test]
fn what_is_wrong_with_a_profile_is_said_with_its_place_in_the_file() {
    let (file, document) = Profile::new(
        "wrong",
        "[seccomp]\nprofile = './other.toml'\ndeny = ['opennat', 'execve']\n[network]\n",
    );
    let path = file.0.display();
    assert_eq!(
        messages(&document, &CLOSED),
        [
            format!("{path:?}: {path}: a profile has a [seccomp] alone, and no \"network\"; "),
            format!(
                "{path:?}: {path}:2:11: a file that is a profile cannot name another one; it can \
                 build on \"default\", \"strict\" or \"unconfined\""
            ),
            format!(
                "{path:?}: {path}:3:9: unknown system call \"opennat\"; did you mean \"openat\"?"
            ),
            format!(
                "{path:?}: {path}:3:20: execve cannot be denied: the launcher could not run the \
                 command; "
            ),
        ]
        .map(|line| line.replacen(&format!("{path:?}"), &format!("\"{path}\""), 1))
    );
    for (path, why) in [("/nonexistent/x", "No such file"), ("/dev/", "it is not a file")] {
        let messages = messages(&format!("seccomp.profile = '{path}'"), &CLOSED);
        let expected = format!("'{path}': the profile {path} cannot be read: {why}");
        assert!(messages.len() == 1 && messages[0].starts_with(&expected), "{messages:?}");
    }
}

#[test]
fn another_table_is_open_where_it_is_named() {
    let text = "seccomp = { architectures = ['i386', 'x32', 'arm'], deny = ['getcwd'] }";
    let filter = filter(text);
    for abi in [Abi::I386, Abi::X32] {
        assert_eq!(filter.other(abi, "getpid", &[]), ALLOW);
        assert_eq!(filter.other(abi, "getcwd", &[]), PERM);
        assert_eq!(filter.other(abi, "mount", &[]), PERM);
        assert_eq!(filter.other(abi, "clone3", &[]), errno(38));
        assert_eq!(filter.other(abi, "ioctl", &[0, 0x5412]), PERM);
        assert_eq!(filter.other(abi, "socket", &[2, 1, 0]), NO_FAMILY);
        assert_eq!(filter.other(abi, "socket", &[1, 1, 0]), ALLOW);
    }
    assert!(filter.terminal_is_safe);
    // Numbers that the tables lack.
    for (audit, number) in [(Abi::I386.audit(), 5000), (Abi::X32.audit(), tables::X32_BIT | 59)] {
        let data = Data { number, architecture: audit, instruction_pointer: 0, arguments: [0; 6] };
        assert_eq!(filter.simulator.run(&data).value, errno(38));
    }
    let arm = Filter::new(Architecture::Aarch64, text, &CLOSED);
    assert_eq!(arm.other(Abi::Arm, "set_tls", &[]), ALLOW);
    assert_eq!(arm.other(Abi::Arm, "mount", &[]), PERM);
    // None of them is a table of riscv64.
    let none = Filter::new(Architecture::Riscv64, text, &CLOSED);
    assert_eq!(none.other(Abi::Arm, "set_tls", &[]), KILL);
    assert_eq!(super::default(&CLOSED).other(Abi::I386, "getpid", &[]), KILL);
    assert_eq!(super::default(&CLOSED).other(Abi::X32, "getpid", &[]), KILL);
}

#[test]
fn calls_that_hold_other_calls_are_closed_where_those_would_have_to_be_judged() {
    let text = "seccomp.architectures = ['i386']";
    let closed = Filter::new(Architecture::X86_64, text, &CLOSED);
    // SYS_SOCKET, SYS_SOCKETPAIR, SYS_BIND.
    assert_eq!(closed.other(Abi::I386, "socketcall", &[1]), NO_FAMILY);
    assert_eq!(closed.other(Abi::I386, "socketcall", &[8]), NO_FAMILY);
    assert_eq!(closed.other(Abi::I386, "socketcall", &[2]), ALLOW);
    assert_eq!(closed.other(Abi::I386, "ipc", &[]), ALLOW);
    let ports = Filter::new(Architecture::X86_64, text, &TCP);
    // SYS_SENDTO.
    assert_eq!(ports.other(Abi::I386, "socketcall", &[11]), NO_FAST_OPEN);
    let alone = Filter::new(Architecture::X86_64, text, &ALONE);
    assert_eq!(alone.other(Abi::I386, "ipc", &[]), PERM);
    assert_eq!(alone.other(Abi::I386, "chown32", &[]), PERM);

    let named = "seccomp = { architectures = ['i386'], allow = ['socketcall'] }";
    let open = Filter::new(Architecture::X86_64, named, &OPEN);
    assert_eq!(open.other(Abi::I386, "socketcall", &[1]), ALLOW);
    assert_eq!(
        messages(named, &OPEN),
        ["'socketcall': socketcall opens sockets of every family, among them vsock; "]
    );
    let still = Filter::new(Architecture::X86_64, named, &CLOSED);
    assert_eq!(still.other(Abi::I386, "socketcall", &[1]), NO_FAMILY);
}

#[test]
fn an_argument_of_32_bits_is_compared_in_32_bits() {
    // A long that is negative on x86_64, and what it is on i386.
    let text = "seccomp.architectures = ['i386']\n[[seccomp.rule]]\ncall = 'brk'\n\
                args = [{ index = 0, op = 'equal', value = -1 }]\naction = 'trap'";
    let filter = filter(text);
    assert_eq!(filter.call("brk", &[u64::MAX]), TRAP);
    assert_eq!(filter.call("brk", &[0xffff_ffff]), ALLOW);
    assert_eq!(filter.other(Abi::I386, "brk", &[0xffff_ffff]), TRAP);
}

#[test]
fn a_filter_with_other_tables_decides_as_its_rules_do() {
    let text = "seccomp.architectures = ['i386', 'x32', 'arm']";
    let document: Document = toml::from_str(text).expect("a document");
    for architecture in [Architecture::X86_64, Architecture::Aarch64] {
        for facts in [CLOSED, TCP, ALONE] {
            let rules = rules_of(&document.seccomp, architecture, &facts);
            let filter = Filter::new(architecture, text, &facts);
            let audits = [Abi::I386.audit(), Abi::X32.audit(), Abi::Arm.audit(), 0xc000_00b7];
            for audit in audits {
                for number in (0..600).chain(0x4000_0000..0x4000_0300).chain(0xf_0000..0xf_0010) {
                    for value in [0, 1, 2, 0x5412, 0x1000_0000, 0x2000_0000, u64::MAX] {
                        let arguments = [value, value, value & 0xff, value, 0, 0];
                        let data =
                            Data { number, architecture: audit, instruction_pointer: 0, arguments };
                        let expected = rules.decide(&data).value();
                        assert_eq!(filter.simulator.run(&data).value, expected, "{data:x?}");
                    }
                }
            }
        }
    }
}

#[test]
fn strict_is_less_than_the_default() {
    let (strict, default) = (filter("seccomp.profile = 'strict'"), filter(""));
    for (number, name) in tables::calls(Architecture::X86_64) {
        for first in [0, 1, 0x1000_0000] {
            let strict = strict.run(number, &[first]).value;
            assert!(strict != ALLOW || default.run(number, &[first]).value == ALLOW, "{name}");
        }
    }
    for name in ["shmget", "io_setup", "setuid", "personality", "unshare", "mlock"] {
        assert_eq!(strict.call(name, &[]), PERM, "{name}");
    }
    for name in ["execve", "openat", "clone", "inotify_init1", "pkey_alloc", "mremap"] {
        assert_eq!(strict.call(name, &[]), ALLOW, "{name}");
    }
}

#[test]
fn a_filter_that_is_too_long_is_said_to_be() {
    let values: Vec<String> = (0..9000).map(|value| (value * 2).to_string()).collect();
    let text = format!(
        "[[seccomp.rule]]\ncall = 'brk'\naction = 'kill'\n\
         args = [{{ index = 0, op = 'one-of', values = [{}] }}]",
        values.join(", ")
    );
    let messages = messages(&text, &CLOSED);
    assert_eq!(messages.len(), 1);
    assert!(messages[0].ends_with("takes one or more for each call and table"), "{messages:?}");
}
