//! Mounts: what the command sees of the file system, and what it may do there.
//!
//! Everything follows from one tree of decisions: for any
//! path inside, its deepest point says what stands there, what may be done
//! with it, and which line of the document said so. The nodes and mounts of
//! the wire, the Landlock rights that travel with them, and the verdict
//! whether Landlock alone would keep the guarantees are all derived from it.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::path::{Path, PathBuf};

use launcher_policy::enforce::Facility;
use launcher_policy::{List, mounts as wire};

use crate::Place;
use crate::diagnostic::Diagnostics;
use crate::document::{CarveOut, Document};

mod aliases;
mod builtin;
mod carve;
mod entries;
mod exact;
mod freeze;
mod globs;
mod groups;
mod home;
mod host;
mod layout;
pub(crate) mod path_map;
mod plan;
mod protect;
mod standing;
mod tree;
mod warnings;
mod wired;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use builtin::minimal_devices;
pub(crate) use entries::expand;
pub(crate) use globs::is_pattern;
pub use groups::members;
pub(crate) use protect::PROTECTED;
pub(crate) use standing::Standing;
pub use tree::{Decider, EntryPlace, Rights};

use entries::Resolver;
use globs::Origin;
use host::Host;
use layout::{Layout, Root, Symlink, through_links};
use path_map::PathMap;
use plan::{Node, Plan};
use tree::{Content, Tree};

/// Size of the private temporary directories together, in bytes.
pub(crate) const TMP_SIZE: u64 = 256 << 20;

/// Size of a skeleton without private directories, in bytes.
const SKELETON_SIZE: u64 = 1 << 20;

/// What the smallest file takes, in bytes.
const PAGE: u64 = 4096;

/// The size that a tmpfs has to have for each file in it, in bytes: the
/// launcher limits their number by its size.
const INODE: u64 = 4096;

/// What the command sees, resolved for one place.
#[derive(Debug)]
pub struct View {
    /// Why Landlock alone does not keep what mounts do, where it does not.
    pub lost_without_mounts: Option<String>,
    /// Whether a guarantee rests on Landlock although there are mounts.
    pub needs_landlock: bool,
    /// What may be read and not run, which Landlock alone does not keep from
    /// being run by its loader.
    pub runs_without_mounts: Option<PathBuf>,
    root: Root,
    root_path: CString,
    tree: Tree,
    links: PathMap<Symlink>,
    nodes: PathMap<Node>,
    skeleton_size: u64,
    skeleton_bytes: Vec<u8>,
    mount_bytes: Vec<u8>,
    rule_bytes: Vec<u8>,
    carved_bytes: Vec<u8>,
    origin: Origin,
}

/// What the policy says of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What may be done there.
    pub rights: Rights,
    /// Who says so.
    pub decider: Decider,
}

/// Resolves `[filesystem]`, and what `[network]` shows of the file system.
///
/// The view means something only if no error was added to `diagnostics`.
pub fn resolve(document: &Document, place: &Place, diagnostics: &mut Diagnostics) -> View {
    let mut host = Host::new(&place.sysroot);
    let mut resolver = Resolver { place, host: &mut host, diagnostics };
    let (root, word) = builtin::root(document, &mut resolver);
    let mut entries = resolver.entries(document);
    let mut matches = globs::expand(document, &entries, &mut resolver);
    entries.append(&mut matches.denied);
    entries.extend(resolver.aliases(&entries));
    let protect = resolver.protect(document, &matches);
    let sockets = resolver.sockets(document);
    let exact = exact::resolve(document, &mut resolver);
    let fallbacks = builtin::fallbacks(document, &root, word, &mut host);
    let builtin = builtin::shown(&fallbacks);
    builtin::warn_of_dev(&entries, diagnostics);
    warnings::of_entries(&entries, diagnostics);

    let mut layout = Layout::new(root.clone(), &mut host, diagnostics);
    layout.exact_links(&exact);
    layout.fallback_links(&fallbacks);
    layout.entries(&entries, &sockets);
    layout.exact_mounts(exact);
    layout.finish_entries(&entries);
    layout.protect(&protect, &entries);
    layout.facilities(document);
    layout.home(document, place);
    layout.exact_directories();
    layout.fallbacks(fallbacks);
    layout.check_links();
    layout.warn_of_void_denials(&entries, &builtin);
    layout.warn_of_denied_hard_links(&entries);
    let carve_out = document.enforce.carve_out.as_ref().map(|carve_out| *carve_out.get_ref());
    let (plan, tree, links) = plan::plan(layout, carve_out == Some(CarveOut::Siblings));

    let view =
        View { origin: matches.origin, ..view(document, root, plan, tree, links, diagnostics) };
    warnings::of_path(document, &view, diagnostics);
    view
}

fn view(
    document: &Document,
    root: Root,
    plan: Plan,
    tree: Tree,
    links: PathMap<Symlink>,
    diagnostics: &mut Diagnostics,
) -> View {
    let mount_bytes = wired::mounts(&plan.mounts, &plan.nodes, &root, diagnostics);
    let root_path = match &root {
        Root::Tree(path) => wired::path(path, diagnostics).unwrap_or_else(|| c"/".into()),
        Root::Skeleton | Root::Host => c"/".into(),
    };
    View {
        lost_without_mounts: plan.lost,
        needs_landlock: plan.needs_landlock,
        runs_without_mounts: plan.only_read,
        root_path,
        root,
        skeleton_size: skeleton_size(document, &tree, plan.nodes.len(), diagnostics),
        skeleton_bytes: wired::nodes(&plan.nodes, diagnostics),
        mount_bytes,
        rule_bytes: wired::rules(&plan.rules, diagnostics),
        carved_bytes: wired::carved(&plan.carved, diagnostics),
        origin: Origin::default(),
        nodes: plan.nodes,
        tree,
        links,
    }
}

/// What the private directories may hold, and room for the rest.
fn skeleton_size(
    document: &Document,
    tree: &Tree,
    nodes: usize,
    diagnostics: &mut Diagnostics,
) -> u64 {
    let size = document.filesystem.tmp_size.as_ref();
    if let Some(size) = size.filter(|size| size.get_ref().0 == 0) {
        diagnostics
            .error(size.span(), "a private temporary directory needs a size")
            .help("`tmp = \"none\"` makes none");
    }
    let mut files: u64 = 0;
    let mut private = false;
    for (_, point) in tree.iter() {
        match &point.content {
            Content::Directory { .. } => private |= point.rights.write,
            Content::File { data, .. } => files += (data.len() as u64).next_multiple_of(PAGE),
            _ => {}
        }
    }
    let size = if private { size.map_or(TMP_SIZE, |size| size.get_ref().0) } else { SKELETON_SIZE };
    // The names of an ordinary policy are lost in the rest.
    let names = INODE * (nodes as u64).saturating_sub(SKELETON_SIZE / INODE / 2);
    size.saturating_add(files).saturating_add(names)
}

impl View {
    /// The view as the launcher reads it.
    pub fn wire(&self) -> wire::Mounts<'_> {
        let access = plan::access(Rights::EXECUTE, wire::Kind::Directory, plan::Devices::Inert);
        let root = match self.root {
            Root::Skeleton => wire::Root::Skeleton,
            Root::Host => wire::Root::Host { access },
            Root::Tree(_) => match launcher_policy::Path::new(&self.root_path) {
                Some(path) => wire::Root::Tree { path, access },
                None => wire::Root::Skeleton,
            },
        };
        wire::Mounts {
            root,
            skeleton_size: self.skeleton_size,
            skeleton: List::from_bytes(&self.skeleton_bytes),
            mounts: List::from_bytes(&self.mount_bytes),
            rules: List::from_bytes(&self.rule_bytes),
            carved: List::from_bytes(&self.carved_bytes),
        }
    }

    /// When the patterns of the document were expanded, and what they matched.
    pub fn origin(&self) -> launcher_policy::origin::Origin<'_> {
        self.origin.wire()
    }

    /// What may be done with an absolute path inside, and who says so.
    /// Symlinks that the view itself makes are followed, those of the host's
    /// directories are not.
    pub fn decide(&self, path: &Path) -> Decision {
        let path = through_links(&self.links, path);
        match self.tree.deepest(&path) {
            Some((_, point)) => Decision { rights: point.rights, decider: point.decider.clone() },
            // Directories on the way to what is in view can be listed.
            None if self.is_made(&path) => {
                Decision { rights: Rights::READ, decider: Decider::Nobody }
            }
            None => Decision { rights: Rights::NONE, decider: Decider::Nobody },
        }
    }

    /// What may be done with an absolute path inside.
    pub fn rights(&self, path: &Path) -> Rights {
        self.decide(path).rights
    }

    /// Whether the host's object of this path, or what the launcher makes
    /// there, can be seen; whether the host has it is for the caller to say.
    pub fn shows(&self, path: &Path) -> bool {
        let path = through_links(&self.links, path);
        match self.tree.deepest(&path) {
            Some((at, point)) => match point.content {
                Content::Hidden(_) => self.is_made(&path) && at != path,
                Content::Directory { .. } => self.is_made(&path),
                Content::File { .. } => at == path,
                Content::Tmpfs { .. } | Content::Devpts => at == path,
                Content::Host { .. } | Content::Fd(_) | Content::Proc | Content::Overlay { .. } => {
                    point.rights.read
                }
            },
            None => self.is_made(&path),
        }
    }

    /// Whether there is a path whose files can be both written and run.
    pub fn runs_what_is_written(&self) -> bool {
        self.tree.iter().any(|(_, point)| point.rights.write && point.rights.execute)
    }

    /// What it offers that takes mounts.
    pub fn offers(&self) -> Vec<Facility> {
        let offered =
            self.tree.iter().filter_map(|(_, point)| match (&point.content, &point.decider) {
                (Content::Proc, _) => Some(Facility::Proc),
                (Content::Devpts, _) => Some(Facility::Pts),
                (Content::Directory { .. }, Decider::BuiltIn(key)) if point.rights.write => {
                    match *key {
                        "filesystem.tmp" => Some(Facility::Tmp),
                        "filesystem.home" => Some(Facility::Home),
                        _ => None,
                    }
                }
                _ => None,
            });
        let new_names = (!self.carved_bytes.is_empty()).then_some(Facility::NewNames);
        offered.chain(new_names).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Whether the launcher makes something at this path.
    fn is_made(&self, path: &Path) -> bool {
        path == Path::new("/") || self.nodes.contains(path)
    }
}
