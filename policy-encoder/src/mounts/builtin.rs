//! What a policy shows without listing it: the system directories of
//! `root = "minimal"`, the devices, `/proc`, the temporary directories, the
//! files that name resolution reads.
//!
//! None of it shows what an entry denies. Directories and files of the host
//! are shown only where no entry speaks of them.

use std::ops::Range;
use std::path::{Path, PathBuf};

use launcher_policy::mounts::Missing;

use super::entries::{Entry, Object, Resolver, Rule};
use super::groups;
use super::host::{FileKind, Host, LookupError, Real};
use super::layout::{Layout, Root, Symlink, host_content};
use super::tree::{Content, Decider, Point, Rights};
use crate::Spanned;
use crate::diagnostic::Diagnostics;
use crate::document::{Access, Dev, DevSet, Document, Tmp};
use crate::network::proxy;

/// The devices of `dev = "minimal"`: they hold nothing and answer everybody.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// The words of `dev` that are not files of the host's `/dev`.
const DEV_WORDS: [&str; 7] = ["pts", "ptmx", "fd", "stdin", "stdout", "stderr", "shm"];

/// The names that `dev = "minimal"` stands for.
pub fn minimal_devices() -> Vec<String> {
    DEVICES.iter().chain(&DEV_WORDS).map(|&name| name.to_owned()).collect()
}

/// What the symlinks among them say.
const DEV_LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// The temporary directories.
const TEMPORARY: [&str; 3] = ["/tmp", "/var/tmp", SHM];

/// POSIX shared memory, shm_overview(7); it comes with the devices.
const SHM: &str = "/dev/shm";

/// `/etc/resolv.conf` where a proxy answers to all names.
const RESOLVER: &[u8] = b"nameserver 127.0.0.1\n";

/// What `filesystem.root` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RootWord {
    /// `"empty"`, or a directory.
    Plain,
    /// `"minimal"`.
    Minimal,
}

/// What the root directory is, and whether the system directories are shown.
pub(super) fn root(document: &Document, resolver: &mut Resolver<'_>) -> (Root, RootWord) {
    let Some(root) = &document.filesystem.root else {
        return (Root::Skeleton, RootWord::Plain);
    };
    match root.get_ref().as_str() {
        "empty" => (Root::Skeleton, RootWord::Plain),
        "minimal" => (Root::Skeleton, RootWord::Minimal),
        "host" => (Root::Host, RootWord::Plain),
        path if path.contains('/') || path.starts_with(['~', '$', '.']) => {
            (tree(path, &root.span(), resolver).unwrap_or(Root::Skeleton), RootWord::Plain)
        }
        word => {
            let message = format!("{word:?} is not a root");
            let help = "\"empty\", \"minimal\", \"host\", or the path of a directory";
            let help = match nearest(word, ["empty", "minimal", "host"]) {
                Some(nearest) => format!("did you mean {nearest:?}? A root is {help}"),
                None => format!("a root is {help}"),
            };
            resolver.diagnostics.error(root.span(), message).help(help);
            (Root::Skeleton, RootWord::Plain)
        }
    }
}

fn tree(path: &str, span: &Range<usize>, resolver: &mut Resolver<'_>) -> Option<Root> {
    let real = resolver.existing(path, None, span)?;
    if real.kind != FileKind::Directory {
        let message = format!("{:?} is not a directory", real.path);
        resolver.diagnostics.error(span.clone(), message);
        None
    } else if real.path == Path::new("/") {
        resolver
            .diagnostics
            .error(span.clone(), "the root directory of the host is called \"host\"");
        None
    } else {
        Some(Root::Tree(real.path))
    }
}

/// A file or directory of the host that is shown where no entry speaks of it.
pub(super) struct Fallback {
    real: Real,
    rights: Rights,
    /// The key of the document that asks for it.
    key: &'static str,
}

/// What the root and the network show of the host; what is missing is left
/// out.
pub(super) fn fallbacks(
    document: &Document,
    root: &Root,
    word: RootWord,
    host: &mut Host,
) -> Vec<Fallback> {
    let mut list = Vec::new();
    if word == RootWord::Minimal {
        for (path, rights) in groups::system(host) {
            list.extend(fallback(&path, rights, "filesystem.root", host));
        }
    }
    let access = document.network.access.as_ref().map(Spanned::get_ref);
    if access == Some(&Access::Host) && !matches!(root, Root::Tree(_)) {
        for (path, rights) in groups::resolver(host) {
            list.extend(fallback(&path, rights, "network.access", host));
        }
    }
    list
}

/// Every path that the policy may show without listing it.
pub(super) fn shown(fallbacks: &[Fallback]) -> Vec<PathBuf> {
    let made = ["/proc", "/sys", "/run", "/dev"].into_iter().chain(TEMPORARY).map(PathBuf::from);
    made.chain(fallbacks.iter().map(|fallback| fallback.real.path.clone())).collect()
}

fn fallback(path: &Path, rights: Rights, key: &'static str, host: &mut Host) -> Option<Fallback> {
    host.real(path).ok().map(|real| Fallback { real, rights, key })
}

impl Layout<'_> {
    /// Reproduces the symlinks on the way to the fallbacks.
    pub(super) fn fallback_links(&mut self, fallbacks: &[Fallback]) {
        for fallback in fallbacks {
            self.reproduce(&fallback.real);
        }
    }

    /// Shows the fallbacks where nothing else decides.
    pub(super) fn fallbacks(&mut self, fallbacks: Vec<Fallback>) {
        for Fallback { real, rights, key } in fallbacks {
            let free = self.tree.deepest(&real.path).is_none_or(|(_, point)| {
                matches!(point.content, Content::Directory { .. })
                    && matches!(point.decider, Decider::BuiltIn(_))
            });
            if free {
                let decider = Decider::BuiltIn(key);
                let content = host_content(real.path.clone(), real.kind, Missing::Skip);
                self.tree.insert(real.path, Point { rights, content, decider });
            }
        }
    }

    /// Everything that the launcher makes itself.
    pub(super) fn facilities(&mut self, document: &Document) {
        let filesystem = &document.filesystem;
        if self.root != Root::Skeleton {
            self.empty_directory("/run", "filesystem.root");
            self.empty_directory("/sys", "filesystem.root");
        }
        if proxy::is_transparent(document) {
            let content = Content::File { mode: 0o444, data: RESOLVER.to_vec() };
            self.facility("/etc/resolv.conf", Rights::READ, content, "network.proxy");
        }
        self.proc(filesystem.proc.as_ref().is_none_or(|proc| *proc.get_ref()));
        let dev = filesystem.dev.as_ref();
        let shared_memory = match dev.map(Spanned::get_ref) {
            None | Some(Dev::Named(DevSet::Minimal)) => {
                self.devices(&DEVICES.map(str::to_owned), Missing::Skip, &(0..0));
                self.dev_words(&DEV_WORDS);
                true
            }
            Some(Dev::Named(DevSet::None)) => {
                if self.root != Root::Skeleton {
                    self.empty_directory("/dev", "filesystem.dev");
                }
                false
            }
            Some(Dev::List(names)) => {
                let is_word = |name: &String| DEV_WORDS.contains(&name.as_str());
                let (words, devices): (Vec<_>, Vec<_>) = names.iter().cloned().partition(is_word);
                let span = dev.map_or(0..0, Spanned::span);
                self.devices(&devices, Missing::Fail, &span);
                self.dev_words(&words.iter().map(String::as_str).collect::<Vec<_>>());
                words.iter().any(|word| word == "shm")
            }
        };
        let tmp = filesystem.tmp.as_ref().map_or(Tmp::Private, |tmp| *tmp.get_ref());
        for path in TEMPORARY.iter().filter(|path| **path != SHM || shared_memory) {
            match tmp {
                Tmp::Private => self.private_temporary(path),
                Tmp::Host => self.host_temporary(path),
                Tmp::None if self.root != Root::Skeleton => {
                    self.empty_directory(path, "filesystem.tmp");
                }
                Tmp::None => {}
            }
        }
    }

    fn empty_directory(&mut self, path: &str, key: &'static str) {
        self.facility(path, Rights::READ, Content::Directory { mode: 0o555 }, key);
    }

    fn proc(&mut self, wanted: bool) {
        if !wanted {
            if self.root != Root::Skeleton {
                self.empty_directory("/proc", "filesystem.proc");
            }
            return;
        }
        // The host's own would show its processes: the fresh one is what an
        // entry for it means.
        let path = Path::new("/proc");
        if self.tree.get(path).is_some_and(|point| point.is_in_place(path)) {
            let decider = Decider::BuiltIn("filesystem.proc");
            let point = Point { rights: Rights::WRITE, content: Content::Proc, decider };
            self.tree.insert(path, point);
        }
        self.facility("/proc", Rights::WRITE, Content::Proc, "filesystem.proc");
    }

    /// Makes `/dev` and binds these names below it.
    fn devices(&mut self, names: &[String], missing: Missing, span: &Range<usize>) {
        self.facility("/dev", Rights::READ, Content::Directory { mode: 0o755 }, "filesystem.dev");
        for name in names {
            let path = Path::new("/dev").join(name);
            if !is_below_dev(name) {
                let message = format!("{name:?} is not a name below /dev");
                self.diagnostics.error(span.clone(), message);
            } else if missing == Missing::Skip {
                // An image has no devices before it runs, so that these are
                // judged at the launch.
                self.device(&path, FileKind::Device, missing);
            } else {
                self.listed_device(name, &path, span);
            }
        }
    }

    fn listed_device(&mut self, name: &str, path: &Path, span: &Range<usize>) {
        match self.host.real(path) {
            Ok(real) if real.kind == FileKind::File => {
                let message = format!("{path:?} is neither a device nor a directory of devices");
                self.diagnostics.error(span.clone(), message);
            }
            Ok(real) => {
                self.reproduce(&real);
                self.device(&real.path, real.kind, Missing::Fail);
            }
            Err(LookupError::Missing(_)) => {
                let known = self.host.list(Path::new("/dev"));
                let known = known.iter().map(String::as_str).chain(DEVICES).chain(DEV_WORDS);
                let message = format!("there is no device {name:?}");
                let nearest = nearest(name, known);
                let diagnostic = self.diagnostics.error(span.clone(), message);
                if let Some(nearest) = nearest {
                    diagnostic.help(format!("did you mean {nearest:?}?"));
                }
            }
            Err(LookupError::Unknown(part, reason)) => {
                let message = format!("whether {part:?} exists cannot be said: {reason}");
                self.diagnostics.error(span.clone(), message);
            }
        }
    }

    fn device(&mut self, path: &Path, kind: FileKind, missing: Missing) {
        let content = host_content(path.to_owned(), kind, missing);
        self.attach(path.to_owned(), Rights::WRITE, content, "filesystem.dev");
    }

    fn dev_words(&mut self, words: &[&str]) {
        if words.iter().any(|word| matches!(*word, "pts" | "ptmx")) {
            self.facility("/dev/pts", Rights::WRITE, Content::Devpts, "filesystem.dev");
        }
        let denied = |point: Option<(&Path, &Point)>| point.is_some_and(|(_, it)| it.is_denied());
        for (name, content) in DEV_LINKS.iter().filter(|(name, _)| words.contains(name)) {
            let path = Path::new("/dev").join(name);
            if !denied(self.tree.deepest(&path)) {
                let symlink = Symlink { content: content.into(), span: None };
                self.links.or_insert(path, symlink);
            }
        }
    }

    /// A tmpfs of the command's own, unless an entry makes the host's
    /// writable. An execute entry for it makes it executable.
    fn private_temporary(&mut self, path: &str) {
        let target = self.facility_target(path);
        let mut rights = Rights::WRITE;
        if let Some((at, point)) = self.tree.deepest(&target)
            && matches!(point.decider, Decider::Entry(_))
        {
            let listed = at == target;
            if point.is_denied() || point.rights.write || (listed && !point.is_in_place(at)) {
                return;
            }
            if listed {
                rights = rights.union(point.rights);
            }
        }
        if self.parent_is_attachable(&target) {
            let content = Content::Directory { mode: 0o1777 };
            let decider = Decider::BuiltIn("filesystem.tmp");
            self.tree.insert(target, Point { rights, content, decider });
        }
    }

    /// The host's own, writable.
    fn host_temporary(&mut self, path: &str) {
        let Ok(real) = self.host.real(Path::new(path)) else {
            return;
        };
        let mut rights = Rights::WRITE;
        if let Some((at, point)) = self.tree.deepest(&real.path)
            && matches!(point.decider, Decider::Entry(_))
        {
            let listed = at == real.path;
            if point.is_denied() || (listed && !point.is_in_place(at)) {
                return;
            }
            // What contains it decides about execution as well.
            rights = rights.union(point.rights);
        }
        self.reproduce(&real);
        let content = host_content(real.path.clone(), real.kind, Missing::Fail);
        let decider = Decider::BuiltIn("filesystem.tmp");
        let target =
            if matches!(self.root, Root::Tree(_)) { self.inside(&real.path) } else { real.path };
        self.tree.insert(target, Point { rights, content, decider });
    }

    /// Something that the launcher makes, unless an entry for the same path
    /// or a denied directory above it decides.
    fn facility(&mut self, path: &str, rights: Rights, content: Content, key: &'static str) {
        let target = self.facility_target(path);
        self.attach(target, rights, content, key);
    }

    fn attach(&mut self, target: PathBuf, rights: Rights, content: Content, key: &'static str) {
        let decided = self
            .tree
            .deepest(&target)
            .is_some_and(|(at, point)| at != Path::new("/") && (at == target || point.is_denied()));
        if !decided && self.is_attachable(&target) {
            self.tree.insert(target, Point { rights, content, decider: Decider::BuiltIn(key) });
        }
    }

    /// Where a facility stands: by its own name in what the launcher makes,
    /// by its real path in what is the host's.
    fn facility_target(&mut self, path: &str) -> PathBuf {
        let path = Path::new(path);
        match self.tree.deepest(path) {
            Some((_, Point { content: Content::Directory { .. }, .. })) => path.to_owned(),
            _ => self.real_inside(path),
        }
    }

    /// Whether the place of a private directory can be had once what an entry
    /// says of the very path is set aside.
    fn parent_is_attachable(&mut self, target: &Path) -> bool {
        let in_place = self.tree.get(target).is_some_and(|point| point.is_in_place(target));
        in_place || self.is_attachable(target)
    }
}

/// A relative path without `..`.
fn is_below_dev(name: &str) -> bool {
    let mut components = Path::new(name).components();
    !name.is_empty() && components.all(|part| matches!(part, std::path::Component::Normal(_)))
}

/// The most similar of the known words, if any is similar.
fn nearest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    known
        .into_iter()
        .map(|known| (strsim::osa_distance(word, known), known))
        .filter(|(distance, _)| *distance <= word.len().div_ceil(3))
        .min()
        .map(|(_, known)| known)
}

/// Says of entries for `/dev` what they do not do.
pub(super) fn warn_of_dev(entries: &[Entry], diagnostics: &mut Diagnostics) {
    for entry in entries {
        if let Object::Host { real, .. } = &entry.object
            && real.path == Path::new("/dev")
            && entry.rule != Rule::Deny
            && entry.at.is_none()
        {
            diagnostics
                .warning(
                    entry.place.span.clone(),
                    "no device below /dev can be opened through this entry",
                )
                .help("list them in `filesystem.dev`, or by their paths");
        }
    }
}
