//! What a call costs that a policy function is asked about: one that is judged from
//! registers, an open and a connect, against the same calls that nobody asks about,
//! and against sandlock-core where `make contenders` has installed it, in turns.
//!
//! The calls are made by this very program, inside; it says how long they took.
#![allow(missing_docs, reason = "criterion's macros document nothing")]

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::hint::black_box;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group};
use launcher_spawn::supervisor::{Category, Verdict};
use launcher_spawn::{Launcher, Sandbox};
use measure::stage::Stage;

/// By which argument this program knows that it is the command.
const CALLS: &str = "calls";

/// What is measured, and what a policy asks about for it.
const KINDS: [(&str, Category); 3] =
    [("register", Category::Memory), ("open", Category::File), ("connect", Category::Network)];

/// Above what any allocator keeps, so that each is a mapping of its own.
const LARGE: usize = 64 << 20;

/// A place where nobody needs to listen.
const PORT: u16 = 9;

/// Makes calls, and prints how many nanoseconds they took.
fn make(kind: &str, count: u64) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("it is bound");
    let begin = Instant::now();
    for _ in 0..count {
        match kind {
            "register" => drop(black_box(Vec::<u8>::with_capacity(LARGE))),
            "open" => drop(File::open("/usr/lib/os-release").expect("it is there")),
            _ => socket.connect((Ipv4Addr::LOCALHOST, PORT)).expect("it is allowed"),
        }
    }
    println!("{}", begin.elapsed().as_nanos());
}

/// A way to run a command; what it prints.
type Way = Box<dyn Fn(&[OsString]) -> Vec<u8>>;

const POLICY: &str = r#"
    filesystem = { root = "host", home = "host", execute = [JOB], proc = false, dev = "none" }
    network.access = "host"
"#;

fn ours(stage: &Stage, about: Option<Category>) -> Way {
    let policy = stage.policy(POLICY).replace("nothing", "measure");
    let launcher = Launcher::from_path(stage.launcher()).expect("it is there");
    let sandbox = Sandbox::from_toml(&policy).expect("it is a policy").launcher(launcher);
    let sandbox = match about {
        Some(about) => sandbox.ask(&[about]).policy_fn(|_, _| Verdict::Allow),
        None => sandbox,
    };
    let sandbox = sandbox.prepare().expect("it is prepared");
    Box::new(move |command| said(sandbox.command(&command[0]).args(&command[1..]).output()))
}

/// Another supervisor: a program that runs a command under it.
fn theirs() -> Option<Way> {
    let target = env::current_exe().ok()?;
    let program = target.ancestors().map(|dir| dir.join("contenders/bin/sandlock-policy"));
    let program = program.into_iter().find(|program| program.exists())?;
    Some(Box::new(move |command| said(Command::new(&program).args(command).output())))
}

/// What a command has printed.
fn said<E: fmt::Debug>(ran: Result<Output, E>) -> Vec<u8> {
    let output = ran.expect("it runs");
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// How long so many calls take in one of the ways, with all of them taking turns.
fn time_in_turns(
    ways: &[(&str, Way)],
    measured: usize,
    kind: &str,
    program: &Path,
    rounds: u64,
) -> Duration {
    let command: Vec<OsString> =
        vec![program.into(), CALLS.into(), kind.into(), rounds.to_string().into()];
    let mut total = Duration::ZERO;
    for (turn, (_, run)) in ways.iter().enumerate() {
        let said = run(&command);
        if turn == measured {
            let text = String::from_utf8_lossy(&said);
            total += Duration::from_nanos(text.trim().parse().expect("a number"));
        }
    }
    total
}

fn supervisor(criterion: &mut Criterion) {
    let stage = Stage::new();
    let program = stage.path().join("measure");
    for (kind, category) in KINDS {
        let mut ways = vec![
            ("unsupervised", ours(&stage, None)),
            ("supervised", ours(&stage, Some(category))),
        ];
        ways.extend(theirs().map(|way| ("sandlock-core", way)));
        let mut group = criterion.benchmark_group(format!("supervisor/{kind}"));
        for (measured, (name, _)) in ways.iter().enumerate() {
            group.bench_function(*name, |bench| {
                bench.iter_custom(|rounds| time_in_turns(&ways, measured, kind, &program, rounds));
            });
        }
    }
}

criterion_group!(benches, supervisor);

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    if let [first, kind, count] = words.as_slice()
        && first == CALLS
    {
        return make(kind, count.parse().expect("a number"));
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
