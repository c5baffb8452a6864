//! The documents say what the code does: their headings, tables and keys are
//! compared with it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use launcher_policy::Stage;
use policy_encoder::document::EntryTable;
use policy_encoder::seccomp::{groups, profile};

fn text(path: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(root.join(path)).expect("the document exists")
}

/// The keys of a table, as serde writes them.
fn keys(value: &toml::Value) -> BTreeSet<String> {
    value.as_table().map(|table| table.keys().cloned().collect()).unwrap_or_default()
}

/// A document in which every key stands.
fn full() -> toml::Value {
    let text = r#"
        description = "all"
        [filesystem]
        root = "host"
        execute = []
        read = []
        write = []
        deny = []
        tmp = "private"
        tmp_size = "1M"
        proc = true
        dev = "minimal"
        mount = []
        [network]
        access = "none"
        unix = "inside"
        connect_tcp = []
        bind_tcp = []
        udp = true
        [process]
        cwd = "/"
        uid = 0
        gid = 0
        hostname = "h"
        argv0 = "a"
        umask = 0
        terminal = "auto"
        die_with_parent = false
        keep_fds = []
        env = { keep = [], set = {} }
        [limits]
        memory = 1
        processes = 1
        cpu_time = "1s"
        wall_time = "1s"
        cpu_affinity = [0]
        nice = 0
        oom_score_adjust = 0
        rlimit = { nofile = 1 }
        [seccomp]
        profile = "default"
        import = "profile.json"
        allow = []
        deny = []
        action = "errno"
        errno = "EPERM"
        architectures = []
        rule = [{ call = "getpid", action = "allow" }]
        [namespaces]
        user = true
        mount = true
        pid = true
        net = true
        ipc = true
        uts = true
        cgroup = true
        time = false
        uid_map = []
        gid_map = []
        init = "reaper"
        [enforce]
        namespaces = "prefer"
        landlock = "prefer"
        seccomp = "prefer"
        limits = "prefer"
        landlock_log = "default"
    "#;
    // What was parsed is written again, so that a key this list lacks shows.
    let (document, diagnostics) = policy_encoder::parse::toml(text);
    assert!(!diagnostics.has_errors(), "{diagnostics:?}");
    let written = toml::Value::try_from(&document).expect("a document can be written");
    let listed: toml::Value = toml::from_str(text).expect("the list is TOML");
    for (name, table) in written.as_table().expect("a table") {
        let listed = listed.get(name).unwrap_or_else(|| panic!("{name} is not in the list"));
        assert_eq!(keys(table), keys(listed), "the keys of {name}");
    }
    written
}

/// The first cell of every row of the tables below a heading, without quotes,
/// split at commas.
fn first_cells(document: &str, heading: &str) -> BTreeSet<String> {
    document
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|row| row.split(" |").next())
        .flat_map(|cell| cell.split(','))
        .map(|name| name.trim().trim_matches('`').to_owned())
        .collect()
}

#[test]
fn the_headings_of_the_stages_are_the_stages() {
    let document = text("docs/stages.md");
    let headings: Vec<&str> =
        document.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(headings, Stage::ALL.map(Stage::name));
}

#[test]
fn the_architecture_lists_the_stages_in_their_order() {
    let document = text("ARCHITECTURE.md");
    let listed: Vec<&str> = document
        .lines()
        .skip_while(|line| *line != "## The order of a launch")
        .filter_map(|line| line.split_once(". `")?.1.split('`').next())
        .take(Stage::ALL.len())
        .collect();
    assert_eq!(listed, Stage::ALL.map(Stage::name));
}

#[test]
fn the_architecture_maps_every_table_to_stages() {
    let document = text("ARCHITECTURE.md");
    let mapped: BTreeSet<String> = first_cells(&document, "## The grid")
        .into_iter()
        .map(|name| name.trim_matches(['[', ']']).to_owned())
        .collect();
    let mut tables = keys(&full());
    tables.remove("description");
    assert_eq!(mapped, tables);
    let stages: BTreeSet<&str> = Stage::ALL.map(Stage::name).into();
    for row in document.lines().filter(|line| line.starts_with("| `[")) {
        let named = row.trim_matches(['|', ' ']).rsplit('|').next().unwrap_or_default();
        for stage in named.split(',').map(str::trim) {
            assert!(stages.contains(stage), "{stage} is no stage");
        }
    }
}

#[test]
fn every_key_is_documented_and_every_documented_key_exists() {
    let document = text("docs/policy.md");
    let full = full();
    for (name, table) in full.as_table().expect("a table") {
        if name == "description" {
            assert!(document.contains("## `description`"));
            continue;
        }
        let mut documented = first_cells(&document, &format!("## `[{name}]`"));
        if name == "filesystem" {
            // The tables of entries and of exact mounts stand there, too.
            let entry = toml::Value::try_from(EntryTable {
                path: Some(String::new()),
                fd: Some(3),
                at: Some(String::new()),
                missing: Some(policy_encoder::document::Missing::Skip),
                follow: Some(true),
            });
            let mut more = keys(&entry.expect("an entry can be written"));
            more.extend(
                ["bind", "tmpfs", "proc", "symlink", "directory", "file", "overlay"]
                    .map(str::to_owned),
            );
            for key in &more {
                assert!(documented.contains(key), "{key} is not documented");
            }
            documented.retain(|key| key == "proc" || !more.contains(key));
        }
        assert_eq!(documented, keys(table), "the keys of {name}");
    }
}

/// The rows of the table below a heading.
fn rows(document: &str, heading: &str) -> Vec<String> {
    document
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with("| `"))
        .map(str::to_owned)
        .collect()
}

/// Names as the documents write them.
fn code(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_profiles_and_groups_are_documented_with_their_reasons() {
    let document = text("docs/seccomp.md");
    let parts = |parts: &[profile::Part]| -> Vec<String> {
        parts.iter().map(|part| format!("| {} | {} |", code(part.calls), part.reason)).collect()
    };
    for (heading, expected) in [
        ("## Default profile", parts(profile::DEFAULT)),
        ("## Strict profile", parts(profile::STRICT)),
        ("## Judged by their arguments", parts(profile::JUDGED)),
        ("## Closed", parts(profile::CLOSED)),
        (
            "## Groups",
            groups::GROUPS
                .iter()
                .map(|each| {
                    format!("| `{}` | {} | {} |", each.name, each.reason, code(each.members))
                })
                .collect(),
        ),
    ] {
        let expected = expected.join("\n");
        assert_eq!(rows(&document, heading).join("\n"), expected, "{heading}\n{expected}\n");
    }
}

#[test]
fn every_file_that_the_architecture_links_exists() {
    for file in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        for link in text(file).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") || link.starts_with('#') {
                continue;
            }
            let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(link);
            assert!(path.exists(), "{file} links to {link}");
        }
    }
}
