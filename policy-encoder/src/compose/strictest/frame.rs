//! `[filesystem]` but for the paths: what both parts say in a word, and what
//! stands in both as it is.

use super::{last, stricter};
use crate::Spanned;
use crate::diagnostic::Diagnostics;
use crate::document::{
    Dev, DevSet, Document, Entry, EntryTable, Filesystem, Home, ProtectMissing, Size, Tmp,
};
use crate::mounts;

/// Size of the private temporary directories that a part without any says
/// nothing of.
const TMP_SIZE: Size = Size(mounts::TMP_SIZE);

/// The frame of two parts: all but the entries that each has by itself.
pub(super) fn both(one: &Filesystem, two: &Filesystem) -> Filesystem {
    let Filesystem {
        root,
        execute,
        read,
        write,
        deny,
        protect,
        protect_missing,
        home,
        tmp,
        tmp_size,
        proc,
        dev,
        mount,
    } = one;
    Filesystem {
        root: self::root(root, &two.root),
        execute: exact(execute, &two.execute),
        read: exact(read, &two.read),
        write: exact(write, &two.write),
        deny: super::super::add::both(deny.clone(), two.deny.clone()),
        protect: super::super::add::both(protect.clone(), two.protect.clone()),
        protect_missing: stricter(
            protect_missing,
            &two.protect_missing,
            &ProtectMissing::Warn,
            |missing| match missing {
                ProtectMissing::Freeze => 0,
                ProtectMissing::Warn => 1,
            },
        ),
        home: stricter(home, &two.home, &Home::Hidden, |home| match home {
            Home::Hidden => 0,
            Home::Private => 1,
            Home::Host => 2,
        }),
        tmp: stricter(tmp, &two.tmp, &Tmp::Private, |tmp| match tmp {
            Tmp::None => 0,
            Tmp::Private => 1,
            Tmp::Host => 2,
        }),
        tmp_size: stricter(tmp_size, &two.tmp_size, &TMP_SIZE, |size| size.0),
        proc: stricter(proc, &two.proc, &true, |proc| u8::from(*proc)),
        dev: self::dev(dev, &two.dev),
        mount: mount.iter().filter(|mount| two.mount.contains(mount)).cloned().collect(),
    }
}

/// An image stays if it is the root of both; else the smaller of the others.
fn root(one: &Option<Spanned<String>>, two: &Option<Spanned<String>>) -> Option<Spanned<String>> {
    if one == two {
        return one.clone();
    }
    stricter(one, two, &"empty".to_owned(), |root| match root.as_str() {
        "host" => 2,
        "minimal" => 1,
        _ => 0,
    })
    .filter(|root| !is_image(root.get_ref()))
}

fn is_image(root: &str) -> bool {
    !matches!(root, "empty" | "minimal" | "host")
}

/// The devices of both.
fn dev(one: &Option<Spanned<Dev>>, two: &Option<Spanned<Dev>>) -> Option<Spanned<Dev>> {
    let minimal = Dev::Named(DevSet::Minimal);
    let said = |dev: &Option<Spanned<Dev>>| {
        dev.as_ref().map_or_else(|| minimal.clone(), |dev| dev.get_ref().clone())
    };
    let (said_one, said_two) = (said(one), said(two));
    if said_one == said_two {
        return last(one, two);
    }
    let span = last(one, two).map_or(0..0, |dev| dev.span());
    let of_both = match (names(said_one), names(said_two)) {
        (Some(names), Some(others)) => {
            Dev::List(names.into_iter().filter(|name| others.contains(name)).collect())
        }
        _ => Dev::Named(DevSet::None),
    };
    Some(Spanned::new(span, of_both))
}

/// The devices below `/dev`, if there is one.
fn names(dev: Dev) -> Option<Vec<String>> {
    match dev {
        Dev::Named(DevSet::Minimal) => Some(mounts::minimal_devices()),
        Dev::Named(DevSet::None) => None,
        Dev::List(names) => Some(names),
    }
}

/// The entries of both that stand for more than a path: where they lead is
/// not compared, so that they stay only as they are.
fn exact(one: &[Spanned<Entry>], two: &[Spanned<Entry>]) -> Vec<Spanned<Entry>> {
    let is_in_both = |entry: &&Spanned<Entry>| is_exact(entry.get_ref()) && two.contains(entry);
    one.iter().filter(is_in_both).cloned().collect()
}

fn is_exact(entry: &Entry) -> bool {
    match entry {
        Entry::Path(_) => false,
        Entry::Table(EntryTable { path: _, bytes: _, fd, at, missing: _, follow }) => {
            fd.is_some() || at.is_some() || *follow == Some(true)
        }
    }
}

/// Warns of what is left out because not every part has it.
pub(super) fn warn_of_exact(parts: &[Document], frame: &Filesystem, diagnostics: &mut Diagnostics) {
    let mut warn = |span, what: &str| {
        let message = format!("{what} that not every part has is left out");
        diagnostics.warning(span, message);
    };
    for part in parts {
        let filesystem = &part.filesystem;
        let lists = [
            (&filesystem.execute, &frame.execute),
            (&filesystem.read, &frame.read),
            (&filesystem.write, &frame.write),
        ];
        for (list, kept) in lists {
            for entry in list.iter().filter(|entry| is_exact(entry.get_ref())) {
                if !kept.contains(entry) {
                    warn(entry.span(), "an entry with `at`, `fd` or `follow`");
                }
            }
        }
        for mount in filesystem.mount.iter().filter(|mount| !frame.mount.contains(mount)) {
            warn(mount.span(), "an exact mount");
        }
        if let Some(root) = &filesystem.root
            && is_image(root.get_ref())
            && frame.root.as_ref() != Some(root)
        {
            warn(root.span(), "a root of its own");
        }
    }
}
