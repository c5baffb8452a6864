//! From entries to the tree of decisions: what is where inside.
//!
//! An entry is about an object of the host. Objects keep their own path
//! unless an entry has an `at`; what is decided about an object holds
//! wherever it appears, so that a mask is repeated at its other paths.

use std::ops::Range;
use std::path::{Path, PathBuf};

use launcher_policy::mounts::{Missing, Symlinks};

use super::entries::{Entry, Form, Object, Rule};
use super::freeze::Frozen;
use super::host::{FileKind, Host, Link, LookupError, MAX_SYMLINKS, Real};
use super::path_map::PathMap;
use super::tree::{Content, Decider, EntryPlace, Point, Rights, Tree, moved, span_of};
use crate::diagnostic::Diagnostics;

/// The tree of one document while it is built.
pub(super) struct Layout<'a> {
    pub(super) host: &'a mut Host,
    pub(super) diagnostics: &'a mut Diagnostics,
    pub(super) root: Root,
    /// The directory that is the root inside, if it is not the host's own.
    image: Option<Host>,
    pub(super) tree: Tree,
    /// Symlinks that are reproduced where the launcher makes the directory.
    pub(super) links: PathMap<Symlink>,
    /// What the entries say about each object of the host.
    objects: PathMap<Point>,
    /// What does not stand at its own path: target, and source if known.
    elsewhere: PathMap<Option<PathBuf>>,
    /// Symlinks that lead to what is denied or protected.
    pub(super) mask_links: Vec<MaskLink>,
    /// The directories in which no name is made.
    pub(super) frozen: Frozen,
    /// Sockets of the host that may be reached by their paths.
    pub(super) sockets: PathMap<()>,
}

/// A symlink that leads to what is denied or protected.
#[derive(Clone, Debug)]
pub(super) struct MaskLink {
    path: PathBuf,
    span: Range<usize>,
    what: &'static str,
    remedy: &'static str,
}

impl MaskLink {
    pub(super) fn denied(path: PathBuf, span: Range<usize>) -> Self {
        let remedy = "deny the path that it leads to, or do not make its directory writable";
        Self { path, span, what: "denied", remedy }
    }

    pub(super) fn protected(path: PathBuf, span: Range<usize>) -> Self {
        let remedy = "list it under `write` to give it up, or replace it by what it leads to";
        Self { path, span, what: "protected", remedy }
    }
}

/// What the root directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// Only what is listed exists.
    Skeleton,
    /// The host's tree.
    Host,
    /// A directory of the host.
    Tree(PathBuf),
}

/// A symlink inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Symlink {
    pub(super) content: PathBuf,
    /// Where it is asked for; `None` if it only reproduces the host's.
    pub(super) span: Option<Range<usize>>,
}

impl<'a> Layout<'a> {
    pub(super) fn new(root: Root, host: &'a mut Host, diagnostics: &'a mut Diagnostics) -> Self {
        let mut layout = Self {
            root,
            image: None,
            tree: Tree::default(),
            links: PathMap::new(),
            objects: PathMap::new(),
            elsewhere: PathMap::new(),
            mask_links: Vec::new(),
            frozen: Frozen::new(),
            sockets: PathMap::new(),
            host,
            diagnostics,
        };
        layout.base();
        layout
    }

    /// What every path has that no entry speaks of.
    fn base(&mut self) {
        let source = match &self.root {
            Root::Skeleton => return,
            Root::Host => PathBuf::from("/"),
            Root::Tree(tree) => tree.clone(),
        };
        if let Root::Tree(tree) = &self.root {
            self.image = Some(self.host.below(tree));
            self.elsewhere.insert("/", Some(tree.clone()));
        }
        let content = host_content(source, FileKind::Directory, Missing::Fail);
        self.tree.insert("/", Point { rights: Rights::EXECUTE, content, decider: Decider::Root });
    }

    /// Puts the entries where they belong. Exact mounts come between the two
    /// halves, see [`Layout::finish_entries`].
    pub(super) fn entries(&mut self, entries: &[Entry], sockets: &[Entry]) {
        for entry in entries {
            self.collect(entry);
        }
        for socket in sockets {
            self.socket(socket);
        }
        self.place_objects();
        for entry in entries {
            self.place_elsewhere(entry);
        }
    }

    /// Repeats what is decided about objects at their other paths.
    pub(super) fn finish_entries(&mut self, entries: &[Entry]) {
        self.repeat_elsewhere();
        let denied = |entry: &&Entry| entry.rule == Rule::Deny && entry.form != Form::Alias;
        for entry in entries.iter().filter(denied) {
            self.deny_inside(entry);
        }
        self.warn_of_descriptors(entries);
    }

    /// Refuses masks whose name the command could change.
    pub(super) fn check_links(&mut self) {
        for link in std::mem::take(&mut self.mask_links) {
            if self.names_of(&link.path).iter().any(|name| self.is_writable(name)) {
                let message = format!(
                    "{:?} is a symlink to what is {}, and can be replaced",
                    link.path, link.what
                );
                self.diagnostics.error(link.span, message).help(link.remedy);
            }
        }
    }

    /// Every path at which an object of the host may appear.
    pub(super) fn names_of(&self, object: &Path) -> Vec<PathBuf> {
        let elsewhere = self.elsewhere.iter().filter_map(|(target, source)| {
            let source = source.as_ref().filter(|source| object.starts_with(source))?;
            Some(moved(object, source, target))
        });
        elsewhere.chain([object.to_owned()]).collect()
    }

    fn is_writable(&self, path: &Path) -> bool {
        self.tree.deepest(path).is_some_and(|(_, point)| {
            point.rights.write && matches!(point.content, Content::Host { .. })
        })
    }

    /// Adds an entry that stays at its own path to what is said of its object.
    fn collect(&mut self, entry: &Entry) {
        let Object::Host { real, symlinks: Symlinks::Refuse, missing, .. } = &entry.object else {
            return;
        };
        if entry.rule == Rule::Deny {
            let link = |link: &Link| MaskLink::denied(link.path.clone(), entry.place.span.clone());
            self.mask_links.extend(real.links.iter().map(link));
        }
        if entry.at.as_ref().is_some_and(|at| *at != real.path) {
            return;
        }
        if real.path == Path::new("/") {
            self.refuse_root(entry);
            return;
        }
        if entry.rule != Rule::Deny {
            self.reproduce(real);
        }
        let new = point(entry, real, *missing);
        self.objects.merge(&real.path, new, merge);
    }

    fn refuse_root(&mut self, entry: &Entry) {
        let help = match entry.rule {
            Rule::Deny => "`root = \"empty\"` shows nothing",
            Rule::Allow(rights) if rights.write => "list the directories below it",
            Rule::Allow(_) => "`root = \"host\"` shows the whole tree, to read and run",
        };
        self.diagnostics
            .error(entry.place.span.clone(), "the root directory is what `filesystem.root` says")
            .help(help);
    }

    /// Remembers the symlinks on the way to something that is shown.
    pub(super) fn reproduce(&mut self, real: &Real) {
        for link in &real.links {
            let symlink = Symlink { content: link.content.clone(), span: None };
            self.links.or_insert(link.path.clone(), symlink);
        }
    }

    /// A socket needs to be seen, nothing more.
    fn socket(&mut self, entry: &Entry) {
        let Object::Host { real, missing, .. } = &entry.object else {
            return;
        };
        if real.kind == FileKind::Directory {
            let message = format!("{:?} is a directory, not a socket", real.path);
            self.diagnostics.error(entry.place.span.clone(), message);
            return;
        }
        self.reproduce(real);
        self.sockets.insert(real.path.clone(), ());
        let above = self.objects.deepest(&real.path);
        if above.is_none_or(|(_, above)| !above.rights.read) {
            let new = point(entry, real, *missing);
            self.objects.or_insert(real.path.clone(), new);
        }
    }

    fn place_objects(&mut self) {
        let objects = std::mem::take(&mut self.objects);
        for (path, point) in objects.iter() {
            let target = if self.image.is_none() {
                path.to_owned()
            } else if !point.is_denied() {
                self.inside(path)
            } else if let Some((above, _)) = granted_above(&objects, path) {
                // What is denied hides what an entry shows of the host; what
                // the image has there is judged by the path as written.
                moved(path, above, &self.inside(above))
            } else {
                continue;
            };
            if target == Path::new("/") {
                self.refuse_target(span_of(point));
            } else {
                self.put(target, point.clone());
            }
        }
        self.objects = objects;
    }

    /// Places descriptors, followed paths and what has an `at`.
    fn place_elsewhere(&mut self, entry: &Entry) {
        let Rule::Allow(rights) = entry.rule else {
            return;
        };
        let decider = Decider::Entry(entry.place.clone());
        match (&entry.object, &entry.at) {
            (Object::Fd(fd), Some(at)) => {
                let content = Content::Fd(*fd);
                self.put_at(at, None, Point { rights, content, decider }, &entry.place);
            }
            (Object::Host { written, real, symlinks: Symlinks::Follow, missing }, at) => {
                if self.denied_in(&real.path) || self.denied_in(written) {
                    let message =
                        "a path that is followed at the launch cannot hold what is denied";
                    self.diagnostics.error(entry.place.span.clone(), message);
                    return;
                }
                let content = Content::Host {
                    path: written.clone(),
                    kind: real.kind,
                    symlinks: Symlinks::Follow,
                    missing: *missing,
                };
                let point = Point { rights, content, decider };
                let source = Some(written.clone());
                self.put_at(at.as_ref().unwrap_or(written), source, point, &entry.place);
            }
            (Object::Host { real, missing, .. }, Some(at)) if *at != real.path => {
                let mut point = point(entry, real, *missing);
                if self.is_denied(&real.path) {
                    point.rights = Rights::NONE;
                    point.content = Content::Hidden(real.kind);
                }
                self.put_at(at, Some(real.path.clone()), point, &entry.place);
            }
            _ => {}
        }
    }

    /// Whether an entry denies exactly this object.
    pub(super) fn is_denied(&self, object: &Path) -> bool {
        self.objects.get(object).is_some_and(Point::is_denied)
    }

    /// Whether this object or something below it is denied.
    pub(super) fn denied_in(&self, path: &Path) -> bool {
        self.is_denied(path) || self.objects.below(path).any(|(_, point)| point.is_denied())
    }

    fn put_at(&mut self, at: &Path, source: Option<PathBuf>, point: Point, place: &EntryPlace) {
        let target = self.inside(at);
        if target == Path::new("/") {
            self.refuse_target(place.span.clone());
            return;
        }
        if let Some(old) = self.tree.get(&target)
            && !old.is_denied()
            && !same_object(&old.content, &point.content)
        {
            let message = format!("{target:?} already shows something else");
            self.diagnostics.error(place.span.clone(), message);
            return;
        }
        if source.as_deref() != Some(&target) {
            self.elsewhere.insert(target.clone(), source);
        }
        self.put(target, point);
    }

    fn refuse_target(&mut self, span: Range<usize>) {
        let message = "nothing can appear at the root directory; `filesystem.root` says what it is";
        self.diagnostics.error(span, message);
    }

    fn put(&mut self, target: PathBuf, point: Point) {
        self.tree.merge(target, point, merge);
    }

    /// Puts an exact mount, which replaces what entries say of its target.
    pub(super) fn replace(&mut self, target: PathBuf, source: Option<PathBuf>, point: Point) {
        if source.as_deref() == Some(&target) {
            self.elsewhere.remove(&target);
        } else {
            self.elsewhere.insert(target.clone(), source);
        }
        self.tree.insert(target, point);
    }

    /// Forgets what is denied below a target where nothing of the host is.
    pub(super) fn forget_denied(&mut self, target: &Path) {
        let denied = self.tree.below(target).filter(|(_, point)| point.is_denied());
        let denied: Vec<PathBuf> = denied.map(|(path, _)| path.to_owned()).collect();
        for path in denied {
            self.tree.remove(&path);
        }
    }

    /// Repeats what is said about an object at each other path it appears at.
    fn repeat_elsewhere(&mut self) {
        for (target, source) in self.elsewhere.iter() {
            let Some(source) = source else {
                continue;
            };
            for (object, point) in self.objects.below(source) {
                let copy = moved(object, source, target);
                let shown_by = self.elsewhere.deepest(&copy);
                if shown_by.is_some_and(|(shown_by, _)| shown_by == target) {
                    self.tree.or_insert(copy, point.clone());
                }
            }
        }
    }

    /// Hides what a denied path means inside, where that differs from what it
    /// means on the host.
    fn deny_inside(&mut self, entry: &Entry) {
        let (written, absent, complain) = match &entry.object {
            Object::Host { written, .. } => (written, false, false),
            Object::Absent { written, complain } => (written, true, *complain),
            Object::Fd(_) => return,
        };
        let shown = self.elsewhere.deepest(written);
        let found = match shown.map(|(target, source)| (target.to_owned(), source.clone())) {
            None => false,
            Some((target, Some(source))) => self.deny_at(entry, written, &target, &source),
            Some((target, None)) => self.refuse_unjudged(entry, &target),
        };
        if absent && complain && !found {
            self.diagnostics
                .warning(
                    entry.place.span.clone(),
                    format!("{written:?} does not exist: nothing is hidden"),
                )
                .help(format!(
                    "{{ path = {written:?}, missing = \"skip\" }} says that it may be missing"
                ));
        }
    }

    /// Whether there was something to hide.
    fn deny_at(&mut self, entry: &Entry, written: &Path, target: &Path, source: &Path) -> bool {
        let real = match &mut self.image {
            Some(image) if target == Path::new("/") => image.real(written),
            _ => self.host.real(&moved(written, target, source)),
        };
        let real = match real {
            Ok(real) => real,
            Err(LookupError::Missing(_)) => return false,
            Err(LookupError::Unknown(part, reason)) => {
                let message = format!("whether {part:?} exists cannot be said: {reason}");
                self.diagnostics.error(entry.place.span.clone(), message);
                return true;
            }
        };
        let inside = if target == Path::new("/") {
            real.path.clone()
        } else if real.path.starts_with(source) {
            moved(&real.path, source, target)
        } else {
            return false;
        };
        if inside == Path::new("/") {
            self.refuse_root(entry);
            return true;
        }
        let links = real.links.iter().map(|link| match target == Path::new("/") {
            true => link.path.clone(),
            false => moved(&link.path, source, target),
        });
        let link = |link| MaskLink::denied(link, entry.place.span.clone());
        self.mask_links.extend(links.map(link));
        self.tree.insert(
            inside,
            Point {
                rights: Rights::NONE,
                content: Content::Hidden(real.kind),
                decider: Decider::Entry(entry.place.clone()),
            },
        );
        true
    }

    /// Whether only the launch knows what is below `target`.
    fn refuse_unjudged(&mut self, entry: &Entry, target: &Path) -> bool {
        let Some(Point { content: Content::Fd(_), .. }) = self.tree.get(target) else {
            return false;
        };
        let message =
            format!("what lies below the descriptor at {target:?} is not known before the launch");
        self.diagnostics.error(entry.place.span.clone(), message);
        true
    }

    /// A descriptor may lead to what is denied under another name.
    fn warn_of_descriptors(&mut self, entries: &[Entry]) {
        if !self.objects.iter().any(|(_, point)| point.is_denied()) {
            return;
        }
        for entry in entries.iter().filter(|entry| matches!(entry.object, Object::Fd(_))) {
            let message = "nothing is hidden in the directory behind a descriptor";
            self.diagnostics
                .warning(entry.place.span.clone(), message)
                .help("make sure that it does not contain what the policy denies");
        }
    }

    /// The path under which the view knows what is written as `path`.
    pub(super) fn inside(&mut self, path: &Path) -> PathBuf {
        if REPLACED.iter().any(|replaced| path.starts_with(replaced)) && self.root != Root::Skeleton
        {
            return path.to_owned();
        }
        self.real_inside(path)
    }

    /// The real path of the view as the host or the image has it.
    pub(super) fn real_inside(&mut self, path: &Path) -> PathBuf {
        let real = match (&self.root, &mut self.image) {
            (Root::Skeleton, _) => return through_links(&self.links, path),
            (_, Some(image)) => image.real(path),
            (_, None) => self.host.real(path),
        };
        real.map_or_else(|_| path.to_owned(), |real| real.path)
    }

    /// Whether something can be attached at `target`: the launcher makes the
    /// place, or it is there.
    pub(super) fn is_attachable(&mut self, target: &Path) -> bool {
        match self.tree.deepest(target) {
            None => true,
            Some((at, point)) => match &point.content {
                Content::Directory { .. } => true,
                Content::Host { path, .. } => {
                    let path = moved(target, at, path);
                    self.host.kind(&path).is_some()
                }
                _ => false,
            },
        }
    }
}

/// Below these the launcher makes what is listed, whatever the host has there.
const REPLACED: [&str; 6] = ["/run", "/sys", "/proc", "/dev", "/tmp", "/var/tmp"];

/// An object of the host that is opened under its real path.
pub(super) fn host_content(path: PathBuf, kind: FileKind, missing: Missing) -> Content {
    Content::Host { path, kind, symlinks: Symlinks::Refuse, missing }
}

fn point(entry: &Entry, real: &Real, missing: Missing) -> Point {
    let decider = Decider::Entry(entry.place.clone());
    match entry.rule {
        Rule::Deny => Point { rights: Rights::NONE, content: Content::Hidden(real.kind), decider },
        Rule::Allow(rights) => {
            let content = host_content(real.path.clone(), real.kind, missing);
            Point { rights, content, decider }
        }
    }
}

/// Several entries for the same path: denied if one denies, else the union.
fn merge(point: &mut Point, new: Point) {
    if point.is_denied() {
        return;
    }
    if new.is_denied() {
        *point = new;
        return;
    }
    point.rights = point.rights.union(new.rights);
    if let (Content::Host { missing, .. }, Content::Host { missing: Missing::Fail, .. }) =
        (&mut point.content, &new.content)
    {
        *missing = Missing::Fail;
    }
}

fn same_object(one: &Content, other: &Content) -> bool {
    match (one, other) {
        (
            Content::Host { path, symlinks, .. },
            Content::Host { path: other, symlinks: other_symlinks, .. },
        ) => path == other && symlinks == other_symlinks,
        (_, Content::Hidden(_)) => true,
        _ => one == other,
    }
}

/// The closest object above a path, unless it is denied.
fn granted_above<'m>(objects: &'m PathMap<Point>, path: &Path) -> Option<(&'m Path, &'m Point)> {
    objects.deepest(path.parent()?).filter(|(_, point)| !point.is_denied())
}

/// Follows the symlinks of the view; a loop of them ends where it is met.
pub(super) fn through_links(links: &PathMap<Symlink>, path: &Path) -> PathBuf {
    let mut path = lexical(path);
    for _ in 0..MAX_SYMLINKS {
        let Some((link, symlink)) = first_link(links, &path) else {
            break;
        };
        let parent = link.parent().unwrap_or(Path::new("/"));
        let rest = path.strip_prefix(link).unwrap_or(Path::new(""));
        path = lexical(&parent.join(&symlink.content).join(rest));
    }
    path
}

/// The first symlink on the way down to a path.
fn first_link<'p, 'm>(
    links: &'m PathMap<Symlink>,
    path: &'p Path,
) -> Option<(&'p Path, &'m Symlink)> {
    links.deepest(path)?;
    path.ancestors().filter_map(|path| links.get(path).map(|link| (path, link))).last()
}

/// `.` and `..` taken by the letter: the directories on the way are real.
fn lexical(path: &Path) -> PathBuf {
    let mut normal = PathBuf::from("/");
    for component in path.components() {
        match component {
            std::path::Component::ParentDir => {
                normal.pop();
            }
            std::path::Component::Normal(name) => normal.push(name),
            _ => {}
        }
    }
    normal
}
