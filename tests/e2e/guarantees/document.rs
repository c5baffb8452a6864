//! Policies, usual ones and random ones.

use fastrand::Rng;
use launcher_policy::enforce::Guarantee;
use toml::{Table, Value};

use super::world::World;

/// What people write.
pub(super) fn usual(world: &World) -> Vec<String> {
    let [read, write, secret] = ["read", "write", "write/secret"].map(|name| world.path(name));
    let in_place = "tmp = 'none', proc = false, dev = 'none'";
    vec![
        String::new(),
        format!("filesystem = {{ read = [{read:?}], write = [{write:?}] }}"),
        format!("filesystem = {{ root = 'host', write = [{write:?}], deny = [{secret:?}] }}"),
        format!("filesystem = {{ read = [{read:?}], {in_place} }}\nnetwork.unix = 'host'"),
        format!(
            "filesystem = {{ execute = [{read:?}], {in_place} }}\n\
             network = {{ access = 'host', connect_tcp = [1], unix = 'none' }}"
        ),
        "network = { access = 'host', udp = false, unix = 'host' }".to_owned(),
        "network.access = 'loopback'".to_owned(),
        format!(
            "filesystem = {{ root = 'host', write = [{write:?}], deny = [{secret:?}] }}\n\
             enforce = {{ carve_out = 'siblings', waive = ['execute', 'unix-path'] }}"
        ),
        format!("enforce.waive = {:?}\nenforce.namespaces = 'off'", names(Guarantee::ALL)),
    ]
}

/// A policy that is content with whatever is kept.
pub(super) fn with_all_waived(world: &World) -> String {
    // Nothing in them is narrower, which takes mounts.
    let (read, write) = (world.path("read"), world.path("write/sub"));
    let waived = names(Guarantee::ALL);
    format!(
        "filesystem = {{ read = [{read:?}], write = [{write:?}], tmp = 'none', proc = false, \
         dev = 'none' }}\nenforce.waive = {waived:?}"
    )
}

fn names(guarantees: &[Guarantee]) -> Vec<&'static str> {
    guarantees.iter().map(|guarantee| guarantee.name()).collect()
}

/// A policy about the world.
pub(super) fn random(rng: &mut Rng, world: &World) -> String {
    let mut document = Table::new();
    document.insert("filesystem".into(), filesystem(rng, world).into());
    document.insert("network".into(), network(rng).into());
    let mut namespaces = Table::new();
    for key in ["user", "mount", "pid", "net", "ipc", "uts", "cgroup"] {
        if rng.u8(0..12) == 0 {
            namespaces.insert(key.into(), false.into());
        }
    }
    document.insert("namespaces".into(), namespaces.into());
    document.insert("enforce".into(), enforce(rng).into());
    if rng.u8(0..6) == 0 {
        let call = one_of(rng, &["chmod", "setpriority", "prlimit64", "msgget", "utimensat"]);
        let allow = Table::from_iter([("allow".to_owned(), vec![call].into())]);
        document.insert("seccomp".into(), allow.into());
    }
    if rng.u8(0..8) == 0 {
        let uid = Table::from_iter([("uid".to_owned(), 1000.into())]);
        document.insert("process".into(), uid.into());
    }
    document.to_string()
}

fn one_of<'a>(rng: &mut Rng, words: &[&'a str]) -> &'a str {
    words[rng.usize(..words.len())]
}

fn filesystem(rng: &mut Rng, world: &World) -> Table {
    let mut table = Table::new();
    let root = one_of(rng, &["empty", "minimal", "minimal", "host"]);
    table.insert("root".into(), root.into());
    for (verb, names) in [
        ("read", ["read", "read/file", "write", "apart/file"]),
        ("execute", ["read", "read/file", "write", "write/sub"]),
        ("write", ["write", "write/file", "write/sub", "read"]),
        ("deny", ["write/secret", "write/.git", "apart", "read/file"]),
    ] {
        let chosen = names.iter().filter(|_| rng.u8(0..3) == 0);
        let chosen = chosen.map(|name| world.path(name).to_string_lossy().into_owned().into());
        table.insert(verb.into(), Value::Array(chosen.collect()));
    }
    if rng.bool() {
        table.insert("tmp".into(), "none".into());
        table.insert("proc".into(), false.into());
        table.insert("dev".into(), "none".into());
    }
    if rng.u8(0..6) == 0 {
        table.insert("protect_missing".into(), "freeze".into());
    }
    table
}

fn network(rng: &mut Rng) -> Table {
    let mut table = Table::new();
    let access = one_of(rng, &["none", "none", "loopback", "host"]);
    table.insert("access".into(), access.into());
    table.insert("unix".into(), one_of(rng, &["inside", "host", "host", "none"]).into());
    if access == "host" && rng.bool() {
        table.insert("connect_tcp".into(), vec![1].into());
    }
    if access != "none" && rng.u8(0..3) == 0 {
        table.insert("udp".into(), false.into());
    }
    table
}

fn enforce(rng: &mut Rng) -> Table {
    let mut table = Table::new();
    for layer in ["namespaces", "landlock", "seccomp"] {
        // Seldom, as most of what is off or required is refused.
        let word = ["off", "require", "prefer", "prefer", "prefer", "prefer"];
        table.insert(layer.into(), one_of(rng, &word).into());
    }
    let often = rng.u8(1..4);
    let waived = Guarantee::ALL.iter().filter(|_| rng.u8(0..4) < often);
    let waived: Vec<Value> = waived.map(|guarantee| guarantee.name().into()).collect();
    table.insert("waive".into(), waived.into());
    if rng.bool() {
        table.insert("carve_out".into(), "siblings".into());
    }
    table
}
