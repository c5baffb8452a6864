//! Compiles submissions in C and runs them, each in a sandbox, and says what
//! became of them: `judge [HOW OFTEN]`, five times if nothing is said, makes a
//! hundred of twenty.
#![allow(missing_docs, reason = "an example")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use launcher_spawn::receipt::{EndedBy, Exit};
use launcher_spawn::{Error, Sandbox, Stdio};

/// Where a submission lies, handed over anew with each command: one policy does
/// for all of them.
const DIRECTORY: i32 = 3;

/// What the compiler may do: the system's programs and the submission's
/// directory.
const COMPILING: &str = r#"
filesystem = { root = "minimal", write = [{ fd = 3, at = "/submission" }] }
process.cwd = "/submission"
limits.wall_time = "60s"
"#;

/// What a submission may do: read what it is given, and compute.
const RUNNING: &str = r#"
filesystem = { root = "minimal", execute = [{ fd = 3, at = "/submission" }], tmp = "none" }
process.cwd = "/submission"
seccomp = { profile = "strict", action = "kill" }

[limits]
cpu_time = "1s"
wall_time = "60s"
memory = "64M"
processes = 4
"#;

/// Said by a submission that gets no memory: where no cgroup binds it, the limit
/// is that of the process, and malloc(3) fails.
const NO_MEMORY: i32 = 77;

/// Linked with every submission.
const PRELUDE: &str = r#"
#include <stdlib.h>
#include <unistd.h>
void *__real_malloc(size_t);
void *__wrap_malloc(size_t size) {
    void *memory = __real_malloc(size);
    if (!memory) _exit(77);
    return memory;
}
"#;

const INPUT: &str = "20 22\n";
const EXPECTED: &str = "42";

/// More than a right answer is long; the rest is not read.
const MOST_OUTPUT: u64 = 4096;

/// What is handed in, and how often in a round.
const SUBMISSIONS: [(usize, &str); 6] = [
    (8, "int a, b; scanf(\"%d %d\", &a, &b); printf(\"%d\\n\", a + b); return 0;"),
    (4, "int a, b; scanf(\"%d %d\", &a, &b); printf(\"%d\\n\", a - b); return 0;"),
    (1, "for (;;);"),
    (2, "for (;;) memset(malloc(1 << 20), 1, 1 << 20);"),
    (3, "int *volatile nothing = NULL; return *nothing;"),
    (2, "unshare(CLONE_NEWUSER); puts(\"42\"); return 0;"),
];

/// What becomes of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Accepted,
    WrongAnswer,
    CompileError,
    TimeLimit,
    MemoryLimit,
    RuntimeError,
    SecurityViolation,
}

fn main() -> ExitCode {
    let rounds = std::env::args().nth(1).map_or(Ok(5), |rounds| rounds.parse());
    let judged = rounds.map_err(|error| Error::from(std::io::Error::other(error)));
    match judged.and_then(judge_all) {
        Ok(verdicts) => {
            for (verdict, count) in verdicts {
                println!("{verdict:?} {count}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("judge: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Judges everything, with as many threads as there are processors.
fn judge_all(rounds: usize) -> Result<BTreeMap<Verdict, usize>, Error> {
    let compiling = Sandbox::from_toml(COMPILING)?.prepare()?;
    let running = Sandbox::from_toml(RUNNING)?.prepare()?;
    let of_round = SUBMISSIONS.iter().flat_map(|&(count, body)| vec![body; count]);
    let queue: Vec<&str> = (0..rounds).flat_map(|_| of_round.clone()).collect();
    let (next, verdicts) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || -> Result<(), Error> {
        while let Some(body) = queue.get(next.fetch_add(1, Ordering::Relaxed)) {
            let verdict = judge(&compiling, &running, body)?;
            let mut verdicts = verdicts.lock().expect("no thread has panicked");
            *verdicts.entry(verdict).or_default() += 1;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let count = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
    })?;
    Ok(verdicts.into_inner().expect("no thread has panicked"))
}

/// Compiles one submission and runs it.
fn judge(compiling: &Sandbox, running: &Sandbox, body: &str) -> Result<Verdict, Error> {
    let directory = tempfile::tempdir()?;
    let source = format!(
        "#define _GNU_SOURCE\n#include <sched.h>\n#include <stdio.h>\n#include <stdlib.h>\n\
         #include <string.h>\nint main(void) {{ {body} }}\n"
    );
    fs::write(directory.path().join("main.c"), source)?;
    fs::write(directory.path().join("prelude.c"), PRELUDE)?;
    fs::write(directory.path().join("input"), INPUT)?;
    let compiled = compiling
        .command("gcc")
        .args(["-w", "-Wl,--wrap=malloc", "-o", "program", "main.c", "prelude.c"])
        .fd(DIRECTORY, File::open(&directory)?)
        .output()?;
    if !compiled.status.success() {
        return Ok(Verdict::CompileError);
    }
    run(running, directory.path())
}

/// Runs a submission that is compiled.
fn run(running: &Sandbox, directory: &Path) -> Result<Verdict, Error> {
    let mut child = running
        .command("/submission/program")
        .fd(DIRECTORY, File::open(directory)?)
        .stdin(File::open(directory.join("input"))?)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .receipt(true)
        .spawn()?;
    let mut answer = String::new();
    if let Some(stdout) = child.stdout.take() {
        // What is no text is no answer.
        let _ = stdout.take(MOST_OUTPUT).read_to_string(&mut answer);
    }
    child.wait()?;
    let exit = child.receipt()?.and_then(|receipt| receipt.exit);
    Ok(exit.map_or(Verdict::RuntimeError, |exit| verdict(&exit, &answer)))
}

/// What the launcher's receipt says of an end.
fn verdict(exit: &Exit, answer: &str) -> Verdict {
    /// A system call that the filter ends the process for.
    const SIGSYS: i32 = 31;
    match (exit.ended_by, exit.code, exit.signal) {
        (EndedBy::Wall | EndedBy::Cpu, ..) => Verdict::TimeLimit,
        (EndedBy::Memory, ..) | (_, Some(NO_MEMORY), _) => Verdict::MemoryLimit,
        (_, _, Some(SIGSYS)) => Verdict::SecurityViolation,
        (_, Some(0), _) if answer.trim_end() == EXPECTED => Verdict::Accepted,
        (_, Some(0), _) => Verdict::WrongAnswer,
        _ => Verdict::RuntimeError,
    }
}
