//! The receipt: its documents say what its types say, and what satisfies a
//! policy.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use launcher_policy::wire::{self, Architecture};
use policy_encoder::diagnostic::Diagnostics;
use policy_encoder::receipt::{self, Error, Event, Launch, Receipt, Shortfall};
use policy_encoder::{Place, digest, encode, parse};
use serde_json::{Value, json};

/// The events, in the order of their headings.
const EVENTS: [&str; 4] = ["launch", "exec", "exit", "failure"];

fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn document() -> String {
    fs::read_to_string(file("docs/receipt.md")).expect("the document exists")
}

/// What stands below the heading of an event.
fn section(event: &str) -> String {
    let document = document();
    let heading = format!("\n## `{event}`\n");
    let (_, rest) = document.split_once(&heading).unwrap_or_else(|| panic!("no heading {event}"));
    rest.split("\n## ").next().unwrap_or_default().to_owned()
}

/// The example of an event.
fn example(event: &str) -> String {
    let section = section(event);
    let line = section.split("```json\n").nth(1).and_then(|rest| rest.lines().next());
    line.unwrap_or_else(|| panic!("{event} has no example")).to_owned()
}

/// The keys of an event as its types have them.
fn keys(event: &str) -> BTreeSet<String> {
    let schema = receipt::schema();
    let is_its = |form: &&Value| form["properties"]["event"]["const"] == event;
    let forms = schema["oneOf"].as_array().expect("one form for each event");
    let form = forms.iter().find(is_its).unwrap_or_else(|| panic!("no form of {event}: {schema}"));
    let mut keys: BTreeSet<String> =
        form["properties"].as_object().expect("an object").keys().cloned().collect();
    let reference = form["$ref"].as_str().or_else(|| form["allOf"][0]["$ref"].as_str());
    if let Some(name) = reference.and_then(|name| name.strip_prefix("#/definitions/")) {
        let more = schema["definitions"][name]["properties"].as_object().expect("an object");
        keys.extend(more.keys().cloned());
    }
    keys.remove("event");
    keys
}

#[test]
fn every_key_is_documented_and_every_documented_key_exists() {
    for event in EVENTS {
        let documented: BTreeSet<String> = section(event)
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(str::to_owned))
            .collect();
        assert_eq!(documented, keys(event), "{event}");
    }
}

#[test]
fn every_example_is_read_whole_and_follows_the_schema() {
    let validator = jsonschema::validator_for(&receipt::schema()).expect("a schema");
    for event in EVENTS {
        let written: Value = serde_json::from_str(&example(event)).expect("an example is JSON");
        let complaints: Vec<String> =
            validator.iter_errors(&written).map(|error| error.to_string()).collect();
        assert_eq!(complaints, [""; 0], "{event}");
        let read: Event = serde_json::from_value(written.clone()).expect("an event");
        assert_eq!(json!(read), written, "{event} has keys that nobody reads");
        assert_eq!(written["event"], event);
    }
}

#[test]
fn the_schema_refuses_what_is_no_event() {
    let validator = jsonschema::validator_for(&receipt::schema()).expect("a schema");
    for wrong in [
        json!({ "event": "lunch" }),
        json!({ "event": "exec" }),
        json!({ "event": "exit", "ended_by": "boredom" }),
    ] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
}

#[test]
fn the_committed_schema_is_the_one_of_the_code() {
    let path = file("docs/receipt.schema.json");
    let schema = format!("{:#}\n", receipt::schema());
    if std::env::var_os("WRITE_SCHEMA").is_some() {
        fs::write(&path, &schema).expect("the schema is written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == schema, "it is not up to date: run this with WRITE_SCHEMA=1");
}

#[test]
fn lines_of_another_version_are_an_error_and_keys_that_are_new_are_not() {
    let mut launch: Value = serde_json::from_str(&example("launch")).expect("JSON");
    launch["colour"] = json!("blue");
    assert!(Receipt::parse(&launch.to_string()).is_ok());
    let mut failure: Value = serde_json::from_str(&example("failure")).expect("JSON");
    // Either may be the first line, and the only one.
    for line in [&mut launch, &mut failure] {
        line["version"] = json!(2);
        assert_eq!(Receipt::parse(&line.to_string()), Err(Error::Version(json!(2))));
    }
}

#[test]
fn what_is_no_receipt_is_told_by_its_line() {
    let launch = example("launch");
    assert_eq!(Receipt::parse("\n\n"), Err(Error::Empty));
    assert!(matches!(Receipt::parse(&format!("{launch}\n[")), Err(Error::Line(2, _))));
    assert_eq!(Receipt::parse(&format!("{launch}\n{launch}")), Err(Error::SecondLaunch(2)));
    let whole: Vec<String> = ["launch", "exec", "exit"].map(example).to_vec();
    let receipt = Receipt::parse(&whole.join("\n")).expect("three events");
    assert!(receipt.launch.is_some() && receipt.exec.is_some() && receipt.exit.is_some());
}

/// A policy, encoded.
fn encoded(text: &str) -> Vec<u8> {
    let (document, mut diagnostics) = parse::toml(text);
    let place = Place { sysroot: "/".into(), directory: "/".into(), variables: [].into() };
    encode(&document, &place, Architecture::NATIVE, &mut diagnostics)
        .unwrap_or_else(|| panic!("{:?}", Diagnostics::clone(&diagnostics)))
}

/// What a launch says that keeps all of a policy.
fn launched(frame: &[u8]) -> Launch {
    let policy = wire::decode(frame).expect("it was encoded");
    let example: Event = serde_json::from_str(&example("launch")).expect("an event");
    let Event::Launch(launch) = example else { panic!("it is a launch") };
    let names = policy.enforce.guarantees.iter().map(|each| each.guarantee.name().to_owned());
    Launch {
        digest: hex::encode(wire::digest(frame)),
        guarantees: names.map(|name| (name, receipt::Layer::Namespaces)).collect(),
        waived: vec![],
        ..launch
    }
}

fn shortfall(frame: &[u8], launch: &Launch, waived: bool) -> Option<Shortfall> {
    let policy = wire::decode(frame).expect("it was encoded");
    let receipt = Receipt { launch: Some(launch.clone()), ..Receipt::default() };
    receipt.shortfall(frame, &policy, waived)
}

#[test]
fn a_receipt_satisfies_the_policy_that_it_is_of_and_no_other() {
    let (frame, other) = (encoded(""), encoded("process.umask = 0o22"));
    let launch = launched(&frame);
    assert_eq!(shortfall(&frame, &launch, false), None);
    assert!(matches!(shortfall(&other, &launch, false), Some(Shortfall::OtherPolicy { .. })));
}

#[test]
fn a_guarantee_that_is_not_listed_is_a_shortfall_and_so_is_one_that_is_waived() {
    let frame = encoded("");
    let mut launch = launched(&frame);
    launch.guarantees.remove("network").expect("it is guaranteed");
    let said = shortfall(&frame, &launch, true).map(|shortfall| shortfall.to_string());
    assert_eq!(said.as_deref(), Some("the guarantee \"network\" is not kept"));
    launch.waived.push("network".to_owned());
    for allowed in [false, true] {
        // The policy did not waive it, whatever the receipt says.
        let said = shortfall(&frame, &launch, allowed).map(|shortfall| shortfall.to_string());
        assert_eq!(said.as_deref(), Some("the guarantee \"network\" is waived"));
    }
}

#[test]
fn a_launch_that_failed_or_was_not_told_satisfies_nothing() {
    let frame = encoded("");
    let policy = wire::decode(&frame).expect("it was encoded");
    let nothing = Receipt::parse(&example("exec")).expect("an event");
    assert_eq!(nothing.shortfall(&frame, &policy, true), Some(Shortfall::NotLaunched));
    let launch = json!(Event::Launch(launched(&frame)));
    let failed = format!("{launch}\n{}", example("failure"));
    let failed = Receipt::parse(&failed).expect("two events");
    assert_eq!(failed.shortfall(&frame, &policy, true), Some(Shortfall::Failed));
}

#[test]
fn a_frame_whose_content_was_changed_has_not_the_right_digest() {
    let mut frame = encoded("");
    assert!(digest::is_right(&frame));
    let last = frame.last_mut().expect("it is not empty");
    *last ^= 1;
    assert!(!digest::is_right(&frame));
}
