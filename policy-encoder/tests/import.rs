//! `seccomp.import` through the encoder: what was imported decides, and what
//! the project guarantees stays.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use launcher_policy::seccomp::{Instruction, op};
use launcher_policy::wire;
use linux_raw_sys::ptrace as uapi;
use policy_encoder::diagnostic::{Diagnostics, Severity};
use policy_encoder::seccomp::Optimize;
use policy_encoder::seccomp::reach::Reach;
use policy_encoder::seccomp::rules::{Data, X32_BIT};
use policy_encoder::seccomp::simulate::Simulator;
use policy_encoder::seccomp::tables::{self, Abi};
use policy_encoder::{Architecture, Place, encode_for, parse};

const NATIVE: Architecture = Architecture::NATIVE;
const ALLOW: u32 = uapi::SECCOMP_RET_ALLOW;
const EPERM: u32 = uapi::SECCOMP_RET_ERRNO | 1;
const ENOSYS: u32 = uapi::SECCOMP_RET_ERRNO | 38;
const EAFNOSUPPORT: u32 = uapi::SECCOMP_RET_ERRNO | 97;
const KILL: u32 = uapi::SECCOMP_RET_KILL_PROCESS;

/// A profile that allows everything.
const OPEN: &str = r#"{ "defaultAction": "SCMP_ACT_ALLOW" }"#;

/// A directory that goes away with its owner.
struct Directory(PathBuf);

impl Directory {
    fn with(name: &str, content: impl AsRef<[u8]>) -> Self {
        let number = std::process::id();
        let thread = std::thread::current().name().unwrap_or_default().replace("::", "-");
        let path = std::env::temp_dir().join(format!("import-{number}-{thread}"));
        std::fs::create_dir_all(&path).expect("a directory is made");
        std::fs::write(path.join(name), content).expect("a file is written");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The filter of a policy, to be asked.
struct Filter {
    filter: Vec<u8>,
    flags: u32,
    terminal_is_safe: bool,
}

impl Filter {
    fn call(&self, name: &str, arguments: &[u64]) -> u32 {
        self.number(tables::number(NATIVE, name).expect(name), arguments)
    }

    fn number(&self, number: u32, arguments: &[u64]) -> u32 {
        self.ask(tables::audit(NATIVE), number, arguments)
    }

    fn ask(&self, architecture: u32, number: u32, given: &[u64]) -> u32 {
        let mut arguments = [0; 6];
        arguments[..given.len()].copy_from_slice(given);
        let simulator = Simulator::new(&self.filter).expect("a valid filter");
        simulator.run(&Data { number, architecture, instruction_pointer: 0, arguments }).value
    }
}

fn compile(directory: &Path, text: &str, optimize: Optimize) -> (Option<Filter>, Diagnostics) {
    let (document, mut diagnostics) = parse::toml(text);
    let place = Place::in_directory(directory).expect("the directory exists");
    let encoded = encode_for(&document, &place, NATIVE, optimize, &mut diagnostics);
    let filter = encoded.map(|encoded| {
        let policy = wire::decode(&encoded.bytes).expect("what was encoded decodes");
        let seccomp = policy.seccomp.expect("a filter");
        Filter {
            filter: seccomp.filter.to_vec(),
            flags: seccomp.flags,
            terminal_is_safe: seccomp.terminal_is_safe,
        }
    });
    (filter, diagnostics)
}

fn filter(directory: &Directory, text: &str) -> Filter {
    let (filter, diagnostics) = compile(&directory.0, text, Optimize::Run);
    filter.unwrap_or_else(|| panic!("{diagnostics:?}"))
}

fn errors(directory: &Directory, text: &str) -> Vec<String> {
    let (_, diagnostics) = compile(&directory.0, text, Optimize::Run);
    diagnostics.iter().map(|diagnostic| diagnostic.message.clone()).collect()
}

fn shipped(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/seccomp").join(name);
    std::fs::read(path).expect("the profile is there")
}

/// A filter of instructions.
fn assembled(instructions: &[(u16, u8, u8, u32)]) -> Vec<u8> {
    instructions
        .iter()
        .flat_map(|&(code, jt, jf, k)| Instruction { code, jt, jf, k }.to_bytes())
        .collect()
}

#[test]
fn the_default_profiles_of_docker_and_podman_are_imported() {
    for (name, denied) in [("docker.json", EPERM), ("podman.json", ENOSYS)] {
        let directory = Directory::with(name, shipped(name));
        let text = format!("network.access = 'host'\nseccomp.import = '{name}'");
        let filter = filter(&directory, &text);
        assert_eq!(filter.flags, 0, "{name}");
        assert!(filter.terminal_is_safe, "{name}");
        for call in ["read", "openat", "execve", "mmap", "futex"] {
            assert_eq!(filter.call(call, &[]), ALLOW, "{name} {call}");
        }
        // What only somebody with capabilities may.
        for call in ["init_module", "settimeofday", "bpf", "perf_event_open", "open_by_handle_at"] {
            assert_eq!(filter.call(call, &[]) & 0xffff_0000, EPERM & 0xffff_0000, "{name} {call}");
        }
        assert_eq!(filter.call("kexec_load", &[]), EPERM, "{name}");
        assert_eq!(filter.call("personality", &[8]), ALLOW, "{name}");
        assert_eq!(filter.call("personality", &[7]), denied, "{name}");
    }
    let directory = Directory::with("docker.json", shipped("docker.json"));
    let docker = filter(&directory, "network.access = 'host'\nseccomp.import = 'docker.json'");
    let new_user_namespace = 0x1000_0000;
    assert_eq!(docker.call("clone", &[new_user_namespace]), EPERM);
    assert_eq!(docker.call("clone", &[17]), ALLOW);
    assert_eq!(docker.call("unshare", &[0]), EPERM);
}

#[test]
fn an_import_that_allows_everything_opens_none_of_the_guarantees() {
    let open = assembled(&[(op::RETURN, 0, 0, ALLOW)]);
    for (name, content) in [("open.json", OPEN.as_bytes()), ("open.bpf", open.as_slice())] {
        let directory = Directory::with(name, content);
        let filter = filter(&directory, &format!("seccomp.import = '{name}'"));
        for (call, arguments, expected) in [
            ("read", &[][..], ALLOW),
            ("mount", &[], ALLOW),
            ("socket", &[1], ALLOW),
            ("socket", &[2], EAFNOSUPPORT),
            ("socket", &[40], EAFNOSUPPORT),
            ("ioctl", &[0, 0x5412], EPERM),
            ("ioctl", &[0, 0x1_0000_5412], EPERM),
            ("io_uring_setup", &[], EPERM),
            ("clone3", &[], ENOSYS),
            ("prctl", &[1, 0], EPERM),
        ] {
            assert_eq!(filter.call(call, arguments), expected, "{name} {call} {arguments:?}");
        }
        assert_eq!(filter.number(100_000, &[]), ENOSYS, "{name}");
        assert_eq!(filter.ask(tables::audit(NATIVE) ^ 1, 1, &[]), KILL, "{name}");
        if NATIVE == Architecture::X86_64 {
            assert_eq!(filter.number(X32_BIT | 1, &[]), KILL, "{name}");
        }
        assert!(filter.terminal_is_safe, "{name}");
    }
}

#[test]
fn what_an_import_denies_stays_denied_where_the_project_would_only_filter() {
    // socket(2) and ioctl(2) are filtered by the project, and closed here.
    let names = ["execve", "write", "exit", "exit_group", "rt_sigreturn", "read"];
    let json = format!(
        r#"{{ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 33,
             "syscalls": [{{ "names": {names:?}, "action": "SCMP_ACT_ALLOW" }}] }}"#
    );
    let directory = Directory::with("few.json", json);
    let few = filter(&directory, "network.access = 'host'\nseccomp.import = 'few.json'");
    let edom = uapi::SECCOMP_RET_ERRNO | 33;
    assert_eq!(few.call("read", &[]), ALLOW);
    for (call, arguments) in [("socket", [1, 1]), ("ioctl", [0, 0x5413]), ("setsockopt", [0, 0])] {
        assert_eq!(few.call(call, &arguments), edom, "{call}");
    }
    let allowed =
        filter(&directory, "seccomp = { import = 'few.json', allow = ['ioctl', 'mount'] }");
    assert_eq!(allowed.call("ioctl", &[0, 0x5413]), ALLOW);
    assert_eq!(allowed.call("mount", &[]), ALLOW);
    let denied = filter(&directory, "seccomp = { import = 'few.json', deny = ['read'] }");
    assert_eq!(denied.call("read", &[]), EPERM);
}

#[test]
fn an_imported_filter_decides_what_the_rules_before_it_let_through() {
    let number = tables::number(NATIVE, "getcwd").expect("it exists");
    let program = assembled(&[
        (op::LOAD, 0, 0, 0),
        (op::JUMP_EQUAL, 0, 1, number),
        (op::RETURN, 0, 0, uapi::SECCOMP_RET_ERRNO | 33),
        (op::RETURN, 0, 0, ALLOW),
    ]);
    let directory = Directory::with("filter.bpf", program);
    let filter = filter(&directory, "seccomp = { import = 'filter.bpf', deny = ['read'] }");
    assert_eq!(filter.call("getcwd", &[]), uapi::SECCOMP_RET_ERRNO | 33);
    assert_eq!(filter.call("read", &[]), EPERM);
    assert_eq!(filter.call("write", &[]), ALLOW);
    assert_eq!(
        errors(&directory, "seccomp = { import = 'filter.bpf', allow = ['getcwd', 'clone3'] }"),
        ["allowing getcwd opens nothing: the imported filter decides"]
    );
}

#[test]
fn the_default_profile_opens_what_dockers_opens_but_for_what_is_documented() {
    // Rings and files in memory that are run are closed for either.
    let documented = ["ptrace", "modify_ldt"];
    let directory = Directory::with("docker.json", shipped("docker.json"));
    let open = |seccomp: &str| -> BTreeSet<&str> {
        let text = format!("network.access = 'host'\nseccomp = {{ {seccomp} }}");
        let filter = Simulator::new(&filter(&directory, &text).filter).expect("a valid filter");
        let may = |number: u32| Reach::of(&filter, tables::audit(NATIVE), number).values;
        let calls = tables::calls(NATIVE).filter(|&(number, _)| may(number).contains(&ALLOW));
        calls.map(|(_, name)| name).collect()
    };
    let (docker, own) = (open("import = 'docker.json'"), open(""));
    let closed: BTreeSet<&str> = docker.difference(&own).copied().collect();
    let exists = |name: &&str| tables::number(NATIVE, name).is_some();
    assert_eq!(closed, documented.into_iter().filter(exists).collect());
    assert!(docker.len() > 250, "{}", docker.len());
}

/// Orders what filters return as the kernel does: the least decides.
fn severity(value: u32) -> u32 {
    // KILL_PROCESS has the sign, so that it is less than all others.
    (value & uapi::SECCOMP_RET_ACTION_FULL) ^ 1 << 31
}

#[test]
fn an_imported_filter_and_the_rules_before_it_decide_as_the_stricter_of_both() {
    let policies = [
        "",
        "deny = ['read', '@timer']",
        "deny = ['getcwd'], action = 'log'",
        "architectures = ['i386', 'x32']",
        "rule = [{ call = 'openat', action = 'log' }, { call = 'mmap', action = 'kill', \
         args = [{ index = 2, op = 'masked-equal', value = 4, mask = 4 }] }]",
    ];
    // Filters of this project, whose shape is any that a compiler makes.
    let imports = [
        "profile = 'strict'",
        "profile = 'unconfined', deny = ['@file-system'], errno = 'EDOM'",
        "architectures = ['i386'], action = 'trap'",
        "rule = [{ call = 'ioctl', action = 'errno', args = [{ index = 1, op = 'less', value = 9 }] }]",
    ];
    let directory = Directory::with("open.bpf", assembled(&[(op::RETURN, 0, 0, ALLOW)]));
    for import in imports {
        let second = filter(&directory, &format!("seccomp = {{ {import} }}"));
        std::fs::write(directory.0.join("filter.bpf"), &second.filter).expect("it is written");
        let second = Simulator::new(&second.filter).expect("a valid filter");
        for policy in policies {
            let with = |file: &str| {
                let comma = if policy.is_empty() { "" } else { "," };
                let filter = filter(
                    &directory,
                    &format!("seccomp = {{ import = '{file}'{comma} {policy} }}"),
                );
                Simulator::new(&filter.filter).expect("a valid filter")
            };
            let (first, both) = (with("open.bpf"), with("filter.bpf"));
            for data in sampled() {
                let (own, imported) = (first.run(&data).value, second.run(&data).value);
                let expected = match own {
                    // What the rules deny stays denied as they say.
                    ALLOW | uapi::SECCOMP_RET_LOG if severity(imported) < severity(own) => imported,
                    _ => own,
                };
                assert_eq!(both.run(&data).value, expected, "{import}, {policy}, {data:x?}");
            }
        }
    }
}

/// Every number of every table and those around them, with some arguments.
fn sampled() -> impl Iterator<Item = Data> {
    let audits = [tables::audit(NATIVE), Abi::I386.audit(), Abi::Arm.audit(), 0];
    let values = [0, 1, 2, 4, 7, 9, 0x5412, 0x1000_0000, 0x1_0000_0001, u64::MAX];
    let numbers = (0..600).chain(X32_BIT - 1..X32_BIT + 600).chain(u32::MAX - 1..=u32::MAX);
    audits.into_iter().flat_map(move |architecture| {
        numbers.clone().flat_map(move |number| {
            let same = values.map(|value| [value; 6]);
            let ascending: [u64; 6] = std::array::from_fn(|at| values[at]);
            let all = same.into_iter().chain([ascending]);
            all.map(move |arguments| Data {
                number,
                architecture,
                instruction_pointer: 0,
                arguments,
            })
        })
    })
}

#[test]
fn an_import_under_which_nothing_could_run_is_refused() {
    for (name, content) in [
        ("none.json", br#"{ "defaultAction": "SCMP_ACT_ERRNO" }"#.to_vec()),
        ("none.bpf", assembled(&[(op::RETURN, 0, 0, KILL)])),
        // Made for another architecture.
        (
            "other.bpf",
            assembled(&[
                (op::LOAD, 0, 0, 4),
                (op::JUMP_EQUAL, 0, 1, tables::audit(NATIVE) ^ 1),
                (op::RETURN, 0, 0, ALLOW),
                (op::RETURN, 0, 0, KILL),
            ]),
        ),
    ] {
        let directory = Directory::with(name, content);
        let errors = errors(&directory, &format!("seccomp.import = '{name}'"));
        let expected = "what is imported denies execve: the launcher could not run the command";
        assert!(errors.iter().any(|error| error == expected), "{name}: {errors:?}");
    }
}

#[test]
fn a_filter_that_leaves_no_room_for_the_guarantees_is_refused() {
    let mut long = vec![(op::LOAD, 0, 0, 0); 4095];
    long.push((op::RETURN, 0, 0, ALLOW));
    let directory = Directory::with("long.bpf", assembled(&long));
    assert_eq!(errors(&directory, "seccomp.import = 'long.bpf'").len(), 1);
}

#[test]
fn what_is_no_import_is_said_at_its_place() {
    let directory = Directory::with("bad.json", "{ \"defaultAction\": \"SCMP_ACT_TRACE\" }");
    for (text, part) in [
        ("seccomp.import = 'bad.json'", "SCMP_ACT_TRACE"),
        ("seccomp.import = 'missing.json'", "there is no file"),
        ("seccomp.import = '/dev/zero'", "longer than 1048576 bytes"),
        ("seccomp.import = '/dev/null'", "instructions"),
        ("seccomp.import = '.'", "cannot read"),
        ("seccomp = { import = '$NO_SUCH_NAME/x' }", "NO_SUCH_NAME"),
    ] {
        let (_, diagnostics) = compile(&directory.0, text, Optimize::Run);
        let first = diagnostics.iter().next().expect("a complaint");
        assert_eq!(first.severity, Severity::Error, "{text}");
        assert!(first.message.contains(part), "{text}: {}", first.message);
        let span = first.span.clone().expect("a place");
        assert!(text[span].starts_with('\''), "{text}");
    }
}

#[test]
fn a_profile_beside_an_import_is_a_contradiction() {
    let directory = Directory::with("open.json", OPEN);
    let text = "seccomp = { import = 'open.json', profile = 'default' }";
    assert_eq!(
        errors(&directory, text),
        ["what is imported takes the place of a profile: there cannot be both"]
    );
}

#[test]
fn flags_of_an_import_reach_the_policy() {
    let json = r#"{ "defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"] }"#;
    let directory = Directory::with("log.json", json);
    let filter = filter(&directory, "seccomp.import = 'log.json'");
    assert_eq!(filter.flags, uapi::SECCOMP_FILTER_FLAG_LOG);
}

#[test]
fn a_filter_for_quick_launches_starts_with_what_the_kernel_cannot_know() {
    let directory = Directory::with("open.json", OPEN);
    let filters = [Optimize::Run, Optimize::Launch]
        .map(|optimize| compile(&directory.0, "", optimize).0.expect("a filter"));
    let [run, launch] = &filters;
    assert_eq!(launch.filter[..8], assembled(&[(op::LOAD, 0, 0, 16)]));
    assert_eq!(launch.filter[8..], run.filter);
}
