//! A place for the changes of overlays whose policy names none: made before
//! the command, shown, kept or thrown away after it.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use launcher_policy::mounts::Source;
use launcher_policy::wire;
use rustix::fs::{StatFs, XattrFlags, lsetxattr, statfs};

use crate::changes;

/// `f_type` of an overlay, statfs(2): none can be the upper layer of another.
const OVERLAYFS: u64 = 0x794c_7630;

/// The places for changes of one run. They are thrown away with it.
#[derive(Debug, Default)]
pub(crate) struct Overlays {
    /// Where all of them lie, once there is one.
    base: Option<PathBuf>,
    /// Where the changes go in the end.
    keep: Option<PathBuf>,
    layers: Vec<Layers>,
}

/// The directories of one overlay.
#[derive(Debug)]
struct Layers {
    upper: PathBuf,
    /// Beneath it, and where it appears; empty until the policy is encoded.
    lower: PathBuf,
    target: PathBuf,
}

impl Overlays {
    /// None yet. `keep` is where changes go in the end.
    ///
    /// # Errors
    ///
    /// Where that is neither new nor empty.
    pub(crate) fn new(keep: Option<&Path>) -> Result<Self, String> {
        let Some(keep) = keep else { return Ok(Self::default()) };
        let complain = |reason: &dyn std::fmt::Display| {
            format!("cannot keep changes in {}: {reason}", keep.display())
        };
        let absolute = std::path::absolute(keep).map_err(|error| complain(&error))?;
        match fs::read_dir(&absolute).map(|mut entries| entries.next().is_some()) {
            Ok(true) => return Err(complain(&"it is not empty")),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(complain(&error)),
            Ok(false) | Err(_) => {}
        }
        Ok(Self { base: None, keep: Some(absolute), layers: Vec::new() })
    }

    /// Whether no overlay was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Makes the directories of one more overlay: its upper layer, and the one
    /// that the kernel works in.
    ///
    /// # Errors
    ///
    /// Where they cannot be made, or cannot serve.
    pub(crate) fn add(&mut self) -> Result<[PathBuf; 2], String> {
        if self.keep.is_some() && !self.layers.is_empty() {
            return Err("--keep is for a policy with one overlay without `upper`".to_owned());
        }
        let base = match &self.base {
            Some(base) => base.clone(),
            None => self.base.insert(make_base(self.keep.as_deref())?).clone(),
        };
        let own = base.join(self.layers.len().to_string());
        let [upper, work] = ["upper", "work"].map(|name| own.join(name));
        let made =
            private(&own).and_then(|()| fs::create_dir(&upper)).and_then(|()| private(&work));
        made.map_err(|error| format!("cannot make {}: {error}", own.display()))?;
        self.layers.push(Layers {
            upper: upper.clone(),
            lower: PathBuf::new(),
            target: PathBuf::new(),
        });
        Ok([upper, work])
    }

    /// Learns from the encoded policy what lies beneath the changes.
    ///
    /// # Errors
    ///
    /// Where changes would lie in the tree that they change.
    pub(crate) fn check(&mut self, policy: &[u8]) -> Result<(), String> {
        let policy = wire::decode(policy).map_err(|error| error.message().to_owned())?;
        for mount in policy.mounts.iter().flat_map(|mounts| mounts.mounts.iter()) {
            let Source::Overlay { lower, upper, .. } = mount.source else { continue };
            let path = |path: launcher_policy::Path<'_>| -> PathBuf {
                OsStr::from_bytes(path.to_bytes()).into()
            };
            let own = path(upper);
            let Some(layers) = self.layers.iter_mut().find(|layers| layers.upper == own) else {
                continue;
            };
            (layers.lower, layers.target) = (path(lower), path(mount.target));
            if own.starts_with(&layers.lower) {
                let lower = layers.lower.display();
                let own = own.display();
                return Err(format!(
                    "the changes of {lower} would lie in it, at {own}; set TMPDIR to a directory \
                     elsewhere"
                ));
            }
            // The mode of the tree is that of its upper layer.
            fs::metadata(&layers.lower)
                .and_then(|lower| fs::set_permissions(&layers.upper, lower.permissions()))
                .map_err(|error| format!("cannot prepare {}: {error}", own.display()))?;
        }
        Ok(())
    }

    /// What was changed, for a person to read.
    ///
    /// # Errors
    ///
    /// What could not be read.
    pub(crate) fn changes(&self) -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        for layers in &self.layers {
            if self.layers.len() > 1 {
                text.extend(format!("# {}\n", changes::shown(&layers.target)).into_bytes());
            }
            changes::describe(&layers.upper, &layers.lower, &mut text)
                .map_err(|error| format!("cannot show the changes: {error}"))?;
        }
        Ok(text)
    }

    /// Keeps the changes where they are wanted.
    ///
    /// # Errors
    ///
    /// Where that fails; they are left where they are.
    pub(crate) fn end(mut self) -> Result<(), String> {
        let (Some(keep), [layers]) = (&self.keep, &self.layers[..]) else { return Ok(()) };
        let moved = fs::rename(&layers.upper, keep);
        moved.map_err(|error| {
            let (keep, upper) = (keep.display(), layers.upper.display());
            let message =
                format!("cannot keep the changes in {keep}: {error}; they are in {upper}");
            self.base = None;
            message
        })
    }
}

impl Drop for Overlays {
    fn drop(&mut self) {
        if let Some(base) = &self.base {
            open_up(base);
            // A directory that cannot be removed now will not be later.
            let _ = fs::remove_dir_all(base);
        }
    }
}

/// A new directory for all overlays of a run: beside the one where the changes
/// go in the end, so that they can be moved there, else a temporary one.
fn make_base(keep: Option<&Path>) -> Result<PathBuf, String> {
    let here = std::env::current_dir().unwrap_or_default();
    let beside = keep.and_then(Path::parent).filter(|parent| !parent.starts_with(&here));
    let parent = beside.map_or_else(std::env::temp_dir, Path::to_owned);
    // Its real name, which is how the policy will have it.
    let parent = parent
        .canonicalize()
        .map_err(|error| format!("cannot use {}: {error}", parent.display()))?;
    for attempt in 0..100 {
        let base = parent.join(format!(".encode-policy-{}-{attempt}", std::process::id()));
        match private(&base) {
            Ok(()) => return serves(&base).map(|()| base),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(format!("cannot make {}: {error}", base.display())),
        }
    }
    Err(format!("cannot make a directory in {}", parent.display()))
}

/// Makes a directory for this user alone.
fn private(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Whether a directory's file system can hold what an overlay writes.
fn serves(base: &Path) -> Result<(), String> {
    let is_overlay = |stat: StatFs| stat.f_type as u64 == OVERLAYFS;
    let reason =
        match (statfs(base), lsetxattr(base, "user.overlay.test", b"", XattrFlags::empty())) {
            (Ok(stat), _) if is_overlay(stat) => "it is an overlay itself".to_owned(),
            (_, Err(error)) => format!("it has no attributes of users: {error}"),
            _ => return Ok(()),
        };
    let _ = fs::remove_dir(base);
    let parent = base.parent().unwrap_or(base).display();
    Err(format!(
        "the file system of {parent} cannot hold the changes of an overlay: {reason}; set TMPDIR \
         to a directory on another one"
    ))
}

/// Lets the owner into every directory: the kernel leaves one without any
/// permission, and the command may have as well.
fn open_up(directory: &Path) {
    // What cannot be opened up is met when it cannot be removed.
    let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}
