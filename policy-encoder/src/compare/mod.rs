//! Whether one policy is at least as strict as another, and what it grants
//! beyond.
//!
//! Policies are compared as the launcher reads them, so that it does not
//! matter how they were written, or whether the document is still there.

use std::fmt;

use launcher_policy::enforce::Mode;
use launcher_policy::exec::Keep;
use launcher_policy::fds::FdKind;
use launcher_policy::limits::Cgroup;
use launcher_policy::namespaces::{IdMap, Loopback};
use launcher_policy::session::{DieWithParent, Terminal};
use launcher_policy::wire::Architecture;
use launcher_policy::{Policy, Stage, Text};
use linux_raw_sys::general as uapi;
use linux_raw_sys::landlock as landlock_uapi;
use serde::Serialize;

mod calls;
mod files;
mod proxy;

use crate::limits::resource_word;
use crate::namespaces::NAMESPACES;
use files::Files;

/// Something that one policy grants and the other refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Excess {
    /// The stage that grants it, by its name.
    pub stage: &'static str,
    /// What it is, in words.
    pub grant: String,
}

impl fmt::Display for Excess {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.stage, self.grant)
    }
}

/// What `policy` grants and `other` refuses, both made for `architecture`. It
/// is at least as strict as the other if that is nothing.
///
/// What cannot be told apart counts as granted: a filter is asked about the
/// arguments that either filter speaks of, and sizes are compared as such.
pub fn excess(policy: &Policy<'_>, other: &Policy<'_>, architecture: Architecture) -> Vec<Excess> {
    let mut comparison = Comparison { policy, other, found: Vec::new() };
    comparison.enforce();
    comparison.fds();
    comparison.namespaces();
    comparison.mounts();
    comparison.limits();
    comparison.session();
    comparison.credentials();
    comparison.landlock();
    comparison.seccomp(architecture);
    comparison.exec();
    comparison.found
}

struct Comparison<'p> {
    policy: &'p Policy<'p>,
    other: &'p Policy<'p>,
    found: Vec<Excess>,
}

impl Comparison<'_> {
    fn add(&mut self, stage: Stage, grant: impl Into<String>) {
        self.found.push(Excess { stage: stage.name(), grant: grant.into() });
    }

    fn enforce(&mut self) {
        let (own, others) = (&self.policy.enforce, &self.other.enforce);
        let layers = [
            (Stage::Namespaces, "namespaces", own.namespaces, others.namespaces),
            (Stage::Landlock, "Landlock", own.landlock, others.landlock),
            (Stage::Limits, "limits", own.limits, others.limits),
        ];
        for (stage, name, own, others) in layers {
            if strictness(own) < strictness(others) {
                self.add(stage, format!("{name} may be missing"));
            }
        }
        let waived: Vec<_> = own.guarantees.iter().filter(|each| each.waived).collect();
        for waived in waived {
            let made = others.guarantees.iter().find(|each| each.guarantee == waived.guarantee);
            // What the other does not guarantee is compared by what it grants.
            if made.is_some_and(|made| !made.waived) {
                let name = waived.guarantee.name();
                self.add(Stage::Namespaces, format!("{name:?} may be lost"));
            }
        }
        if falls_back(self.policy) && !falls_back(self.other) {
            self.add(Stage::Namespaces, "the launch goes on where they cannot be made");
        }
    }

    fn fds(&mut self) {
        for keep in self.policy.fds.keep.iter() {
            let kept = self.other.fds.keep.iter().any(|other| {
                other.fd == keep.fd && (other.kind == keep.kind || other.kind == FdKind::Directory)
            });
            if !kept {
                self.add(Stage::Fds, format!("descriptor {}", keep.fd));
            }
        }
    }

    fn namespaces(&mut self) {
        let (own, others) = (namespace_flags(self.policy), namespace_flags(self.other));
        for (flag, name) in NAMESPACES {
            if others & flag != 0 && own & flag == 0 {
                self.add(Stage::Namespaces, format!("the host's {name} namespace"));
            }
        }
        let ranges = |policy: &Policy<'_>| {
            policy.namespaces.is_some_and(|namespaces| {
                [namespaces.uid_map, namespaces.gid_map]
                    .iter()
                    .any(|map| matches!(map, IdMap::Ranges(_)))
            })
        };
        let maps = |policy: &Policy<'_>| {
            policy.namespaces.map(|namespaces| {
                let lines = |map: IdMap<'_>| match map {
                    IdMap::Ranges(ranges) => ranges.iter().collect(),
                    IdMap::Caller | IdMap::Single(_) => Vec::new(),
                };
                (lines(namespaces.uid_map), lines(namespaces.gid_map))
            })
        };
        if ranges(self.policy) && maps(self.policy) != maps(self.other) {
            self.add(Stage::Namespaces, "other ids of the host");
        }
        let loopback = |policy: &Policy<'_>| {
            policy.namespaces.is_some_and(|namespaces| namespaces.loopback == Loopback::Up)
        };
        if loopback(self.policy) && !loopback(self.other) && others & uapi::CLONE_NEWNET != 0 {
            self.add(Stage::Namespaces, "a loopback interface");
        }
        for grant in proxy::excess(self.policy, self.other) {
            self.add(Stage::Namespaces, grant);
        }
    }

    fn mounts(&mut self) {
        let fallback = falls_back(self.policy) && !is_without_mounts(self.policy);
        let rungs = if fallback { &[false, true][..] } else { &[false][..] };
        let mut found: Vec<String> = Vec::new();
        for &fallen in rungs {
            let own = Files::of(self.policy, fallen);
            // Where the other refuses to go on, what it grants at best counts.
            let others = Files::of(self.other, fallen && falls_back(self.other));
            for grant in own.excess(&others) {
                if !found.contains(&grant) {
                    found.push(grant);
                }
            }
        }
        for grant in found {
            self.add(Stage::Mounts, grant);
        }
    }

    fn limits(&mut self) {
        let (own, others) = (&self.policy.limits, &self.other.limits);
        let amounts = [
            ("memory", own.memory, others.memory),
            ("processes", own.processes, others.processes),
            ("CPU time", own.cpu_time, others.cpu_time),
            ("wall time", own.wall_time, others.wall_time),
        ];
        let mut found = Vec::new();
        for (name, own, others) in amounts {
            if own.unwrap_or(u64::MAX) > others.unwrap_or(u64::MAX) {
                found.push(format!("more {name}"));
            }
        }
        if own.cgroup == Cgroup::None && others.cgroup == Cgroup::Auto {
            found.push("limits that bind no whole tree".to_owned());
        }
        for limit in others.rlimits.iter() {
            let own = own.rlimits.iter().find(|own| own.resource == limit.resource);
            // Without a limit of the policy's own, the caller's holds.
            if own.is_none_or(|own| own.hard > limit.hard || own.soft > limit.soft) {
                let word = resource_word(limit.resource).unwrap_or("of an unknown resource");
                found.push(format!("more {word}, getrlimit(2)"));
            }
        }
        let cpus = |mask: &[u8], cpu: usize| {
            mask.is_empty() || mask.get(cpu / 8).is_some_and(|byte| byte & 1 << (cpu % 8) != 0)
        };
        let more_cpus = (0..launcher_policy::limits::MAX_CPUS)
            .any(|cpu| cpus(own.cpu_affinity, cpu) && !cpus(others.cpu_affinity, cpu));
        if more_cpus {
            found.push("more CPUs".to_owned());
        }
        if own.nice.unwrap_or(0) < others.nice.unwrap_or(0) {
            found.push("a better priority".to_owned());
        }
        if own.oom_score_adj.unwrap_or(0) < others.oom_score_adj.unwrap_or(0) {
            found.push("a better OOM score".to_owned());
        }
        for grant in found {
            self.add(Stage::Limits, grant);
        }
    }

    fn session(&mut self) {
        let (own, others) = (&self.policy.session, &self.other.session);
        if own.terminal != Terminal::None && others.terminal == Terminal::None {
            self.add(Stage::Session, "the caller's terminal");
        }
        if attachment(own.die_with_parent) < attachment(others.die_with_parent) {
            self.add(Stage::Session, "to outlive its caller");
        }
    }

    fn credentials(&mut self) {
        let (own, others) = (&self.policy.credentials, &self.other.credentials);
        if own.uid != others.uid || own.gid != others.gid {
            self.add(Stage::Credentials, "other ids");
        }
    }

    fn landlock(&mut self) {
        let nets = [
            (landlock_uapi::LANDLOCK_ACCESS_NET_CONNECT_TCP, "connect to"),
            (landlock_uapi::LANDLOCK_ACCESS_NET_BIND_TCP, "bind"),
        ];
        let outside = self.shares(uapi::CLONE_NEWNET);
        for (right, verb) in nets {
            let Some(others) = ports(self.other, right) else { continue };
            match ports(self.policy, right) {
                // A network of its own leads nowhere.
                _ if !outside => {}
                None => self.add(Stage::Landlock, format!("to {verb} every TCP port")),
                Some(own) => {
                    for port in own.into_iter().filter(|port| !others.contains(port)) {
                        self.add(Stage::Landlock, format!("to {verb} TCP port {port}"));
                    }
                }
            }
        }
        let scopes = [
            (landlock_uapi::LANDLOCK_SCOPE_SIGNAL, uapi::CLONE_NEWPID, "signals to processes"),
            (
                landlock_uapi::LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET,
                uapi::CLONE_NEWNET,
                "abstract UNIX sockets",
            ),
        ];
        for (scope, namespace, what) in scopes {
            let keeps = |policy: &Policy<'_>| {
                namespace_flags(policy) & namespace != 0 || scoped(policy) & scope != 0
            };
            if keeps(self.other) && !keeps(self.policy) {
                self.add(Stage::Landlock, format!("{what} of the host"));
            }
        }
    }

    fn shares(&self, namespace: u32) -> bool {
        namespace_flags(self.policy) & namespace == 0
    }

    fn seccomp(&mut self, architecture: Architecture) {
        let filter = |policy: &Policy<'_>, fallen: bool| {
            let seccomp = policy.seccomp?;
            let without = fallen && !seccomp.without_namespaces.is_empty();
            Some(if without { seccomp.without_namespaces } else { seccomp.filter }.to_vec())
        };
        let mut found = calls::excess(
            filter(self.policy, false).as_deref(),
            filter(self.other, false).as_deref(),
            namespace_flags(self.policy) & !namespace_flags(self.other),
            architecture,
        );
        if falls_back(self.policy) {
            let fallen = calls::excess(
                filter(self.policy, true).as_deref(),
                filter(self.other, falls_back(self.other)).as_deref(),
                0,
                architecture,
            );
            found.extend(fallen);
            found.sort();
            found.dedup();
        }
        for grant in found {
            self.add(Stage::Seccomp, grant);
        }
    }

    fn exec(&mut self) {
        let kept = |keep: Keep<'_>| {
            self.other.exec.keep.iter().any(|other| match (keep, other) {
                (Keep::Name(name), Keep::Name(other)) => name == other,
                (Keep::Name(name) | Keep::Prefix(name), Keep::Prefix(prefix)) => {
                    name.to_bytes().starts_with(prefix.to_bytes())
                }
                (Keep::Prefix(_), Keep::Name(_)) => false,
            })
        };
        let words = |text: Text<'_>| String::from_utf8_lossy(text.to_bytes()).into_owned();
        let more: Vec<String> = self
            .policy
            .exec
            .keep
            .iter()
            .filter(|keep| !kept(*keep))
            .map(|keep| match keep {
                Keep::Name(name) => format!("the caller's variable {}", words(name)),
                Keep::Prefix(prefix) => format!("the caller's variables {}*", words(prefix)),
            })
            .collect();
        for grant in more {
            self.add(Stage::Exec, grant);
        }
    }
}

fn strictness(mode: Mode) -> u8 {
    match mode {
        Mode::Off => 0,
        Mode::Prefer => 1,
        Mode::Require => 2,
    }
}

fn attachment(die_with_parent: DieWithParent) -> u8 {
    match die_with_parent {
        DieWithParent::Never => 0,
        DieWithParent::Thread => 1,
        DieWithParent::Auto => 2,
        DieWithParent::Process => 3,
    }
}

fn namespace_flags(policy: &Policy<'_>) -> u32 {
    policy.namespaces.map_or(0, |namespaces| namespaces.flags)
}

fn is_without_mounts(policy: &Policy<'_>) -> bool {
    namespace_flags(policy) & uapi::CLONE_NEWNS == 0
}

/// Whether a policy that wants namespaces goes on without them.
fn falls_back(policy: &Policy<'_>) -> bool {
    policy.namespaces.is_some() && policy.enforce.falls_back()
}

/// The ports that a right is limited to; `None` where it is not.
fn ports(policy: &Policy<'_>, right: u32) -> Option<Vec<u16>> {
    let landlock = policy.landlock.as_ref()?;
    let handled = landlock.handled.iter().last()?;
    (handled.net & right != 0).then(|| {
        let ports = landlock.ports.iter().filter(|port| port.access & right != 0);
        ports.map(|port| port.port).collect()
    })
}

fn scoped(policy: &Policy<'_>) -> u32 {
    let handled = policy.landlock.as_ref().and_then(|landlock| landlock.handled.iter().last());
    handled.map_or(0, |handled| handled.scoped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Diagnostics;
    use crate::mounts::testing::Tree;
    use crate::tests::document;
    use crate::{Place, encode};
    use launcher_policy::wire;

    fn bytes(tree: &Tree, text: &str) -> Vec<u8> {
        let place =
            Place { sysroot: tree.path().into(), directory: "/".into(), variables: [].into() };
        let mut diagnostics = Diagnostics::default();
        encode(&document(text), &place, Architecture::NATIVE, &mut diagnostics)
            .unwrap_or_else(|| panic!("{text}: {diagnostics:?}"))
    }

    /// What the first document grants and the second refuses.
    fn more(own: &str, other: &str) -> Vec<String> {
        let tree = Tree::new(&["srv/public/a", "srv/secret", "work/.git/x", "etc/", "run/"], &[]);
        let (own, other) = (bytes(&tree, own), bytes(&tree, other));
        let decode = |bytes| wire::decode(bytes).expect("what was encoded decodes");
        let found = excess(&decode(&own), &decode(&other), Architecture::NATIVE);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_policy_grants_nothing_beyond_itself() {
        for text in [
            "",
            "filesystem.root = 'host'",
            "filesystem = { read = ['/srv'], deny = ['/srv/secret'], write = ['/work'] }",
            "network = { access = 'host', connect_tcp = [443] }\nprocess.keep_fds = [5]",
            "limits = { memory = '1G', rlimit = { nofile = 64 } }\nenforce.seccomp = 'off'",
        ] {
            assert_eq!(more(text, text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_mask_left_out_is_named() {
        let open = "filesystem.read = ['/srv']";
        let masked = "filesystem = { read = ['/srv'], deny = ['/srv/secret'] }";
        assert_eq!(more(open, masked), ["mounts: /srv/secret: read"]);
        assert_eq!(more(masked, open), [""; 0]);
    }

    #[test]
    fn directories_that_the_launcher_makes_are_nothing_to_read() {
        let denied = "filesystem = { root = 'host', deny = ['/srv'] }\n";
        let require = "enforce.namespaces = 'require'\n";
        let below = |read| {
            let bare = "tmp = 'none', dev = 'none', proc = false";
            format!("filesystem = {{ {bare}, read = [{read}] }}\n{require}")
        };
        assert_eq!(more(&below(""), denied), [""; 0]);
        assert_eq!(more(&below("'/srv/public'"), denied), ["mounts: /srv/public: read"]);
    }

    #[test]
    fn every_right_beyond_is_named_where_it_begins() {
        let read = "filesystem.read = ['/srv']";
        let execute = "filesystem.execute = ['/srv']\nenforce.namespaces = 'require'";
        assert_eq!(more(execute, read), ["mounts: /srv: execute"]);
        let write = more("filesystem.write = ['/srv', '/srv/public']", read);
        assert_eq!(write, ["mounts: /srv: write"]);
        assert_eq!(more("filesystem.read = ['/srv', '/etc']", read), ["mounts: /etc: read"]);
    }

    #[test]
    fn what_is_carved_out_is_not_granted_where_there_are_no_mounts() {
        let carved = |deny| {
            let entries = format!("read = ['/srv'], execute = ['/srv'], deny = [{deny}]");
            let bare = "tmp = 'none', dev = 'none', proc = false";
            format!(
                "filesystem = {{ {entries}, {bare} }}\nnetwork.unix = 'host'\n\
                 enforce = {{ carve_out = 'siblings', namespaces = 'off' }}"
            )
        };
        let (open, closed) = (carved(""), carved("'/srv/secret'"));
        assert_eq!(more(&open, &closed), ["mounts: /srv/secret: read, execute"]);
        assert_eq!(more(&closed, &open), [""; 0]);
        assert_eq!(more(&closed, &closed), [""; 0]);
    }

    #[test]
    fn the_same_object_elsewhere_is_no_more() {
        let at = "filesystem.read = [{ path = '/srv', at = '/data' }]";
        assert_eq!(more(at, "filesystem.read = ['/srv']"), [""; 0]);
        assert_eq!(more(at, "filesystem.read = ['/etc']"), ["mounts: /data, which is /srv: read"]);
    }

    #[test]
    fn a_namespace_that_is_shared_is_named() {
        let shared = "namespaces.pid = false";
        assert!(more(shared, "").contains(&"namespaces: the host's pid namespace".to_owned()));
        assert_eq!(more("", shared), [""; 0]);
    }

    #[test]
    fn the_hosts_network_is_more_than_a_loopback_and_that_than_none() {
        let access = |word| format!("network.access = '{word}'");
        for (own, other) in [("host", "loopback"), ("host", "none"), ("loopback", "none")] {
            assert_ne!(more(&access(own), &access(other)), [""; 0], "{own} {other}");
        }
        assert_eq!(more(&access("none"), &access("loopback")), [""; 0]);
    }

    #[test]
    fn what_proxies_let_through_is_compared_rule_by_rule() {
        let proxy = |more: &str| format!("network = {{ access = 'proxy', {more} }}");
        let own = proxy("allow = ['a.test:443', '*.b.test:443', '10.1.0.0/16:1-9']");
        let other = proxy("allow = ['*.test:443', '10.0.0.0/8:1-99'], deny = ['x.b.test']");
        let through = |rule: &str| format!("namespaces: {rule} through the proxy");
        assert_eq!(
            more(&own, &other),
            [format!("{}, which the other denies", through("x.b.test:443"))]
        );
        assert_eq!(more(&other, &own), [through("*.test:443"), through("10.0.0.0/8:1-99")]);
        let denied = proxy("allow = ['*.b.test:443'], deny = ['x.b.test', 'y.b.test']");
        assert_eq!(more(&denied, &other), [""; 0]);
        let network = proxy("allow = ['*.test:443'], deny = ['x.b.test', '1.0.0.0/8']");
        assert_eq!(
            more(&other.replace(", '10.0.0.0/8:1-99'", ""), &network),
            [format!("{}, which the other denies", through("1.0.0.0/8:*"))]
        );
        let upstream = proxy("allow = ['*.test:443'], proxy.upstream = 'environment'");
        assert_eq!(
            more(&upstream, &proxy("allow = ['*:443']")),
            ["namespaces: another proxy behind the proxy"]
        );
        let one = proxy("allow = ['a.test:443']");
        for less in ["network.access = 'none'", "network.access = 'loopback'"] {
            // But without namespaces they go on, and have no network at all.
            let strict = format!("{less}\nenforce.namespaces = 'require'");
            assert_eq!(more(&strict, &one), [""; 0]);
        }
        assert_eq!(more(&one, "network.access = 'loopback'"), [through("a.test:443")]);
        assert_eq!(more(&one, "network = { access = 'host', unix = 'host' }"), [""; 0]);
        let limited = "network = { access = 'host', unix = 'host', connect_tcp = [80] }";
        assert!(more(&one, limited).contains(&through("a.test:443")));
        assert_ne!(more("network.access = 'host'", &one), [""; 0]);
    }

    #[test]
    fn ports_are_compared_one_by_one() {
        let ports = |list| format!("network = {{ access = 'host', connect_tcp = {list} }}");
        let found = more(&ports("[443, 80]"), &ports("[443]"));
        assert_eq!(found, ["landlock: to connect to TCP port 80"]);
        assert_eq!(more(&ports("[]"), &ports("[443]")), [""; 0]);
    }

    #[test]
    fn system_calls_are_compared_by_what_the_filters_decide() {
        let allowed = more("seccomp.allow = ['ptrace']", "");
        assert_eq!(allowed, ["seccomp: ptrace"]);
        assert_eq!(more("seccomp.deny = ['ptrace']", "seccomp.errno = 'ENOSYS'"), [""; 0]);
        assert!(more("seccomp.profile = 'unconfined'", "").len() > 10);
        #[cfg(target_arch = "x86_64")]
        {
            let i386 = |deny| format!("seccomp = {{ architectures = ['i386'], deny = [{deny}] }}");
            assert_eq!(more(&i386(""), ""), ["seccomp: system calls of i386"]);
            let fewer = more(&i386(""), &i386("'getpid'"));
            assert_eq!(fewer, ["seccomp: getpid", "seccomp: getpid of i386"]);
        }
    }

    #[test]
    fn a_guarantee_that_is_waived_is_more_than_one_that_is_kept() {
        let waived = "enforce.waive = ['signal-scope']";
        assert_eq!(more(waived, ""), ["namespaces: \"signal-scope\" may be lost"]);
        assert_eq!(more("", waived), [""; 0]);
        assert_eq!(more(waived, waived), [""; 0]);
    }

    #[test]
    fn limits_variables_and_descriptors_are_compared() {
        let one = "limits = { memory = '1G', processes = 9 }\nprocess.env.keep = ['LC_*']";
        let other = "limits.memory = '512M'\nprocess = { env.keep = ['LC_ALL'], keep_fds = [5] }";
        let data = "limits: more data, getrlimit(2)";
        let variables = "exec: the caller's variables LC_*";
        assert_eq!(more(one, other), ["limits: more memory", data, variables]);
        let back = more(other, one);
        assert!(back.contains(&"fds: descriptor 5".to_owned()), "{back:?}");
        assert!(back.contains(&"limits: more processes".to_owned()), "{back:?}");
    }
}
