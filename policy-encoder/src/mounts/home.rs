//! `filesystem.home`: what of the home directory the root directory shows.

use std::path::{Path, PathBuf};

use super::host::FileKind;
use super::layout::{Layout, Root, through_links};
use super::tree::{Content, Decider, Point, Rights};
use crate::document::{Document, Home};
use crate::{Place, Spanned};

const KEY: &str = "filesystem.home";

impl Layout<'_> {
    /// Hides or replaces the home directory. The default gives way to entries
    /// that show it; a word of the document does not.
    pub(super) fn home(&mut self, document: &Document, place: &Place) {
        let wish = document.filesystem.home.as_ref();
        let home = place.home();
        match (wish.map(|wish| (wish, *wish.get_ref())), home) {
            (Some((_, Home::Host)), _) => {}
            (Some((wish, Home::Private)), None) => {
                self.diagnostics
                    .error(wish.span(), "there is no home directory: `$HOME` is not set, or is /")
                    .help("set it for the encoder, or leave `home` out");
            }
            (_, None) => {}
            (None, Some(home)) => self.hide_home_of_root(&home),
            (Some((wish, Home::Hidden)), Some(home)) => self.hide_home(&home, wish),
            (Some((wish, Home::Private)), Some(home)) => {
                // Made by the first of the mapped ids, which the command may
                // not be.
                let process = &document.process;
                let is_other = process.uid.is_some() || process.gid.is_some();
                let is_mapped = document.namespaces.uid_map.is_some();
                let mode = if is_other && is_mapped { 0o777 } else { 0o700 };
                self.private_home(&home, mode, wish);
            }
        }
    }

    fn hide_home_of_root(&mut self, home: &Path) {
        let target = self.inside(home);
        let above = self.tree.deepest(&target);
        let is_shown = above.is_some_and(|(_, point)| point.decider == Decider::Root);
        if is_shown && target != Path::new("/") && self.shown_kind(&target).is_some() {
            self.put_home(target, 0o555, Rights::READ);
        }
    }

    fn hide_home(&mut self, home: &Path, wish: &Spanned<Home>) {
        let target = self.inside(home);
        let is_shown = self.tree.deepest(&target).is_some_and(|(_, point)| {
            !matches!(point.content, Content::Directory { .. } | Content::Hidden(_))
        });
        if is_shown && !self.contradicts(&target, wish) && self.shown_kind(&target).is_some() {
            self.put_home(target, 0o555, Rights::READ);
        }
    }

    fn private_home(&mut self, home: &Path, mode: u16, wish: &Spanned<Home>) {
        let target = self.private_target(home);
        if self.contradicts(&target, wish) {
            return;
        }
        let is_private = self.tree.get(&target).is_some_and(|point| {
            point.rights.write && matches!(point.content, Content::Directory { .. })
        });
        if is_private {
            return;
        }
        let is_of_host = self
            .tree
            .deepest(&target)
            .is_some_and(|(_, point)| matches!(point.content, Content::Host { .. }));
        if is_of_host && self.shown_kind(&target).is_none() {
            let message = format!(
                "{target:?} cannot be private: it is no directory there, and nothing is created on \
                 the host"
            );
            self.diagnostics
                .error(wish.span(), message)
                .help("make it, or set `$HOME` for the encoder to a directory that exists");
            return;
        }
        // Nothing of the host's is in it, so there is nothing to hide.
        self.forget_denied(&target);
        self.put_home(target, mode, Rights::WRITE);
    }

    /// Where the home directory stands. A root that has nothing of its own
    /// gets the symlinks on the way there, as for entries below it.
    fn private_target(&mut self, home: &Path) -> PathBuf {
        match self.host.real(home) {
            Ok(real) if self.root == Root::Skeleton => {
                self.reproduce(&real);
                real.path
            }
            _ if self.root == Root::Skeleton => through_links(&self.links, home),
            _ => self.inside(home),
        }
    }

    /// Whether an entry shows the very directory. One that denies it hides the
    /// host's, as `home` does.
    fn contradicts(&mut self, target: &Path, wish: &Spanned<Home>) -> bool {
        if target == Path::new("/") {
            let message = "the home directory is the root directory";
            self.diagnostics.error(wish.span(), message);
            return true;
        }
        let point = self.tree.get(target).filter(|point| !point.is_denied());
        let Some(Point { decider: Decider::Entry(place), .. }) = point else {
            return false;
        };
        let message =
            format!("{target:?} is the home directory, which {} names as well", place.key);
        self.diagnostics
            .error(wish.span(), message)
            .help("leave out the entry, or `home`: entries below the directory are visible in it");
        true
    }

    /// What is in view at a path, if it is a directory.
    fn shown_kind(&mut self, target: &Path) -> Option<FileKind> {
        let (at, point) = self.tree.deepest(target)?;
        let kind = match &point.content {
            Content::Host { path, .. } => self.host.kind(&super::tree::moved(target, at, path)),
            _ => None,
        };
        kind.filter(|kind| *kind == FileKind::Directory)
    }

    fn put_home(&mut self, target: PathBuf, mode: u16, rights: Rights) {
        let decider = Decider::BuiltIn(KEY);
        let content = Content::Directory { mode };
        self.tree.insert(target, Point { rights, content, decider });
    }
}
