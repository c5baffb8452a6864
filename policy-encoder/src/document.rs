//! The document exactly as a person writes it.
//!
//! Values keep their place in the text, so that a complaint can point at it.
//! Nothing is resolved here: a path is still text, a name still a name.

use std::collections::BTreeMap;

use launcher_policy::enforce::Guarantee;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod forms;
mod seccomp;
mod written;

use forms::ExactMountTable;
pub use seccomp::{
    Abi, ArgumentRule, CallRule, Calls, Denial, Number, Operator, Profile, Seccomp, Verdict,
};

use crate::Spanned;

/// A whole policy document. Everything is optional; what is absent is safe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Document {
    /// What the policy is for, in a sentence.
    pub description: Option<String>,
    /// Presets by their names, and files, that this document builds on; see
    /// [`compose`](crate::compose).
    #[serde(skip_serializing_if = "is_absent")]
    pub extends: Vec<Spanned<String>>,
    /// How it is joined with what it extends: `"add"` (default) or
    /// `"strictest"`.
    pub merge: Option<Spanned<Merge>>,
    /// What is visible, and what may be done with it.
    #[serde(skip_serializing_if = "is_absent")]
    pub filesystem: Filesystem,
    /// What may be reached.
    #[serde(skip_serializing_if = "is_absent")]
    pub network: Network,
    /// How the command runs.
    #[serde(skip_serializing_if = "is_absent")]
    pub process: Process,
    /// How much it may use.
    #[serde(skip_serializing_if = "is_absent")]
    pub limits: Limits,
    /// Which system calls it may make.
    #[serde(skip_serializing_if = "is_absent")]
    pub seccomp: Seccomp,
    /// Namespaces, for experts: they follow from the other tables.
    #[serde(skip_serializing_if = "is_absent")]
    pub namespaces: Namespaces,
    /// What happens on a host that cannot give everything.
    #[serde(skip_serializing_if = "is_absent")]
    pub enforce: Enforce,
}

/// How a document is joined with what it extends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Merge {
    /// The union of all, in which the document itself has the last word.
    Add,
    /// What every one of them grants.
    Strictest,
}

/// Whether a list or table says nothing, so that it need not be written.
fn is_absent<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// `[filesystem]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Filesystem {
    /// `"empty"` (default), `"minimal"`, `"host"` or the path of a directory.
    pub root: Option<Spanned<String>>,
    /// Read and run.
    #[serde(skip_serializing_if = "is_absent")]
    pub execute: Vec<Spanned<Entry>>,
    /// Read; not run.
    #[serde(skip_serializing_if = "is_absent")]
    pub read: Vec<Spanned<Entry>>,
    /// Read, change, create, remove; run only if listed under `execute` too.
    #[serde(skip_serializing_if = "is_absent")]
    pub write: Vec<Spanned<Entry>>,
    /// Hidden, whatever contains it.
    #[serde(skip_serializing_if = "is_absent")]
    pub deny: Vec<Spanned<Entry>>,
    /// Read-only inside every entry of `write`, beside the names that always
    /// are: names, paths relative to those entries, patterns.
    #[serde(skip_serializing_if = "is_absent")]
    pub protect: Vec<Spanned<Entry>>,
    /// What happens where a protected name does not exist: `"warn"`
    /// (default), `"freeze"`.
    pub protect_missing: Option<Spanned<ProtectMissing>>,
    /// The home directory: `"hidden"` (default), `"private"`, `"host"`.
    pub home: Option<Spanned<Home>>,
    /// The temporary directories: `"private"` (default), `"host"`, `"none"`.
    pub tmp: Option<Spanned<Tmp>>,
    /// Size of the private temporary directories together, `"256M"` by default.
    pub tmp_size: Option<Spanned<Size>>,
    /// Whether there is a `/proc`; default true.
    pub proc: Option<Spanned<bool>>,
    /// `"minimal"` (default), `"none"`, or a list of device names.
    pub dev: Option<Spanned<Dev>>,
    /// Exact mounts, for what the words above cannot say.
    #[serde(skip_serializing_if = "is_absent")]
    pub mount: Vec<Spanned<ExactMount>>,
}

/// A path that something is granted on: a string or a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Entry {
    /// A path and nothing else.
    Path(String),
    /// A path with particulars, or a descriptor.
    Table(EntryTable),
}

/// The long form of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EntryTable {
    /// Where it is on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The same as bytes in hexadecimal, for what is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
    /// A directory that the caller opened, instead of a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fd: Option<u32>,
    /// Where it appears inside; default: where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What happens when it does not exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
    /// Resolve symlinks at the launch instead of now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follow: Option<bool>,
}

/// What happens when an entry does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// It is an error (default).
    Fail,
    /// It is left out.
    Skip,
}

/// `filesystem.protect_missing`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProtectMissing {
    /// It can be created, which is said.
    Warn,
    /// No name can be created in its directory.
    Freeze,
}

/// `filesystem.home`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Home {
    /// Empty and writable, gone afterwards.
    Private,
    /// Empty and read-only.
    Hidden,
    /// As the root directory shows it.
    Host,
}

/// `filesystem.tmp`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tmp {
    /// A tmpfs of bounded size on /tmp, /var/tmp and /dev/shm.
    Private,
    /// The host's own.
    Host,
    /// None.
    None,
}

/// `filesystem.dev`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Dev {
    /// `"minimal"` or `"none"`.
    Named(DevSet),
    /// Names below /dev.
    List(Vec<String>),
}

/// The named sets of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DevSet {
    /// null zero full random urandom pts ptmx fd stdin stdout stderr shm.
    Minimal,
    /// No /dev.
    None,
}

/// `[[filesystem.mount]]`
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", try_from = "ExactMountTable")]
#[schemars(!try_from, deny_unknown_fields)]
pub enum ExactMount {
    /// A file or directory of the host.
    Bind {
        /// Where it is on the host.
        source: String,
        /// Where it appears.
        target: String,
        /// `["read"]` by default; `write`, `execute`.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        #[schemars(default)]
        access: Vec<Verb>,
        /// What happens when the source does not exist.
        missing: Option<Missing>,
    },
    /// A tmpfs of its own.
    Tmpfs {
        /// Where it appears.
        target: String,
        /// Size limit, `"64M"` by default.
        size: Option<Size>,
        /// Permission bits, `0o755` by default.
        mode: Option<u16>,
        /// `["read", "write"]` by default.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        #[schemars(default)]
        access: Vec<Verb>,
    },
    /// A fresh proc(5).
    Proc {
        /// Where it appears.
        target: String,
    },
    /// A symbolic link.
    Symlink {
        /// Where it appears.
        target: String,
        /// What it says.
        content: String,
    },
    /// An empty directory.
    Directory {
        /// Where it appears.
        target: String,
        /// Permission bits, `0o755` by default.
        mode: Option<u16>,
    },
    /// A read-only file with this content.
    File {
        /// Where it appears.
        target: String,
        /// Its content.
        data: String,
        /// Permission bits, `0o444` by default.
        mode: Option<u16>,
    },
    /// An overlay; changes go to `upper`.
    Overlay {
        /// Where it appears; relative to the working directory, too.
        target: String,
        /// The layer that is only read; `target` by default.
        lower: Option<String>,
        /// Where changes go; `encode-policy run` finds a place by itself.
        upper: Option<String>,
        /// An empty directory on the file system of `upper`.
        work: Option<String>,
    },
}

/// What an entry grants.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Read files, list directories.
    Read,
    /// Run files.
    Execute,
    /// Change, create and remove.
    Write,
}

/// `[network]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// `"none"` (default), `"loopback"`, `"proxy"`, `"host"`.
    pub access: Option<Spanned<Access>>,
    /// UNIX sockets: `"inside"` (default), `"host"`, `"none"` or a list of
    /// socket paths that may be reached as well.
    pub unix: Option<Spanned<Unix>>,
    /// TCP ports that may be connected to; absent is all.
    pub connect_tcp: Option<Spanned<Vec<u16>>>,
    /// TCP ports that may be bound; absent is all.
    pub bind_tcp: Option<Spanned<Vec<u16>>>,
    /// Whether UDP stays open beside a list of TCP ports.
    pub udp: Option<Spanned<bool>>,
    /// What the proxy lets through: `"git.example.org:443"`,
    /// `"*.example.org"`, `"192.0.2.0/24:8000-8999"`, `"[2001:db8::1]:443"`.
    /// Without a port it is 80 and 443.
    #[serde(skip_serializing_if = "is_absent")]
    pub allow: Vec<Spanned<String>>,
    /// What the proxy does not, whatever lets it through. Without a port it is
    /// every one.
    #[serde(skip_serializing_if = "is_absent")]
    pub deny: Vec<Spanned<String>>,
    /// The proxy itself.
    #[serde(skip_serializing_if = "is_absent")]
    pub proxy: Proxy,
    /// Where there is a proxy and no network namespace can be made: `"refuse"`
    /// (default), `"supervise"`.
    pub without_namespace: Option<Spanned<WithoutNamespace>>,
}

/// `network.without_namespace`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WithoutNamespace {
    /// The launch is refused (default).
    Refuse,
    /// A supervisor makes the command's connections: to the proxy, and to the
    /// addresses that `allow` lists.
    Supervise,
}

/// `network.proxy`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Proxy {
    /// The port of 127.0.0.1 inside at which it speaks HTTP; default 3128.
    pub http: Option<Spanned<u16>>,
    /// The port at which it speaks SOCKS 5; default 1080.
    pub socks: Option<Spanned<u16>>,
    /// Another HTTP proxy that makes the connections: `"http://HOST:PORT"`, or
    /// `"environment"` for the one that `*_PROXY` names.
    pub upstream: Option<Spanned<String>>,
    /// Whether programs that know of no proxy find the way, too: names lead to
    /// ports 80 and 443 of 127.0.0.1, where it is.
    pub transparent: Option<Spanned<bool>>,
}

/// `network.access`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Nothing.
    None,
    /// A private 127.0.0.1 and ::1.
    Loopback,
    /// The same, and what a proxy on 127.0.0.1 lets through.
    Proxy,
    /// The host's network.
    Host,
}

/// `network.unix`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Unix {
    /// One of the words.
    Named(UnixSet),
    /// `"inside"`, and these socket paths of the host.
    Paths(Vec<String>),
}

/// The words of `network.unix`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnixSet {
    /// Among the command's own processes.
    Inside,
    /// Any socket path in view.
    Host,
    /// socketpair(2) only.
    None,
}

/// `[process]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Process {
    /// Working directory; default: the launch directory if it is visible.
    pub cwd: Option<Spanned<String>>,
    /// User id inside.
    pub uid: Option<Spanned<u32>>,
    /// Group id inside.
    pub gid: Option<Spanned<u32>>,
    /// Host name inside.
    pub hostname: Option<Spanned<String>>,
    /// `argv[0]` of the command.
    pub argv0: Option<Spanned<String>>,
    /// umask(2).
    pub umask: Option<Spanned<u16>>,
    /// `"auto"` (default), `"keep"`, `"none"`.
    pub terminal: Option<Spanned<Terminal>>,
    /// `"process"`, `"thread"` or `false`.
    pub die_with_parent: Option<Spanned<DieWithParent>>,
    /// Descriptors that are passed on.
    #[serde(skip_serializing_if = "is_absent")]
    pub keep_fds: Vec<Spanned<KeepFd>>,
    /// Environment.
    #[serde(skip_serializing_if = "is_absent")]
    pub env: Env,
}

/// `process.terminal`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Terminal {
    /// Kept where the launcher is in the foreground of a terminal.
    Auto,
    /// The caller's terminal, in a process group of its own.
    Keep,
    /// A session of its own.
    None,
}

/// `process.die_with_parent`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DieWithParent {
    /// `"process"`: dies with the caller's process.
    Process,
    /// `"thread"`: dies with the caller's thread.
    Thread,
    /// `false`: outlives the caller.
    Never,
}

/// One of `process.keep_fds`: a number, or `{ fd, directory }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum KeepFd {
    /// A descriptor that is not a directory.
    Number(u32),
    /// With particulars.
    Table(KeepFdTable),
}

/// The long form of a kept descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepFdTable {
    /// Its number.
    pub fd: u32,
    /// Whether it is a directory, which bypasses every mask.
    #[serde(default)]
    pub directory: bool,
}

/// `process.env`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Env {
    /// Names of the caller's variables to pass on; `LC_*` and `*` are globs.
    #[serde(skip_serializing_if = "is_absent")]
    pub keep: Vec<Spanned<String>>,
    /// Variables to set.
    #[serde(skip_serializing_if = "is_absent")]
    pub set: BTreeMap<String, Spanned<String>>,
}

/// `[limits]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory of the whole tree.
    pub memory: Option<Spanned<Size>>,
    /// Processes and threads of the whole tree.
    pub processes: Option<Spanned<u64>>,
    /// CPU time of the whole tree.
    pub cpu_time: Option<Spanned<Duration>>,
    /// Time after which everything is killed.
    pub wall_time: Option<Spanned<Duration>>,
    /// The cgroup that binds the whole tree, without `--cgroup-fd`.
    pub cgroup: Option<Spanned<Cgroup>>,
    /// CPUs the command may run on.
    pub cpu_affinity: Option<Spanned<Vec<u16>>>,
    /// Nice value, -20 to 19.
    pub nice: Option<Spanned<i8>>,
    /// OOM score adjustment, -1000 to 1000.
    pub oom_score_adjust: Option<Spanned<i16>>,
    /// getrlimit(2) by the kernel's words in lower case: nofile, fsize, ...
    #[serde(skip_serializing_if = "is_absent")]
    pub rlimit: BTreeMap<Spanned<String>, Spanned<Rlimit>>,
}

/// `limits.cgroup`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cgroup {
    /// None.
    None,
    /// One below the caller's delegated cgroup.
    Auto,
}

/// One resource limit: soft and hard alike, or `[soft, hard]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Rlimit {
    /// Both.
    Both(Amount),
    /// Soft, then hard.
    Pair(Amount, Amount),
}

/// A count, a size with a suffix, or `"unlimited"`, as a limit takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount(
    /// `u64::MAX` is unlimited.
    pub u64,
);

/// A size in bytes: a number, or text such as `"512M"` (binary multiples).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size(
    /// Bytes.
    pub u64,
);

/// A duration: text such as `"10s"` or `"1m 30s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duration(
    /// The time.
    pub std::time::Duration,
);

/// `[namespaces]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Namespaces {
    /// User namespace.
    pub user: Option<Spanned<bool>>,
    /// Mount namespace.
    pub mount: Option<Spanned<bool>>,
    /// PID namespace.
    pub pid: Option<Spanned<bool>>,
    /// Network namespace.
    pub net: Option<Spanned<bool>>,
    /// IPC namespace.
    pub ipc: Option<Spanned<bool>>,
    /// UTS namespace.
    pub uts: Option<Spanned<bool>>,
    /// Cgroup namespace.
    pub cgroup: Option<Spanned<bool>>,
    /// Time namespace; the only one that is off by default.
    pub time: Option<Spanned<bool>>,
    /// User id map; the launcher must be privileged.
    pub uid_map: Option<Spanned<Vec<IdRange>>>,
    /// Group id map; the launcher must be privileged.
    pub gid_map: Option<Spanned<Vec<IdRange>>>,
    /// `"reaper"` (default) or `"none"`.
    pub init: Option<Spanned<Init>>,
}

/// One line of an id map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdRange {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// `namespaces.init`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// The command is PID 2; PID 1 reaps and forwards.
    Reaper,
    /// The command is PID 1.
    None,
}

/// `[enforce]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Enforce {
    /// Namespaces and mounts.
    pub namespaces: Option<Spanned<Mode>>,
    /// Landlock.
    pub landlock: Option<Spanned<Mode>>,
    /// seccomp.
    pub seccomp: Option<Spanned<Mode>>,
    /// Limits.
    pub limits: Option<Spanned<Mode>>,
    /// What Landlock writes to the audit log: `"default"`, `"quiet"`,
    /// `"verbose"` (Linux 6.15).
    pub landlock_log: Option<Spanned<LandlockLog>>,
    /// Guarantees that are given up by name, where nothing keeps them.
    #[serde(skip_serializing_if = "is_absent")]
    #[schemars(schema_with = "crate::schema::guarantees")]
    pub waive: Vec<Spanned<Guarantee>>,
    /// What is narrower inside what is granted, where there are no mounts:
    /// `"refuse"` (default) or `"siblings"`.
    pub carve_out: Option<Spanned<CarveOut>>,
    /// UNIX sockets that neither mounts nor Landlock keep inside: `"refuse"`
    /// (default) or `"pairs"`.
    pub unix_sockets: Option<Spanned<UnixSockets>>,
}

/// `enforce.unix_sockets`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnixSockets {
    /// The launch is refused (default).
    Refuse,
    /// Without a mount namespace there is none but socketpair(2).
    Pairs,
}

/// `enforce.carve_out`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CarveOut {
    /// The launch is refused (default).
    Refuse,
    /// What is beside it is granted one by one, as it is at the launch.
    Siblings,
}

/// How much a layer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// This mechanism, or a refusal.
    Require,
    /// Another may keep the guarantees; facilities may be missing (default).
    Prefer,
    /// Not used.
    Off,
}

/// `enforce.landlock_log`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LandlockLog {
    /// As the kernel does by itself.
    Default,
    /// Nothing.
    Quiet,
    /// Denials of programs that the command runs, too.
    Verbose,
}
