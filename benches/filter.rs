//! What a seccomp filter costs: to install, and for each system call
//! afterwards. This project's, a chain of comparisons, libseccomp's and
//! seccompiler's, made of the same rules.
//!
//! Each is installed in a process of its own, since a filter stays; only
//! seccomp(2) is timed. All take turns in a shuffled order, round after round,
//! so that whatever else the machine does is borne by all of them.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use differential::random::{self, Comparisons};
use differential::{Shape, bytes, libseccomp, own, seccompiler};
use fastrand::Rng;
use launcher_policy::seccomp::{INSTRUCTION_SIZE, Instruction, op};
use policy_encoder::Architecture;
use policy_encoder::seccomp::rules::{Action, Call, Rules};
use policy_encoder::seccomp::{Optimize, compile, tables};

/// How many calls the rules allow.
const SIZES: [usize; 4] = [10, 50, 100, 300];

/// What the measuring process itself calls once the filter is there.
const NEEDED: [&str; 6] = ["getppid", "write", "exit_group", "munmap", "sigaltstack", "brk"];

/// How often getppid(2) is called in one go, and how many of them there are.
const CALLS: u32 = 1000;
const GOES: u32 = 30;

/// The argument by which this program measures one filter.
const INSTALL: &str = "install-the-filter-on-standard-input";

/// A filter, and what was measured of it in each round.
struct Candidate {
    maker: &'static str,
    filter: Vec<u8>,
    install: Vec<f64>,
    call: Vec<f64>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == INSTALL) {
        measure_here();
    }
    // As criterion has it: a word that is no option selects benchmarks.
    let selected: Vec<_> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    if !selected.is_empty() && !selected.iter().any(|word| "filter".contains(word.as_str())) {
        return;
    }
    let rounds = if arguments.iter().any(|argument| argument == "--quick") { 15 } else { 101 };
    let mut groups = Vec::new();
    for (kind, comparisons) in
        [("names", Comparisons::None), ("names and arguments", Comparisons::Whole)]
    {
        for size in SIZES {
            groups.push((format!("{size} calls by {kind}"), candidates(size, comparisons)));
        }
    }
    let nothing = Instruction { code: op::RETURN, jt: 0, jf: 0, k: Action::Allow.value() };
    let mut references = vec![
        Candidate::new("no filter", Vec::new()),
        Candidate::new("one instruction", bytes(&[nothing])),
    ];
    let mut random = Rng::new();
    for _ in 0..rounds {
        let mut turns: Vec<&mut Candidate> = groups
            .iter_mut()
            .flat_map(|(_, candidates)| candidates)
            .chain(&mut references)
            .collect();
        random.shuffle(&mut turns);
        for candidate in turns {
            candidate.measure();
        }
    }
    // What every filter costs, since the kernel enters system calls by another
    // way when there is one.
    let [none, one] = &references[..] else { return };
    let floor = median(&one.call);
    println!(
        "medians of {rounds} rounds; getppid takes {:.1} ns without a filter and {floor:.1} ns \
         under the smallest, which takes {:.1} us to install",
        median(&none.call),
        median(&one.install) / 1000.0,
    );
    for (name, candidates) in &groups {
        report(name, candidates, floor);
    }
}

fn candidates(size: usize, comparisons: Comparisons) -> Vec<Candidate> {
    let rules = rules(size, comparisons);
    let mut candidates = vec![Candidate::new("tree (run)", own(&rules))];
    let mut launch = compile(&rules);
    Optimize::Launch.apply(&mut launch);
    candidates.push(Candidate::new("tree (launch)", bytes(&launch)));
    if comparisons == Comparisons::None {
        candidates.push(Candidate::new("chain", chain(&rules)));
    }
    let others = [
        ("libseccomp", libseccomp(&rules, Shape::Chain)),
        ("libseccomp tree", libseccomp(&rules, Shape::Tree)),
        ("seccompiler", seccompiler(&rules)),
    ];
    for (maker, filter) in others {
        match filter {
            Ok(filter) => candidates.push(Candidate::new(maker, filter)),
            Err(reason) => eprintln!("{maker}: {}", reason.0),
        }
    }
    candidates
}

/// Rules that allow that many calls, among them those that are measured.
fn rules(size: usize, comparisons: Comparisons) -> Rules {
    let architecture = Architecture::NATIVE;
    let mut random = Rng::with_seed(size as u64);
    let rest = size - NEEDED.len();
    let mut rules = random::rules(&mut random, architecture, rest, comparisons);
    for name in NEEDED {
        if let Some(number) = tables::number(architecture, name) {
            rules.calls.insert(number, Call::always(Action::Allow));
        }
    }
    rules
}

/// One comparison after the other, as filters are written by hand.
fn chain(rules: &Rules) -> Vec<u8> {
    let plain = |code, k| Instruction { code, jt: 0, jf: 0, k };
    let jump = |jt, jf, k| Instruction { code: op::JUMP_EQUAL, jt, jf, k };
    let mut filter = vec![
        plain(op::LOAD, 4),
        jump(1, 0, tables::audit(rules.architecture)),
        plain(op::RETURN, Action::KillProcess.value()),
        plain(op::LOAD, 0),
    ];
    for (&number, call) in &rules.calls {
        if call.otherwise == Action::Allow {
            filter.extend([jump(0, 1, number), plain(op::RETURN, Action::Allow.value())]);
        }
    }
    filter.push(plain(op::RETURN, Action::Errno(1).value()));
    bytes(&filter)
}

impl Candidate {
    fn new(maker: &'static str, filter: Vec<u8>) -> Self {
        Self { maker, filter, install: Vec::new(), call: Vec::new() }
    }

    /// Measures the filter in a new process.
    fn measure(&mut self) {
        let program = std::env::current_exe().expect("this program has a path");
        let mut child = Command::new(program)
            .arg(INSTALL)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be run");
        let mut input = child.stdin.take().expect("it has an input");
        input.write_all(&self.filter).expect("it reads");
        drop(input);
        let output = child.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stdout);
        let numbers: Vec<f64> =
            text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let [install, call] = numbers[..] else {
            panic!("{}: {} {text:?}", self.maker, output.status);
        };
        self.install.push(install);
        self.call.push(call);
    }
}

/// Installs the filter on standard input, if there is one, and prints the
/// nanoseconds that took, and those of a getppid(2) afterwards.
fn measure_here() -> ! {
    let mut filter = Vec::new();
    std::io::stdin().read_to_end(&mut filter).expect("standard input is read");
    rustix::thread::set_no_new_privs(true).expect("it can be set");
    let begin = Instant::now();
    if !filter.is_empty() {
        launcher::sys::seccomp_set_mode_filter(&filter, 0).expect("the filter is valid");
    }
    let install = begin.elapsed().as_nanos();
    // The best of many: what interrupts one has nothing to do with filters.
    let goes = (0..GOES).map(|_| {
        let begin = Instant::now();
        for _ in 0..CALLS {
            std::hint::black_box(rustix::process::getppid());
        }
        begin.elapsed().as_nanos()
    });
    let call = goes.min().unwrap_or_default() as f64 / f64::from(CALLS);
    println!("{install} {call}");
    std::process::exit(0);
}

fn report(name: &str, candidates: &[Candidate], floor: f64) {
    let [run, launch, ..] = candidates else { return };
    let (own, own_call) = (median(&run.install), median(&run.call));
    println!("\n{name}");
    println!("  {:<16} {:>12} {:>10} {:>6} {:>16}", "", "instructions", "install", "", "getppid");
    for candidate in candidates {
        let (install, call) = (median(&candidate.install), median(&candidate.call));
        println!(
            "  {:<16} {:>12} {:>7.1} us {:>5.1}x {:>8.1} ns {:>+5.1}%",
            candidate.maker,
            candidate.filter.len() / INSTRUCTION_SIZE,
            install / 1000.0,
            install / own,
            call,
            100.0 * (call - floor) / floor,
        );
    }
    let (saved, lost) = (own - median(&launch.install), median(&launch.call) - own_call);
    if saved > 0.0 && lost > 0.0 {
        println!(
            "  --optimize launch saves {:.1} us and costs {lost:.1} ns a call: it pays below {:.0} \
             calls",
            saved / 1000.0,
            saved / lost,
        );
    }
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
