//! Many launches at once: none fails, and nothing of them is left.
//!
//! `LAUNCHES` says how many there are. It is a program of its own, because what
//! other tests open at the same time would be counted.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use harness::{Binaries, Caller, Errno, IN_PLACE, Namespaces, TIMEOUT, TempDir};
use launcher_spawn::{Launcher, Sandbox, Stdio};
use rustix::process::{WaitOptions, wait};

/// How many run at a time.
const AT_ONCE: usize = 64;

/// How many there are, unless `LAUNCHES` says so.
const LAUNCHES: usize = 2000;

#[test]
fn many_launches_at_once_all_run_and_leave_nothing() {
    let launches = std::env::var("LAUNCHES");
    let launches = launches.map_or(LAUNCHES, |number| number.parse().expect("a number"));
    let binaries = Binaries::shared();
    let world = World::new(&binaries);
    // What is made for the first ones is kept for the others.
    world.launch(4 * AT_ONCE);
    let before = Counts::now(&binaries);
    let mut times = world.launch(launches);
    let end = Instant::now() + TIMEOUT;
    let after = loop {
        let after = Counts::now(&binaries);
        // The kernel takes namespaces apart after their last process.
        if !after.has_more_than(&before, launches / 10) || Instant::now() > end {
            break after;
        }
        std::thread::yield_now();
    };
    times.sort_unstable();
    let part = |part: usize| times[(times.len() - 1) * part / 1000];
    println!(
        "{launches} launches, {AT_ONCE} at a time: median {:?}, p99 {:?}, longest {:?}",
        part(500),
        part(990),
        part(1000)
    );
    println!("before: {before:?}\nafter:  {after:?}");
    assert!(!after.has_more_than(&before, launches / 10), "{before:?}, {after:?}");
    assert_eq!((after.fds, after.processes), (before.fds, before.processes));
    assert_eq!(after.mounts, before.mounts);
    // The server goes, and what holds the template.
    drop(world);
    assert_eq!(Counts::now(&binaries).processes, 0);
    assert_eq!(wait(WaitOptions::NOHANG).err(), Some(Errno::CHILD), "a child is left");
}

/// The ways to launch.
struct World<'b> {
    binaries: &'b Binaries,
    sandboxes: [Sandbox; 2],
    /// The first of them from a template, by a server.
    served: Sandbox,
    /// Policies for who has no library.
    files: TempDir,
}

impl<'b> World<'b> {
    fn new(binaries: &'b Binaries) -> Self {
        let launcher = Launcher::from_path(binaries.launcher()).expect("it is there");
        let texts = ["", IN_PLACE].map(|text| harness::with_probe(text, &binaries.probe()));
        let sandbox = |text: &String| {
            let sandbox = Sandbox::from_toml(text).expect("it is a policy");
            sandbox.launcher(launcher.clone()).prepare().expect("it can be prepared")
        };
        let sandboxes = [sandbox(&texts[0]), sandbox(&texts[1])];
        let served = sandboxes[0].clone().template().serve().prepare().expect("it can be prepared");
        let files = ["0", "1"].into_iter().zip(&sandboxes).fold(TempDir::new(), |files, each| {
            files.file(each.0, each.1.policy().expect("it has one"))
        });
        Self { binaries, sandboxes, served, files }
    }

    /// So many, and how long each took.
    fn launch(&self, launches: usize) -> Vec<Duration> {
        let next = AtomicUsize::new(0);
        let turn = || {
            let mut times = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= launches {
                    return times;
                }
                let begin = Instant::now();
                self.launch_one(number);
                times.push(begin.elapsed());
            }
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(turn)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no launch fails")).collect()
        })
    }

    /// By the library, in one of three ways, or as an ordinary user by the
    /// launcher alone.
    fn launch_one(&self, number: usize) {
        let policy = number % 2;
        let probe = self.binaries.probe();
        let word = format!("say {number}");
        let nobody = Caller::Nobody.uid().to_string();
        let mut command = match number % 6 {
            0 | 1 => self.sandboxes[policy].command(&probe),
            2 | 3 => self.served.command(&probe),
            _ => {
                let mut command = Sandbox::none().command("setpriv");
                command.args(["--clear-groups", "--regid", &nobody, "--reuid", &nobody]);
                command.arg(self.binaries.launcher()).arg("--policy");
                command.arg(self.files.join(policy.to_string())).arg("--").arg(&probe);
                command
            }
        };
        let output = command.arg(word).stdin(Stdio::null()).output().expect("it runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("ok {number}\n"), "{output:?}");
        assert!(output.status.success(), "{output:?}");
    }
}

/// What could be left.
#[derive(Debug)]
struct Counts {
    /// Descriptors of this process.
    fds: usize,
    /// Processes that run one of the programs under test.
    processes: usize,
    /// Mounts that this process sees.
    mounts: usize,
    /// Those that the kernel has.
    namespaces: Namespaces,
}

impl Counts {
    fn now(binaries: &Binaries) -> Self {
        let programs = [binaries.launcher(), binaries.probe()];
        let processes = fs::read_dir("/proc").expect("it is listed");
        let programs_run = processes
            .filter_map(|entry| fs::read_link(entry.ok()?.path().join("exe")).ok())
            .filter(|program| programs.contains(program));
        Self {
            fds: fs::read_dir("/proc/self/fd").expect("it is listed").count(),
            processes: programs_run.count(),
            mounts: fs::read_to_string("/proc/self/mountinfo").expect("text").lines().count(),
            namespaces: Namespaces::now(),
        }
    }

    /// Whether the kernel has more of anything than it had, by so many.
    fn has_more_than(&self, before: &Self, allowed: usize) -> bool {
        self.namespaces.are_more_than(&before.namespaces, allowed)
    }
}
