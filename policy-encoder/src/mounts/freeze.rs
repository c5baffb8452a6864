//! `protect_missing = "freeze"`: no new name directly in a directory, while
//! what is below it can be changed.
//!
//! Mounts know nothing of names that do not exist, so Landlock keeps this
//! alone: the directory itself is granted no right to make and remove, each
//! directory in it is granted them again.

use std::ops::Range;
use std::path::{Path, PathBuf};

use launcher_policy::mounts::Kind;
use linux_raw_sys::landlock as uapi;

use super::host::FileKind;
use super::path_map::PathMap;
use super::plan::{Devices, Planner, Rule, Source, access};
use super::tree::{Content, Point, Tree};

/// What makes or removes a name.
pub(super) const ACCESS_NAMES: u32 = uapi::LANDLOCK_ACCESS_FS_REMOVE_DIR
    | uapi::LANDLOCK_ACCESS_FS_REMOVE_FILE
    | uapi::LANDLOCK_ACCESS_FS_MAKE_CHAR
    | uapi::LANDLOCK_ACCESS_FS_MAKE_DIR
    | uapi::LANDLOCK_ACCESS_FS_MAKE_REG
    | uapi::LANDLOCK_ACCESS_FS_MAKE_SOCK
    | uapi::LANDLOCK_ACCESS_FS_MAKE_FIFO
    | uapi::LANDLOCK_ACCESS_FS_MAKE_BLOCK
    | uapi::LANDLOCK_ACCESS_FS_MAKE_SYM
    | uapi::LANDLOCK_ACCESS_FS_REFER;

/// The directories in which no name is made or removed: where they appear, and
/// the entry that shows them.
pub(super) type Frozen = PathMap<Range<usize>>;

impl Planner<'_> {
    /// Takes the right to make names from the frozen directories, and grants
    /// it on the directories in them.
    pub(super) fn freeze(&mut self, tree: &Tree, frozen: &Frozen) {
        for (target, _) in frozen.iter() {
            if let Some(mount) = self.plan.mounts.get_mut(target) {
                mount.access &= !ACCESS_NAMES;
            }
        }
        let sources: PathMap<()> = frozen
            .iter()
            .filter_map(|(target, _)| source_of(tree.get(target)?))
            .fold(PathMap::new(), |mut sources, source| {
                sources.insert(source, ());
                sources
            });
        for (target, span) in frozen.iter() {
            self.plan.needs_landlock = true;
            if let Some(point) = tree.get(target) {
                self.thaw(tree, frozen, &sources, (target, point), span);
            }
        }
        for (target, span) in frozen.iter() {
            let source = tree.get(target).and_then(source_of).unwrap_or(target);
            if let Some(above) = self.thawed_above(target, source) {
                let message = format!(
                    "no name in {source:?} can be frozen: it lies inside {above:?}, which can be \
                     written, and Landlock takes nothing back"
                );
                self.diagnostics.error(span.clone(), message).help(
                    "show it elsewhere with `at`, do not make what contains it writable, or \
                     leave out `protect_missing`",
                );
            }
        }
    }

    /// Grants on each directory in a frozen one what that had.
    fn thaw(
        &mut self,
        tree: &Tree,
        frozen: &Frozen,
        sources: &PathMap<()>,
        (target, point): (&Path, &Point),
        span: &Range<usize>,
    ) {
        let Some(source) = source_of(point) else { return };
        let names = match self.host.names(source) {
            Ok(names) => names,
            Err(reason) => {
                let message = format!("what is in {source:?} cannot be said: {reason}");
                self.diagnostics.error(span.clone(), message);
                return;
            }
        };
        for name in names {
            let (target, source) = (target.join(&name), source.join(&name));
            let is_frozen = frozen.contains(&target) || sources.contains(&source);
            if is_frozen || self.host.kind(&source) != Some(FileKind::Directory) {
                continue;
            }
            let own = tree.get(&target);
            let is_granted = self.plan.mounts.get(&target).is_some_and(|mount| mount.access != 0);
            let rights = own.map_or(point.rights, |own| own.rights);
            if rights.write && !is_granted {
                let devices = Devices::of(&source, FileKind::Directory);
                let access = access(rights, Kind::Directory, devices);
                self.plan.rules.insert(source, Rule { kind: Kind::Directory, access });
            }
        }
    }

    /// What grants the right to make names in a directory although it is
    /// frozen: something above it in view, or above what it shows.
    fn thawed_above(&self, target: &Path, source: &Path) -> Option<PathBuf> {
        let makes = |access: u32| access & ACCESS_NAMES != 0;
        let by_target = target
            .ancestors()
            .skip(1)
            .find(|above| self.plan.mounts.get(above).is_some_and(|mount| makes(mount.access)));
        // The host may show the same directory at a second path.
        let mut sources = self.host.aliases(source);
        sources.push(source.to_owned());
        let by_source = || {
            let rules = self.plan.rules.iter().map(|(path, _)| path);
            let mounts = self.plan.mounts.iter().filter(|(_, mount)| makes(mount.access));
            let mounts = mounts.filter_map(|(_, mount)| match &mount.source {
                Source::Host { path, .. } => Some(path.as_path()),
                _ => None,
            });
            rules.chain(mounts).find(|above| sources.iter().any(|source| source.starts_with(above)))
        };
        by_target.or_else(by_source).map(Path::to_owned)
    }
}

fn source_of(point: &Point) -> Option<&Path> {
    match &point.content {
        Content::Host { path, .. } => Some(path),
        _ => None,
    }
}
