//! `[[filesystem.mount]]`: exact mounts. Each replaces what the entries say
//! of its target.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::entries::{Resolver, at_launch};
use super::host::FileKind;
use super::layout::{Layout, Symlink, host_content};
use super::tree::{Content, Decider, EntryPlace, Point, Rights};
use crate::document::{Document, ExactMount, Size, Verb};

/// Size of a tmpfs that says none.
const TMPFS_SIZE: u64 = 64 << 20;

/// One exact mount, its paths resolved.
pub(super) struct Exact {
    place: EntryPlace,
    target: PathBuf,
    what: What,
}

/// What an exact mount puts at its target.
enum What {
    /// Something that decides about its path.
    Point { rights: Rights, content: Content },
    /// A symlink, which only leads elsewhere.
    Symlink(PathBuf),
    /// An overlay runs what could be run at its target before.
    Overlay { content: Content, layers: [PathBuf; 3] },
}

/// Every exact mount of the document that is not left out.
pub(super) fn resolve(document: &Document, resolver: &mut Resolver<'_>) -> Vec<Exact> {
    let mounts = document.filesystem.mount.iter().enumerate();
    mounts
        .filter_map(|(index, mount)| {
            let place = EntryPlace { key: "filesystem.mount", index, span: mount.span() };
            let (target, what) = one(mount.get_ref(), &place.span, resolver)?;
            Some(Exact { place, target, what })
        })
        .collect()
}

fn one(
    mount: &ExactMount,
    span: &Range<usize>,
    resolver: &mut Resolver<'_>,
) -> Option<(PathBuf, What)> {
    let (target, what) = match mount {
        ExactMount::Bind { source, target, access, missing } => {
            let real = resolver.existing(source, *missing, span)?;
            let content = host_content(real.path, real.kind, at_launch(*missing));
            (target, What::Point { rights: rights(access, Rights::READ), content })
        }
        ExactMount::Tmpfs { target, size, mode, access } => {
            let size = size.map_or(TMPFS_SIZE, |Size(bytes)| bytes);
            if size == 0 {
                resolver.diagnostics.error(span.clone(), "a tmpfs needs a size");
            }
            let mode = permissions(*mode, 0o755, span, resolver);
            let content = Content::Tmpfs { size, mode };
            (target, What::Point { rights: rights(access, Rights::WRITE), content })
        }
        ExactMount::Proc { target } => {
            (target, What::Point { rights: Rights::WRITE, content: Content::Proc })
        }
        ExactMount::Symlink { target, content } => {
            if content.is_empty() || content.contains('\0') {
                resolver.diagnostics.error(span.clone(), "a symlink needs a text without NUL");
                return None;
            }
            (target, What::Symlink(content.into()))
        }
        ExactMount::Directory { target, mode } => {
            let mode = permissions(*mode, 0o755, span, resolver);
            let content = Content::Directory { mode };
            (target, What::Point { rights: Rights::READ, content })
        }
        ExactMount::File { target, data, mode } => {
            let mode = permissions(*mode, 0o444, span, resolver);
            let content = Content::File { mode, data: data.clone().into_bytes() };
            (target, What::Point { rights: Rights::READ, content })
        }
        ExactMount::Overlay { target, lower, upper, work } => {
            let (Some(upper), Some(work)) = (upper, work) else {
                let message = "an overlay without `upper` has no place for the changes";
                let help = "`encode-policy run` finds one; elsewhere name `upper` and `work`";
                resolver.diagnostics.error(span.clone(), message).help(help);
                return None;
            };
            let lower = lower.as_ref().unwrap_or(target);
            let [lower, upper, work] = [lower, upper, work].map(|layer| {
                let real = resolver.existing(layer, None, span)?;
                if real.kind != FileKind::Directory {
                    let message = format!("{:?} is not a directory", real.path);
                    resolver.diagnostics.error(span.clone(), message);
                }
                check_layer(&real.path, span, resolver);
                Some(real.path)
            });
            let layers = [lower?, upper?, work?];
            let [lower, upper, work] = layers.clone();
            let what = What::Overlay { content: Content::Overlay { lower, upper, work }, layers };
            return below_root(resolver.target_from_here(target, span)?, what, span, resolver);
        }
    };
    below_root(resolver.target(target, span)?, what, span, resolver)
}

fn below_root(
    target: PathBuf,
    what: What,
    span: &Range<usize>,
    resolver: &mut Resolver<'_>,
) -> Option<(PathBuf, What)> {
    if target == Path::new("/") {
        let message =
            "nothing can be mounted on the root directory; `filesystem.root` says what it is";
        resolver.diagnostics.error(span.clone(), message);
        return None;
    }
    Some((target, what))
}

/// The kernel takes a path apart at these when it reads the options of an
/// overlay.
fn check_layer(layer: &Path, span: &Range<usize>, resolver: &mut Resolver<'_>) {
    if layer.as_os_str().as_encoded_bytes().iter().any(|byte| b":,\\".contains(byte)) {
        let message =
            format!("{layer:?}: a layer of an overlay has no ':', ',' or '\\' in its path");
        resolver.diagnostics.error(span.clone(), message);
    }
}

fn rights(access: &[Verb], default: Rights) -> Rights {
    if access.is_empty() {
        return default;
    }
    access.iter().fold(Rights::NONE, |rights, verb| {
        rights.union(match verb {
            Verb::Read => Rights::READ,
            Verb::Execute => Rights::EXECUTE,
            Verb::Write => Rights::WRITE,
        })
    })
}

fn permissions(
    mode: Option<u16>,
    default: u16,
    span: &Range<usize>,
    resolver: &mut Resolver<'_>,
) -> u16 {
    let mode = mode.unwrap_or(default);
    if mode & !0o1777 != 0 {
        let message = format!("0o{mode:o} has other bits than permissions and the sticky bit");
        resolver.diagnostics.error(span.clone(), message);
    }
    mode
}

impl Layout<'_> {
    /// Symlinks come first, since other targets may lead through them.
    pub(super) fn exact_links(&mut self, mounts: &[Exact]) {
        for mount in mounts {
            if let What::Symlink(content) = &mount.what {
                let span = Some(mount.place.span.clone());
                self.links.insert(mount.target.clone(), Symlink { content: content.clone(), span });
            }
        }
    }

    /// Puts every exact mount at its target.
    pub(super) fn exact_mounts(&mut self, mounts: Vec<Exact>) {
        for Exact { place, target, what } in mounts {
            let target = self.inside(&target);
            match what {
                What::Symlink(_) => {}
                What::Point { rights, content } => self.exact_point(place, target, rights, content),
                What::Overlay { content, layers } => {
                    self.overlay(place, target, content, &layers);
                }
            }
        }
    }

    fn exact_point(
        &mut self,
        place: EntryPlace,
        target: PathBuf,
        rights: Rights,
        content: Content,
    ) {
        let source = match &content {
            Content::Host { path, .. } if self.is_denied(path) => {
                let message = format!("{path:?} is denied by an entry");
                self.diagnostics.error(place.span, message);
                return;
            }
            Content::Host { path, .. } => Some(path.clone()),
            _ => None,
        };
        if matches!(content, Content::Tmpfs { .. }) {
            self.forget_denied(&target);
        }
        self.replace(target, source, Point { rights, content, decider: Decider::Entry(place) });
    }

    /// An empty directory grants what the launcher's directory around it does.
    pub(super) fn exact_directories(&mut self) {
        let inside = |(path, point): (&Path, &Point)| match (&point.content, &point.decider) {
            (Content::Directory { .. }, Decider::Entry(_)) => Some(path.to_owned()),
            _ => None,
        };
        let directories: Vec<PathBuf> = self.tree.iter().filter_map(inside).collect();
        for path in directories {
            let around = path.parent().and_then(|parent| self.tree.deepest(parent));
            if let Some((_, Point { rights, content: Content::Directory { .. }, .. })) = around {
                let rights = *rights;
                if let Some(point) = self.tree.get_mut(&path) {
                    point.rights = rights;
                }
            }
        }
    }

    fn overlay(
        &mut self,
        place: EntryPlace,
        target: PathBuf,
        content: Content,
        layers: &[PathBuf; 3],
    ) {
        if let Some(layer) = layers.iter().find(|layer| self.denied_in(layer)) {
            let message = format!("an overlay of {layer:?} would show what an entry denies");
            self.diagnostics.error(place.span, message);
            return;
        }
        self.forget_denied(&target);
        let before = self.tree.deepest(&target).map_or(Rights::NONE, |(_, point)| point.rights);
        let rights = Rights { execute: before.execute, ..Rights::WRITE };
        self.replace(target, None, Point { rights, content, decider: Decider::Entry(place) });
    }
}
