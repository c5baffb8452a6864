//! The view of a launch from a template: a copy of the template's, and over it
//! what is each launch's own - `/proc`, pseudo-terminals, private directories.
//!
//! What the template's mounts stand on can be replaced by processes outside,
//! which takes them away: a mask covers a file, not a name. So each launch
//! makes sure that they are there.

use heapless::Vec;
use launcher_policy::mounts::{Missing, Mount, Mounts, Node, Parents, Root, Source};
use launcher_policy::{Call, Failure, Path, Refusal, Subject};
use linux_raw_sys::general as uapi;
use linux_raw_sys::landlock::LANDLOCK_ACCESS_FS_READ_DIR;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, OFlags, ResolveFlags, StatxAttributes, StatxFlags, statx};
use rustix::io::Errno;

use super::{Attach, STAGE, Spent, add_rules, make, open_beneath_root};
use crate::landlock::Ruleset;
use crate::report::failed;
use crate::{Launch, namespaces, sys};

/// How many directories of its own a launch may have, and how deep things of
/// the host may lie in each other inside one.
const MOST: usize = 16;

/// Makes what is the launch's own, and the Landlock rules on everything.
pub(super) fn renew(
    launch: &Launch<'static>,
    mounts: &Mounts<'static>,
    ruleset: Option<Ruleset>,
) -> Result<(), Failure> {
    let root = open_beneath_root(c"/", OFlags::DIRECTORY, ResolveFlags::empty())
        .map_err(failed(STAGE, Call::Openat2))?;
    let root = sys::until_exec(root);
    if let Some(ruleset) = ruleset {
        ruleset.allow(root, access_of(&mounts.root))?;
    }
    namespaces::take_mapped_ids(launch)?;
    add_rules(launch, mounts, ruleset)?;
    let mut place = Attach { root, skeleton: root, hidden: false, spent: Spent::of(mounts) };
    let mut own = Own::default();
    for mount in launch.shared.each(mounts.mounts.iter()) {
        let fate = own.fate(&mount)?;
        look_up(launch, &place, &mount, fate, ruleset)
            .map_err(|failure| failure.about(Subject::Target))?;
    }
    if own.has_skeleton {
        let skeleton = make::skeleton(launch, mounts, |node| own.leads_to(node))?;
        place.skeleton = sys::until_exec(skeleton);
    }
    for mount in launch.shared.each(mounts.mounts.iter()) {
        let moved = launch.sources.take(launch.shared.item());
        if moved.is_some() || is_own(&mount) {
            place
                .attach(launch, &mount, moved, ruleset)
                .map_err(|failure| failure.about(Subject::Target))?;
        }
    }
    Ok(())
}

/// Landlock rights on the root directory.
fn access_of(root: &Root<'_>) -> u32 {
    match *root {
        Root::Skeleton => LANDLOCK_ACCESS_FS_READ_DIR,
        Root::Host { access } | Root::Tree { access, .. } => access,
    }
}

/// Whether each launch has to have its own: what can be written and is nowhere
/// on the host, and what shows processes or terminals. An overlay keeps its
/// changes in a directory of the host's, whoever makes them.
fn is_own(mount: &Mount<'_>) -> bool {
    match mount.source {
        Source::Proc | Source::Devpts => true,
        Source::Skeleton | Source::Tmpfs { .. } => mount.attributes & uapi::MOUNT_ATTR_RDONLY == 0,
        Source::Host { .. } | Source::Fd { .. } | Source::Overlay { .. } => false,
    }
}

/// Finds what the template has mounted, makes sure that it is still there, and
/// grants its Landlock rights. What is moved waits among the sources.
fn look_up(
    launch: &Launch<'static>,
    place: &Attach,
    mount: &Mount<'static>,
    fate: Fate,
    ruleset: Option<Ruleset>,
) -> Result<(), Failure> {
    let ruleset = ruleset.filter(|_| mount.access != 0);
    let can_go = mount.parents == Parents::Foreign;
    if fate == Fate::Made || (fate == Fate::Stays && !can_go && ruleset.is_none()) {
        return Ok(());
    }
    let may_be_missing = matches!(mount.source, Source::Host { missing: Missing::Skip, .. });
    let found = match place.open(mount.target.relative()) {
        Ok(found) => found,
        Err(Errno::NOENT) if may_be_missing => return Ok(()),
        Err(error) => return Err(failed(STAGE, Call::Openat2)(error)),
    };
    if !is_there(&found)? {
        // Nobody takes a mount from a directory of the skeleton.
        if may_be_missing && !can_go {
            return Ok(());
        }
        return Err(Failure::refused(STAGE, Call::Statx, Refusal::TemplateChanged));
    }
    if let Some(ruleset) = ruleset {
        ruleset.allow(&found, mount.access)?;
    }
    match fate {
        Fate::Moved => launch.sources.put(launch.shared.item(), found),
        Fate::Made | Fate::Stays => place.spent.let_go(found),
    }
    Ok(())
}

/// Whether this is the root of a mount, and what is mounted was not removed.
fn is_there(found: &OwnedFd) -> Result<bool, Failure> {
    let stat = statx(found, c"", AtFlags::EMPTY_PATH, StatxFlags::NLINK)
        .map_err(failed(STAGE, Call::Statx))?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) && stat.stx_nlink > 0)
}

/// What becomes of a mount of the template in a launch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The launch makes its own over it.
    Made,
    /// It lies in what the launch makes over, and is moved up onto that.
    Moved,
    /// It is where it was, or where what it lies in is moved to.
    Stays,
}

/// What a launch makes, and moves, of the view.
#[derive(Default)]
struct Own {
    /// The targets of what is made.
    made: Vec<Path<'static>, MOST>,
    /// The targets of what is moved, each in the one before.
    moved: Vec<Path<'static>, MOST>,
    /// Whether directories of the skeleton are among what is made.
    has_skeleton: bool,
}

impl Own {
    /// Takes the mounts one after the other. They are sorted, but for one
    /// without anything above it that may come first: what lies in another
    /// comes after it, and before anything that does not.
    fn fate(&mut self, mount: &Mount<'static>) -> Result<Fate, Failure> {
        let full = |_| Failure::refused(STAGE, Call::TemplateFd, Refusal::TemplateFresh);
        let target = mount.target;
        if is_own(mount) {
            self.has_skeleton |= mount.source == Source::Skeleton;
            self.made.push(target).map_err(full)?;
            return Ok(Fate::Made);
        }
        while self.moved.last().is_some_and(|above| !contains(*above, target)) {
            self.moved.pop();
        }
        let depth = |path: &Path<'_>| path.to_bytes().len();
        let made = self.made.iter().filter(|above| contains(**above, target)).map(depth).max();
        match (made, self.moved.last().map(depth)) {
            (Some(made), moved) if moved.is_none_or(|moved| moved < made) => {
                self.moved.push(target).map_err(full)?;
                Ok(Fate::Moved)
            }
            _ => Ok(Fate::Stays),
        }
    }

    /// Whether a node of the skeleton is one of its directories that the launch
    /// makes, or lies in one, or on the way to it.
    fn leads_to(&self, node: &Node<'_>) -> bool {
        let mut made = self.made.iter();
        made.any(|made| contains(*made, node.path) || contains(node.path, *made))
    }
}

/// Whether `path` is `above`, or lies in it.
fn contains(above: Path<'_>, path: Path<'_>) -> bool {
    let rest = path.to_bytes().strip_prefix(above.to_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}
