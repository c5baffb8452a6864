//! The entries of `[filesystem]`: text becomes the real path of an object of
//! the host, or a complaint.

use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use launcher_policy::MAX_PATH;
use launcher_policy::fds::MAX_FD;
use launcher_policy::mounts::{Missing, Symlinks};

use super::host::{Host, LookupError, Real};
use super::tree::{EntryPlace, Rights};
use super::{globs, groups};
use crate::Place;
use crate::Spanned;
use crate::diagnostic::Diagnostics;
use crate::document::{self, Document, EntryTable};

/// One entry, resolved.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) place: EntryPlace,
    pub(super) rule: Rule,
    pub(super) object: Object,
    /// Where it appears, if that is not where it is.
    pub(super) at: Option<PathBuf>,
    pub(super) form: Form,
}

/// How an entry was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As itself.
    Literal,
    /// As a member of a group.
    Member,
    /// It matched a pattern.
    Match,
    /// Not at all: the host shows what an entry names at this path as well.
    Alias,
}

/// What an entry says of its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Allow(Rights),
    Deny,
}

/// What an entry is about.
#[derive(Clone, Debug)]
pub(super) enum Object {
    /// Something of the host.
    Host { written: PathBuf, real: Real, symlinks: Symlinks, missing: Missing },
    /// A denied path that does not exist.
    Absent { written: PathBuf, complain: bool },
    /// A directory that the caller opened.
    Fd(u32),
}

/// Resolves what a person writes in the surroundings of one document.
pub(super) struct Resolver<'a> {
    pub(super) place: &'a Place,
    pub(super) host: &'a mut Host,
    pub(super) diagnostics: &'a mut Diagnostics,
}

impl Resolver<'_> {
    /// Every entry of the document that is not left out.
    pub(super) fn entries(&mut self, document: &Document) -> Vec<Entry> {
        let filesystem = &document.filesystem;
        let lists = [
            ("filesystem.execute", &filesystem.execute, Rule::Allow(Rights::EXECUTE)),
            ("filesystem.read", &filesystem.read, Rule::Allow(Rights::READ)),
            ("filesystem.write", &filesystem.write, Rule::Allow(Rights::WRITE)),
            ("filesystem.deny", &filesystem.deny, Rule::Deny),
        ];
        let mut entries = Vec::new();
        for (key, list, rule) in lists {
            for (index, entry) in list.iter().enumerate() {
                let place = EntryPlace { key, index, span: entry.span() };
                match entry.get_ref() {
                    document::Entry::Path(text) if groups::is_name(text) => {
                        entries.extend(self.group(&place, rule, text));
                    }
                    document::Entry::Path(text) if globs::is_pattern(text) => {
                        self.only_where_denied(place, rule);
                    }
                    _ => entries.extend(self.entry(place, rule, entry)),
                }
            }
        }
        entries
    }

    /// The other paths at which the host shows what is denied.
    pub(super) fn aliases(&mut self, entries: &[Entry]) -> Vec<Entry> {
        let mut aliases = Vec::new();
        for entry in entries.iter().filter(|entry| entry.rule == Rule::Deny) {
            let Object::Host { real, .. } = &entry.object else { continue };
            for written in self.host.aliases(&real.path) {
                if let Ok(real) = self.host.real(&written) {
                    let (symlinks, missing) = (Symlinks::Refuse, Missing::Fail);
                    let object = Object::Host { written, real, symlinks, missing };
                    aliases.push(Entry { object, form: Form::Alias, ..entry.clone() });
                }
            }
        }
        aliases
    }

    /// The members of a group that exist here.
    fn group(&mut self, place: &EntryPlace, rule: Rule, name: &str) -> Vec<Entry> {
        let members = self.members(name, &place.span);
        let mut entries = Vec::new();
        for written in members {
            let object = match self.host.real(&written) {
                Ok(real) => {
                    let missing = Missing::Skip;
                    Object::Host { written, real, symlinks: Symlinks::Refuse, missing }
                }
                Err(LookupError::Unknown(part, reason)) if rule == Rule::Deny => {
                    let message = format!(
                        "whether {part:?} exists cannot be said: {reason}; it is not hidden"
                    );
                    self.diagnostics.warning(place.span.clone(), message);
                    continue;
                }
                Err(_) => continue,
            };
            let place = place.clone();
            entries.push(Entry { place, rule, object, at: None, form: Form::Member });
        }
        entries
    }

    /// The paths that a group stands for here, existing or not.
    pub(super) fn members(&mut self, name: &str, span: &Range<usize>) -> Vec<PathBuf> {
        match groups::find(name) {
            Some(group) => group.paths(self.place, self.host),
            None => {
                let help = match crate::parse::nearest(name, groups::GROUPS.map(|it| it.name)) {
                    Some(nearest) => format!("did you mean {nearest:?}?"),
                    None => {
                        let known = groups::GROUPS.map(|it| format!("{} ({})", it.name, it.reason));
                        format!(
                            "a file of that name is \"./{name}\"; groups are {}",
                            known.join(", ")
                        )
                    }
                };
                self.diagnostics
                    .error(span.clone(), format!("there is no group {name:?}"))
                    .help(help);
                Vec::new()
            }
        }
    }

    /// A pattern is a list of what there is now, which is no way to grant.
    fn only_where_denied(&mut self, place: EntryPlace, rule: Rule) {
        if rule != Rule::Deny {
            self.diagnostics
                .error(place.span, "a pattern can deny and protect, not grant")
                .help("list the directory; { path = \"...\" } is always the name itself");
        }
    }

    /// The socket paths of `network.unix`.
    pub(super) fn sockets(&mut self, document: &Document) -> Vec<Entry> {
        let Some(unix) = &document.network.unix else {
            return Vec::new();
        };
        let document::Unix::Paths(paths) = unix.get_ref() else {
            return Vec::new();
        };
        let mut entries = Vec::new();
        for (index, path) in paths.iter().enumerate() {
            let place = EntryPlace { key: "network.unix", index, span: unix.span() };
            let table = EntryTable { path: Some(path.clone()), ..EntryTable::default() };
            entries.extend(self.path_entry(place, Rule::Allow(Rights::READ), path, &table));
        }
        entries
    }

    fn entry(
        &mut self,
        place: EntryPlace,
        rule: Rule,
        entry: &Spanned<document::Entry>,
    ) -> Option<Entry> {
        match entry.get_ref() {
            document::Entry::Path(path) => {
                self.path_entry(place, rule, path, &EntryTable::default())
            }
            document::Entry::Table(table) => match (&table.path, &table.bytes, table.fd) {
                (Some(path), None, None) => self.path_entry(place, rule, path, table),
                (None, Some(bytes), None) => {
                    let written = self.of_bytes(bytes, &place.span)?;
                    self.written_entry(place, rule, written, table)
                }
                (None, None, Some(fd)) => self.fd_entry(place, rule, fd, table),
                (None, None, None) => {
                    self.diagnostics.error(place.span, "an entry needs a `path` or an `fd`");
                    None
                }
                _ => {
                    let message = "an entry has either a `path`, `bytes` or an `fd`";
                    self.diagnostics.error(place.span, message);
                    None
                }
            },
        }
    }

    /// A path in hexadecimal: absolute, and nothing in it has a meaning.
    pub(super) fn of_bytes(&mut self, bytes: &str, span: &Range<usize>) -> Option<PathBuf> {
        let complaint = match hex::decode(bytes) {
            Err(error) => format!("{bytes:?} is not hexadecimal: {error}").to_lowercase(),
            Ok(bytes) if bytes.contains(&0) => "a path cannot hold a NUL".into(),
            Ok(bytes) if bytes.len() >= MAX_PATH => {
                format!("a path has at most {} bytes", MAX_PATH - 1)
            }
            Ok(bytes) if !bytes.starts_with(b"/") => {
                "a path in bytes is absolute: it begins with 2f".into()
            }
            Ok(bytes) => return Some(Path::new(OsStr::from_bytes(&bytes)).components().collect()),
        };
        self.diagnostics.error(span.clone(), complaint);
        None
    }

    fn path_entry(
        &mut self,
        place: EntryPlace,
        rule: Rule,
        path: &str,
        table: &EntryTable,
    ) -> Option<Entry> {
        let written = self.absolute(path, &place.span)?;
        self.written_entry(place, rule, written, table)
    }

    fn written_entry(
        &mut self,
        place: EntryPlace,
        rule: Rule,
        written: PathBuf,
        table: &EntryTable,
    ) -> Option<Entry> {
        if rule == Rule::Deny && (table.at.is_some() || table.follow.is_some()) {
            let message =
                "a denied entry has neither `at` nor `follow`: it is hidden wherever it is";
            self.diagnostics.error(place.span, message);
            return None;
        }
        let at = self.at(table, &place.span)?;
        let symlinks = match table.follow {
            Some(true) => Symlinks::Follow,
            _ => Symlinks::Refuse,
        };
        if symlinks == Symlinks::Follow && has_parent(&written) {
            self.diagnostics.error(place.span, "a path that is followed cannot have `..` in it");
            return None;
        }
        let object = match self.host.real(&written) {
            Ok(real) => Object::Host { written, real, symlinks, missing: at_launch(table.missing) },
            Err(LookupError::Missing(missing)) => {
                self.absent(written, &missing, rule, table.missing, &place.span)?
            }
            Err(LookupError::Unknown(part, reason)) => {
                self.unknown(&written, &part, &reason, &place.span);
                return None;
            }
        };
        Some(Entry { place, rule, object, at, form: Form::Literal })
    }

    fn absent(
        &mut self,
        written: PathBuf,
        missing: &Path,
        rule: Rule,
        wish: Option<document::Missing>,
        span: &Range<usize>,
    ) -> Option<Object> {
        match (rule, wish) {
            (Rule::Deny, None | Some(document::Missing::Skip)) => {
                return Some(Object::Absent { written, complain: wish.is_none() });
            }
            (Rule::Allow(_), Some(document::Missing::Skip)) => {}
            _ => self.missing(&written, missing, span),
        }
        None
    }

    fn missing(&mut self, written: &Path, missing: &Path, span: &Range<usize>) {
        let message = if written.starts_with(missing) {
            format!("{written:?} does not exist")
        } else {
            format!("{written:?} does not exist: it leads to {missing:?}")
        };
        let help =
            format!("{{ path = {written:?}, missing = \"skip\" }} leaves out what does not exist");
        self.diagnostics.error(span.clone(), message).help(help);
    }

    fn unknown(&mut self, written: &Path, part: &Path, reason: &str, span: &Range<usize>) {
        let message = format!("whether {written:?} exists cannot be said: {part:?}: {reason}");
        self.diagnostics.error(span.clone(), message);
    }

    fn fd_entry(
        &mut self,
        place: EntryPlace,
        rule: Rule,
        fd: u32,
        table: &EntryTable,
    ) -> Option<Entry> {
        let complaint = if rule == Rule::Deny {
            "a descriptor cannot be denied: what is not passed on is closed".to_owned()
        } else if !(3..=MAX_FD).contains(&fd) {
            format!("a descriptor is from 3 to {MAX_FD}")
        } else if table.at.is_none() {
            "a descriptor needs an `at`: where it appears".to_owned()
        } else if table.follow.is_some() || table.missing.is_some() {
            "a descriptor has neither `missing` nor `follow`: it is open already".to_owned()
        } else {
            let at = self.at(table, &place.span)?;
            return Some(Entry { place, rule, object: Object::Fd(fd), at, form: Form::Literal });
        };
        self.diagnostics.error(place.span, complaint);
        None
    }

    /// The `at` of an entry; the outer `None` is a complaint.
    fn at(&mut self, table: &EntryTable, span: &Range<usize>) -> Option<Option<PathBuf>> {
        match &table.at {
            None => Some(None),
            Some(at) => self.target(at, span).map(Some),
        }
    }

    /// A path inside, which a relative one has from the working directory.
    pub(super) fn target_from_here(&mut self, text: &str, span: &Range<usize>) -> Option<PathBuf> {
        let path = self.absolute(text, span)?;
        self.inside(path, span)
    }

    /// A path inside: absolute, without `..`.
    pub(super) fn target(&mut self, text: &str, span: &Range<usize>) -> Option<PathBuf> {
        let path = self.expanded(text, span)?;
        self.inside(path, span)
    }

    fn inside(&mut self, path: PathBuf, span: &Range<usize>) -> Option<PathBuf> {
        let complaint = if !path.is_absolute() {
            format!("{path:?} is not absolute: where something appears must be")
        } else if has_parent(&path) {
            format!("{path:?} has `..` in it: where something appears cannot")
        } else {
            return Some(path.components().collect());
        };
        self.diagnostics.error(span.clone(), complaint);
        None
    }

    /// An existing object of the host, or a complaint.
    pub(super) fn existing(
        &mut self,
        text: &str,
        wish: Option<document::Missing>,
        span: &Range<usize>,
    ) -> Option<Real> {
        let written = self.absolute(text, span)?;
        match self.host.real(&written) {
            Ok(real) => return Some(real),
            Err(LookupError::Missing(_)) if wish == Some(document::Missing::Skip) => {}
            Err(LookupError::Missing(missing)) => self.missing(&written, &missing, span),
            Err(LookupError::Unknown(part, reason)) => {
                self.unknown(&written, &part, &reason, span);
            }
        }
        None
    }

    /// A path with its variables expanded, from the directory that relative
    /// ones start from.
    fn absolute(&mut self, text: &str, span: &Range<usize>) -> Option<PathBuf> {
        let path = self.expanded(text, span)?;
        // Without `.`, double and final slashes; `..` is for the real path.
        let path: PathBuf = self.place.directory.join(path).components().collect();
        Some(path)
    }

    fn expanded(&mut self, text: &str, span: &Range<usize>) -> Option<PathBuf> {
        match expand(text, self.place) {
            Ok(path) => Some(path),
            Err(message) => {
                self.diagnostics.error(span.clone(), message);
                None
            }
        }
    }
}

/// `~`, `$NAME` and `${NAME}` replaced by the variables of the place.
pub(crate) fn expand(text: &str, place: &Place) -> Result<PathBuf, String> {
    expand_with(text, place, str::to_owned).map(PathBuf::from)
}

/// The same for a pattern, in which the values of variables are literal.
pub(super) fn expand_pattern(text: &str, place: &Place) -> Result<String, String> {
    expand_with(text, place, globset::escape)
}

fn expand_with(
    text: &str,
    place: &Place,
    taken: impl Fn(&str) -> String,
) -> Result<String, String> {
    if text.is_empty() {
        return Err("a path cannot be empty".into());
    }
    if text.starts_with('~') && text.len() > 1 && !text.starts_with("~/") {
        return Err(format!(
            "{text:?}: only one's own `~` is known; a file of that name is \"./{text}\""
        ));
    }
    let variable = |name: &str| match place.variable(name) {
        None => Err(format!("`${name}` is not set")),
        Some(value) => match value.to_str() {
            // "$DIR/build" would mean "/build".
            Some("") => Err(format!("`${name}` is empty")),
            Some(value) => Ok(Some(taken(value))),
            None => Err(format!("`${name}` is not UTF-8")),
        },
    };
    if text.starts_with('~') {
        variable("HOME").map_err(|reason| format!("`~` is not known: {reason}"))?;
    }
    let home = || variable("HOME").ok().flatten();
    let path = shellexpand::full_with_context(text, home, variable).map_err(|error| error.cause)?;
    if path.contains('\0') {
        return Err("a path cannot hold a NUL".into());
    }
    if path.len() >= MAX_PATH {
        return Err(format!("a path has at most {} bytes", MAX_PATH - 1));
    }
    Ok(path.into_owned())
}

pub(super) fn has_parent(path: &Path) -> bool {
    path.components().any(|component| component == Component::ParentDir)
}

pub(super) fn at_launch(wish: Option<document::Missing>) -> Missing {
    match wish {
        Some(document::Missing::Skip) => Missing::Skip,
        Some(document::Missing::Fail) | None => Missing::Fail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        let variables = [("HOME", "/home/u"), ("DATA", "data"), ("NONE", "")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.into()));
        Place { sysroot: "/".into(), directory: "/work".into(), variables: variables.into() }
    }

    #[test]
    fn home_and_variables_are_expanded() {
        let expand = |text| expand(text, &place()).unwrap();
        assert_eq!(expand("~"), Path::new("/home/u"));
        assert_eq!(expand("~/.ssh"), Path::new("/home/u/.ssh"));
        assert_eq!(expand("/srv/$DATA/${DATA}x"), Path::new("/srv/data/datax"));
        assert_eq!(expand("a~b"), Path::new("a~b"));
    }

    #[test]
    fn what_cannot_be_expanded_is_an_error() {
        let error = |text| expand(text, &place()).unwrap_err();
        assert_eq!(error("$NOWHERE/x"), "`$NOWHERE` is not set");
        assert_eq!(error("${NOWHERE}"), "`$NOWHERE` is not set");
        assert!(error("~root/x").contains("./~root/x"));
        assert_eq!(error("a\0b"), "a path cannot hold a NUL");
        assert_eq!(error(""), "a path cannot be empty");
        assert_eq!(error("$NONE/x"), "`$NONE` is empty");
        assert!(error(&"a".repeat(MAX_PATH)).contains("4095 bytes"));
    }

    #[test]
    fn home_must_be_known_to_be_meant() {
        let nowhere = Place { variables: [].into(), ..place() };
        assert_eq!(expand("~/x", &nowhere).unwrap_err(), "`~` is not known: `$HOME` is not set");
        assert_eq!(expand("/x", &nowhere).unwrap(), Path::new("/x"));
    }
}
