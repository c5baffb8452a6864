//! The documents say what the code does: their headings, tables and keys are
//! compared with it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use launcher_policy::Stage;
use launcher_policy::enforce::{Facility, Guarantee};
use policy_encoder::document::EntryTable;
use policy_encoder::seccomp::{constants, groups, profile};

fn text(path: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(root.join(path)).expect("the document exists")
}

/// The keys of a table of the document, by its path; those of the document
/// itself if that is empty. The parser tells them to whoever writes another.
fn keys(table: &str) -> BTreeSet<String> {
    let wrong = "\u{b7}";
    let text = match table {
        "" => format!("'{wrong}' = 1"),
        table => format!("[{table}]\n'{wrong}' = 1"),
    };
    let (_, diagnostics) = policy_encoder::parse::toml(&text);
    let help = diagnostics.iter().find_map(|diagnostic| diagnostic.help.clone());
    let help = help.unwrap_or_else(|| panic!("{table}: {diagnostics:?}"));
    let list = help.strip_prefix("the keys here are ").unwrap_or_else(|| panic!("{table}: {help}"));
    list.split(", ").map(|key| key.trim_matches('"').to_owned()).collect()
}

/// The tables of the document: the keys whose values have keys themselves.
fn tables() -> BTreeSet<String> {
    let is_table = |key: &String| {
        let (_, diagnostics) = policy_encoder::parse::toml(&format!("[{key}]"));
        !diagnostics.has_errors()
    };
    keys("").into_iter().filter(is_table).collect()
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
    assert_eq!(mapped, tables());
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
    let tables = tables();
    for key in keys("").difference(&tables) {
        assert!(document.contains(&format!("\n## `{key}`\n")), "{key} has no heading");
    }
    for table in &tables {
        let mut documented = first_cells(&document, &format!("## `[{table}]`"));
        if table == "filesystem" {
            // The tables of entries and of exact mounts stand there, too.
            let entry = toml::Value::try_from(EntryTable {
                path: Some(String::new()),
                bytes: Some(String::new()),
                fd: Some(3),
                at: Some(String::new()),
                missing: Some(policy_encoder::document::Missing::Skip),
                follow: Some(true),
            });
            let entry = entry.expect("an entry can be written");
            let mut more: BTreeSet<String> =
                entry.as_table().expect("it is a table").keys().cloned().collect();
            more.extend(
                ["bind", "tmpfs", "proc", "symlink", "directory", "file", "overlay"]
                    .map(str::to_owned),
            );
            for key in &more {
                assert!(documented.contains(key), "{key} is not documented");
            }
            documented.retain(|key| key == "proc" || !more.contains(key));
        }
        assert_eq!(documented, keys(table), "the keys of {table}");
    }
}

/// The schema that is committed, as it would be written now.
fn schema() -> String {
    format!("{:#}\n", policy_encoder::schema())
}

#[test]
fn the_committed_schema_is_the_one_of_the_code() {
    let path = "docs/policy.schema.json";
    if std::env::var_os("WRITE_SCHEMA").is_some() {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        fs::write(root.join(path), schema()).expect("the schema is written");
    }
    assert!(text(path) == schema(), "{path} is not up to date: run this with WRITE_SCHEMA=1");
}

/// What the schema says against a policy.
fn complaints(policy: &str) -> Vec<String> {
    let policy: serde_json::Value = toml::from_str(policy).expect("TOML");
    let validator = jsonschema::validator_for(&policy_encoder::schema()).expect("a schema");
    validator.iter_errors(&policy).map(|error| error.to_string()).collect()
}

#[test]
fn every_example_and_preset_follows_the_schema() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut policies = 0;
    for directory in ["examples", "policy-encoder/presets"] {
        for entry in fs::read_dir(root.join(directory)).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let policy = fs::read_to_string(&path).expect("a policy");
                assert_eq!(complaints(&policy), [""; 0], "{}", path.display());
                policies += 1;
            }
        }
    }
    assert!(policies > 10, "{policies}");
}

#[test]
fn the_schema_agrees_with_the_parser() {
    let right = [
        "filesystem.read = ['/a', { path = '/b', missing = 'skip' }, { fd = 5, at = '/c' }]",
        "filesystem.mount = [{ type = 'tmpfs', target = '/t', size = '1.5 GiB' }]",
        "filesystem.dev = ['null']\nprocess.die_with_parent = false",
        "limits = { memory = 4096, wall_time = '1m 30s', rlimit = { as = ['1G', 'unlimited'] } }",
    ];
    let wrong = [
        "filesystem.rea = []",
        "filesystem.read = '/a'",
        "filesystem.mount = [{ type = 'tmpfs', target = '/t', source = '/a' }]",
        "network.access = 'hots'",
        "process = { die_with_parent = true }",
        "limits = { memory = 'much' }",
        "limits.wall_time = 5",
        "colour = 1",
    ];
    let parses = |policy: &str| !policy_encoder::parse::toml(policy).1.has_errors();
    for policy in right {
        assert!(parses(policy) && complaints(policy).is_empty(), "{policy}");
    }
    for policy in wrong {
        assert!(!parses(policy) && !complaints(policy).is_empty(), "{policy}");
    }
}

/// Every key of the document as the schema has it: `filesystem.read`, and
/// `entry.at` of an entry's table.
fn keys_of_schema() -> BTreeSet<String> {
    let schema = policy_encoder::schema();
    let definition = |value: &serde_json::Value| {
        let reference = value["$ref"].as_str().or_else(|| value["allOf"][0]["$ref"].as_str());
        let name = reference.and_then(|reference| reference.strip_prefix("#/definitions/"));
        name.map_or(serde_json::Value::Null, |name| schema["definitions"][name].clone())
    };
    let mut keys = BTreeSet::new();
    let mut tables = vec![(String::new(), schema.clone())];
    tables.push(("entry.".to_owned(), schema["definitions"]["EntryTable"].clone()));
    while let Some((prefix, table)) = tables.pop() {
        for (key, value) in table["properties"].as_object().expect("a table has keys") {
            let inner = definition(value);
            // A key that can only be a table is none that is set.
            match inner["properties"].is_object() {
                true => tables.push((format!("{prefix}{key}."), inner)),
                false => drop(keys.insert(format!("{prefix}{key}"))),
            }
        }
    }
    keys
}

#[test]
fn what_enforces_each_key_is_said_for_every_rung_with_an_example() {
    let document = text("docs/policy.md");
    let mut said = BTreeSet::new();
    for row in document
        .lines()
        .skip_while(|line| *line != "## What enforces what")
        .filter(|line| line.starts_with("| `"))
    {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [key, example, with_all, without_namespaces, with_filter] = cells[..] else {
            panic!("five cells: {row}");
        };
        let key = key.trim_matches('`');
        assert!(said.insert(key.to_owned()), "{key} stands there twice");
        for cell in [with_all, without_namespaces, with_filter] {
            assert!(!cell.is_empty(), "a rung of {key} is empty");
        }
        let example = example.trim_matches('`');
        let (_, diagnostics) = policy_encoder::parse::toml(example);
        assert!(!diagnostics.has_errors(), "{example}: {diagnostics:?}");
        let own = key.rsplit('.').next().unwrap_or_default();
        assert!(example.contains(&format!("{own} =")), "{example} does not set {key}");
        assert_eq!(complaints(example), [""; 0], "{example}");
    }
    assert_eq!(said, keys_of_schema());
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
fn the_constants_of_rules_are_documented_by_how_they_begin() {
    let document = text("docs/policy.md");
    let (_, known) = document.split_once(" Known are ").expect("they are listed");
    let (known, _) = known.split_once("\n  - ").expect("the list ends");
    let patterns: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let matches = |name: &str, pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    };
    for name in constants::names() {
        assert!(patterns.iter().any(|pattern| matches(name, pattern)), "{name}");
    }
    for pattern in patterns {
        assert!(constants::names().any(|name| matches(name, pattern)), "{pattern}");
    }
}

#[test]
fn every_guarantee_is_described_by_its_name() {
    let described = first_cells(&text("docs/policy.md"), "## Guarantees");
    let names = Guarantee::ALL.iter().map(|guarantee| guarantee.name().to_owned());
    assert_eq!(described, names.collect());
    // The names are what the document takes, too.
    for guarantee in Guarantee::ALL {
        let text = format!("enforce.waive = [{:?}]", guarantee.name());
        let (document, diagnostics) = policy_encoder::parse::toml(&text);
        assert!(!diagnostics.has_errors(), "{text}: {diagnostics:?}");
        assert_eq!(document.enforce.waive[0].get_ref(), guarantee);
    }
    let (_, diagnostics) = policy_encoder::parse::toml("enforce.waive = ['execut']");
    let help = diagnostics.iter().next().and_then(|diagnostic| diagnostic.help.clone());
    assert_eq!(help.as_deref(), Some("did you mean \"execute\"?"));
}

#[test]
fn every_facility_is_described_by_its_word() {
    let document = text("docs/policy.md");
    let lines = document.lines().skip_while(|line| *line != "## Facilities").skip(1);
    let section: String = lines.take_while(|line| !line.starts_with("## ")).collect();
    for facility in Facility::ALL {
        let word = format!("`{}`", facility.name());
        assert!(section.contains(&word), "{word}");
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
