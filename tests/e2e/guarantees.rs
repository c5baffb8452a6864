//! What a receipt claims is so: for each guarantee something that breaks it,
//! tried inside, under random policies on hosts that lack a random part of
//! what the launcher likes to have. A launch is refused, or every guarantee
//! of the policy holds but those that it waives; there is nothing else.
//!
//! `GUARANTEES_SEED=n` runs the one random case of this number.

use std::fmt::{self, Display, Formatter};
use std::path::Path;

use fastrand::Rng;
use harness::{
    Caller, Outcome, Sandbox, WITHOUT_ID_MAPS, WITHOUT_USER_NAMESPACES, has_strace, with_probe,
};
use launcher_policy::enforce::Guarantee;
use policy_encoder::diagnostic::Diagnostics;
use policy_encoder::mounts::{Rights, View};
use policy_encoder::{Architecture, Place, parse};
use serde_json::Value;

mod document;
mod world;

use world::World;

/// How many random policies are tried, over all tests of this file.
const CASES: u64 = 200;

/// How many tests share them, so that they run beside each other.
const PARTS: u64 = 2;

#[test]
fn a_random_policy_on_a_random_host_is_refused_or_kept_1() {
    cases(0);
}

#[test]
fn a_random_policy_on_a_random_host_is_refused_or_kept_2() {
    cases(1);
}

#[test]
fn every_attack_succeeds_where_there_is_no_sandbox() {
    for caller in Caller::both() {
        let world = World::new(caller);
        for &guarantee in Guarantee::ALL {
            let lines = world.attacks(guarantee, &|_| Rights::NONE);
            assert!(!lines.is_empty() || guarantee == Guarantee::Ids, "{guarantee:?}");
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let outcomes = Sandbox::outside().caller(caller).probes(&lines);
            for (line, outcome) in lines.iter().zip(outcomes) {
                assert!(world.is_broken(line, &outcome), "{caller}: {line}: {outcome:?}");
            }
            world.restore();
        }
    }
}

#[test]
fn a_usual_policy_is_refused_or_kept_by_this_kernel() {
    usual(Host::all().into_iter().filter(|host| host.abi.is_none()));
}

#[test]
fn a_usual_policy_is_refused_or_kept_with_every_older_landlock() {
    usual(Host::all().into_iter().filter(|host| host.abi.is_some()));
}

/// The matrix shows what this prints for every kernel.
#[test]
fn what_nothing_keeps_is_given_up_by_name_alone() {
    for caller in Caller::both() {
        let world = World::new(caller);
        for host in Host::all().into_iter().filter(|host| host.abi.is_none()) {
            let unkept = match check(&world, &document::with_all_waived(&world), host) {
                Ok(Fate::Kept(unkept)) => unkept,
                other => panic!("{caller}, {host:?}: {other:?}"),
            };
            let names: Vec<_> = unkept.iter().map(|guarantee| guarantee.name()).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(" ") };
            println!("given up: {caller}, {host}: {names}");
        }
    }
}

/// What a host lacks.
#[derive(Clone, Copy, Debug)]
struct Host {
    /// What keeps it from having user namespaces that are of use.
    without_user_namespaces: &'static [&'static str],
    /// The newest Landlock ABI that is used; `None` is the kernel's own.
    abi: Option<u8>,
}

impl Host {
    fn all() -> Vec<Self> {
        let abis = [None, Some(0), Some(1), Some(2), Some(3), Some(4), Some(5), Some(6)];
        let with = |without_user_namespaces: &'static [_]| {
            abis.map(|abi| Self { without_user_namespaces, abi }).to_vec()
        };
        let injected = if has_strace() { with(WITHOUT_ID_MAPS) } else { Vec::new() };
        [with(&[]), with(WITHOUT_USER_NAMESPACES), injected].concat()
    }

    fn around(self, mut sandbox: Sandbox) -> Sandbox {
        sandbox = sandbox.wrap(self.without_user_namespaces.iter().copied());
        match self.abi {
            Some(abi) => sandbox.option("--landlock-abi").option(abi.to_string()),
            None => sandbox,
        }
    }
}

impl Display for Host {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self.without_user_namespaces {
            [] => "with user namespaces",
            WITHOUT_ID_MAPS => "with user namespaces that cannot be mapped",
            _ => "without user namespaces",
        })
    }
}

/// How a policy ended.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// The encoder refused it.
    NotEncoded,
    /// The launcher refused it.
    NotLaunched,
    /// Every attack failed but those on what the policy waives and nothing
    /// keeps.
    Kept(Vec<Guarantee>),
}

/// Every usual policy on each of these hosts.
fn usual(hosts: impl Iterator<Item = Host> + Clone) {
    for caller in Caller::both() {
        let world = World::new(caller);
        for text in document::usual(&world) {
            for host in hosts.clone() {
                check(&world, &text, host)
                    .unwrap_or_else(|wrong| panic!("{wrong}\n{caller}, {host:?}\n{text}"));
            }
        }
    }
}

/// Every case whose number leaves this remainder.
fn cases(part: u64) {
    let one: Option<u64> =
        std::env::var("GUARANTEES_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let all = (0..CASES).filter(|seed| seed % PARTS == part && one.is_none_or(|one| one == *seed));
    let mut fates = Vec::new();
    for seed in all {
        let mut rng = Rng::with_seed(seed);
        let callers = Caller::both();
        let world = World::new(callers[rng.usize(..callers.len())]);
        let hosts = Host::all();
        let host = hosts[rng.usize(..hosts.len())];
        let text = document::random(&mut rng, &world);
        let caller = world.caller();
        fates.push(check(&world, &text, host).unwrap_or_else(|wrong| {
            panic!("{wrong}\nGUARANTEES_SEED={seed}, {caller}, {host:?}\n{text}")
        }));
    }
    let kept = fates.iter().filter(|fate| matches!(fate, Fate::Kept(_))).count();
    let refused = fates.iter().filter(|fate| **fate == Fate::NotLaunched).count();
    println!("{kept} kept, {refused} refused, {} not encoded", fates.len() - kept - refused);
    if one.is_none() {
        // Else the documents are too wild to test anything.
        assert!(kept * 4 > fates.len() && refused * 10 > fates.len(), "{kept} {refused}");
    }
}

/// Launches under a policy and attacks what it guarantees. What is wrong, if
/// it is neither refused nor kept.
fn check(world: &World, text: &str, host: Host) -> Result<Fate, String> {
    let probe = Sandbox::outside().probe_path();
    let (document, mut diagnostics) = parse::toml(&with_probe(text, Path::new(&probe)));
    let place = Place::in_directory(Path::new("/")).expect("the root directory is there");
    let bytes = policy_encoder::encode(&document, &place, Architecture::NATIVE, &mut diagnostics);
    let Some(bytes) = bytes else { return Ok(Fate::NotEncoded) };
    let policy = launcher_policy::wire::decode(&bytes).expect("what was encoded decodes");
    let view = policy_encoder::mounts::resolve(&document, &place, &mut Diagnostics::default());
    let rights = |path: &Path| View::rights(&view, path);

    let mut attacks = Vec::new();
    for guaranteed in policy.enforce.guarantees.iter() {
        let lines = world.attacks(guaranteed.guarantee, &rights);
        attacks.extend(lines.into_iter().map(|line| (guaranteed.guarantee, line)));
    }
    let sandbox = host.around(Sandbox::of_bytes(&bytes).caller(world.caller()));
    let lines = attacks.iter().map(|(_, line)| line.as_str());
    let output = sandbox.run(std::iter::once(probe.as_str()).chain(lines));
    world.restore();
    let Some(receipt) = output.event("launch") else {
        let is_refusal = output.code() == 125 && output.stdout.is_empty();
        let is_said = output.event_names() == ["failure"] && !output.stderr.is_empty();
        return match is_refusal && is_said {
            true => Ok(Fate::NotLaunched),
            false => Err(format!("neither launched nor refused: {output:?}")),
        };
    };
    let mut unkept = Vec::new();
    for guaranteed in policy.enforce.guarantees.iter() {
        let is_waived = guaranteed.waived && waives(receipt, guaranteed.guarantee);
        if !claims(receipt, guaranteed.guarantee) && !is_waived {
            return Err(format!(
                "{:?} is neither kept nor waived: {receipt}",
                guaranteed.guarantee
            ));
        }
        if is_waived {
            unkept.push(guaranteed.guarantee);
        }
    }
    let said = output.stdout_text();
    let outcomes: Vec<Outcome> = said.lines().filter_map(Outcome::parse).collect();
    if outcomes.len() != attacks.len() {
        return Err(format!("the probe did not say everything: {output:?}"));
    }
    for ((guarantee, line), outcome) in attacks.iter().zip(outcomes) {
        if claims(receipt, *guarantee) && world.is_broken(line, &outcome) {
            return Err(format!("{guarantee:?} is claimed, but {line}: {outcome:?}\n{receipt}"));
        }
    }
    Ok(Fate::Kept(unkept))
}

/// Whether a receipt says that a layer keeps this guarantee.
fn claims(receipt: &Value, guarantee: Guarantee) -> bool {
    receipt["guarantees"].get(guarantee.name()).is_some()
}

/// Whether a receipt says that nothing keeps it, as the policy allows.
fn waives(receipt: &Value, guarantee: Guarantee) -> bool {
    receipt["waived"].as_array().is_some_and(|all| all.iter().any(|name| name == guarantee.name()))
}
