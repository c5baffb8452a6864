//! The battery: attacks from inside, each against what must stop it. The crate
//! `battery` has the table; `make battery` shows it with what others do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use battery::arena::Contender;
use battery::{Check, GROUPS, Group, Layer, Outcome, Verdict, checks};
use harness::{Caller, Sandbox, dist, skip};

mod document;

/// Skips the rest of a test where there can be no arena.
macro_rules! needs_arena {
    () => {
        if !rustix::process::geteuid().is_root() {
            skip!("as_root", "the tests do not run as root");
        }
        if !dist().join("test/battery").exists() {
            skip!("battery", "the battery is not built");
        }
    };
}

/// What became of each check.
type Outcomes = BTreeMap<&'static str, Outcome>;

/// Makes all checks against one contender, once in this process.
fn outcomes(contender: Contender, caller: Caller) -> &'static Outcomes {
    static ALL: [[OnceLock<Outcomes>; 2]; Contender::ALL.len()] =
        [const { [const { OnceLock::new() }; 2] }; Contender::ALL.len()];
    let place = Contender::ALL.iter().position(|each| *each == contender).expect("one of them");
    ALL[place][usize::from(caller.is_root())].get_or_init(|| measure(contender, caller))
}

fn measure(contender: Contender, caller: Caller) -> Outcomes {
    let output = Command::new(dist().join("test/battery"))
        .args(["arena", &caller.uid().to_string()])
        .arg(dist())
        .arg(contender.to_string())
        .output()
        .expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let read = |check: &'static Check| {
        let line = text.lines().find_map(|line| line.strip_prefix(check.name)?.strip_prefix(' '));
        line.and_then(|outcome| outcome.parse().ok()).map(|outcome| (check.name, outcome))
    };
    let outcomes: Outcomes = checks().filter_map(read).collect();
    let missing = checks().find(|check| !outcomes.contains_key(check.name));
    if let Some(check) = missing {
        let errors = String::from_utf8_lossy(&output.stderr);
        panic!("{contender} {caller}: nothing came of {}\n{errors}", check.name);
    }
    outcomes
}

/// Compares what was measured with what the table says.
#[track_caller]
fn assert_as_expected(contender: Contender, expected: impl Fn(&Check, Caller) -> Verdict) {
    let mut differ = String::new();
    for caller in Caller::both() {
        let outcomes = outcomes(contender, caller);
        for check in checks() {
            let (expected, outcome) = (expected(check, caller), outcomes[check.name]);
            if !expected.fits(outcome) && !is_lacking(check, outcome) {
                differ += &format!("{} {caller}: {outcome}, not {expected}\n", check.name);
            }
        }
    }
    assert!(differ.is_empty(), "{contender}:\n{differ}");
}

/// Whether this kernel does not have what an attack takes, and said so.
fn is_lacking(check: &Check, outcome: Outcome) -> bool {
    let plain = outcomes(Contender::Plain, Caller::Root)[check.name];
    check.control.takes().is_some() && plain != Outcome::Allowed && plain == outcome
}

#[test]
fn the_table_is_complete() {
    let names: BTreeSet<_> = checks().map(|check| check.name).collect();
    assert_eq!(names.len(), checks().count(), "a name is there twice");
    assert!(names.len() >= 120, "{}", names.len());
    for group in GROUPS {
        assert!(group.checks.len() >= 10, "{}: {}", group.name, group.checks.len());
        let blocked = |check: &Check| matches!(check.strict.nobody, Verdict::Blocked(..));
        assert!(group.checks.iter().any(blocked), "{}: nothing is blocked", group.name);
    }
}

#[test]
fn every_attack_succeeds_without_a_sandbox() {
    needs_arena!();
    for caller in Caller::both() {
        let outcomes = outcomes(Contender::Plain, caller);
        for check in checks().filter(|check| check.control.promises(caller.is_root())) {
            let outcome = outcomes[check.name];
            let excused = check.control.takes().is_some() && outcome != Outcome::Timeout;
            assert!(outcome == Outcome::Allowed || excused, "{} {caller}: {outcome}", check.name);
        }
    }
}

#[test]
fn a_strict_policy_allows_only_what_is_named() {
    needs_arena!();
    harness::needs_namespaces!();
    harness::needs_landlock!(6);
    assert_as_expected(Contender::Strict, |check, caller| check.strict.of(caller.is_root()));
}

#[test]
fn what_another_layer_stops_it_stops_without_the_filter() {
    needs_arena!();
    harness::needs_namespaces!();
    harness::needs_landlock!(6);
    assert_as_expected(Contender::Unfiltered, |check, caller| {
        match check.strict.of(caller.is_root()) {
            Verdict::Blocked(Layer::Seccomp, _) => Verdict::Depends("this is the filter's"),
            expected => expected,
        }
    });
    // The control: the filter is not there.
    let outcomes = outcomes(Contender::Unfiltered, Caller::Nobody);
    assert_eq!(outcomes["unshare-user"], Outcome::Allowed);
}

#[test]
fn landlock_and_the_filter_alone_allow_only_what_is_named() {
    needs_arena!();
    harness::needs_landlock!(6);
    assert_as_expected(Contender::Landlock, |check, caller| check.landlock.of(caller.is_root()));
}

#[test]
fn a_fork_bomb_of_roots_ends_where_its_ids_are_others() {
    needs_arena!();
    harness::needs_namespaces!();
    let limit = "limits.rlimit.nproc = 64\n";
    let ids = "process.uid = 1000\nprocess.gid = 1000\n[namespaces]\n\
        uid_map = [{ inside = 0, outside = 100000, count = 65536 }]\n\
        gid_map = [{ inside = 0, outside = 100000, count = 65536 }]\n";
    let end = |policy: &str| Sandbox::new(policy).probe("fork-many 100").value();
    // The probe is one of them, and 11 is EAGAIN.
    assert_eq!(end(&format!("{limit}{ids}")), "63 11");
    // The control: root itself is not counted.
    assert_eq!(end(limit), "100");
}

/// The document that `make battery` writes.
const DOCUMENT: &str = include_str!("../../docs/battery.md");

#[test]
fn the_document_is_that_of_the_table() {
    if std::env::var_os("WRITE_BATTERY").is_some() {
        needs_arena!();
        harness::needs!("bwrap");
        let text = document::render();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/battery.md");
        std::fs::write(path, &text).expect("it is written");
        println!("{text}");
        return;
    }
    // What is allowed stands below again.
    let (tables, _) = DOCUMENT.split_once("## What nothing stops").expect("there is a section");
    let rows: Vec<_> = tables.lines().filter(|line| line.starts_with("| `")).collect();
    for check in checks() {
        let ours = document::our_columns(check);
        assert!(rows.iter().any(|row| row.starts_with(&ours)), "run `make battery`: {ours}");
    }
    // Other architectures do not have all calls.
    if cfg!(target_arch = "x86_64") {
        assert_eq!(rows.len(), checks().count(), "run `make battery`");
    }
    assert!(DOCUMENT.ends_with(&document::exceptions()), "run `make battery`");
}

#[test]
fn past_attacks_name_checks_and_tests_that_exist() {
    let document = include_str!("../../docs/threat-model.md");
    let (_, section) = document.split_once("## Past attacks").expect("there is a section");
    let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() >= 20, "{}", rows.len());
    let tests = sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/e2e")));
    for row in rows {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().expect("a last cell");
        let names: Vec<_> = cell.split(", ").map(|name| name.trim_matches('`')).collect();
        for name in names {
            let exists =
                checks().any(|check| check.name == name) || tests.contains(&format!("fn {name}()"));
            assert!(exists, "{name}: {row}");
        }
    }
}

#[test]
fn promises_are_linked_to_groups_of_checks() {
    let document = include_str!("../../docs/threat-model.md");
    let links: Vec<_> = document.split("battery.md#").skip(1).collect();
    let linked = |group: &Group| {
        let anchor = group.name.to_lowercase().replace(' ', "-");
        links.iter().any(|link| link.starts_with(&format!("{anchor})")))
    };
    let anchors = GROUPS.iter().filter(|group| linked(group)).count();
    assert_eq!(anchors, GROUPS.len(), "a group keeps no promise");
    let distinct: BTreeSet<_> = links.iter().map(|link| link.split(')').next()).collect();
    assert_eq!(distinct.len(), anchors, "{distinct:?}");
}

/// All sources below a directory, one behind another.
fn sources(directory: &Path) -> String {
    let entries = std::fs::read_dir(directory).expect("a directory is read");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let read = |path: PathBuf| match path.is_dir() {
        true => sources(&path),
        false => std::fs::read_to_string(path).expect("a source is read"),
    };
    paths.map(read).collect()
}
