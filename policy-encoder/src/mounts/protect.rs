//! Protected names: what a command that may write to a directory is still not
//! to change in it, because others run it or believe it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use launcher_policy::mounts::{Missing, Symlinks};

use super::entries::{self, Entry, Object, Resolver, Rule, expand};
use super::globs::{self, Matches};
use super::groups;
use super::host::{FileKind, LookupError};
use super::layout::{Layout, MaskLink, host_content};
use super::path_map::PathMap;
use super::tree::{Content, Decider, EntryPlace, Point, Rights, moved, span_of};
use crate::document::{self, Document, ProtectMissing};

/// The names that are protected whatever the document says: repositories, and
/// what tells agents what to do.
pub(crate) const PROTECTED: [&str; 5] = [".git", ".hg", ".agents", ".codex", ".claude"];

/// What is to be protected.
#[derive(Debug)]
pub(super) struct Protect {
    names: Vec<Name>,
    missing: ProtectMissing,
}

/// One name, or one path.
#[derive(Debug)]
struct Name {
    /// Relative to each writable entry, or absolute.
    path: PathBuf,
    decider: Decider,
    /// What is said where it does not exist.
    missing: Absence,
}

/// What is said of a name that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absence {
    /// It is one of many, which are named together.
    Noted,
    /// The document lists it.
    Warned,
    /// `missing = "fail"`
    Refused,
    /// `missing = "skip"`, or a member of a group.
    Silent,
}

impl Resolver<'_> {
    /// What the document protects, beside the names that always are.
    pub(super) fn protect(&mut self, document: &Document, matches: &Matches) -> Protect {
        let builtin = PROTECTED.map(|name| Name {
            path: name.into(),
            decider: Decider::BuiltIn("filesystem.protect"),
            missing: Absence::Noted,
        });
        let mut names = Vec::from(builtin);
        for (index, entry) in document.filesystem.protect.iter().enumerate() {
            let place = EntryPlace { key: "filesystem.protect", index, span: entry.span() };
            self.listed(&place, entry.get_ref(), &mut names);
        }
        names.extend(matches.protected.iter().map(|(path, place)| Name {
            path: path.clone(),
            decider: Decider::Entry(place.clone()),
            missing: Absence::Silent,
        }));
        let missing = document.filesystem.protect_missing.as_ref();
        Protect { names, missing: missing.map_or(ProtectMissing::Warn, |it| *it.get_ref()) }
    }

    fn listed(&mut self, place: &EntryPlace, entry: &document::Entry, names: &mut Vec<Name>) {
        let decider = Decider::Entry(place.clone());
        let (path, missing) = match entry {
            document::Entry::Path(text) if groups::is_name(text) => {
                let members = self.members(text, &place.span).into_iter();
                let missing = Absence::Silent;
                names.extend(members.map(|path| Name { path, decider: decider.clone(), missing }));
                return;
            }
            // Its matches are known already.
            document::Entry::Path(text) if globs::is_pattern(text) => return,
            document::Entry::Path(text) => (expand(text, self.place), Absence::Warned),
            document::Entry::Table(table) => {
                let missing = match table.missing {
                    None => Absence::Warned,
                    Some(document::Missing::Skip) => Absence::Silent,
                    Some(document::Missing::Fail) => Absence::Refused,
                };
                let path = match (&table.path, &table.bytes) {
                    _ if table.fd.is_some() || table.at.is_some() || table.follow.is_some() => {
                        Err("a protected entry has a `path` or `bytes`, and `missing`".to_owned())
                    }
                    (Some(path), None) => expand(path, self.place),
                    (None, Some(bytes)) => match self.of_bytes(bytes, &place.span) {
                        Some(path) => Ok(path),
                        None => return,
                    },
                    _ => Err("a protected entry needs either a `path` or `bytes`".to_owned()),
                };
                (path, missing)
            }
        };
        let path = path.and_then(|path| match named(&path) {
            Some(path) => Ok(path),
            None => Err(format!("{path:?} names nothing inside a writable entry")),
        });
        match path {
            Ok(path) => names.push(Name { path, decider, missing }),
            Err(complaint) => {
                self.diagnostics.error(place.span.clone(), complaint);
            }
        }
    }
}

/// The path without `.`, unless it is the entry itself or leads out of it.
fn named(path: &Path) -> Option<PathBuf> {
    let names = path.components().filter(|name| *name != Component::CurDir);
    let path: PathBuf = names.collect();
    (!entries::has_parent(&path) && path.file_name().is_some()).then_some(path)
}

/// A writable directory that an entry shows.
struct Directory {
    target: PathBuf,
    source: PathBuf,
    span: Range<usize>,
}

/// What is to be protected of the host, by its path there.
type Objects = PathMap<(FileKind, Decider)>;

impl Layout<'_> {
    /// Makes what is protected read-only wherever it could be written.
    pub(super) fn protect(&mut self, protect: &Protect, entries: &[Entry]) {
        let given_up = given_up(entries);
        let mut objects = Objects::new();
        for name in protect.names.iter().filter(|name| name.path.is_absolute()) {
            if !given_up.contains(name.path.as_path()) {
                let span = span_of_decider(&name.decider);
                if !self.find(&name.path, name, &span, &mut objects) {
                    self.absent(name, &format!("{:?}", name.path));
                }
            }
        }
        let mut absent_in: Vec<Vec<PathBuf>> = vec![Vec::new(); protect.names.len()];
        for directory in self.writable_directories() {
            let mut noted = Vec::new();
            let mut freezes = false;
            for (number, name) in protect.names.iter().enumerate() {
                let object = directory.source.join(&name.path);
                if name.path.is_absolute() || given_up.contains(object.as_path()) {
                    continue;
                }
                if self.find(&object, name, &directory.span, &mut objects) {
                    continue;
                }
                if protect.missing == ProtectMissing::Freeze && self.is_direct(&directory, name) {
                    freezes = true;
                } else if name.missing == Absence::Noted {
                    noted.push(name.path.display().to_string());
                } else if let Some(list) = absent_in.get_mut(number) {
                    list.push(directory.source.clone());
                }
            }
            if freezes {
                self.frozen.insert(directory.target.clone(), directory.span.clone());
            }
            self.note_absent(&directory, &noted);
        }
        for (name, directories) in protect.names.iter().zip(absent_in) {
            if let Some(first) = directories.first() {
                let more = match directories.len() {
                    1 => String::new(),
                    number => format!(" and {} more", number - 1),
                };
                self.absent(name, &format!("{:?} in {first:?}{more}", name.path));
            }
        }
        self.place_protected(objects);
        self.unknown_names(protect, entries);
    }

    /// Whether a missing name is to be made directly in a directory. What is
    /// missing below a directory that exists is made in that one, which is not
    /// frozen.
    fn is_direct(&mut self, directory: &Directory, name: &Name) -> bool {
        let first = name.path.components().next().map(|name| directory.source.join(name));
        first.is_none_or(|first| self.host.kind(&first).is_none())
    }

    /// Every directory of the host that an entry lets be written, wherever it
    /// appears.
    fn writable_directories(&self) -> Vec<Directory> {
        let directory = |(target, point): (&Path, &Point)| match (&point.content, &point.decider) {
            (
                Content::Host {
                    path, kind: FileKind::Directory, symlinks: Symlinks::Refuse, ..
                },
                Decider::Entry(place),
            ) if point.rights.write && place.key != "filesystem.mount" => {
                let (target, source) = (target.to_owned(), path.clone());
                Some(Directory { target, source, span: span_of(point) })
            }
            _ => None,
        };
        self.tree.iter().filter_map(directory).collect()
    }

    /// Adds what is at a path. `false` if there is nothing.
    fn find(
        &mut self,
        path: &Path,
        name: &Name,
        span: &Range<usize>,
        objects: &mut Objects,
    ) -> bool {
        match self.host.real(path) {
            Ok(real) => {
                for link in real.links {
                    self.mask_links.push(MaskLink::protected(link.path, span.clone()));
                }
                objects.or_insert(real.path, (real.kind, name.decider.clone()));
                true
            }
            // A symlink that leads nowhere can be made to lead somewhere.
            Err(LookupError::Missing(missing)) if !path.starts_with(&missing) => {
                self.mask_links.push(MaskLink::protected(path.to_owned(), span.clone()));
                true
            }
            Err(LookupError::Missing(_)) => false,
            Err(LookupError::Unknown(part, reason)) => {
                let message = format!("whether {part:?} exists cannot be said: {reason}");
                self.diagnostics.error(span.clone(), message);
                true
            }
        }
    }

    /// Says that a name which the document lists does not exist.
    fn absent(&mut self, name: &Name, what: &str) {
        let span = span_of_decider(&name.decider);
        let message = format!("{what} does not exist: it can be created");
        match name.missing {
            Absence::Noted | Absence::Silent => return,
            Absence::Warned => self.diagnostics.warning(span, message),
            Absence::Refused => self.diagnostics.error(span, message),
        }
        .help(
            "`protect_missing = \"freeze\"` lets nothing be created beside it; \
             { path = \"...\", missing = \"skip\" } says that it may be missing",
        );
    }

    fn note_absent(&mut self, directory: &Directory, names: &[String]) {
        if names.is_empty() {
            return;
        }
        let (verb, them) = if names.len() == 1 { ("does", "it") } else { ("do", "they") };
        let message = format!(
            "{} {verb} not exist in {:?}: {them} can be created",
            names.join(", "),
            directory.source
        );
        self.diagnostics
            .note(directory.span.clone(), message)
            .help("`protect_missing = \"freeze\"` lets no new name be created there");
    }

    /// Makes objects read-only at each path that would let them be written,
    /// unless an entry names them there.
    fn place_protected(&mut self, mut objects: Objects) {
        let mut aliases = Vec::new();
        for (object, (_, decider)) in objects.iter() {
            for alias in self.host.aliases(object) {
                aliases.push((alias, decider.clone()));
            }
        }
        for (alias, decider) in aliases {
            if let Some(kind) = self.host.kind(&alias) {
                objects.or_insert(alias, (kind, decider));
            }
        }
        for (object, (kind, decider)) in objects.iter() {
            for path in self.names_of(object) {
                let shown = self.tree.deepest(&path).filter(|(at, _)| *at != path);
                let Some((at, Point { rights, content: Content::Host { path: source, .. }, .. })) =
                    shown.filter(|(_, above)| above.rights.write)
                else {
                    continue;
                };
                if moved(&path, at, source) != object {
                    continue;
                }
                let rights = Rights { write: false, ..*rights };
                let content = host_content(object.to_owned(), *kind, Missing::Fail);
                self.tree.insert(path, Point { rights, content, decider: decider.clone() });
            }
            self.warn_of_hard_links(object, *kind, span_of_decider(decider), "written");
        }
    }

    /// Names below a descriptor, or behind a path that is followed, are known
    /// to the launch alone.
    fn unknown_names(&mut self, protect: &Protect, entries: &[Entry]) {
        let lists = protect.names.iter().any(|name| name.missing != Absence::Noted);
        for entry in entries {
            let is_unknown = matches!(
                entry.object,
                Object::Fd(_) | Object::Host { symlinks: Symlinks::Follow, .. }
            );
            if !is_unknown || !matches!(entry.rule, Rule::Allow(rights) if rights.write) {
                continue;
            }
            let span = entry.place.span.clone();
            let message = "what is in this directory is known at the launch, so that no name in \
                           it is protected";
            match protect.missing {
                ProtectMissing::Freeze => self.diagnostics.error(span, message),
                ProtectMissing::Warn if lists => self.diagnostics.warning(span, message),
                ProtectMissing::Warn => self.diagnostics.note(span, message),
            }
            .help("an entry with its `path` is judged when the policy is encoded");
        }
    }
}

/// What write entries name: that is not protected.
fn given_up(entries: &[Entry]) -> BTreeSet<PathBuf> {
    let mut paths = BTreeSet::new();
    for entry in entries {
        if let (Rule::Allow(rights), Object::Host { written, real, .. }) =
            (entry.rule, &entry.object)
            && rights.write
        {
            paths.insert(written.clone());
            paths.insert(real.path.clone());
            paths.extend(real.links.iter().map(|link| link.path.clone()));
        }
    }
    paths
}

fn span_of_decider(decider: &Decider) -> Range<usize> {
    match decider {
        Decider::Entry(place) => place.span.clone(),
        Decider::BuiltIn(_) | Decider::Root | Decider::Nobody => 0..0,
    }
}
