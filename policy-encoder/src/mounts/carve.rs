//! `enforce.carve_out = "siblings"`: something narrower inside what is granted,
//! where Landlock alone has to keep it.
//!
//! Landlock takes nothing back from below a directory. So a directory that has
//! something narrower in it is granted only what everything in it has, and each
//! thing beside the way to what is narrower is granted the rest by itself.

use std::ffi::OsString;
use std::path::Path;

use launcher_policy::landlock::ACCESS_FILE;
use launcher_policy::mounts::{Kind, Symlinks};
use linux_raw_sys::landlock as uapi;

use super::freeze::ACCESS_NAMES;
use super::host::FileKind;
use super::path_map::PathMap;
use super::plan::{Devices, Planner, Source, access};
use super::tree::{Content, Decider, Point, Rights, Tree};

/// A directory that is granted by what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Carved {
    /// Landlock rights on all of it.
    pub(super) shared: u32,
    /// Landlock rights on each thing in it.
    pub(super) access: u32,
    /// Names in it that are not granted so.
    pub(super) except: Vec<OsString>,
}

/// What has rights of its own where nothing is mounted.
struct Own {
    access: u32,
    is_file: bool,
}

impl Planner<'_> {
    /// Carves what is narrower out of what is granted around it.
    pub(super) fn carve(&mut self, tree: &Tree, whole: bool, is_frozen: bool) {
        let owns = self.owns(tree, whole);
        let directories = owns.iter().filter(|(_, own)| own.access != 0 && !own.is_file);
        for (path, own) in directories {
            let narrower: Vec<&Path> = owns
                .below(path)
                .filter(|(_, below)| lost(own.access, below) != 0)
                .map(|(below, _)| below)
                .collect();
            let is_root = path == Path::new("/");
            if narrower.is_empty() && !is_root {
                continue;
            }
            if is_frozen {
                self.lose("names are frozen in directories that Landlock would carve up".into());
            }
            self.plan.carved.insert(path, Carved { access: own.access, ..Carved::default() });
            for below in &narrower {
                self.leave_out(&owns, path, below, own.access);
            }
            if let Some(mount) = self.plan.mounts.get_mut(path) {
                mount.carved = true;
            }
        }
        self.share(&owns);
    }

    /// The rights that stand by themselves: those of mounts of the host's
    /// objects in their own places, of the whole root, and of what has none.
    fn owns(&self, tree: &Tree, whole: bool) -> PathMap<Own> {
        let mut owns = PathMap::new();
        if whole {
            let access = access(Rights::EXECUTE, Kind::Directory, Devices::Inert);
            owns.insert("/", Own { access, is_file: false });
        }
        for (path, point) in tree.iter().filter(|(path, _)| *path != Path::new("/")) {
            let mounted =
                self.plan.mounts.get(path).filter(|mount| is_of_host(&mount.source, path));
            let access = match mounted.map(|mount| mount.access) {
                // It only keeps its name, and has the rights of what is above.
                Some(0) => continue,
                Some(access) => access,
                None if point.is_in_place(path) => continue,
                None => 0,
            };
            owns.insert(path, Own { access, is_file: is_file(point) });
        }
        owns
    }

    /// Leaves out each name on the way from a directory to what is narrower, up
    /// to the first that has rights of its own.
    fn leave_out(&mut self, owns: &PathMap<Own>, from: &Path, to: &Path, access: u32) {
        let mut directory = from.to_owned();
        for name in to.strip_prefix(from).unwrap_or(Path::new("")) {
            let carved = Carved { access, ..Carved::default() };
            self.plan.carved.or_insert(&directory, carved);
            if let Some(carved) = self.plan.carved.get_mut(&directory)
                && !carved.except.iter().any(|except| except == name)
            {
                carved.except.push(name.to_owned());
            }
            directory.push(name);
            if owns.contains(&directory) {
                return;
            }
        }
    }

    /// Grants on each carved directory what nothing in it lacks.
    fn share(&mut self, owns: &PathMap<Own>) {
        let directories: Vec<_> = self
            .plan
            .carved
            .iter()
            .map(|(path, carved)| (path.to_owned(), carved.access))
            .collect();
        for (path, access) in directories {
            let lost = owns.below(&path).fold(0, |all, (_, below)| all | lost(access, below));
            if let Some(carved) = self.plan.carved.get_mut(&path) {
                carved.shared = access & !lost;
            }
        }
    }
}

/// What something below must not get of the rights above it.
fn lost(above: u32, below: &Own) -> u32 {
    if !below.is_file {
        return above & !below.access;
    }
    let lost = above & ACCESS_FILE & !below.access;
    // A file that must not change must not be replaced by another.
    match lost & (uapi::LANDLOCK_ACCESS_FS_WRITE_FILE | uapi::LANDLOCK_ACCESS_FS_READ_FILE) {
        0 => lost,
        _ => lost | above & ACCESS_NAMES,
    }
}

fn is_of_host(source: &Source, target: &Path) -> bool {
    matches!(source, Source::Host { path, .. } if path == target)
}

fn is_file(point: &Point) -> bool {
    match &point.content {
        Content::Host { kind, .. } | Content::Hidden(kind) => *kind != FileKind::Directory,
        Content::File { .. } => true,
        _ => false,
    }
}

/// Why what is not as broad as what contains it cannot be carved out.
pub(super) fn obstacle(path: &Path, point: &Point) -> Option<String> {
    match (&point.content, &point.decider) {
        (Content::Host { symlinks: Symlinks::Follow, .. }, _) => {
            Some(format!("what {path:?} leads to is known only at the launch"))
        }
        (_, Decider::Entry(place)) if !point.is_denied() && !point.is_in_place(path) => {
            Some(format!("{} shows something at {path:?} that is not there", place.key))
        }
        _ => None,
    }
}
