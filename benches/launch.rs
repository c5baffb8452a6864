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
use launcher_spawn::{Launcher, Network, Sandbox};
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

/// One way to start the program and wait for it.
type Way = (&'static str, Box<dyn Fn()>);

fn startup(criterion: &mut Criterion) {
    let mut ways = vec![
        ("plain", plain()),
        ("in place", launcher(IN_PLACE)),
        ("in place, by the library", library(IN_PLACE)),
        ("namespaces", launcher(NAMESPACES)),
        ("namespaces, by the library", library(NAMESPACES)),
        ("network from a pool", prepared(NAMESPACES, |all| all.network(Network::Pooled))),
        ("network shared", prepared(NAMESPACES, |all| all.network(Network::Shared))),
        ("template", prepared(NAMESPACES, Sandbox::template)),
        (
            "template, network from a pool",
            prepared(NAMESPACES, |all| all.template().network(Network::Pooled)),
        ),
        (
            "template, network shared",
            prepared(NAMESPACES, |all| all.template().network(Network::Shared)),
        ),
    ];
    // The usual yardstick. By itself it applies neither Landlock nor seccomp.
    if Command::new("bwrap").arg("--version").output().is_ok() {
        ways.push(("bubblewrap --ro-bind", bubblewrap(&[])));
        ways.push(("bubblewrap --unshare-all", bubblewrap(UNSHARE_ALL)));
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
fn time_in_turns(ways: &[Way], measured: usize, rounds: u64) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..rounds {
        for (turn, (_, start)) in ways.iter().enumerate() {
            let begin = Instant::now();
            start();
            if turn == measured {
                total += begin.elapsed();
            }
        }
    }
    total
}

fn plain() -> Box<dyn Fn()> {
    let program = built("test/nothing");
    Box::new(move || run(&program, &[]))
}

fn launcher(policy: &str) -> Box<dyn Fn()> {
    let (launcher, program) = (built("launcher"), built("test/nothing"));
    let place = Place::here().expect("there is a working directory");
    let policy = sealed(&policies::bytes(&policies::document(&of_program(policy)), &place));
    Box::new(move || {
        let fd = policy.as_raw_fd().to_string();
        let arguments = ["--sealed", "--fd", &fd, "--"].map(PathBuf::from);
        run(&launcher, &[&arguments[..], std::slice::from_ref(&program)].concat());
    })
}

fn library(policy: &str) -> Box<dyn Fn()> {
    prepared(policy, |sandbox| sandbox)
}

fn prepared(policy: &str, with: impl Fn(Sandbox) -> Sandbox) -> Box<dyn Fn()> {
    let launcher = Launcher::from_path(built("launcher")).expect("it is built");
    let sandbox = Sandbox::from_toml(&of_program(policy)).expect("it is a policy");
    let sandbox = with(sandbox.launcher(launcher)).prepare().expect("it can be prepared");
    let program = built("test/nothing");
    Box::new(move || {
        let status = sandbox.command(&program).status().expect("it starts");
        assert!(status.success(), "{status}");
    })
}

fn bubblewrap(options: &[&str]) -> Box<dyn Fn()> {
    let mut arguments = ["--ro-bind", "/", "/"].map(PathBuf::from).to_vec();
    arguments.extend(options.iter().map(PathBuf::from));
    arguments.extend(["--".into(), built("test/nothing")]);
    Box::new(move || run(Path::new("bwrap"), &arguments))
}

/// A policy that runs the program.
fn of_program(policy: &str) -> String {
    policy.replace("PROGRAM", &format!("{:?}", built("test/nothing")))
}

/// The standard library does so by posix_spawn(3), which is vfork and exec.
fn run(program: &Path, arguments: &[PathBuf]) {
    let status = Command::new(program).args(arguments).status().expect("it starts");
    assert!(status.success(), "{program:?} {arguments:?}: {status}");
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
