//! What a launch costs: a static program that does nothing, started by the
//! launcher, against the same program started by vfork, exec and wait.
//!
//! The ways to start it take turns within each measurement, so that whatever
//! else the machine does is borne by all of them.
#![allow(missing_docs, reason = "criterion's macros document nothing")]

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use policy_encoder::Place;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

mod policies;

/// Landlock and seccomp in the launcher's own process.
const IN_PLACE: &str = r#"
filesystem = { tmp = "none", proc = false, dev = "none", execute = [PROGRAM] }
network.unix = "host"
enforce.namespaces = "off"
enforce.waive = ["execute"]
"#;

/// Seven namespaces and a view of nothing but the program.
const NAMESPACES: &str = "filesystem.execute = [PROGRAM]";

/// What bubblewrap needs for the same view.
const UNSHARE_ALL: &[&str] =
    &["--unshare-all", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"];

fn startup(criterion: &mut Criterion) {
    let launched = [("in place", IN_PLACE), ("namespaces", NAMESPACES)]
        .map(|(name, policy)| (name, Start::launcher(policy)));
    let mut ways = vec![("plain", Start::plain())];
    ways.extend(launched);
    // The usual yardstick. By itself it applies neither Landlock nor seccomp.
    if Command::new("bwrap").arg("--version").output().is_ok() {
        ways.push(("bubblewrap --ro-bind", Start::bubblewrap(&[])));
        ways.push(("bubblewrap --unshare-all", Start::bubblewrap(UNSHARE_ALL)));
    } else {
        eprintln!("bubblewrap is not installed");
    }

    let mut group = criterion.benchmark_group("startup");
    for (measured, (name, _)) in ways.iter().enumerate() {
        group.bench_function(*name, |bench| {
            bench.iter_custom(|rounds| time_in_turns(&ways, measured, rounds));
        });
    }
}

/// The time that one of the ways takes, with all of them taking turns.
fn time_in_turns(ways: &[(&str, Start)], measured: usize, rounds: u64) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..rounds {
        for (turn, (_, start)) in ways.iter().enumerate() {
            let begin = Instant::now();
            start.run();
            if turn == measured {
                total += begin.elapsed();
            }
        }
    }
    total
}

/// One way to start the program.
struct Start {
    arguments: Vec<PathBuf>,
    /// What the launcher inherits.
    _policy: Option<OwnedFd>,
}

impl Start {
    fn plain() -> Self {
        Self { arguments: vec![built("test/nothing")], _policy: None }
    }

    fn launcher(policy: &str) -> Self {
        let program = built("test/nothing");
        let text = policy.replace("PROGRAM", &format!("{program:?}"));
        let place = Place::here().expect("there is a working directory");
        let policy = sealed(&policies::bytes(&policies::document(&text), &place));
        let fd = policy.as_raw_fd().to_string();
        let mut arguments = vec![built("launcher")];
        arguments.extend(["--sealed", "--fd", &fd, "--"].map(PathBuf::from));
        arguments.push(program);
        Self { arguments, _policy: Some(policy) }
    }

    fn bubblewrap(options: &[&str]) -> Self {
        let program = built("test/nothing");
        let mut arguments = ["bwrap", "--ro-bind", "/", "/"].map(PathBuf::from).to_vec();
        arguments.extend(options.iter().map(PathBuf::from));
        arguments.extend(["--".into(), program]);
        Self { arguments, _policy: None }
    }

    /// Starts it and waits for it. The standard library does so by
    /// posix_spawn(3), which is vfork and exec.
    fn run(&self) {
        let [program, arguments @ ..] = self.arguments.as_slice() else {
            unreachable!("there is a program to start")
        };
        let status = Command::new(program).args(arguments).status().expect("it starts");
        assert!(status.success(), "{program:?} {arguments:?}: {status}");
    }
}

/// A program that was built.
fn built(name: &str) -> PathBuf {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist");
    let program = dist.join(name);
    program
        .canonicalize()
        .unwrap_or_else(|error| panic!("{}: {error}; run `make bench`", program.display()))
}

/// The policy as `--sealed` wants it. Children inherit it.
fn sealed(policy: &[u8]) -> OwnedFd {
    let memfd = memfd_create(c"policy", MemfdFlags::ALLOW_SEALING).expect("there is memory");
    let mut file = File::from(memfd);
    file.write_all(policy).expect("there is memory");
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK)
        .expect("it can be sealed");
    file.into()
}

criterion_group!(benches, startup);
criterion_main!(benches);
