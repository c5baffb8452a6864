//! Any document that is well written is planned without a panic, and always the
//! same way; what is encoded decodes, and its mounts stand in an order that
//! hides none of them.
#![no_main]

use launcher_policy::wire;
use libfuzzer_sys::arbitrary::{self, Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use policy_encoder::parse;
use serde::{Serialize, Serializer};
use serde_json::Value;

fuzz_target!(|written: Document| {
    let mut json = serde_json::to_value(&written).expect("a document is a JSON value");
    leave_out_nulls(&mut json);
    let (document, diagnostics) = parse::json(&json.to_string());
    let bytes = fuzz::encoded(&document, diagnostics.clone());
    assert_eq!(bytes, fuzz::encoded(&document, diagnostics));
    if let Some(bytes) = bytes {
        assert_parents_first(&wire::decode(&bytes).expect("what was encoded decodes"));
    }
});

/// A mount on a parent would cover what was mounted below it before.
fn assert_parents_first(policy: &launcher_policy::Policy<'_>) {
    let Some(mounts) = &policy.mounts else { return };
    let targets: Vec<_> = mounts.mounts.iter().map(|mount| mount.target.to_bytes()).collect();
    for (at, earlier) in targets.iter().enumerate() {
        for later in targets.iter().skip(at + 1) {
            let covers = earlier.strip_prefix(*later).is_some_and(|rest| rest.starts_with(b"/"));
            assert!(!covers, "{:?} is covered", earlier.escape_ascii().to_string());
        }
    }
}

/// An absent value is left out of a document, not written as `null`.
fn leave_out_nulls(value: &mut Value) {
    if let Value::Object(members) = value {
        members.retain(|_, member| !member.is_null());
        members.values_mut().for_each(leave_out_nulls);
    }
}

#[derive(Arbitrary, Debug, Serialize)]
struct Document {
    filesystem: Filesystem,
    network: Network,
    process: Process,
    limits: Limits,
    seccomp: Seccomp,
    namespaces: Namespaces,
    enforce: Enforce,
}

#[derive(Arbitrary, Debug, Serialize)]
struct Filesystem {
    root: Option<Root>,
    execute: Vec<Entry>,
    read: Vec<Entry>,
    write: Vec<Entry>,
    deny: Vec<Entry>,
    protect: Vec<Entry>,
    protect_missing: Option<Word<13>>,
    home: Option<Word<14>>,
    tmp: Option<Word<3>>,
    tmp_size: Option<u32>,
    proc: Option<bool>,
    dev: Option<Dev>,
    mount: Vec<Mount>,
}

#[derive(Arbitrary, Debug, Serialize)]
#[serde(untagged)]
enum Root {
    Named(Word<0>),
    Path(Path),
}

#[derive(Arbitrary, Debug, Serialize)]
#[serde(untagged)]
enum Entry {
    Path(Path),
    Table {
        path: Option<Path>,
        fd: Option<u8>,
        at: Option<Path>,
        missing: Option<Word<1>>,
        follow: Option<bool>,
    },
}

#[derive(Arbitrary, Debug, Serialize)]
#[serde(untagged)]
enum Dev {
    Named(Word<2>),
    List(Vec<Word<4>>),
}

#[derive(Arbitrary, Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Mount {
    Bind { source: Path, target: Path, access: Vec<Word<5>>, missing: Option<Word<1>> },
    Tmpfs { target: Path, size: Option<u32>, mode: Option<u16>, access: Vec<Word<5>> },
    Proc { target: Path },
    Symlink { target: Path, content: String },
    Directory { target: Path, mode: Option<u16> },
    File { target: Path, data: String, mode: Option<u16> },
    Overlay { target: Path, lower: Path, upper: Path, work: Path },
}

#[derive(Arbitrary, Debug, Serialize)]
struct Network {
    access: Option<Word<6>>,
    unix: Option<Unix>,
    connect_tcp: Option<Vec<u16>>,
    bind_tcp: Option<Vec<u16>>,
    udp: Option<bool>,
    allow: Vec<Word<16>>,
    deny: Vec<Word<16>>,
    proxy: Option<Proxy>,
}

#[derive(Arbitrary, Debug, Serialize)]
struct Proxy {
    http: Option<u16>,
    socks: Option<u16>,
    upstream: Option<Word<17>>,
}

#[derive(Arbitrary, Debug, Serialize)]
#[serde(untagged)]
enum Unix {
    Named(Word<7>),
    Paths(Vec<Path>),
}

#[derive(Arbitrary, Debug, Serialize)]
struct Process {
    cwd: Option<Path>,
    uid: Option<u32>,
    gid: Option<u32>,
    hostname: Option<String>,
    argv0: Option<String>,
    umask: Option<u16>,
    terminal: Option<Word<8>>,
    keep_fds: Vec<u8>,
}

#[derive(Arbitrary, Debug, Serialize)]
struct Limits {
    memory: Option<u64>,
    processes: Option<u64>,
    cpu_affinity: Option<Vec<u16>>,
    nice: Option<i8>,
    oom_score_adjust: Option<i16>,
}

#[derive(Arbitrary, Debug, Serialize)]
struct Seccomp {
    profile: Option<Word<9>>,
    allow: Vec<Word<10>>,
    deny: Vec<Word<10>>,
}

#[derive(Arbitrary, Debug, Serialize)]
struct Namespaces {
    user: Option<bool>,
    mount: Option<bool>,
    pid: Option<bool>,
    net: Option<bool>,
    ipc: Option<bool>,
    uts: Option<bool>,
    cgroup: Option<bool>,
    time: Option<bool>,
    uid_map: Option<Vec<IdRange>>,
    init: Option<Word<11>>,
}

#[derive(Arbitrary, Debug, Serialize)]
struct IdRange {
    inside: u32,
    outside: u32,
    count: u32,
}

#[derive(Arbitrary, Debug, Serialize)]
struct Enforce {
    namespaces: Option<Word<12>>,
    landlock: Option<Word<12>>,
    seccomp: Option<Word<12>>,
    limits: Option<Word<12>>,
    carve_out: Option<Word<15>>,
}

/// One of the words that a key takes, by the number of the key.
const WORDS: [&[&str]; 18] = [
    &["empty", "minimal", "host"],
    &["fail", "skip"],
    &["minimal", "none"],
    &["private", "host", "none"],
    &["null", "pts", "ptmx", "shm", "fd", "stdin", "random"],
    &["read", "write", "execute"],
    &["none", "loopback", "host", "proxy"],
    &["inside", "host", "none"],
    &["auto", "keep", "none"],
    &["default", "unconfined"],
    &["ptrace", "execve", "write", "socket", "keyctl", "clone3", "openat"],
    &["reaper", "none"],
    &["require", "prefer", "off"],
    &["warn", "freeze"],
    &["private", "hidden", "host"],
    &["refuse", "siblings"],
    &[
        "example.org",
        "*.example.org:443",
        "*:80",
        "192.0.2.0/24:8000-8999",
        "[2001:db8::]/32",
        "127.0.0.1:1",
        "EXAMPLE.org",
        ":",
    ],
    &["environment", "http://127.0.0.1:8080", "http://user@host"],
];

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Word<const KEY: usize>(&'static str);

impl<'a, const KEY: usize> Arbitrary<'a> for Word<KEY> {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        bytes.choose(WORDS[KEY]).copied().map(Self)
    }
}

/// A path of a few components, most of which exist in the tree.
#[derive(Debug)]
struct Path(String);

const STARTS: [&str; 5] = ["/", "", "~/", "$CWD/", "./"];

const NAMES: [&str; 26] = [
    "usr",
    "bin",
    "lib",
    "etc",
    "ssl",
    "passwd",
    "home",
    "me",
    ".ssh",
    "tmp",
    "var",
    "work",
    "deep",
    "er",
    "note",
    "up",
    "loop",
    "dangling",
    "proc",
    "dev",
    "shm",
    "run",
    "sys",
    "..",
    ".git",
    "@credentials",
];

impl<'a> Arbitrary<'a> for Path {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let start = bytes.choose(&STARTS)?;
        let length = bytes.int_in_range(0..=4)?;
        let names = (0..length)
            .map(|_| bytes.choose(&NAMES).copied())
            .collect::<arbitrary::Result<Vec<_>>>()?;
        Ok(Self(format!("{start}{}", names.join("/"))))
    }
}

impl Serialize for Path {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
