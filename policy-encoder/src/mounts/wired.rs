//! Nodes and mounts as the bytes of the wire: back to back, in postcard.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use launcher_policy::{MAX_PATH, Text, mounts as wire};
use serde::Serialize;

use super::carve::Carved;
use super::layout::Root;
use super::path_map::PathMap;
use super::plan::{Mount, Node, Rule, Source};
use crate::diagnostic::Diagnostics;
use crate::items::{Items, c_string};

/// The nodes, in the order of their paths: parents first.
pub(super) fn nodes(nodes: &PathMap<Node>, diagnostics: &mut Diagnostics) -> Vec<u8> {
    let encoded = nodes.iter().map(|(at, node)| (at, self::node(at, node)));
    concatenated(encoded, diagnostics)
}

/// The mounts, in the order of their targets: parents first. Before them all
/// comes the one that the skeleton is hidden under.
pub(super) fn mounts(
    mounts: &PathMap<Mount>,
    nodes: &PathMap<Node>,
    root: &Root,
    diagnostics: &mut Diagnostics,
) -> Vec<u8> {
    let first = hiding_place(mounts, nodes, root, diagnostics);
    let others = mounts.iter().filter(|(at, _)| first.is_none_or(|(first, _)| first != *at));
    let encoded = first.into_iter().chain(others).map(|(at, mount)| {
        let foreign = |above| mounts.get(above).is_some_and(|other| !is_of_skeleton(other));
        let parents = match root {
            Root::Skeleton if !at.ancestors().skip(1).any(foreign) => wire::Parents::Skeleton,
            _ => wire::Parents::Foreign,
        };
        (at, self::mount(at, parents, mount))
    });
    concatenated(encoded, diagnostics)
}

/// Where a tree is the root, the skeleton lies under the first mount that is
/// taken from it: a directory, on which nothing else is attached before.
fn hiding_place<'m>(
    mounts: &'m PathMap<Mount>,
    nodes: &PathMap<Node>,
    root: &Root,
    diagnostics: &mut Diagnostics,
) -> Option<(&'m Path, &'m Mount)> {
    let mut taken = mounts.iter().filter(|(_, mount)| is_of_skeleton(mount)).peekable();
    if *root == Root::Skeleton || taken.peek().is_none() {
        return None;
    }
    let is_directory = |at: &Path| matches!(nodes.get(at), Some(Node::Directory { .. }));
    let is_covered = |at: &Path| at.ancestors().skip(1).any(|above| mounts.contains(above));
    let place = taken.find(|(at, _)| is_directory(at) && !is_covered(at));
    if place.is_none() {
        diagnostics
            .error_anywhere("nothing can be hidden in a root without a directory to replace")
            .help("make /run in it: an empty directory is enough");
    }
    place
}

/// The Landlock rights on what no mount shows by itself.
pub(super) fn rules(rules: &PathMap<Rule>, diagnostics: &mut Diagnostics) -> Vec<u8> {
    concatenated(rules.iter().map(|(path, each)| (path, rule(path, *each))), diagnostics)
}

fn rule(path: &Path, Rule { kind, access }: Rule) -> Option<Vec<u8>> {
    let path = text(path)?;
    let path = launcher_policy::Path::new(&path)?;
    encoded(&wire::Rule { path, kind, access })
}

/// The directories that are granted by what is in them.
pub(super) fn carved(carved: &PathMap<Carved>, diagnostics: &mut Diagnostics) -> Vec<u8> {
    concatenated(carved.iter().map(|(path, each)| (path, directory(path, each))), diagnostics)
}

fn directory(path: &Path, carved: &Carved) -> Option<Vec<u8>> {
    let path = text(path)?;
    let path = launcher_policy::Path::new(&path)?;
    let names = carved.except.iter().map(|name| c_string(name.as_bytes()));
    let names: Vec<CString> = names.collect::<Option<_>>()?;
    let except = Items::new(names.iter().map(|name| Text::new(name)));
    let Carved { shared, access, .. } = *carved;
    encoded(&wire::Carved { path, shared, access, except: except.list() })
}

fn is_of_skeleton(mount: &Mount) -> bool {
    matches!(mount.source, Source::Skeleton)
}

/// A path as the wire has it, or a complaint.
pub(super) fn path(path: &Path, diagnostics: &mut Diagnostics) -> Option<CString> {
    let text = text(path);
    if text.as_deref().and_then(launcher_policy::Path::new).is_none() {
        complain(path, diagnostics);
        return None;
    }
    text
}

fn concatenated<'p>(
    encoded: impl Iterator<Item = (&'p Path, Option<Vec<u8>>)>,
    diagnostics: &mut Diagnostics,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (at, item) in encoded {
        match item {
            Some(item) => bytes.extend(item),
            None => complain(at, diagnostics),
        }
    }
    bytes
}

fn complain(path: &Path, diagnostics: &mut Diagnostics) {
    let start: String = path.to_string_lossy().chars().take(64).collect();
    let message =
        format!("{start:?}... cannot be encoded: a path has at most {} bytes", MAX_PATH - 1);
    diagnostics.error_anywhere(message);
}

fn node(at: &Path, node: &Node) -> Option<Vec<u8>> {
    let at = text(at)?;
    let path = launcher_policy::Path::new(&at)?;
    let symlink;
    let kind = match node {
        Node::Directory { mode } => wire::NodeKind::Directory { mode: *mode },
        Node::File { mode, data } => wire::NodeKind::File { mode: *mode, data },
        Node::Symlink { content } => {
            symlink = text(content)?;
            wire::NodeKind::Symlink { content: Text::new(&symlink) }
        }
    };
    encoded(&wire::Node { path, kind })
}

fn mount(at: &Path, parents: wire::Parents, mount: &Mount) -> Option<Vec<u8>> {
    let at = text(at)?;
    let target = launcher_policy::Path::new(&at)?;
    let (one, two, three);
    let source = match &mount.source {
        Source::Host { path, kind, symlinks, missing } => {
            one = text(path)?;
            let path = launcher_policy::Path::new(&one)?;
            wire::Source::Host { path, kind: *kind, symlinks: *symlinks, missing: *missing }
        }
        Source::Fd(fd) => wire::Source::Fd { fd: *fd },
        Source::Skeleton => wire::Source::Skeleton,
        Source::Tmpfs { size, mode } => wire::Source::Tmpfs { size: *size, mode: *mode },
        Source::Proc => wire::Source::Proc,
        Source::Devpts => wire::Source::Devpts,
        Source::Overlay { lower, upper, work } => {
            (one, two, three) = (text(lower)?, text(upper)?, text(work)?);
            wire::Source::Overlay {
                lower: launcher_policy::Path::new(&one)?,
                upper: launcher_policy::Path::new(&two)?,
                work: launcher_policy::Path::new(&three)?,
            }
        }
    };
    let Mount { attributes, access, carved, .. } = *mount;
    encoded(&wire::Mount { target, parents, source, attributes, access, carved })
}

fn text(path: &Path) -> Option<CString> {
    c_string(path.as_os_str().as_bytes())
}

fn encoded(item: &impl Serialize) -> Option<Vec<u8>> {
    postcard::to_allocvec(item).ok()
}
