//! Patterns in `deny` and `protect`: they stand for what matches them now,
//! and what appears later is not covered.
//!
//! Each granted directory is walked once for all patterns. The walk follows
//! no symlinks, enters no file system of another host that no entry names,
//! and fails loudly where it would take too long.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use globset::{Candidate, Glob, GlobBuilder, GlobSet};
use launcher_policy::mounts::{Missing, Symlinks};
use launcher_policy::{Text, origin};
use search::Search;

use super::entries::{self, Entry, Form, Object, Resolver, Rule};
use super::host::{FileKind, Link, LookupError, Real};
use super::path_map::PathMap;
use super::tree::EntryPlace;
use crate::document::{self, Document};
use crate::items::{Items, c_string};

mod search;

/// What the patterns of a document stand for.
#[derive(Debug, Default)]
pub(super) struct Matches {
    /// What is denied.
    pub(super) denied: Vec<Entry>,
    /// What is protected, and by which entry.
    pub(super) protected: Vec<(PathBuf, EntryPlace)>,
    pub(super) origin: Origin,
}

/// When the patterns were expanded, and what they matched, for the wire.
#[derive(Debug, Default)]
pub(super) struct Origin {
    expanded_at: u64,
    globs: Items,
}

impl Origin {
    pub(super) fn wire(&self) -> origin::Origin<'_> {
        origin::Origin { expanded_at: self.expanded_at, globs: self.globs.list() }
    }
}

/// Whether an entry is a pattern; the table form of an entry never is.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// One pattern.
struct Pattern {
    place: EntryPlace,
    /// As it stands in the document.
    written: String,
    list: List,
    /// Where it starts, if not at each granted directory; with the symlinks
    /// on the way there.
    base: Option<Real>,
    glob: Glob,
    paths: Vec<PathBuf>,
}

/// The list that a pattern is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    Deny,
    Protect,
}

/// Expands every pattern of a document.
pub(super) fn expand(
    document: &Document,
    granted: &[Entry],
    resolver: &mut Resolver<'_>,
) -> Matches {
    let patterns = resolver.patterns(document);
    if patterns.is_empty() {
        return Matches::default();
    }
    let bases = bases(&patterns, granted);
    let reopened = allowed_paths(granted);
    let mut search = Search::new(patterns, &bases, reopened, resolver.host);
    let done = search.all();
    let Search { patterns, left_out, unread, .. } = search;
    let first = patterns.first().map(|pattern| pattern.place.span.clone()).unwrap_or_default();
    if let Err(complaint) = done {
        let help = "deny the directories that hold them, or list fewer directories";
        resolver.diagnostics.error(first.clone(), complaint).help(help);
    }
    if let Some(path) = left_out.first() {
        let message = format!("{path:?}{} is on another host: it is not searched", more(&left_out));
        resolver
            .diagnostics
            .warning(first.clone(), message)
            .help("a directory with an entry of its own is searched wherever it is");
    }
    if let Some(path) = unread.first() {
        let message = format!("{path:?}{} cannot be read: it is not searched", more(&unread));
        resolver.diagnostics.warning(first, message);
    }
    resolver.matches(patterns)
}

fn more(paths: &[PathBuf]) -> String {
    match paths.len() {
        0 | 1 => String::new(),
        number => format!(" and {} more", number - 1),
    }
}

impl Resolver<'_> {
    fn patterns(&mut self, document: &Document) -> Vec<Pattern> {
        let filesystem = &document.filesystem;
        let lists = [
            ("filesystem.deny", &filesystem.deny, List::Deny),
            ("filesystem.protect", &filesystem.protect, List::Protect),
        ];
        let mut patterns = Vec::new();
        for (key, entries, list) in lists {
            for (index, entry) in entries.iter().enumerate() {
                if let document::Entry::Path(text) = entry.get_ref()
                    && is_pattern(text)
                {
                    let place = EntryPlace { key, index, span: entry.span() };
                    patterns.extend(self.pattern(place, list, text));
                }
            }
        }
        patterns
    }

    fn pattern(&mut self, place: EntryPlace, list: List, written: &str) -> Option<Pattern> {
        let complaint = match self.compiled(written) {
            Ok((base, glob)) => {
                let written = written.to_owned();
                return Some(Pattern { place, written, list, base, glob, paths: Vec::new() });
            }
            Err(complaint) => complaint,
        };
        self.diagnostics.error(place.span, complaint);
        None
    }

    fn compiled(&mut self, written: &str) -> Result<(Option<Real>, Glob), String> {
        let text = entries::expand_pattern(written, self.place)?;
        let path = Path::new(&text);
        if entries::has_parent(path) {
            return Err(format!("{written:?} has `..` in it: a pattern cannot"));
        }
        let names = path.components().filter(|name| *name != Component::CurDir);
        let mut literal = PathBuf::new();
        let mut rest = PathBuf::new();
        for name in names {
            let is_literal = !is_pattern(&name.as_os_str().to_string_lossy());
            if path.is_absolute() && rest.as_os_str().is_empty() && is_literal {
                literal.push(name);
            } else {
                rest.push(name);
            }
        }
        let glob = GlobBuilder::new(&rest.to_string_lossy())
            .literal_separator(true)
            .build()
            .map_err(|error| format!("{written:?} is not a pattern: {}", error.kind()))?;
        if !path.is_absolute() {
            return Ok((None, glob));
        }
        match self.host.real(&literal) {
            Ok(real) => Ok((Some(real), glob)),
            // Nothing is below it.
            Err(LookupError::Missing(_)) => {
                Ok((Some(Real { path: literal, kind: FileKind::File, links: Vec::new() }), glob))
            }
            Err(LookupError::Unknown(part, reason)) => {
                Err(format!("whether {part:?} exists cannot be said: {reason}"))
            }
        }
    }

    fn matches(&mut self, patterns: Vec<Pattern>) -> Matches {
        let mut matches = Matches::default();
        let mut globs = Vec::new();
        for pattern in &patterns {
            self.say(pattern);
            let number = u32::try_from(pattern.paths.len()).unwrap_or(u32::MAX);
            globs.push((c_string(pattern.written.as_str()).unwrap_or_default(), number));
        }
        matches.origin = Origin {
            expanded_at: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            globs: Items::new(globs.iter().map(|(pattern, matched)| origin::Glob {
                pattern: Text::new(pattern),
                matched: *matched,
            })),
        };
        for Pattern { place, list, base, paths, .. } in patterns {
            let links = base.map(|base| base.links).unwrap_or_default();
            for path in paths {
                match list {
                    List::Protect => matches.protected.push((path, place.clone())),
                    List::Deny => matches.denied.extend(self.denied(&place, path, &links)),
                }
            }
        }
        matches
    }

    fn say(&mut self, pattern: &Pattern) {
        let Pattern { place, written, paths, .. } = pattern;
        let later = "a pattern is expanded when the policy is encoded: what appears later is not \
                     covered";
        match paths.len() {
            0 => {
                self.diagnostics.warning(place.span.clone(), format!("{written:?} matches nothing"))
            }
            1 => self.diagnostics.note(place.span.clone(), format!("{written:?} matches 1 path")),
            number => {
                let message = format!("{written:?} matches {number} paths");
                self.diagnostics.note(place.span.clone(), message)
            }
        }
        .help(later);
    }

    /// A match, as if it had been written.
    fn denied(&mut self, place: &EntryPlace, written: PathBuf, links: &[Link]) -> Option<Entry> {
        let object = match self.host.real(&written) {
            Ok(mut real) => {
                real.links.splice(0..0, links.iter().cloned());
                let (symlinks, missing) = (Symlinks::Refuse, Missing::Fail);
                Object::Host { written, real, symlinks, missing }
            }
            Err(LookupError::Missing(_)) => Object::Absent { written, complain: false },
            Err(LookupError::Unknown(part, reason)) => {
                let message = format!("whether {part:?} exists cannot be said: {reason}");
                self.diagnostics.error(place.span.clone(), message);
                return None;
            }
        };
        Some(Entry { place: place.clone(), rule: Rule::Deny, object, at: None, form: Form::Match })
    }
}

/// A directory that patterns start from.
#[derive(Default)]
struct Base {
    /// Whether an entry grants it.
    granted: bool,
    /// Whether an entry lets it be written.
    writable: bool,
    /// The absolute patterns that start here.
    own: Set,
}

/// Patterns that are matched at once.
#[derive(Default)]
struct Set {
    globs: GlobSet,
    /// Which of all patterns each of them is.
    patterns: Vec<usize>,
}

impl Set {
    fn new(patterns: &[Pattern], is_in: impl Fn(&Pattern) -> bool) -> Self {
        let mut set = GlobSet::builder();
        let mut numbers = Vec::new();
        for (number, pattern) in patterns.iter().enumerate().filter(|(_, pattern)| is_in(pattern)) {
            set.add(pattern.glob.clone());
            numbers.push(number);
        }
        // Each was compiled before; all of them together are too large only
        // where the text of the policy is.
        Self { globs: set.build().unwrap_or_default(), patterns: numbers }
    }

    fn relative(patterns: &[Pattern], list: List) -> Self {
        Self::new(patterns, |pattern| pattern.base.is_none() && pattern.list == list)
    }

    fn add_matches(&self, path: &Candidate<'_>, found: &mut Vec<usize>) {
        if self.patterns.is_empty() {
            return;
        }
        let numbers = self.globs.matches_candidate(path);
        for number in numbers.into_iter().filter_map(|number| self.patterns.get(number)) {
            if !found.contains(number) {
                found.push(*number);
            }
        }
    }
}

fn bases(patterns: &[Pattern], granted: &[Entry]) -> PathMap<Base> {
    let mut bases: PathMap<Base> = PathMap::new();
    let is_relative = patterns.iter().any(|pattern| pattern.base.is_none());
    for entry in granted.iter().filter(|_| is_relative) {
        if let (Rule::Allow(rights), Object::Host { real, .. }) = (entry.rule, &entry.object)
            && real.kind == FileKind::Directory
        {
            let base = Base { granted: true, writable: rights.write, ..Base::default() };
            bases.merge(&real.path, base, |old, new| {
                old.granted = true;
                old.writable |= new.writable;
            });
        }
    }
    let directory = |pattern: &Pattern| {
        let base = pattern.base.as_ref().filter(|base| base.kind == FileKind::Directory);
        base.map(|base| base.path.clone())
    };
    let starts: BTreeSet<PathBuf> = patterns.iter().filter_map(directory).collect();
    for start in starts {
        let own = Set::new(patterns, |pattern| directory(pattern).as_ref() == Some(&start));
        bases.merge(start, Base { own, ..Base::default() }, |old, new| old.own = new.own);
    }
    bases
}

/// Every path that an entry allows: what is denied above does not hide it.
fn allowed_paths(granted: &[Entry]) -> PathMap<()> {
    let mut paths = PathMap::new();
    for entry in granted {
        if let (Rule::Allow(_), Object::Host { real, .. }) = (entry.rule, &entry.object) {
            paths.insert(real.path.clone(), ());
        }
    }
    paths
}
