//! How the cost of a launch grows, with what.

use std::error::Error;
use std::fmt::Write;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use clap::Parser;
use launcher_spawn::{Network, Sandbox};
use measure::apart;
use measure::ours::{EMPTY_ROOT, IN_PLACE};
use measure::picture::{Curve, curves};
use measure::sampling::interleaved;
use measure::stage::Stage;
use measure::way::Way;
use rustix::mount::mount_bind;
use rustix::process::geteuid;
use serde::Serialize;
use tempfile::TempDir;

/// How the cost of a launch grows with what it is given.
#[derive(Debug, Parser)]
struct Options {
    /// How often each way is measured at each point.
    #[arg(long, default_value_t = 100)]
    rounds: usize,
    /// Where the figures and pictures go.
    #[arg(long)]
    out: PathBuf,
    /// Only what has this in its name.
    #[arg(default_value = "")]
    only: String,
    /// In a mount namespace of its own.
    #[arg(long, hide = true)]
    apart: bool,
}

/// What a launch is given more and more of.
struct Axis {
    name: &'static str,
    /// What is counted.
    unit: &'static str,
    points: &'static [usize],
    /// The ways to launch with so many of them.
    ways: fn(&mut World, usize) -> Vec<Way>,
}

/// What the ways are made of.
struct World {
    stage: Stage,
    /// Directories for policies to grant, by their numbers.
    tree: TempDir,
    directories: usize,
    /// What makes this process large.
    ballast: Vec<u8>,
}

/// One point of a curve.
#[derive(Serialize)]
struct Point {
    axis: &'static str,
    way: String,
    x: usize,
    /// The median in microseconds, or launches per second.
    y: f64,
}

const AXES: [Axis; 8] = [
    Axis { name: "mounts", unit: "entries", points: &[1, 3, 10, 30, 100, 300, 1000], ways: mounts },
    Axis {
        name: "rules",
        unit: "Landlock rules",
        points: &[1, 10, 100, 1000, 10_000],
        ways: rules,
    },
    Axis {
        name: "filter",
        unit: "arguments compared",
        points: &[1, 10, 100, 300, 1000],
        ways: filter,
    },
    Axis {
        name: "policy",
        unit: "bytes of environment in the policy",
        points: &[1000, 10_000, 100_000, 500_000],
        ways: policy,
    },
    Axis {
        name: "environment",
        unit: "bytes",
        points: &[1000, 10_000, 100_000, 1_000_000],
        ways: environment,
    },
    Axis {
        name: "arguments",
        unit: "bytes",
        points: &[1000, 10_000, 100_000, 1_000_000],
        ways: arguments,
    },
    Axis {
        name: "caller",
        unit: "MiB of memory of the caller",
        points: &[10, 100, 1000, 4000],
        ways: caller,
    },
    // The last one: mounts stay.
    Axis {
        name: "host-mounts",
        unit: "mounts of the host",
        points: &[25, 100, 500, 2000],
        ways: host_mounts,
    },
];

/// How many launches are made at once.
const AT_ONCE: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    apart::go(options.apart)?;
    fs::create_dir_all(&options.out)?;
    let mut world = World::new();
    let mut figures = csv::Writer::from_path(options.out.join("scale.csv"))?;
    let mut keep = |points: &[Point], unit: &str, y: &str| -> Result<(), Box<dyn Error>> {
        points.iter().try_for_each(|point| figures.serialize(point))?;
        draw(&options.out, points, unit, y)?;
        print(points, unit);
        Ok(())
    };
    let wanted = |name: &str| name.contains(&options.only);
    if wanted("concurrent") {
        keep(&concurrent(&mut world, options.rounds), "launches at once", "launches per second")?;
    }
    for axis in AXES.iter().filter(|axis| wanted(axis.name)) {
        if axis.name == "host-mounts" && !geteuid().is_root() {
            eprintln!("{} takes root", axis.name);
            continue;
        }
        keep(&measure(axis, &mut world, options.rounds), axis.unit, "microseconds")?;
    }
    figures.flush()?;
    Ok(())
}

/// Measures all ways at all points.
fn measure(axis: &Axis, world: &mut World, rounds: usize) -> Vec<Point> {
    let mut points = Vec::new();
    for &x in axis.points {
        let ways = (axis.ways)(world, x);
        let samples = interleaved(&ways, rounds, Way::run);
        points.extend(ways.into_iter().zip(samples).map(|(way, samples)| Point {
            axis: axis.name,
            way: way.name,
            x,
            y: samples.median().as_secs_f64() * 1e6,
        }));
    }
    points
}

/// Launches per second, by how many are made at once.
fn concurrent(world: &mut World, rounds: usize) -> Vec<Point> {
    let mut points = Vec::new();
    for at_once in AT_ONCE {
        let mut ways = both(world, IN_PLACE, EMPTY_ROOT);
        ways.extend(prepared(world));
        for way in ways {
            let each = rounds.div_ceil(at_once).max(2);
            let begin = Instant::now();
            thread::scope(|scope| {
                let run = || (0..each).for_each(|_| way.run());
                (0..at_once).for_each(|_| drop(scope.spawn(run)));
            });
            let rate = (each * at_once) as f64 / begin.elapsed().as_secs_f64();
            points.push(Point { axis: "concurrent", way: way.name, x: at_once, y: rate });
        }
    }
    points
}

impl World {
    fn new() -> Self {
        let tree = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .expect("the temporary directory can be written");
        Self { stage: Stage::new(), tree, directories: 0, ballast: Vec::new() }
    }

    /// A directory of that number.
    fn directory(&mut self, number: usize) -> PathBuf {
        while self.directories <= number {
            let path = self.tree.path().join(self.directories.to_string());
            fs::create_dir(path).expect("the name is free");
            self.directories += 1;
        }
        self.tree.path().join(number.to_string())
    }

    /// Entries of a policy that grant so many directories.
    fn entries(&mut self, number: usize) -> String {
        let mut text = String::from("filesystem.read = [\n");
        for number in 0..number {
            let directory = self.directory(number);
            writeln!(text, "    {directory:?},").expect("writing to memory does not fail");
        }
        text + "]\n"
    }
}

/// A start without a sandbox, one in place and one with namespaces.
fn both(world: &World, in_place: &str, namespaces: &str) -> Vec<Way> {
    let stage = &world.stage;
    vec![
        Way::command("posix_spawn", "", vec![stage.job().into()]),
        Way::launcher("in place", "", in_place, stage),
        Way::launcher("namespaces", "", namespaces, stage),
    ]
}

/// With namespaces, of which more and more is made before.
fn prepared(world: &World) -> Vec<Way> {
    let with = |name: &str, with: fn(Sandbox) -> Sandbox| {
        Way::prepared(name, "", EMPTY_ROOT, &world.stage, with)
    };
    vec![
        with("network from a pool", |all| all.network(Network::Pooled)),
        with("network shared", |all| all.network(Network::Shared)),
        with("template", Sandbox::template),
        with("template, network shared", |all| all.template().network(Network::Shared)),
        with("server, template", |all| all.template().serve()),
        with("server, template, network shared", |all| {
            all.template().network(Network::Shared).serve()
        }),
    ]
}

fn mounts(world: &mut World, number: usize) -> Vec<Way> {
    let policy = world.entries(number) + EMPTY_ROOT;
    vec![Way::launcher("namespaces", "", &policy, &world.stage)]
}

fn rules(world: &mut World, number: usize) -> Vec<Way> {
    let policy = world.entries(number) + IN_PLACE;
    vec![
        Way::launcher("in place", "", &policy, &world.stage),
        Way::library("in place, ruleset made before", "", &policy, &world.stage),
    ]
}

fn filter(world: &mut World, number: usize) -> Vec<Way> {
    let mut rules = String::new();
    for value in 0..number {
        writeln!(
            rules,
            "[[seccomp.rule]]\ncall = \"ioctl\"\naction = \"errno\"\n\
             args = [{{ index = 1, op = \"equal\", value = {} }}]",
            0x10_0000 + value * 3
        )
        .expect("writing to memory does not fail");
    }
    both(world, &format!("{IN_PLACE}{rules}"), &format!("{EMPTY_ROOT}{rules}"))
}

fn policy(world: &mut World, bytes: usize) -> Vec<Way> {
    let variables: Vec<String> =
        pieces(bytes).map(|(name, value)| format!("{name} = {value:?}")).collect();
    let set = format!("process.env.set = {{ {} }}\n", variables.join(", "));
    both(world, &format!("{IN_PLACE}{set}"), &format!("{EMPTY_ROOT}{set}"))
}

fn environment(world: &mut World, bytes: usize) -> Vec<Way> {
    let keep = "process.env.keep = [\"V_*\"]\n";
    let mut ways = both(world, &format!("{IN_PLACE}{keep}"), &format!("{EMPTY_ROOT}{keep}"));
    for way in &mut ways {
        way.variables = pieces(bytes).collect();
    }
    ways
}

fn arguments(world: &mut World, bytes: usize) -> Vec<Way> {
    let mut ways = both(world, IN_PLACE, EMPTY_ROOT);
    for way in &mut ways {
        way.arguments = pieces(bytes).map(|(_, value)| value).collect();
    }
    ways
}

fn caller(world: &mut World, mebibytes: usize) -> Vec<Way> {
    // Written to, so that there are pages.
    world.ballast.resize(mebibytes << 20, 1);
    let mut ways = both(world, IN_PLACE, EMPTY_ROOT);
    ways.push(Way::library("in place, by the library", "", IN_PLACE, &world.stage));
    ways.push(Way::library("namespaces, by the library", "", EMPTY_ROOT, &world.stage));
    ways
}

fn host_mounts(world: &mut World, number: usize) -> Vec<Way> {
    world.ballast = Vec::new();
    let there = fs::read_to_string("/proc/self/mountinfo").expect("it is read").lines().count();
    let place = world.directory(0);
    for _ in there..number {
        let place: &Path = &place;
        mount_bind(place, place).expect("it can be mounted");
    }
    let mut ways = both(world, IN_PLACE, EMPTY_ROOT);
    ways.extend(prepared(world));
    ways
}

/// Variables of a KiB each.
fn pieces(bytes: usize) -> impl Iterator<Item = (String, String)> {
    const PIECE: usize = 1000;
    let value = "v".repeat(bytes.min(PIECE));
    (0..bytes.div_ceil(PIECE)).map(move |number| (format!("V_{number}"), value.clone()))
}

/// The names of the ways, in their order.
fn ways(points: &[Point]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for point in points {
        if !names.contains(&point.way.as_str()) {
            names.push(&point.way);
        }
    }
    names
}

fn draw(out: &Path, points: &[Point], unit: &str, y: &str) -> Result<(), Box<dyn Error>> {
    let Some(first) = points.first() else { return Ok(()) };
    let curve = |way: &str| {
        let of_way = points.iter().filter(|point| point.way == way);
        Curve {
            label: way.to_owned(),
            points: of_way.map(|point| (point.x as f64, point.y)).collect(),
        }
    };
    let all: Vec<Curve> = ways(points).into_iter().map(curve).collect();
    curves(&out.join(format!("{}.svg", first.axis)), first.axis, (unit, y), &all)
}

/// Prints the curves, and how steep they are between their last two points.
fn print(points: &[Point], unit: &str) {
    let Some(first) = points.first() else { return };
    println!("\n{}, by {unit}:", first.axis);
    for way in ways(points) {
        let of_way: Vec<_> = points.iter().filter(|point| point.way == way).collect();
        print!("  {way:30}");
        of_way.iter().for_each(|point| print!(" {}: {:.0},", point.x, point.y));
        if let [.., before, last] = of_way.as_slice() {
            let slope = (last.y - before.y) / (last.x - before.x) as f64;
            print!(" {slope:.4} for each more");
        }
        println!();
    }
}
