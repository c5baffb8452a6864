//! A policy as a table for a person at a terminal.

use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use anstyle::{AnsiColor, Style};
use policy_encoder::explain::{
    Granted, KeptBy, Line, Needs, Network, Patterns, Process, Proxy, Shows, Summary, SystemCalls,
    merged,
};

const HEADING: Style = Style::new().bold();
const HIDDEN: Style = AnsiColor::Red.on_default();
const WRITABLE: Style = AnsiColor::Yellow.on_default();
const PLAIN: Style = Style::new();

/// Names of system calls in one line; the JSON has all of them.
const MOST_NAMES: usize = 8;

/// Writes everything to standard output; coloured on a terminal that wants it.
pub(crate) fn write(summary: &Summary) -> io::Result<()> {
    let mut output = anstream::AutoStream::auto(io::stdout().lock());
    heading(&mut output, "files")?;
    for each in merged(&summary.files) {
        line(&mut output, each.file.rights, &each.paths, &shows(&each))?;
    }
    let sections = [
        ("network", network(&summary.network)),
        ("limits", summary.limits.iter().map(limit).collect()),
        ("namespaces", vec![summary.namespaces.join(" ")]),
        ("process", process(&summary.process)),
        ("system calls", summary.system_calls.as_ref().map_or_else(unfiltered, calls)),
        ("needs", needs(&summary.needs)),
        ("patterns", patterns(&summary.patterns)),
    ];
    for (name, lines) in sections {
        if lines.iter().all(String::is_empty) {
            continue;
        }
        heading(&mut output, name)?;
        for line in lines {
            writeln!(output, "  {line}")?;
        }
    }
    output.flush()
}

fn heading(output: &mut impl Write, name: &str) -> io::Result<()> {
    writeln!(output, "{HEADING}{name}{HEADING:#}")
}

fn line(output: &mut impl Write, rights: Granted, path: &str, shows: &str) -> io::Result<()> {
    let style = match rights {
        Granted { hidden: true, .. } => HIDDEN,
        Granted { write: true, .. } => WRITABLE,
        _ => PLAIN,
    };
    let gap = if shows.is_empty() { "" } else { "  " };
    writeln!(output, "  {style}{:<6}{style:#}  {path}{gap}{shows}", rights.word())
}

fn shows(line: &Line<'_>) -> String {
    let file = line.file;
    match &file.shows {
        Shows::Host if file.path == std::path::Path::new("/") => "the host's whole tree".into(),
        Shows::Host => String::new(),
        Shows::Other(path) => format!("shows {}", path.display()),
        Shows::Descriptor(fd) => format!("what descriptor {fd} leads to"),
        Shows::Made if file.rights.hidden => String::new(),
        Shows::Made if file.path == std::path::Path::new("/") => "only what is listed".into(),
        Shows::Made if file.rights.write => "private".into(),
        Shows::Made => "empty but for what is listed".into(),
        Shows::Tmpfs(size) => format!("private, {}", bytes(*size)),
        Shows::Proc => "the command's own processes".into(),
        Shows::Devpts => "terminals of its own".into(),
        Shows::Overlay(lower) => format!("{}, changes kept apart", lower.display()),
        Shows::Symlink(_) if line.number > 1 => "symlinks".into(),
        Shows::Symlink(content) => format!("-> {}", content.display()),
        Shows::Rule => "by Landlock alone".into(),
    }
}

fn network(network: &Network) -> Vec<String> {
    let ports = |word: &str, ports: &Option<Vec<u16>>| {
        let ports = ports.as_ref()?;
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        Some(match ports.is_empty() {
            true => format!("{word} no port"),
            false => format!("{word} only {}", ports.join(" ")),
        })
    };
    let kinds = [(network.tcp, "TCP"), (network.udp, "UDP"), (network.unix, "UNIX")];
    let kinds: Vec<&str> = kinds.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
    let kinds = if kinds.is_empty() { "none".to_owned() } else { kinds.join(" ") };
    let first = format!("{}; sockets: {kinds}", network.access);
    let ports = [ports("connect:", &network.connect_tcp), ports("bind:", &network.bind_tcp)];
    let proxy = network.proxy.iter().flat_map(proxy);
    std::iter::once(first).chain(ports.into_iter().flatten()).chain(proxy).collect()
}

fn proxy(proxy: &Proxy) -> Vec<String> {
    let ports = proxy.ports.iter().map(|(word, port)| format!("{word} at 127.0.0.1:{port}"));
    let mut first = format!("proxy: {}", ports.collect::<Vec<_>>().join(", "));
    if let Some(upstream) = &proxy.upstream {
        first += &format!("; by way of {upstream}");
    }
    let list = |word: &str, hosts: &[String]| match hosts {
        [] => format!("{word}: nothing"),
        hosts => format!("{word}: {}", hosts.join(" ")),
    };
    let denied = (!proxy.deny.is_empty()).then(|| list("never", &proxy.deny));
    [Some(first), Some(list("lets through", &proxy.allow)), denied].into_iter().flatten().collect()
}

fn limit((name, value): &(String, String)) -> String {
    let number = value.parse::<u64>().ok();
    let value = match (name.as_str(), number) {
        ("memory", Some(size)) => bytes(size),
        ("cpu_time" | "wall_time", Some(time)) => {
            humantime::format_duration(Duration::from_millis(time)).to_string()
        }
        _ => value.clone(),
    };
    format!("{name} {value}")
}

fn process(process: &Process) -> Vec<String> {
    let directory = process.directory.as_ref().map_or_else(
        || "starts where the launcher does, if that is in view".to_owned(),
        |path| format!("starts in {}", path.display()),
    );
    let number = |word: &str, id: Option<u32>| id.map(|id| format!("{word} {id}"));
    let list = |word: &str, list: &[String]| {
        (!list.is_empty()).then(|| format!("{word}: {}", list.join(" ")))
    };
    let descriptors: Vec<String> = process
        .descriptors
        .iter()
        .map(|fd| match fd.directory {
            true => format!("{} (a directory, past every mount)", fd.number),
            false => fd.number.to_string(),
        })
        .collect();
    [
        Some(directory),
        list("environment, kept", &process.environment_kept),
        list("environment, set", &process.environment_set),
        list("descriptors", &descriptors),
        number("user id", process.uid),
        number("group id", process.gid),
        process.hostname.as_ref().map(|name| format!("host name {name}")),
        process.umask.map(|mask| format!("umask 0{mask:o}")),
        Some(format!("terminal: {}; ends with: {}", process.terminal, process.dies_with)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn unfiltered() -> Vec<String> {
    vec!["no filter: all are allowed".to_owned()]
}

fn calls(calls: &SystemCalls) -> Vec<String> {
    let counts =
        format!("{} allowed, {} by their arguments", calls.allowed.len(), calls.by_arguments.len());
    let denied = calls.denied.iter().map(|(answer, names)| {
        let (shown, more) = names.split_at(names.len().min(MOST_NAMES));
        let more = match more.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{answer}: {} - {}{more}", names.len(), shown.join(" "))
    });
    std::iter::once(counts).chain(denied).collect()
}

fn needs(needs: &Needs) -> Vec<String> {
    let layers = format!(
        "namespaces: {}; Landlock: {}; limits: {}",
        needs.namespaces, needs.landlock, needs.limits
    );
    let mut lines = vec![layers];
    for guaranteed in &needs.guarantees {
        let mut line = format!("{}: {}", guaranteed.name, kept_by(&guaranteed.with_namespaces));
        if guaranteed.without_namespaces != guaranteed.with_namespaces {
            line += &format!("; without namespaces {}", kept_by(&guaranteed.without_namespaces));
        }
        if guaranteed.waived {
            line += "; waived";
        }
        lines.push(line);
    }
    lines
}

fn kept_by(keeper: &KeptBy) -> String {
    match keeper {
        KeptBy::Namespaces => "namespaces".to_owned(),
        KeptBy::Landlock(abi) => format!("Landlock ABI {abi}"),
        KeptBy::Seccomp => "seccomp".to_owned(),
        KeptBy::Nothing(why) => format!("nothing - {why}"),
    }
}

fn patterns(patterns: &Patterns) -> Vec<String> {
    if patterns.matched.is_empty() {
        return Vec::new();
    }
    let when = UNIX_EPOCH.checked_add(Duration::from_secs(patterns.expanded_at));
    let when = when.map(|when| humantime::format_rfc3339_seconds(when).to_string());
    let when = format!("expanded at {}; later files are not covered", when.unwrap_or_default());
    let each = patterns.matched.iter().map(|(pattern, count)| format!("{pattern}: {count}"));
    std::iter::once(when).chain(each).collect()
}

/// A size in the largest unit that leaves no rest.
fn bytes(size: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.iter().find(|(shift, _)| size > 0 && size.trailing_zeros() >= *shift);
    unit.map_or_else(
        || format!("{size} bytes"),
        |(shift, word)| format!("{} {word}", size >> shift),
    )
}
