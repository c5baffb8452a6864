//! What is legal, but dangerous or without effect.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::entries::{Entry, Form, Object, Rule};
use super::host::FileKind;
use super::layout::Layout;
use super::tree::{Decider, Rights};
use super::{Decision, View};
use launcher_policy::mounts::Missing;

use crate::diagnostic::Diagnostics;
use crate::document::Document;
use crate::exec;

/// Says which entries other entries for the same path make void.
pub(super) fn of_entries(entries: &[Entry], diagnostics: &mut Diagnostics) {
    let literal = || entries.iter().filter(|entry| entry.form == Form::Literal);
    let denied: BTreeSet<&Path> =
        literal().filter(|it| it.rule == Rule::Deny).filter_map(object).collect();
    let mut by_path: BTreeMap<(&Path, &Path), Vec<(&Entry, Rights)>> = BTreeMap::new();
    for entry in literal() {
        let (Rule::Allow(rights), Object::Host { written, real, .. }) = (entry.rule, &entry.object)
        else {
            continue;
        };
        if denied.contains(real.path.as_path()) {
            let message = format!("{:?} is denied as well, which decides", real.path);
            let span = entry.place.span.clone();
            diagnostics.warning(span, message).help("leave out one of the two entries");
            continue;
        }
        // By the path as written: a symlink on the way is reproduced.
        let at = entry.at.as_deref().unwrap_or(written);
        by_path.entry((written, at)).or_default().push((entry, rights));
    }
    for ((path, _), entries) in by_path {
        for (number, (entry, rights)) in entries.iter().enumerate() {
            // Of two that say the same, the second is one too many.
            let others = entries.iter().enumerate().filter(|(other, (_, others))| {
                *other != number && (*other < number || others != rights)
            });
            let by_others = others.fold(Rights::NONE, |union, (_, (_, other))| union.union(*other));
            if by_others.contain(*rights) {
                let message =
                    format!("another entry for {path:?} grants {} as well", rights.words());
                let span = entry.place.span.clone();
                diagnostics.warning(span, message).help("leave out this entry");
            }
        }
    }
}

fn object(entry: &Entry) -> Option<&Path> {
    match &entry.object {
        Object::Host { real, .. } => Some(&real.path),
        Object::Absent { .. } | Object::Fd(_) => None,
    }
}

/// Says which directories hold programs that the command may replace, and
/// that it, or another run, will then run by their names.
pub(super) fn of_path(document: &Document, view: &View, diagnostics: &mut Diagnostics) {
    let Some(path) = exec::search_path(document) else { return };
    for directory in path.split(':').filter(|directory| directory.starts_with('/')) {
        let Decision { rights, decider } = view.decide(Path::new(directory));
        if rights.write && rights.execute {
            let span = match decider {
                Decider::Entry(place) => place.span,
                Decider::BuiltIn(_) | Decider::Root | Decider::Nobody => 0..0,
            };
            let message = format!("{directory:?} is on PATH, and the command can write to it");
            diagnostics
                .warning(span, message)
                .help("deny writing there, or set `process.env.set.PATH` without it");
        }
    }
}

impl Layout<'_> {
    /// Says which denied paths nothing shows in the first place.
    /// `builtin` is what the policy would show without listing it.
    pub(super) fn warn_of_void_denials(&mut self, entries: &[Entry], builtin: &[PathBuf]) {
        let denied = entries.iter().filter(|it| it.rule == Rule::Deny && it.form == Form::Literal);
        for entry in denied {
            // What may be missing may be out of view as well.
            let Object::Host { written, real, missing: Missing::Fail, .. } = &entry.object else {
                continue;
            };
            let is_allowed = |other: &&Entry| object(other) == Some(&real.path);
            let decides =
                entries.iter().filter(|it| it.rule != Rule::Deny).any(|it| is_allowed(&it));
            let overlaps =
                |path: &PathBuf| path.starts_with(&real.path) || real.path.starts_with(path);
            if decides || builtin.iter().any(overlaps) {
                continue;
            }
            let mut names = self.names_of(&real.path);
            names.push(written.clone());
            if !names.iter().any(|name| self.is_shown_around(name)) {
                let message = format!("nothing shows {written:?}: this denies nothing");
                let help =
                    format!("{{ path = {written:?}, missing = \"skip\" }} says that it may be so");
                self.diagnostics.warning(entry.place.span.clone(), message).help(help);
            }
        }
    }

    /// Whether anything would be in view at a path that is denied, or is in
    /// view below it.
    fn is_shown_around(&self, path: &Path) -> bool {
        let above = path.parent().and_then(|parent| self.tree.deepest(parent));
        let is_shown = above.is_some_and(|(_, point)| {
            !(point.is_denied() && matches!(point.decider, Decider::Entry(_)))
        });
        is_shown || self.tree.below(path).any(|(_, point)| !point.is_denied())
    }

    /// Says which denied files have other names.
    pub(super) fn warn_of_denied_hard_links(&mut self, entries: &[Entry]) {
        let mut by_index: BTreeMap<usize, Vec<&Entry>> = BTreeMap::new();
        for entry in entries.iter().filter(|entry| entry.rule == Rule::Deny) {
            if let Object::Host { real, .. } = &entry.object
                && real.kind == FileKind::File
                && self.host.hard_links(&real.path) > 1
            {
                by_index.entry(entry.place.index).or_default().push(entry);
            }
        }
        for entries in by_index.into_values() {
            let span = entries.first().map_or(0..0, |entry| entry.place.span.clone());
            let paths: Vec<&Path> = entries.into_iter().filter_map(object).collect();
            self.say_hard_links(span, &paths, "read");
        }
    }

    /// Says that a protected file has other names.
    pub(super) fn warn_of_hard_links(
        &mut self,
        path: &Path,
        kind: FileKind,
        span: Range<usize>,
        what: &str,
    ) {
        if kind == FileKind::File && self.host.hard_links(path) > 1 {
            self.say_hard_links(span, &[path], what);
        }
    }

    fn say_hard_links(&mut self, span: Range<usize>, paths: &[&Path], what: &str) {
        let Some(first) = paths.first() else { return };
        let more = match paths.len() {
            1 => String::new(),
            number => format!(" (and {} more)", number - 1),
        };
        let message =
            format!("{first:?}{more} has hard links: under its other names it can still be {what}");
        self.diagnostics
            .warning(span, message)
            .help("find(1) with -samefile names them; keep them out of view");
    }
}
