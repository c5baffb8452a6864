//! What a document and the other tables make of the filter.

mod language;

use launcher_policy::namespaces::NAMESPACE_FLAGS;
use linux_raw_sys::errno::EPERM;
use linux_raw_sys::general::{CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID};
use linux_raw_sys::{net, ptrace};

use super::checks::{ASKED, REQUIRED};
use super::simulate::{Outcome, Simulator};
use super::*;
use crate::document::Seccomp;

const ARCHITECTURES: [Architecture; 3] =
    [Architecture::X86_64, Architecture::Aarch64, Architecture::Riscv64];

/// No network, as the defaults have it.
const CLOSED: Facts = Facts {
    unix_needs_mounts: false,
    sockets: Sockets::None,
    unix: true,
    pdeathsig_relied_on: false,
    namespaces: NAMESPACE_FLAGS,
    falls_back: false,
    supervised: false,
    shares_ipc: false,
    writable_is_executable: true,
};

/// A list of TCP ports.
const TCP: Facts = Facts {
    sockets: Sockets::Tcp { udp: false },
    namespaces: NAMESPACE_FLAGS & !CLONE_NEWNET,
    ..CLOSED
};

/// The host's network.
const OPEN: Facts =
    Facts { sockets: Sockets::Open, namespaces: NAMESPACE_FLAGS & !CLONE_NEWNET, ..CLOSED };

/// No namespace.
const ALONE: Facts = CLOSED.without_namespaces();

/// The same, where a supervisor connects.
const SUPERVISED: Facts = Facts { supervised: true, ..CLOSED }.without_namespaces();

const ALLOW: u32 = ptrace::SECCOMP_RET_ALLOW;
const KILL: u32 = ptrace::SECCOMP_RET_KILL_PROCESS;

const fn errno(number: u32) -> u32 {
    ptrace::SECCOMP_RET_ERRNO | number
}

const PERM: u32 = errno(EPERM);
const NO_FAMILY: u32 = errno(97);
const NO_PROTOCOL: u32 = errno(93);
const NO_TYPE: u32 = errno(94);
const NO_FAST_OPEN: u32 = errno(95);

struct Filter {
    architecture: Architecture,
    simulator: Simulator,
    terminal_is_safe: bool,
}

impl Filter {
    fn new(architecture: Architecture, text: &str, facts: &Facts) -> Self {
        let (compiled, diagnostics) = try_resolve(architecture, text, facts);
        assert!(!diagnostics.has_errors(), "{diagnostics:?}");
        let compiled = compiled.expect("a filter");
        let simulator = Simulator::new(&compiled.filter).expect("valid");
        Self { architecture, simulator, terminal_is_safe: compiled.terminal_is_safe }
    }

    fn run(&self, number: u32, arguments: &[u64]) -> Outcome {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        let architecture = tables::audit(self.architecture);
        self.simulator.run(&Data { number, architecture, instruction_pointer: 0, arguments: all })
    }

    /// A call of another table.
    fn other(&self, abi: Abi, name: &str, arguments: &[u64]) -> u32 {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        let number = abi.number(name).expect(name);
        let data =
            Data { number, architecture: abi.audit(), instruction_pointer: 0, arguments: all };
        self.simulator.run(&data).value
    }

    fn call(&self, name: &str, arguments: &[u64]) -> u32 {
        let number = tables::number(self.architecture, name).expect(name);
        self.run(number, arguments).value
    }
}

fn try_resolve(
    architecture: Architecture,
    text: &str,
    facts: &Facts,
) -> (Option<Compiled>, Diagnostics) {
    let document: Document = toml::from_str(text).expect("a document");
    let mut diagnostics = Diagnostics::default();
    let compiled =
        resolve(&document, architecture, facts, &place(), Optimize::Run, &mut diagnostics);
    (compiled, diagnostics)
}

/// The rules that a filter is compared with.
fn rules_of(seccomp: &Seccomp, architecture: Architecture, facts: &Facts) -> Rules {
    let checks = checks::Checks { architecture, facts, is_required: false };
    let (layer, abis) = file::resolve(seccomp, &checks, &place(), &mut Diagnostics::default());
    rules(&layer, architecture, &abis, facts)
}

fn default_rules(architecture: Architecture, facts: &Facts) -> Rules {
    rules_of(&Seccomp::default(), architecture, facts)
}

fn place() -> Place {
    Place { sysroot: "/".into(), directory: "/".into(), variables: [].into() }
}

fn default(facts: &Facts) -> Filter {
    Filter::new(Architecture::X86_64, "", facts)
}

/// The messages about a document, with the text that each points at.
fn messages(text: &str, facts: &Facts) -> Vec<String> {
    let (_, diagnostics) = try_resolve(Architecture::X86_64, text, facts);
    diagnostics
        .iter()
        .map(|each| {
            let place = each.span.clone().map_or("", |span| &text[span]);
            let help = each.help.as_deref().unwrap_or_default();
            format!("{place}: {}; {help}", each.message)
        })
        .collect()
}

#[test]
fn the_default_filter_decides_as_its_rules_do() {
    let all_facts = [CLOSED, TCP, OPEN].into_iter().flat_map(|facts| {
        let udp = match facts.sockets {
            Sockets::Tcp { .. } => Sockets::Tcp { udp: true },
            other => other,
        };
        [facts, Facts { sockets: udp, unix: false, pdeathsig_relied_on: true, ..facts }]
    });
    for (facts, architecture) in all_facts
        .chain([ALONE, SUPERVISED])
        .flat_map(|facts| ARCHITECTURES.map(|architecture| (facts, architecture)))
    {
        let rules = default_rules(architecture, &facts);
        let filter = Filter::new(architecture, "", &facts);
        let values = [
            0,
            1,
            2,
            3,
            6,
            9,
            10,
            16,
            17,
            0x11,
            0x5412,
            0x541c,
            30,
            31,
            262,
            0x80,
            0x802,
            0x8_0003,
            0x2_0000,
            0x2000_0000,
            0x1000_0000,
            0xffff_ffff,
        ];
        let values = values.map(|value| [value, value | 7 << 32]);
        let values = values.as_flattened();
        let same = |number, arguments| {
            let architecture = tables::audit(architecture);
            let data = Data { number, architecture, instruction_pointer: 0, arguments };
            let expected = rules.decide(&data).value();
            assert_eq!(filter.simulator.run(&data).value, expected, "{data:x?}");
        };
        for number in (0..=1024).chain(0x4000_0000..0x4000_0400).chain([
            0x3fff_ffff,
            0x7fff_ffff,
            0x8000_0000,
            0xbfff_ffff,
            0xc000_0000,
            0xffff_fffe,
            u32::MAX,
        ]) {
            same(number, [0; 6]);
            same(number, [u64::MAX; 6]);
        }
        for number in tables::calls(architecture)
            .map(|(number, _)| number)
            .filter(|number| !rules.calls[number].rules.is_empty())
        {
            for &first in values {
                for &second in values {
                    for &third in values {
                        same(number, [first, second, third, first ^ second, 0, 0]);
                    }
                }
            }
        }
    }
}

#[test]
fn the_default_filter_is_a_shallow_tree() {
    for architecture in ARCHITECTURES {
        for facts in [CLOSED, TCP, OPEN, ALONE] {
            let filter = Filter::new(architecture, "", &facts);
            let rules = default_rules(architecture, &facts);
            for number in 0..=1024 {
                let arguments = [0; 6];
                let executed = filter.run(number, &arguments).executed;
                let plain = rules.calls.get(&number).is_none_or(|call| call.rules.is_empty());
                // Two loads, the architecture, the tree, the return.
                let limit = if plain { 3 + 8 + 1 } else { 3 + 8 + 12 };
                assert!(executed <= limit, "{architecture:?} {number} {executed}");
            }
        }
    }
}

#[test]
fn the_default_filter_is_short() {
    for architecture in ARCHITECTURES {
        for facts in [TCP, TCP.without_namespaces()] {
            let (compiled, _) = try_resolve(architecture, "", &facts);
            let count = compiled.expect("a filter").filter.len() / 8;
            assert!(count <= 280, "{architecture:?} {count}");
        }
    }
}

#[test]
fn a_call_of_another_architecture_kills() {
    let filter = default(&CLOSED);
    let data = |architecture, number| Data {
        number,
        architecture,
        instruction_pointer: 0,
        arguments: [0; 6],
    };
    for number in [0, 1, 20, 1024] {
        let i386 = data(ptrace::AUDIT_ARCH_I386, number);
        assert_eq!(filter.simulator.run(&i386).value, KILL);
        let x32 = data(ptrace::AUDIT_ARCH_X86_64, number | 0x4000_0000);
        assert_eq!(filter.simulator.run(&x32).value, KILL);
    }
}

#[test]
fn a_number_newer_than_the_table_does_not_exist() {
    for architecture in ARCHITECTURES {
        for text in ["", "[seccomp]\nprofile = \"unconfined\""] {
            let filter = Filter::new(architecture, text, &CLOSED);
            for number in tables::newest(architecture) + 1..2048 {
                assert_eq!(filter.run(number, &[]).value, errno(38));
            }
            assert_eq!(filter.run(u32::MAX, &[]).value, errno(38));
        }
    }
}

#[test]
fn every_closed_call_is_refused_and_others_are_made() {
    let closed = profile::CLOSED.iter().flat_map(|part| part.calls).copied();
    let closed = groups::expand(&closed.collect::<Vec<_>>());
    for architecture in ARCHITECTURES {
        let filter = Filter::new(architecture, "[seccomp]\nerrno = \"EACCES\"", &CLOSED);
        for (_, name) in tables::calls(architecture) {
            let closed = closed.contains(name);
            let expected = match name {
                "clone3" => errno(38),
                // Both with no flag.
                "unshare" => ALLOW,
                "socket" | "socketpair" => NO_FAMILY,
                _ if closed || name.starts_with("io_uring_") => errno(13),
                _ => ALLOW,
            };
            assert_eq!(filter.call(name, &[]), expected, "{name}");
        }
    }
}

#[test]
fn without_a_network_there_are_unix_sockets_and_no_others() {
    let filter = default(&CLOSED);
    assert_eq!(filter.call("socket", &[net::AF_UNIX.into(), 1, 0]), ALLOW);
    assert_eq!(filter.call("socketpair", &[net::AF_UNIX.into(), 0x8_0001, 0]), ALLOW);
    for family in (0..64).filter(|family| *family != net::AF_UNIX) {
        assert_eq!(filter.call("socket", &[family.into(), 2, 0]), NO_FAMILY, "{family}");
        assert_eq!(filter.call("socketpair", &[family.into(), 2, 0]), NO_FAMILY);
        let upper = u64::from(family) | 1 << 32;
        assert_eq!(filter.call("socket", &[upper, 2, 0]), NO_FAMILY);
    }
    for call in ["bind", "connect", "sendto", "sendmsg", "shutdown", "accept4"] {
        assert_eq!(filter.call(call, &[u64::MAX; 6]), ALLOW);
    }
}

#[test]
fn without_unix_sockets_there_are_pairs_that_stay_pairs() {
    let filter = default(&Facts { unix: false, ..OPEN });
    assert_eq!(filter.call("socket", &[net::AF_UNIX.into(), 1, 0]), NO_FAMILY);
    assert_eq!(filter.call("socket", &[net::AF_INET.into(), 1, 0]), ALLOW);
    for flags in [0, 0x8_0000, 0x800, 7 << 32] {
        let pair = |kind: u64| filter.call("socketpair", &[net::AF_UNIX.into(), kind | flags, 0]);
        for connected in [1, 5] {
            assert_eq!(pair(connected), ALLOW, "{connected} {flags:x}");
        }
        // SOCK_DGRAM, and SOCK_RAW, which the kernel takes for it.
        for free in [2, 3] {
            assert_eq!(pair(free), NO_TYPE, "{free} {flags:x}");
        }
    }
    let every = default(&OPEN);
    assert_eq!(every.call("socketpair", &[net::AF_UNIX.into(), 2, 0]), ALLOW);
}

#[test]
fn the_host_network_has_all_but_raw_sockets() {
    let filter = default(&OPEN);
    for family in [net::AF_INET, net::AF_INET6].map(u64::from) {
        for kind in [1, 2, 5, 0x801, 0x8_0802] {
            assert_eq!(filter.call("socket", &[family, kind, 0]), ALLOW);
        }
        for kind in [3, 10, 0x8_0003, 0x803, 3 | 1 << 32] {
            assert_eq!(filter.call("socket", &[family, kind, 255]), PERM, "{kind:#x}");
        }
        assert_eq!(filter.call("socket", &[family, 1, 262]), ALLOW);
    }
    // Netlink of any type, for routes and for nothing else.
    assert_eq!(filter.call("socket", &[16, 3, 0]), ALLOW);
    assert_eq!(filter.call("socket", &[16, 0x8_0003, 0]), ALLOW);
    assert_eq!(filter.call("socket", &[16, 3, 9]), NO_FAMILY);
    // AF_PACKET, AF_ALG, AF_VSOCK, AF_XDP.
    for family in [17, 38, 40, 44] {
        assert_eq!(filter.call("socket", &[family, 1, 0]), NO_FAMILY);
    }
    assert_eq!(filter.call("sendto", &[3, 0, 0, 0x2000_0000]), ALLOW);
}

#[test]
fn a_list_of_ports_leaves_plain_tcp() {
    let filter = default(&TCP);
    for family in [net::AF_INET, net::AF_INET6].map(u64::from) {
        for protocol in [0, 6] {
            assert_eq!(filter.call("socket", &[family, 0x8_0801, protocol]), ALLOW);
        }
        // MPTCP, SMC, SCTP.
        for protocol in [262, 256, 132] {
            assert_eq!(filter.call("socket", &[family, 1, protocol]), NO_PROTOCOL);
        }
        for kind in [2, 5, 6] {
            assert_eq!(filter.call("socket", &[family, kind, 0]), NO_PROTOCOL);
        }
        assert_eq!(filter.call("socket", &[family, 3, 6]), PERM);
    }
    let udp = default(&Facts { sockets: Sockets::Tcp { udp: true }, ..TCP });
    assert_eq!(udp.call("socket", &[2, 2, 0]), ALLOW);
    assert_eq!(udp.call("socket", &[2, 2, 17]), ALLOW);
    // ICMP, UDP-Lite.
    assert_eq!(udp.call("socket", &[2, 2, 1]), NO_PROTOCOL);
    assert_eq!(udp.call("socket", &[2, 2, 136]), NO_PROTOCOL);
}

#[test]
fn a_list_of_ports_closes_fast_open() {
    let filter = default(&TCP);
    let flag = 0x2000_0000;
    for flags in [flag, flag | 0x4000, flag | 1 << 40] {
        assert_eq!(filter.call("sendto", &[3, 0, 0, flags, 0, 0]), NO_FAST_OPEN);
        assert_eq!(filter.call("sendmsg", &[3, 0, flags]), NO_FAST_OPEN);
        assert_eq!(filter.call("sendmmsg", &[3, 0, 1, flags]), NO_FAST_OPEN);
    }
    assert_eq!(filter.call("sendto", &[3, flag, flag, 0x4000, flag, flag]), ALLOW);
    assert_eq!(filter.call("sendmsg", &[3, flag, 0x4000, flag]), ALLOW);
    for option in [23, 30, 31] {
        assert_eq!(filter.call("setsockopt", &[3, 6, option]), NO_FAST_OPEN);
        assert_eq!(filter.call("setsockopt", &[3, 1, option]), ALLOW);
    }
    assert_eq!(filter.call("setsockopt", &[3, 6, 1]), ALLOW);
}

#[test]
fn text_cannot_be_put_into_a_terminal() {
    for text in ["", "[seccomp]\nprofile = \"unconfined\""] {
        let filter = Filter::new(Architecture::X86_64, text, &CLOSED);
        assert!(filter.terminal_is_safe);
        for request in [0x5412, 0x541c, 0x5412 | 1 << 32, 0x541c | !0xffff_ffff] {
            assert_eq!(filter.call("ioctl", &[0, request]), PERM);
        }
        assert_eq!(filter.call("ioctl", &[0, 0x5401]), ALLOW);
    }
    for text in [
        "[seccomp]\nallow = [\"ioctl\"]",
        "[[seccomp.rule]]\ncall = 'ioctl'\naction = 'allow'",
        "[seccomp]\naction = 'log'\ndeny = ['ioctl']",
    ] {
        let filter = Filter::new(Architecture::X86_64, text, &ALONE);
        assert!(filter.terminal_is_safe);
        assert_eq!(filter.call("ioctl", &[0, 0x5412]), PERM);
    }
}

#[test]
fn a_terminal_is_not_kept_where_text_can_be_put_into_it() {
    let kept = "[process]\nterminal = \"keep\"\n";
    assert!(messages(kept, &CLOSED).is_empty());
    let messages = messages(&format!("{kept}[enforce]\nseccomp = \"off\""), &CLOSED);
    assert_eq!(messages.len(), 1);
    assert!(messages[0].starts_with("\"keep\": the terminal cannot be kept"));
}

#[test]
fn a_death_signal_that_is_relied_on_stays() {
    let filter = default(&Facts { pdeathsig_relied_on: true, ..CLOSED });
    for signal in [0, 15, 17, 9 | 1 << 32] {
        assert_eq!(filter.call("prctl", &[1, signal]), PERM);
        assert_eq!(filter.call("prctl", &[1 | 1 << 32, signal]), PERM);
    }
    assert_eq!(filter.call("prctl", &[1, 9]), ALLOW);
    assert_eq!(filter.call("prctl", &[38, 1]), ALLOW);
    assert_eq!(default(&CLOSED).call("prctl", &[1, 0]), ALLOW);
}

#[test]
fn unconfined_keeps_what_other_tables_imply() {
    let text = "[seccomp]\nprofile = \"unconfined\"";
    let facts = Facts { pdeathsig_relied_on: true, ..TCP };
    let filter = Filter::new(Architecture::X86_64, text, &facts);
    for open in ["ptrace", "mount", "clone3", "keyctl", "setns"] {
        assert_eq!(filter.call(open, &[]), ALLOW);
    }
    assert_eq!(filter.call("unshare", &[0x1000_0000]), ALLOW);
    assert_eq!(filter.call("socket", &[40, 1, 0]), NO_FAMILY);
    assert_eq!(filter.call("sendto", &[3, 0, 0, 0x2000_0000]), NO_FAST_OPEN);
    assert_eq!(filter.call("prctl", &[1, 0]), PERM);
    assert_eq!(filter.call("io_uring_setup", &[]), PERM);
}

#[test]
fn allow_lifts_what_the_profile_closes() {
    let text = "[seccomp]\nallow = [\"ptrace\", \"unshare\", \"clone\", \"clone3\"]";
    let filter = Filter::new(Architecture::X86_64, text, &CLOSED);
    assert_eq!(filter.call("ptrace", &[]), ALLOW);
    assert_eq!(filter.call("unshare", &[0x1000_0000]), ALLOW);
    assert_eq!(filter.call("clone", &[0x1000_0000]), ALLOW);
    assert_eq!(filter.call("clone3", &[]), ALLOW);
    assert_eq!(filter.call("mount", &[]), PERM);
}

#[test]
fn allow_opens_no_socket_family() {
    let text = "[seccomp]\nallow = [\"socket\"]";
    let filter = Filter::new(Architecture::X86_64, text, &CLOSED);
    assert_eq!(filter.call("socket", &[2, 1, 0]), NO_FAMILY);
    assert_eq!(
        messages(text, &CLOSED),
        ["\"socket\": allowing socket opens nothing: [network] decides; "]
    );
}

#[test]
fn deny_wins_over_everything() {
    let text = "[seccomp]\ndeny = [\"socket\", \"getpid\", \"ptrace\", \"clone3\"]\n\
                allow = [\"ptrace\"]\nerrno = \"ENOTSUP\"";
    let filter = Filter::new(Architecture::X86_64, text, &OPEN);
    for name in ["socket", "getpid", "ptrace"] {
        assert_eq!(filter.call(name, &[1]), errno(95));
    }
    assert_eq!(filter.call("clone3", &[]), errno(38));
    assert_eq!(
        messages(text, &OPEN),
        ["\"ptrace\": ptrace is both allowed and denied; it is denied; "]
    );
}

#[test]
fn an_unknown_name_is_refused_with_a_suggestion() {
    assert_eq!(
        messages("[seccomp]\ndeny = [\"opennat\"]\nallow = [\"xyzzyxyzzy\"]", &CLOSED),
        [
            "\"opennat\": unknown system call \"opennat\"; did you mean \"openat\"?",
            "\"xyzzyxyzzy\": unknown system call \"xyzzyxyzzy\"; ",
        ]
    );
    assert_eq!(
        messages("[seccomp]\nerrno = \"eperm\"", &CLOSED),
        ["\"eperm\": unknown error number \"eperm\"; did you mean \"EPERM\"?"]
    );
}

#[test]
fn a_name_of_another_architecture_is_no_mistake() {
    let text = "[seccomp]\ndeny = [\"riscv_flush_icache\", \"vm86\"]\nallow = [\"umount\"]";
    assert!(messages(text, &CLOSED).is_empty());
}

#[test]
fn what_the_launcher_needs_cannot_be_denied() {
    for (name, why) in REQUIRED {
        let text = format!("[seccomp]\ndeny = [\"{name}\"]");
        let expected = format!("\"{name}\": {name} cannot be denied: {why}; ");
        assert_eq!(messages(&text, &CLOSED), [expected]);
    }
}

#[test]
fn what_the_launcher_asks_before_it_reports_may_fail_but_not_kill() {
    let (name, why) = ASKED;
    let help = "it can be denied by an error number: action = \"errno\"";
    for action in ["kill", "trap"] {
        for (text, span) in [
            (format!("seccomp = {{ deny = ['{name}'], action = '{action}' }}"), "'ppoll'"),
            (format!("[[seccomp.rule]]\ncall = '{name}'\naction = '{action}'"), "'ppoll'"),
        ] {
            let expected = format!("{span}: {name} cannot be denied: {why}; {help}");
            assert_eq!(messages(&text, &CLOSED), [expected], "{text}");
        }
    }
    for text in ["seccomp.deny = ['ppoll']", "[[seccomp.rule]]\ncall = 'ppoll'\naction = 'errno'"] {
        assert!(messages(text, &CLOSED).is_empty(), "{text}");
    }
}

#[test]
fn io_uring_is_allowed_only_where_it_gets_around_nothing() {
    let allow = "[seccomp]\nallow = [\"io_uring_setup\"]";
    let require = format!("{allow}\n[enforce]\nnamespaces = \"require\"");
    let outside = Facts { namespaces: NAMESPACE_FLAGS & !CLONE_NEWNET, ..CLOSED };
    let pairs = Facts { unix: false, ..CLOSED };
    // Its sockets are those of the host where there are no namespaces.
    let loopback = Facts { sockets: Sockets::Open, falls_back: true, ..CLOSED };
    for (text, facts) in [
        (allow, TCP),
        (allow, outside),
        (allow, CLOSED),
        (allow, loopback),
        (&require, outside),
        (&require, pairs),
    ] {
        let (_, diagnostics) = try_resolve(Architecture::X86_64, text, &facts);
        assert!(diagnostics.has_errors(), "{text} {facts:?}");
    }
    for (text, facts) in [(allow, OPEN), (&require, CLOSED)] {
        let filter = Filter::new(Architecture::X86_64, text, &facts);
        assert_eq!(filter.call("io_uring_setup", &[]), ALLOW);
        assert_eq!(messages(text, &facts).len(), 1);
    }
}

#[test]
fn there_is_no_filter_when_it_is_off() {
    let (compiled, diagnostics) =
        try_resolve(Architecture::X86_64, "[enforce]\nseccomp = \"off\"", &CLOSED);
    assert_eq!(compiled, None);
    assert_eq!(diagnostics, Diagnostics::default());
}

/// What each closure denies: a call, and the arguments to deny it with.
const CLOSURES: [(u32, &str, &[u64]); 22] = [
    (CLONE_NEWPID, "prlimit64", &[77]),
    (CLONE_NEWPID, "sched_setaffinity", &[77]),
    (CLONE_NEWPID, "sched_setattr", &[77]),
    (CLONE_NEWPID, "sched_setparam", &[77]),
    (CLONE_NEWPID, "sched_setscheduler", &[77]),
    (CLONE_NEWPID, "setpriority", &[0, 77]),
    (CLONE_NEWPID, "setpriority", &[1, 0]),
    (CLONE_NEWPID, "setpriority", &[2, 0]),
    (CLONE_NEWPID, "ioprio_set", &[1, 77]),
    (CLONE_NEWPID, "ioprio_set", &[2, 0]),
    (CLONE_NEWPID, "ioprio_set", &[3, 0]),
    (CLONE_NEWNS, "chmod", &[]),
    (CLONE_NEWNS, "fchmodat2", &[]),
    (CLONE_NEWNS, "lchown", &[]),
    (CLONE_NEWNS, "utimensat", &[]),
    (CLONE_NEWNS, "removexattrat", &[]),
    (CLONE_NEWNS, "file_setattr", &[]),
    (CLONE_NEWNS, "ioctl", &[3, 0x4008_6602]),
    (CLONE_NEWNS, "ioctl", &[3, 0x401c_5820 | 1 << 32]),
    (CLONE_NEWIPC, "shmget", &[]),
    (CLONE_NEWIPC, "semctl", &[]),
    (CLONE_NEWIPC, "mq_open", &[]),
];

#[test]
fn what_a_missing_namespace_would_keep_is_closed() {
    for text in ["", "seccomp.profile = 'unconfined'"] {
        let with = Filter::new(Architecture::X86_64, text, &CLOSED);
        for (namespace, name, arguments) in CLOSURES {
            let facts = Facts { namespaces: NAMESPACE_FLAGS & !namespace, ..CLOSED };
            for facts in [facts, ALONE] {
                let filter = Filter::new(Architecture::X86_64, text, &facts);
                assert_eq!(filter.call(name, arguments), PERM, "{name} {arguments:x?}");
            }
            let others = Facts { namespaces: namespace, ..CLOSED };
            let others = Filter::new(Architecture::X86_64, text, &others);
            for filter in [&with, &others] {
                assert_eq!(filter.call(name, arguments), ALLOW, "{name} {arguments:x?}");
            }
        }
    }
}

#[test]
fn every_call_that_a_missing_namespace_closes_is_closed() {
    let metadata = "chmod fchmod fchmodat fchmodat2 chown lchown fchown fchownat utime utimes \
                    futimesat utimensat setxattr lsetxattr fsetxattr setxattrat removexattr \
                    lremovexattr fremovexattr removexattrat file_setattr";
    let ipc = "shmget shmat shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl \
               mq_open mq_unlink";
    for architecture in ARCHITECTURES {
        let filter = Filter::new(architecture, "", &ALONE);
        for name in metadata.split(' ').chain(ipc.split(' ')) {
            let Some(number) = tables::number(architecture, name) else { continue };
            assert_eq!(filter.run(number, &[]).value, PERM, "{architecture:?} {name}");
        }
        for request in [0x4008_6602, 0x4004_6602, 0x401c_5820] {
            assert_eq!(filter.call("ioctl", &[3, request]), PERM, "{request:#x}");
            assert_eq!(filter.call("ioctl", &[3, request | 7 << 32]), PERM, "{request:#x}");
        }
    }
}

#[test]
fn without_a_pid_namespace_a_process_changes_itself() {
    let filter = default(&ALONE);
    // The kernel ignores the upper half of a process id.
    for own in [0, 1 << 32] {
        for name in ["prlimit64", "sched_setaffinity", "sched_setattr"] {
            assert_eq!(filter.call(name, &[own, 77, 77]), ALLOW, "{name}");
        }
        assert_eq!(filter.call("setpriority", &[own, own, 5]), ALLOW);
        assert_eq!(filter.call("ioprio_set", &[1 | own, own, 77]), ALLOW);
    }
    for name in ["getpriority", "sched_getaffinity", "ioprio_get", "shmdt", "fstat"] {
        assert_eq!(filter.call(name, &[77, 77]), ALLOW, "{name}");
    }
    assert_eq!(filter.call("ioctl", &[3, 0x8008_6601]), ALLOW);
}

#[test]
fn allow_lifts_what_a_missing_namespace_closes() {
    for (_, name, arguments) in CLOSURES {
        let text = format!("seccomp.allow = [\"{name}\"]");
        let filter = Filter::new(Architecture::X86_64, &text, &ALONE);
        assert_eq!(filter.call(name, arguments), ALLOW, "{name}");
        assert!(messages(&text, &ALONE).is_empty(), "{name}");
    }
    let filter = Filter::new(Architecture::X86_64, "seccomp.allow = ['chmod']", &ALONE);
    assert_eq!(filter.call("fchmod", &[]), PERM);
}

#[test]
fn ipc_that_the_author_shares_is_open() {
    let filter = default(&Facts { shares_ipc: true, ..ALONE });
    assert_eq!(filter.call("shmget", &[]), ALLOW);
    assert_eq!(filter.call("chmod", &[]), PERM);
    assert_eq!(filter.call("prlimit64", &[77]), PERM);
}

#[test]
fn a_launch_that_may_go_on_without_namespaces_has_a_filter_for_that() {
    let filters = |text: &str, facts| {
        let (compiled, diagnostics) = try_resolve(Architecture::X86_64, text, &facts);
        assert_eq!(diagnostics, Diagnostics::default());
        compiled.expect("a filter")
    };
    let compiled = filters("", Facts { falls_back: true, ..CLOSED });
    assert_eq!(compiled.filter, filters("", CLOSED).filter);
    assert_eq!(compiled.without_namespaces, filters("", ALONE).filter);
    assert!(filters("", CLOSED).without_namespaces.is_empty());
    let shared = Facts { namespaces: CLONE_NEWNET, falls_back: true, ..CLOSED };
    assert!(filters("", shared).without_namespaces.is_empty());
}

#[test]
fn where_a_supervisor_connects_it_is_asked_about_every_connection() {
    let filter = default(&SUPERVISED);
    const ASK: u32 = ptrace::SECCOMP_RET_USER_NOTIF;
    const NO: u32 = errno(13);
    for family in [2, 10] {
        for (kind, protocol, expected) in
            [(1, 0, ALLOW), (1, 6, ALLOW), (1, 262, NO_PROTOCOL), (2, 0, NO_PROTOCOL), (3, 1, PERM)]
        {
            assert_eq!(filter.call("socket", &[family, kind, protocol]), expected, "{kind}");
        }
    }
    assert_eq!(filter.call("connect", &[]), ASK);
    assert_eq!(filter.call("bind", &[]), NO);
    assert_eq!(filter.call("listen", &[]), NO);
    assert_eq!(filter.call("sendto", &[3, 0, 0, 0x2000_0000]), NO_FAST_OPEN);
    // Whoever names it does not connect by itself.
    let named = Filter::new(Architecture::X86_64, "seccomp.allow = ['connect']", &SUPERVISED);
    assert_eq!(named.call("connect", &[]), ASK);
    let facts = Facts { supervised: true, falls_back: true, sockets: Sockets::Open, ..CLOSED };
    let (compiled, _) = try_resolve(Architecture::X86_64, "", &facts);
    let compiled = compiled.expect("a filter");
    let (alone, _) = try_resolve(Architecture::X86_64, "", &SUPERVISED);
    assert_eq!(compiled.without_namespaces, alone.expect("a filter").filter);
    let rule = "seccomp.rule = [{ call = 'getppid', action = 'notify' }]";
    assert_eq!(messages(rule, &facts).len(), 1);
}

#[test]
fn a_complaint_is_made_once_for_both_filters() {
    let facts = Facts { falls_back: true, ..CLOSED };
    let text = "seccomp = { allow = ['socket', 'opennat'], errno = 'EWHAT' }";
    assert_eq!(messages(text, &facts), messages(text, &CLOSED));
    assert_eq!(messages(text, &facts).len(), 3);
}
