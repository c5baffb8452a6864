//! JSON: the instructions, and what becomes of every call.

use std::collections::BTreeSet;

use launcher_policy::seccomp::FilterError;
use launcher_policy::wire::Architecture;
use serde::Serialize;

use super::super::reach::Reach;
use super::super::simulate::Simulator;
use super::flow::{follow, others};
use super::{action, architecture_name};

#[derive(Serialize)]
struct Export {
    architecture: &'static str,
    instructions: Vec<Instruction>,
    calls: Vec<Call>,
    /// Numbers without a name, and those of other architectures.
    others: Vec<String>,
}

/// `struct sock_filter`
#[derive(Serialize)]
struct Instruction {
    code: u16,
    jt: u8,
    jf: u8,
    k: u32,
}

#[derive(Serialize)]
struct Call {
    /// The architecture, or the table beside its own.
    table: &'static str,
    name: &'static str,
    number: u32,
    /// What may happen: more than one where arguments decide.
    actions: Vec<String>,
    /// The arguments that are looked at.
    arguments: Vec<u32>,
}

/// Writes a filter as JSON.
///
/// # Errors
///
/// What makes it no filter.
pub fn json(filter: &[u8], architecture: Architecture) -> Result<String, FilterError> {
    let simulator = Simulator::new(filter)?;
    let (_, followed) = follow(&simulator, architecture);
    let instructions = simulator.instructions().iter().map(|each| Instruction {
        code: each.code,
        jt: each.jt,
        jf: each.jf,
        k: each.k,
    });
    let calls = followed.iter().map(|call| Call {
        table: call.table.name(),
        name: call.name,
        number: call.number,
        actions: actions(&call.reach),
        arguments: arguments(&call.reach),
    });
    let others: BTreeSet<String> = others(&followed, architecture)
        .flat_map(|(audit, number)| actions(&Reach::of(&simulator, audit, number)))
        .collect();
    let export = Export {
        architecture: architecture_name(architecture),
        instructions: instructions.collect(),
        calls: calls.collect(),
        others: others.into_iter().collect(),
    };
    let mut text = serde_json::to_string_pretty(&export).unwrap_or_default();
    text.push('\n');
    Ok(text)
}

fn actions(reach: &Reach) -> Vec<String> {
    let mut actions: Vec<String> = reach.values.iter().map(|value| action(*value)).collect();
    if reach.computes {
        actions.push("computed".to_owned());
    }
    actions
}

fn arguments(reach: &Reach) -> Vec<u32> {
    let arguments: BTreeSet<u32> =
        reach.words.iter().filter_map(|word| Some(word.checked_sub(16)? / 8)).collect();
    arguments.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::super::compile;
    use super::super::super::rules::{self, Action, Argument, Comparison, Condition, Rule, Rules};
    use super::super::super::tables::Abi;
    use super::*;

    #[test]
    fn every_call_has_its_number_and_what_may_become_of_it() {
        let unix = Condition::int(Argument::First, Comparison::Equal(1));
        let socket = rules::Call {
            rules: vec![Rule { conditions: vec![unix], action: Action::Allow }],
            otherwise: Action::Errno(97),
        };
        let calls = BTreeMap::from([(0, rules::Call::always(Action::Allow)), (41, socket)]);
        let rules = Rules::native(Architecture::X86_64, calls);
        let filter: Vec<u8> = compile(&rules).iter().flat_map(|each| each.to_bytes()).collect();
        let text = json(&filter, Architecture::X86_64).expect("a filter");
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["architecture"], "x86_64");
        let instructions = value["instructions"].as_array().expect("a list");
        assert_eq!(instructions.len() * 8, filter.len());
        assert_eq!(instructions[0]["code"], 0x20);
        let call = |name: &str| {
            let calls = value["calls"].as_array().expect("a list");
            calls.iter().find(|call| call["name"] == name).expect(name).clone()
        };
        assert_eq!(call("read")["actions"], serde_json::json!(["allow"]));
        assert_eq!(call("read")["arguments"], serde_json::json!([]));
        assert_eq!(call("socket")["number"], 41);
        let both = serde_json::json!(["errno EAFNOSUPPORT", "allow"]);
        assert_eq!(call("socket")["actions"], both);
        assert_eq!(call("socket")["arguments"], serde_json::json!([0]));
        assert_eq!(call("write")["actions"], serde_json::json!(["errno ENOSYS"]));
        assert_eq!(value["others"], serde_json::json!(["errno ENOSYS", "kill"]));
    }

    #[test]
    fn calls_of_other_tables_that_are_open_are_listed_with_them() {
        let call = |number| (number, rules::Call::always(Action::Allow));
        let mut rules = Rules::native(Architecture::X86_64, [call(0)].into());
        let table = |rules: &Rules, table: &str| {
            let filter: Vec<u8> = compile(rules).iter().flat_map(|each| each.to_bytes()).collect();
            let text = json(&filter, Architecture::X86_64).expect("a filter");
            let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            let calls = value["calls"].as_array().expect("a list").clone();
            calls.into_iter().filter(|call| call["table"] == table).collect::<Vec<_>>()
        };
        assert_eq!(table(&rules, "i386"), Vec::<serde_json::Value>::new());
        rules.others.insert(Abi::I386, [call(3)].into());
        let i386 = table(&rules, "i386");
        assert!(i386.len() > 400, "{}", i386.len());
        let read = i386.iter().find(|call| call["name"] == "read").expect("it is there");
        assert_eq!((&read["number"], &read["actions"][0]), (&3.into(), &"allow".into()));
        assert_eq!(table(&rules, "x32"), Vec::<serde_json::Value>::new());
        assert!(table(&rules, "x86_64").len() > 350);
    }
}
