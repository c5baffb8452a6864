//! The paths of `[filesystem]`: on each, what every part grants there.
//!
//! Each part is resolved on its own. What all of them say in one word - the
//! root, the devices, the temporary directories - makes a frame; on every
//! path that some part decides about, an entry then grants what all grant.
//! What came out is resolved again and compared with the parts: where it
//! would grant more, the path is hidden.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use launcher_policy::mounts::Missing;

use super::{empty, frame};
use crate::diagnostic::Diagnostics;
use crate::document::{self, Document, Entry, EntryTable, Filesystem};
use crate::mounts::{self, Decider, Rights, Standing, View};
use crate::{Place, Spanned};

/// How often what grants too much is hidden before the parts are refused.
const ROUNDS: usize = 3;

/// Completes the frame with the entries that all parts amount to.
pub(super) fn intersected(
    parts: &[Document],
    mut document: Document,
    at: &Range<usize>,
    place: &Place,
    diagnostics: &mut Diagnostics,
) -> Document {
    frame::warn_of_exact(parts, &document.filesystem, diagnostics);
    let mut found = Diagnostics::default();
    let views: Vec<View> =
        parts.iter().map(|part| mounts::resolve(part, place, &mut found)).collect();
    // What is only good to know is said of the result.
    diagnostics.append(found.without_notes());
    if diagnostics.has_errors() {
        return document;
    }
    let frame = mounts::resolve(&document, place, &mut Diagnostics::default());
    let mut builder =
        Builder { views: &views, frame: &frame, at, filesystem: &mut document.filesystem };
    for path in points(&views) {
        builder.point(&path);
    }
    builder.links();
    for round in 0..=ROUNDS {
        let result = mounts::resolve(&document, place, &mut Diagnostics::default());
        let wrong: Vec<_> = points(views.iter().chain([&result]))
            .into_iter()
            .filter(|path| views.iter().any(|view| exceeds(&result, view, path)))
            .collect();
        match wrong.first() {
            None => {
                empty::warn_of_rights(&views, &result, at, diagnostics);
                return document;
            }
            Some(path) if round == ROUNDS => refuse(path, at, diagnostics),
            Some(_) => {}
        }
        let denied = wrong.iter().map(|path| entry(path, Missing::Skip));
        document.filesystem.deny.extend(denied.map(|entry| Spanned::new(at.clone(), entry)));
    }
    document
}

fn refuse(path: &Path, at: &Range<usize>, diagnostics: &mut Diagnostics) {
    diagnostics
        .error(at.clone(), format!("what the parts grant at {path:?} cannot be intersected"))
        .help("make their entries for it the same, or leave one of the parts out");
}

/// Every path that one of the views decides about, parents first.
fn points<'v>(views: impl IntoIterator<Item = &'v View>) -> BTreeSet<PathBuf> {
    views.into_iter().flat_map(View::points).map(Path::to_owned).collect()
}

/// Whether the result grants something at a path that a part does not.
fn exceeds(result: &View, part: &View, path: &Path) -> bool {
    let is_wider = !part.rights(path).contain(result.rights(path));
    match result.standing(path) {
        Standing::Object(object) => is_wider || part.standing(path) != Standing::Object(object),
        // The frame makes only what all parts have. Where a part shows the
        // host's own temporary directory, that may not exist.
        Standing::Made => is_wider && !is_undecided(part, path),
        Standing::Nothing | Standing::Unknown => is_wider,
    }
}

fn is_undecided(part: &View, path: &Path) -> bool {
    matches!(part.decide(path).decider, Decider::Root | Decider::Nobody)
}

/// Writes the entries, parents first.
struct Builder<'a> {
    views: &'a [View],
    frame: &'a View,
    at: &'a Range<usize>,
    filesystem: &'a mut Filesystem,
}

impl Builder<'_> {
    /// What all parts grant at a path.
    fn rights(&self, path: &Path) -> Rights {
        let each = self.views.iter().map(|view| view.rights(path));
        each.reduce(Rights::intersection).unwrap_or(Rights::NONE)
    }

    /// What stands at a path in every part, if that is the same.
    fn standing(&self, path: &Path) -> Option<Standing> {
        let mut each = self.views.iter().map(|view| view.standing(path));
        let first = each.next()?;
        each.all(|other| other == first).then_some(first)
    }

    /// Decides about a path that some part decides about.
    fn point(&mut self, path: &Path) {
        let rights = self.rights(path);
        let missing = self.views.iter().filter_map(|view| view.missing(path));
        let missing = match missing.reduce(stricter_missing) {
            Some(Missing::Skip) => Missing::Skip,
            Some(Missing::Fail) | None => Missing::Fail,
        };
        match (self.standing(path), self.frame.standing(path)) {
            // The frame has what the launcher makes, unless it is narrower.
            (Some(Standing::Made), framed) => {
                let is_runnable = framed == Standing::Made && rights.execute;
                if is_runnable && !self.frame.rights(path).execute {
                    self.allow(path, Rights::EXECUTE, missing);
                }
            }
            (Some(Standing::Unknown), Standing::Unknown) => {}
            (Some(Standing::Object(object)), framed) if rights != Rights::NONE => {
                let is_framed = framed == Standing::Object(object.clone())
                    && self.frame.rights(path) == rights
                    && self.is_framed_above(path);
                if object == path && !is_framed {
                    self.allow(path, rights, missing);
                }
            }
            _ => {}
        }
    }

    /// Whether the frame alone decides about a path: what is built in gives
    /// way to entries above it.
    fn is_framed_above(&self, path: &Path) -> bool {
        let entry = |view: &View| matches!(view.decide(path).decider, Decider::Entry(_));
        !self.views.iter().any(entry)
    }

    /// Shows the symlinks that all parts show, where the frame does not.
    fn links(&mut self) {
        let Some((first, others)) = self.views.split_first() else { return };
        let known: BTreeSet<_> = self.frame.links().collect();
        let links: Vec<_> = first
            .links()
            .filter(|link| others.iter().all(|view| view.links().any(|other| other == *link)))
            .filter(|link| !known.contains(link))
            .map(Path::to_owned)
            .collect();
        for link in links {
            let rights = self.rights(&link);
            if let Some(Standing::Object(_)) = self.standing(&link) {
                self.allow(&link, rights, Missing::Skip);
            }
        }
    }

    /// Adds entries that grant these rights.
    fn allow(&mut self, path: &Path, rights: Rights, missing: Missing) {
        let entry = Spanned::new(self.span(path), entry(path, missing));
        let filesystem = &mut self.filesystem;
        let lists = [
            (rights.write, &mut filesystem.write),
            (rights.execute, &mut filesystem.execute),
            (rights == Rights::READ, &mut filesystem.read),
        ];
        for (_, list) in lists.into_iter().filter(|(is_granted, _)| *is_granted) {
            list.push(entry.clone());
        }
    }

    /// The last entry that speaks of a path, for what is complained of.
    fn span(&self, path: &Path) -> Range<usize> {
        let mut entries =
            self.views.iter().rev().filter_map(|view| match view.decide(path).decider {
                Decider::Entry(place) => Some(place.span),
                Decider::BuiltIn(_) | Decider::Root | Decider::Nobody => None,
            });
        entries.next().unwrap_or_else(|| self.at.clone())
    }
}

/// A launch that fails is stricter than one that goes on.
fn stricter_missing(one: Missing, two: Missing) -> Missing {
    match (one, two) {
        (Missing::Skip, Missing::Skip) => Missing::Skip,
        _ => Missing::Fail,
    }
}

/// An entry for exactly this path.
fn entry(path: &Path, missing: Missing) -> Entry {
    let missing = match missing {
        Missing::Fail => None,
        Missing::Skip => Some(document::Missing::Skip),
    };
    // In bytes, nothing has a meaning: neither `$` nor `*`.
    let is_plain = |path: &&str| !path.contains(['$', '*', '?', '[']);
    let table = match path.to_str().filter(is_plain) {
        Some(path) if missing.is_none() => return Entry::Path(path.to_owned()),
        Some(path) => EntryTable { path: Some(path.to_owned()), ..EntryTable::default() },
        None => {
            let bytes = hex::encode(path.as_os_str().as_encoded_bytes());
            EntryTable { bytes: Some(bytes), ..EntryTable::default() }
        }
    };
    Entry::Table(EntryTable { missing, ..table })
}
