//! What a policy would have to say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::entries::{Entry, entries};
use super::places::{Need, Surroundings};

/// A socket of IP at the other end or at this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Whether it is no stream.
    pub datagram: bool,
}

/// A variable that the command was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// What a command was seen to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Its words.
    pub command: Vec<String>,
    /// Real paths, and what was done with them.
    pub files: BTreeMap<PathBuf, Need>,
    /// Symbolic links that it went through, and what is in them.
    pub links: BTreeMap<PathBuf, PathBuf>,
    /// What it made itself.
    pub made: BTreeSet<PathBuf>,
    /// Whom it connected or sent to.
    pub connected: BTreeSet<Peer>,
    /// Which addresses it bound.
    pub bound: BTreeSet<Peer>,
    /// UNIX sockets of others that it connected to.
    pub unix: BTreeSet<PathBuf>,
    /// Calls that the default profile would have refused.
    pub calls: BTreeSet<String>,
    /// Its environment.
    pub environment: Vec<Variable>,
}

/// A policy that was learnt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// The words of the command.
    pub command: Vec<String>,
    /// What is granted, beside the system's programs and libraries.
    pub entries: Vec<Entry>,
    /// Links that lie in nothing that is granted, and what is in them. They grant
    /// nothing.
    pub links: Vec<(PathBuf, PathBuf)>,
    /// What was used and is denied: keys, tokens, passwords.
    pub denied: Vec<PathBuf>,
    /// What was used and granted by nothing, as only an entry for everything would.
    pub left: Vec<(PathBuf, Need)>,
    /// Devices beside the usual ones.
    pub devices: Vec<String>,
    /// What was connected or sent to.
    pub connected: Vec<Peer>,
    /// What was bound.
    pub bound: Vec<Peer>,
    /// UNIX sockets of others.
    pub unix: Vec<PathBuf>,
    /// System calls beside those of the default profile.
    pub calls: Vec<String>,
    /// Variables that are passed on.
    pub kept: Vec<String>,
    /// Variables that are not, though they look as if they were for the command.
    pub dropped: Vec<String>,
}

/// Devices that every command has.
const DEVICES: [&str; 13] = [
    "/dev",
    "/dev/fd",
    "/dev/full",
    "/dev/null",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/random",
    "/dev/shm",
    "/dev/stderr",
    "/dev/stdin",
    "/dev/stdout",
    "/dev/urandom",
    "/dev/zero",
];

/// What the launcher looks for commands in, unless `PATH` is passed on.
const PATH: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// Variables of which any program may take notice and that hold no secret.
const HARMLESS: [&str; 10] = [
    "CI",
    "COLORTERM",
    "EDITOR",
    "LANGUAGE",
    "LOGNAME",
    "NO_COLOR",
    "PAGER",
    "SHELL",
    "TZ",
    "USER",
];

/// Variables that the launcher sets or passes on by itself.
const GIVEN: [&str; 4] = ["HOME", "LANG", "PATH", "TERM"];

/// Parts of names of variables whose values are nobody's business.
const SECRET: [&str; 7] = ["AUTH", "CREDENTIAL", "KEY", "PASS", "SECRET", "SESSION", "TOKEN"];

impl Draft {
    /// What a policy would have to say for what was seen.
    pub fn new(seen: &Observed, around: &Surroundings) -> Self {
        let is_shown = |path: &Path, need: Need| around.is_shown(path) && !need.changes();
        let is_private = |path: &Path| {
            // What is made in a temporary directory is made in a private one.
            let is_made = path.ancestors().any(|above| seen.made.contains(above));
            around.is_temporary(path) && is_made
        };
        let (denied, files): (Vec<_>, Vec<_>) = seen
            .files
            .iter()
            .filter(|(path, need)| !is_shown(path, **need) && !is_private(path))
            .filter(|(path, _)| !path.starts_with("/proc"))
            .partition(|(path, _)| around.is_credential(path));
        let (devices, files): (Vec<_>, Vec<_>) = files
            .into_iter()
            .filter(|(path, _)| !is_usual_device(path))
            .partition(|(path, _)| path.starts_with("/dev"));
        let needs = files.into_iter().map(|(path, need)| (path.as_path(), *need));
        let (entries, left) = entries(needs, around);
        let links = links(seen, &entries, around);
        let (kept, dropped) = variables(seen, around);
        Self {
            command: seen.command.clone(),
            links,
            denied: denied.into_iter().map(|(path, _)| path.clone()).collect(),
            // Of names that come and go there is nothing to say.
            left: left.into_iter().filter(|(path, need)| need.changes() || !is_top(path)).collect(),
            devices: devices
                .into_iter()
                .filter_map(|(path, _)| Some(path.strip_prefix("/dev").ok()?.to_str()?.to_owned()))
                .collect(),
            entries,
            connected: seen.connected.iter().copied().collect(),
            bound: seen.bound.iter().copied().collect(),
            unix: seen.unix.iter().cloned().collect(),
            calls: seen.calls.iter().cloned().collect(),
            kept,
            dropped,
        }
    }

    /// How many of its parts a person should look at.
    pub fn reviews(&self) -> usize {
        self.entries.iter().filter(|entry| entry.review.is_some()).count()
            + self.denied.len()
            + self.left.len()
            + self.devices.len()
            + self.unix.len()
            + self.calls.len()
            + self.dropped.len()
    }

    /// Whether only itself was connected to: its own servers on its own loopback.
    pub fn is_loopback(&self) -> bool {
        let own = |peer: &Peer| {
            peer.address.ip().is_loopback()
                && self.bound.iter().any(|bound| bound.datagram == peer.datagram)
        };
        let is_own = |bound: &Peer| bound.address.ip().is_loopback();
        self.connected.iter().all(own) && self.bound.iter().all(is_own)
    }
}

/// Whether every program has it, or it is a terminal.
fn is_usual_device(path: &Path) -> bool {
    DEVICES.iter().any(|device| path == Path::new(device))
        || ["/dev/pts", "/dev/shm", "/dev/fd", "/dev/tty"].iter().any(|it| path.starts_with(it))
}

/// Whether it is a directory that programs list or look at on their way.
fn is_top(path: &Path) -> bool {
    path.components().count() <= 3
}

/// The links that no entry shows, but without which what is granted is not found.
fn links(seen: &Observed, entries: &[Entry], around: &Surroundings) -> Vec<(PathBuf, PathBuf)> {
    let is_shown = |link: &Path| {
        around.is_shown(link)
            || around.is_temporary(link)
            || around.is_credential(link)
            || ["/proc", "/dev"].iter().any(|top| link.starts_with(top))
            || entries.iter().any(|entry| link.starts_with(&entry.path))
    };
    let links = seen.links.iter().filter(|(link, _)| !is_shown(link));
    links.map(|(link, content)| (link.clone(), content.clone())).collect()
}

/// The variables that are passed on, and those of which a person should decide.
fn variables(seen: &Observed, around: &Surroundings) -> (Vec<String>, Vec<String>) {
    let used = |value: &str| {
        let path = Path::new(value);
        let is_one = path.is_absolute() && !around.is_wide(path);
        is_one && seen.files.keys().any(|file| file.starts_with(path))
    };
    let run: BTreeSet<&Path> = seen
        .files
        .iter()
        .filter(|(_, need)| need.execute)
        .filter_map(|(path, _)| path.parent())
        .chain(seen.links.keys().filter_map(|link| link.parent()))
        .collect();
    let is_beside =
        |directory: &str| !PATH.contains(&directory) && run.contains(Path::new(directory));
    let programs: BTreeSet<String> = seen
        .files
        .iter()
        .filter(|(_, need)| need.execute)
        .filter_map(|(path, _)| Some(path.file_name()?.to_str()?.to_uppercase()))
        .collect();
    let (mut kept, mut dropped) = (Vec::new(), Vec::new());
    for Variable { name, value } in &seen.environment {
        let is_secret = SECRET.iter().any(|part| name.to_uppercase().contains(part));
        let is_named = name.split('_').next().is_some_and(|first| programs.contains(first));
        let is_kept = match name.as_str() {
            "PATH" => value.split(':').any(is_beside),
            _ if is_secret => false,
            name => HARMLESS.contains(&name) || name.starts_with("LC_") || used(value),
        };
        if is_kept {
            kept.push(name.clone());
        } else if (is_named || is_secret) && !GIVEN.contains(&name.as_str()) {
            dropped.push(name.clone());
        }
    }
    kept.sort_unstable();
    dropped.sort_unstable();
    (kept, dropped)
}
