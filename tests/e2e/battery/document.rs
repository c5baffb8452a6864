//! `docs/battery.md`: the table as people read it.

use std::fmt::Write;
use std::process::Command;

use battery::arena::Contender;
use battery::{Check, Expected, GROUPS, Outcome, Verdict, checks};
use harness::Caller;

use super::{Outcomes, outcomes};

/// What stands above the tables.
const HEAD: &str = "\
# The battery

Small attacks from inside a sandbox, each made by a static program as root and as nobody. `tests/battery/` has them, with the
layer that must stop each and the errno that this layer gives; `make test` compares that with what happens, and `make battery`
measures all columns and writes this page.

They are made in namespaces that are thrown away, which have a host's worth of things to attack: a process of the same user, servers,
a terminal, IPC objects, descriptors left open. Each succeeds there without a sandbox, for root at least, but for those that take
what the kernel lacks: its answer then stands in the column *plain*.

";

/// What stands between the sums and the groups.
const LEGEND: &str = "
Where the callers differ, root comes first. An errno is what the call answered, `no effect` that every call succeeded and nothing
outside noticed, SIGSYS that the filter ended the process. *strict* and *landlock* name the layer that must stop it; the others
are what was measured. *unfiltered* is *strict* without the filter: what another layer stops, it stops by itself.

What bubblewrap allows below *hidden files* is what its command lines ask for, as people write them: they show the whole host. It
has no filter by itself, so the first step of an attack on the kernel or the network is open there, such as a socket in a network
namespace in which there is nobody to talk to.
";

/// The whole document, of what is measured now.
pub(super) fn render() -> String {
    let version = Command::new("bwrap").arg("--version").output().expect("bwrap starts").stdout;
    let version = String::from_utf8_lossy(&version);
    let mut text = HEAD.to_owned();
    text += "| column | command line |\n|---|---|\n";
    for contender in Contender::ALL {
        let _ = writeln!(text, "| {contender} | `{}` |", contender.command().join(" "));
    }
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = kernel.split('-').next().unwrap_or_default().trim();
    let abi = harness::landlock_abi();
    let _ = writeln!(
        text,
        "\nMeasured with {} on Linux {release} with Landlock ABI {abi}, which lacks {}.\n",
        version.trim(),
        lacking()
    );
    text += &sums();
    text += LEGEND;
    for group in GROUPS {
        let _ = writeln!(text, "\n## {}\n", group.name);
        text += "| check | what it tries | source | strict | landlock | plain | bwrap | bwrap-session |\n";
        text += "|---|---|---|---|---|---|---|---|\n";
        for check in group.checks {
            let others = [Contender::Plain, Contender::Bubblewrap, Contender::BubblewrapSession];
            let cells = others.map(|contender| measured(contender, check));
            let _ = writeln!(text, "{} {} |", our_columns(check), cells.join(" | "));
        }
    }
    text + &exceptions()
}

/// The part of a row that the table says.
pub(super) fn our_columns(check: &Check) -> String {
    let (strict, landlock) = (expected(check.strict), expected(check.landlock));
    format!("| `{}` | {} | {} | {strict} | {landlock} |", check.name, check.tries, check.source)
}

/// What nothing stops, with the reasons.
pub(super) fn exceptions() -> String {
    let mut text = "\n## What nothing stops\n".to_owned();
    for contender in [Contender::Strict, Contender::Landlock] {
        let of = |check: &Check| match contender {
            Contender::Strict => check.strict,
            _ => check.landlock,
        };
        let _ = writeln!(text, "\n| {contender} | why |\n|---|---|");
        for check in checks() {
            let Expected { root, nobody } = of(check);
            let (whose, why) = match (root.reason(), nobody.reason()) {
                (_, Some(why)) => ("", why),
                (Some(why), None) => (", of root's", why),
                (None, None) => continue,
            };
            let _ = writeln!(text, "| `{}`{whose} | {why} |", check.name);
        }
    }
    text
}

/// How many attacks each contender allows.
fn sums() -> String {
    let all = checks().count();
    let count = |contender, caller| {
        let outcomes: &Outcomes = outcomes(contender, caller);
        outcomes.values().filter(|outcome| **outcome == Outcome::Allowed).count()
    };
    let mut text = format!("| allowed of {all} | as root | as nobody |\n|---|---|---|\n");
    for contender in Contender::ALL {
        let [root, nobody] = [Caller::Root, Caller::Nobody].map(|caller| count(contender, caller));
        let _ = writeln!(text, "| {contender} | {root} | {nobody} |");
    }
    text
}

/// What attacks take that is not here.
fn lacking() -> String {
    let plain = outcomes(Contender::Plain, Caller::Root);
    let missing = checks().filter(|check| plain[check.name] != Outcome::Allowed);
    let mut names: Vec<&str> = missing.filter_map(|check| check.control.takes()).collect();
    names.dedup();
    names.join(", ")
}

fn measured(contender: Contender, check: &Check) -> String {
    let [root, nobody] = [Caller::Root, Caller::Nobody]
        .map(|caller| short(&outcomes(contender, caller)[check.name].to_string()));
    both(root, nobody)
}

fn short(outcome: &str) -> String {
    match outcome {
        "ALLOWED" => "**allowed**".to_owned(),
        "BLOCKED without effect" => "no effect".to_owned(),
        "BLOCKED signal 31" => "SIGSYS".to_owned(),
        other => other.trim_start_matches("BLOCKED ").to_owned(),
    }
}

fn expected(expected: Expected) -> String {
    let text = |verdict: Verdict| match verdict {
        Verdict::Blocked(..) => verdict.to_string(),
        Verdict::Allowed(_) => "**allowed**".to_owned(),
        Verdict::Depends(_) => "**allowed** on some hosts".to_owned(),
    };
    both(text(expected.root), text(expected.nobody))
}

fn both(root: String, nobody: String) -> String {
    if root == nobody { root } else { format!("{root} / {nobody}") }
}
