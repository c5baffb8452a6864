//! The smallest line of a policy that would permit what was denied.
//!
//! A line is said only if the policy that has it permits that: it is encoded
//! with the line, and asked.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use policy_encoder::compose::Input;
use policy_encoder::explain::{Operation, Reason};
use policy_encoder::learn::{Need, Surroundings};
use policy_encoder::seccomp::Optimize;
use policy_encoder::{Architecture, Place};
use toml::{Table, Value};

use super::super::explain::Given;
use super::judge::{Judge, Question, Stand, Why};
use super::tracer::Denial;
use crate::source::{Source, Text};

/// How many lines are tried at most, each of which takes the time of an encoding.
const TRIES: usize = 400;

/// What could be said in a policy.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Line {
    /// One more value in a list.
    Add(&'static str, Value),
    /// One less.
    Remove(&'static str, Value),
    /// Another value.
    Set(&'static str, Value),
    /// Nothing permits it; why.
    None(String),
}

/// What is known to make lines of.
pub(super) struct Lines<'g> {
    given: &'g Given,
    document: Option<Table>,
    around: Surroundings,
    /// What the command stood on.
    stand: Stand,
    /// Directories that hold several of what was denied.
    places: Vec<PathBuf>,
    judges: RefCell<HashMap<String, Option<Judge>>>,
}

impl<'g> Lines<'g> {
    pub(super) fn new(given: &'g Given, denials: &[Denial], stand: Stand) -> Self {
        let place = given.text.as_ref().map(|(_, place)| place.clone());
        let place = place.or_else(|| Place::here().ok());
        let around = place.map(|place| Surroundings::of(&place)).unwrap_or_default();
        let document = given.text.as_ref().and_then(|(text, _)| written(text));
        let files = denials.iter().filter_map(|denial| need(&denial.question));
        let (entries, _) = policy_encoder::learn::entries(files, &around);
        let places = entries.into_iter().map(|entry| entry.path).collect();
        Self { given, document, around, stand, places, judges: RefCell::default() }
    }

    /// The line for something that was denied.
    pub(super) fn permitting(&self, denial: &Denial) -> Line {
        let mut lines = self.candidates(&denial.question);
        if let Why::Files(Reason::Hidden(hidden)) = &denial.why {
            lines.insert(0, Line::Remove("filesystem.deny", self.path(hidden)));
        }
        let found = lines.into_iter().find(|line| self.permits(line, &denial.question));
        found
            .unwrap_or_else(|| Line::None(format!("no single line permits it: {}", denial.because)))
    }

    fn candidates(&self, question: &Question) -> Vec<Line> {
        match question {
            Question::File(..) | Question::Look(_) => self.entries(question),
            Question::Call(name, [first, ..]) => call(name, *first),
            Question::Connect(_, port, _) => vec![
                Line::Add("network.connect_tcp", i64::from(*port).into()),
                Line::Set("network.access", "host".into()),
            ],
            Question::Bind(port) => {
                vec![Line::Add("network.bind_tcp", i64::from(*port).into())]
            }
            Question::Unix(path) => vec![Line::Add("network.unix", self.path(path))],
        }
    }

    /// Entries, from the directory that holds more of what was denied to what was
    /// named itself.
    fn entries(&self, question: &Question) -> Vec<Line> {
        let Some((path, need)) = need(question) else { return Vec::new() };
        if path.starts_with("/proc") {
            return vec![Line::Set("filesystem.proc", true.into())];
        }
        if let Ok(device) = path.strip_prefix("/dev") {
            return vec![self.device(device.to_string_lossy().as_ref().into())];
        }
        let key = match need {
            Need { execute: true, .. } => "filesystem.execute",
            _ if need.changes() => "filesystem.write",
            _ => "filesystem.read",
        };
        let shared = path.ancestors().find(|above| self.places.iter().any(|it| it == above));
        let parent = path.parent().filter(|parent| need.name && !self.around.is_wide(parent));
        let itself = Some(path).filter(|path| !need.name && !self.around.is_wide(path));
        let paths = [shared, parent, itself].into_iter().flatten();
        paths.map(|path| Line::Add(key, self.path(path))).collect()
    }

    /// A device, beside those that a word stands for.
    fn device(&self, name: Value) -> Line {
        let key = "filesystem.dev";
        let written = self.document.as_ref().and_then(|document| document.get("filesystem"));
        if written.and_then(|table| table.get("dev")).is_some_and(Value::is_array) {
            return Line::Add(key, name);
        }
        let usual = policy_encoder::mounts::minimal_devices().into_iter().map(Value::from);
        Line::Set(key, Value::Array(usual.chain([name]).collect()))
    }

    /// A path as a policy has it.
    fn path(&self, path: &Path) -> Value {
        let home = self.around.home.as_ref().and_then(|home| path.strip_prefix(home).ok());
        let below = home.filter(|below| !below.as_os_str().is_empty());
        let written = match below {
            Some(below) => format!("~/{}", below.display()),
            None => path.display().to_string(),
        };
        Value::from(written.replace('$', "$$"))
    }

    /// Whether the policy with this line permits it. Of bytes, to which no line can
    /// be added, it is believed.
    fn permits(&self, line: &Line, question: &Question) -> bool {
        let (Some(document), Some((_, place))) = (&self.document, &self.given.text) else {
            return true;
        };
        let mut judges = self.judges.borrow_mut();
        if judges.len() > TRIES {
            return true;
        }
        let judge = judges
            .entry(line.to_string())
            .or_insert_with(|| judge(document, line, place, self.stand));
        judge.as_ref().is_some_and(|judge| judge.denies(question).is_none())
    }
}

/// The document as one table.
fn written(text: &Text) -> Option<Table> {
    text.document().to_toml().ok()?.parse().ok()
}

/// The policy with one more line.
fn judge(document: &Table, line: &Line, place: &Place, stand: Stand) -> Option<Judge> {
    let mut document = document.clone();
    line.apply(&mut document)?;
    let input = Input::of_text("the policy", document.to_string());
    let text = Source::Text(input).read(place).ok()?;
    let (encoded, _) = text.compile(place, Architecture::NATIVE, Optimize::Run);
    Judge::new(&encoded?.bytes, stand)
}

fn call(name: &str, first: u64) -> Vec<Line> {
    const UNIX: u64 = linux_raw_sys::net::AF_UNIX as u64;
    const INET: u64 = linux_raw_sys::net::AF_INET as u64;
    const INET6: u64 = linux_raw_sys::net::AF_INET6 as u64;
    let mut lines = match (name, first) {
        ("socket" | "socketpair", UNIX) => vec![Line::Set("network.unix", "inside".into())],
        ("socket", INET | INET6) => vec![
            Line::Set("network.access", "loopback".into()),
            Line::Set("network.access", "host".into()),
            Line::Set("network.udp", true.into()),
        ],
        ("prctl", _) => vec![Line::Set("process.die_with_parent", false.into())],
        _ => Vec::new(),
    };
    lines.push(Line::Add("seccomp.allow", name.into()));
    lines.push(Line::Remove("seccomp.deny", name.into()));
    lines
}

/// What is needed of the files.
fn need(question: &Question) -> Option<(&Path, Need)> {
    let none = Need::default();
    let read = Need { read: true, ..none };
    Some(match question {
        Question::Look(path) => (path, read),
        Question::File(operation, path, _) => {
            let need = match operation {
                Operation::Read | Operation::List => read,
                Operation::Execute => Need { execute: true, ..read },
                Operation::Write | Operation::Truncate => Need { write: true, ..none },
                _ => Need { name: true, ..none },
            };
            let directory = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_dir());
            (path, Need { directory, ..need })
        }
        _ => return None,
    })
}

impl Line {
    fn parts(&self) -> Option<(&'static str, &Value)> {
        match self {
            Self::Add(key, value) | Self::Remove(key, value) | Self::Set(key, value) => {
                Some((key, value))
            }
            Self::None(_) => None,
        }
    }

    /// Changes a document so; `None` if it has nothing to remove.
    fn apply(&self, document: &mut Table) -> Option<()> {
        let (key, value) = self.parts()?;
        let (table, key) = key.split_once('.')?;
        let table = document.entry(table).or_insert_with(|| Table::new().into()).as_table_mut()?;
        match self {
            Self::Set(..) => drop(table.insert(key.to_owned(), value.clone())),
            Self::Add(..) => match table.get_mut(key) {
                Some(Value::Array(list)) => list.push(value.clone()),
                _ => drop(table.insert(key.to_owned(), Value::Array(vec![value.clone()]))),
            },
            Self::Remove(..) => {
                let list = table.get_mut(key)?.as_array_mut()?;
                let at = list.iter().position(|each| each == value)?;
                list.remove(at);
            }
            Self::None(_) => return None,
        }
        Some(())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(key, value) => write!(formatter, "{key} += {value}"),
            Self::Remove(key, value) => write!(formatter, "{key} -= {value}"),
            Self::Set(key, value) => write!(formatter, "{key} = {value}"),
            Self::None(why) => formatter.write_str(why),
        }
    }
}
