//! The launcher beside other sandboxes: each runs the same static program, in
//! turns, as root and as nobody.

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Parser;
use measure::others::{self, on_path};
use measure::picture::{Bar, bars};
use measure::sampling::{Samples, interleaved};
use measure::stage::Stage;
use measure::trace::{follow, follow_marked, mark};
use measure::way::Way;
use measure::{apart, ours};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

/// How `docs/comparison.md` begins.
const HEAD: &str = "\
# Comparison

What it takes to start a static program that does nothing and to wait for its end: by the launcher, by its library, and by
other programs that put a command into a sandbox. `make compare` measures this and writes this page.

All ways take their turn in every round, in an order that is shuffled anew, so that what else the machine does is borne by all
of them. Times are in microseconds; *the floor* is the median of a plain posix_spawn(3). System calls are those of all processes
until the program runs and after it has ended, without its own: of the library those of who uses it and of the server, if there
is one. Memory is the most that one of these processes had. What runs as root empties the bounding set, one call for each
capability.

*In force* is what the kernel holds the program to. Bubblewrap applies neither Landlock nor seccomp by itself: the two ways
that begin with *as bwrap* do no more than it does; what they are compared with stands beside them.
";

/// Launches of the launcher and of other sandboxes, in turns.
#[derive(Debug, Parser)]
struct Options {
    /// How often each way is measured.
    #[arg(long, default_value_t = 1000)]
    rounds: usize,
    /// Where the figures go: `comparison.csv`, `comparison.svg`, `comparison.md`.
    #[arg(long)]
    out: Option<PathBuf>,
    /// In a mount namespace of its own.
    #[arg(long, hide = true)]
    apart: bool,
    /// Measures as the user that it runs as, and writes CSV.
    #[arg(long, hide = true)]
    stage: Option<PathBuf>,
    /// Launches twice in this way, the second time between two marks.
    #[arg(long, hide = true)]
    marked: Option<String>,
}

/// What was measured of a way; times are in microseconds.
#[derive(Debug, Deserialize, Serialize)]
struct Row {
    caller: String,
    name: String,
    applies: String,
    is_ours: bool,
    min: f64,
    median: f64,
    p90: f64,
    p99: f64,
    times_floor: f64,
    system_calls: usize,
    memory_kib: Option<usize>,
    size_bytes: Option<u64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    if let Some(stage) = options.stage {
        let stage = Stage::of(stage);
        return match options.marked {
            Some(name) => launch_marked(&stage, &name),
            None => measure(&stage, options.rounds),
        };
    }
    // Some leave mounts behind, which nobody else is to see.
    apart::go(options.apart)?;
    let stage = Stage::new();
    let mut rows = Vec::new();
    for (caller, prefix) in callers() {
        let mut argv: Vec<OsString> = prefix.iter().map(OsString::from).collect();
        argv.push(stage.path().join("measure").into());
        argv.extend(["--rounds".into(), options.rounds.to_string().into()]);
        argv.extend(["--stage".into(), stage.path().into()]);
        let output = Command::new(&argv[0]).args(&argv[1..]).stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("measuring as {caller}: {}", output.status).into());
        }
        for row in csv::Reader::from_reader(output.stdout.as_slice()).deserialize() {
            rows.push(Row { caller: caller.to_owned(), ..row? });
        }
    }
    let table = table(&rows);
    print!("{table}");
    let Some(out) = options.out else { return Ok(()) };
    let mut file = csv::Writer::from_path(out.join("comparison.csv"))?;
    rows.iter().try_for_each(|row| file.serialize(row))?;
    file.flush()?;
    draw(&out.join("comparison.svg"), &rows)?;
    fs::write(out.join("comparison.md"), document(&table, options.rounds)?)?;
    Ok(())
}

/// Who launches, and how one becomes that.
fn callers() -> Vec<(&'static str, &'static [&'static str])> {
    const NOBODY: &[&str] = &[
        "setpriv",
        "--clear-groups",
        "--regid",
        "65534",
        "--reuid",
        "65534",
        "--inh-caps",
        "-all",
    ];
    match geteuid().is_root() {
        true => vec![("nobody", NOBODY), ("root", &[])],
        false => vec![("user", &[])],
    }
}

/// Measures all ways and writes what it has found.
fn measure(stage: &Stage, rounds: usize) -> Result<(), Box<dyn Error>> {
    let job = stage.job();
    let mut ways = vec![Way::command("posix_spawn, no sandbox", "nothing", vec![job.into()])];
    ways.extend(ours::ways(stage));
    let (others, missing) = others::found(&stage.job());
    ways.extend(others);
    for name in missing {
        eprintln!("{name} is not on PATH");
    }
    ways.retain(|way| {
        way.tried().inspect_err(|why| eprintln!("{} does not run: {why}", way.name)).is_ok()
    });
    let samples = interleaved(&ways, rounds, Way::run);
    let floor = samples[0].median();
    let mut file = csv::Writer::from_writer(io::stdout());
    for (way, samples) in ways.iter().zip(&samples) {
        file.serialize(row(way, samples, floor, stage)?)?;
    }
    file.flush()?;
    Ok(())
}

/// What is followed to count the calls of a way that has no command line.
fn launch_marked(stage: &Stage, name: &str) -> Result<(), Box<dyn Error>> {
    let ways = ours::ways(stage);
    let way = ways.iter().find(|way| way.name == name).ok_or("there is no such way")?;
    way.run();
    mark()?;
    way.run();
    mark()?;
    Ok(())
}

/// System calls of a launch in this way, and the memory of who makes it where
/// that is not this process.
fn taken(way: &Way, stage: &Stage) -> Result<(usize, Option<usize>), Box<dyn Error>> {
    let job = stage.job();
    if let Some(argv) = way.argv() {
        let taken = follow(argv, &job)?;
        return Ok((taken.system_calls, Some(taken.memory)));
    }
    let own = stage.path().join("measure").into();
    let argv = [own, "--stage".into(), stage.path().into(), "--marked".into(), (&way.name).into()];
    Ok((follow_marked(&argv, &job)?, None))
}

fn row(
    way: &Way,
    samples: &Samples,
    floor: Duration,
    stage: &Stage,
) -> Result<Row, Box<dyn Error>> {
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let (system_calls, memory_kib) = taken(way, stage)?;
    let program = way.argv().and_then(|argv| match Path::new(&argv[0]).is_absolute() {
        true => Some(PathBuf::from(&argv[0])),
        false => on_path(argv[0].to_str()?),
    });
    Ok(Row {
        caller: String::new(),
        name: way.name.clone(),
        applies: way.applies.clone(),
        is_ours: way.is_ours,
        min: micros(samples.quantile(0)),
        median: micros(samples.median()),
        p90: micros(samples.quantile(900)),
        p99: micros(samples.quantile(990)),
        times_floor: samples.median().as_secs_f64() / floor.as_secs_f64(),
        system_calls,
        memory_kib,
        size_bytes: program
            .map(|program| fs::metadata(program).map(|file| file.len()))
            .transpose()?,
    })
}

fn table(rows: &[Row]) -> String {
    let number = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    let head = "| caller | way | in force | min | median | p90 | p99 | times the floor | system calls | \
                memory, KiB | program, bytes |\n|---|---|---|---|---|---|---|---|---|---|---|\n";
    let line = |row: &Row| {
        let Row { caller, name, applies, min, median, p90, p99, times_floor, .. } = row;
        let (calls, memory) = (row.system_calls, number(row.memory_kib.map(|kib| kib as u64)));
        let size = number(row.size_bytes);
        format!(
            "| {caller} | {name} | {applies} | {min:.0} | {median:.0} | {p90:.0} | {p99:.0} \
             | {times_floor:.1} | {calls} | {memory} | {size} |\n"
        )
    };
    head.to_owned() + &rows.iter().map(line).collect::<String>()
}

/// What `docs/comparison.md` says.
fn document(table: &str, rounds: usize) -> Result<String, Box<dyn Error>> {
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let processor = fs::read_to_string("/proc/cpuinfo")?;
    let processor =
        processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let processor = processor.map_or("an unnamed processor", |(_, name)| name);
    Ok(format!("{HEAD}\nLinux {kernel}, {processor}, {rounds} rounds.\n\n{table}"))
}

/// Draws what the first caller saw.
fn draw(path: &Path, rows: &[Row]) -> Result<(), Box<dyn Error>> {
    let first = rows.first().map(|row| row.caller.as_str()).unwrap_or_default();
    let bar =
        |row: &Row| Bar { label: row.name.clone(), value: row.times_floor, is_ours: row.is_ours };
    let mut of_first: Vec<Bar> = rows.iter().filter(|row| row.caller == first).map(bar).collect();
    of_first.sort_by(|one, other| one.value.total_cmp(&other.value));
    let title = format!("Time to run a static program, as {first}, as a multiple of posix_spawn");
    bars(path, &title, &of_first)
}
