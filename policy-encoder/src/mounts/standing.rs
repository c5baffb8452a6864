//! What a view shows, path by path, for those who compare views.

use std::path::{Path, PathBuf};

use launcher_policy::mounts::{Missing, Symlinks};

use super::View;
use super::layout::through_links;
use super::tree::{Content, Rights, moved};

/// What stands at a path inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing that could be used.
    Nothing,
    /// This object of the host.
    Object(PathBuf),
    /// What the launcher makes: nothing of the host is in it.
    Made,
    /// What only the launch knows.
    Unknown,
}

impl View {
    /// Every path inside at which something is decided.
    pub(crate) fn points(&self) -> impl Iterator<Item = &Path> {
        self.tree.iter().map(|(path, _)| path)
    }

    /// The symlinks that the view itself makes.
    pub(crate) fn links(&self) -> impl Iterator<Item = &Path> {
        self.links.iter().map(|(path, _)| path)
    }

    /// What stands at an absolute path inside.
    pub(crate) fn standing(&self, path: &Path) -> Standing {
        let path = through_links(&self.links, path);
        let Some((at, point)) = self.tree.deepest(&path) else {
            return Standing::Nothing;
        };
        match &point.content {
            _ if point.rights == Rights::NONE => Standing::Nothing,
            Content::Hidden(_) => Standing::Nothing,
            Content::Host { path: source, symlinks: Symlinks::Refuse, .. } => {
                Standing::Object(moved(&path, at, source))
            }
            Content::Host { symlinks: Symlinks::Follow, .. }
            | Content::Fd(_)
            | Content::Overlay { .. } => Standing::Unknown,
            Content::Directory { .. }
            | Content::File { .. }
            | Content::Tmpfs { .. }
            | Content::Proc
            | Content::Devpts => Standing::Made,
        }
    }

    /// Whether the launch fails if what is decided at this very path is
    /// missing; `None` where nothing of the host is asked for.
    pub(crate) fn missing(&self, path: &Path) -> Option<Missing> {
        match &self.tree.get(path)?.content {
            Content::Host { missing, .. } => Some(*missing),
            _ => None,
        }
    }
}
