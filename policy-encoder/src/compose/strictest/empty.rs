//! What is left of nothing: an intersection that is empty is said.

use std::ops::Range;

use crate::Spanned;
use crate::diagnostic::Diagnostics;
use crate::document::{Dev, Document, Unix};
use crate::mounts::{Rights, Standing, View};

type Length = fn(&Document) -> usize;

/// The lists that grant something by what is in them, and how long each is.
const LISTS: [(&str, Length); 9] = [
    ("filesystem.dev", |document| match document.filesystem.dev.as_ref().map(Spanned::get_ref) {
        Some(Dev::List(names)) => names.len(),
        Some(Dev::Named(_)) | None => 0,
    }),
    ("network.unix", |document| match document.network.unix.as_ref().map(Spanned::get_ref) {
        Some(Unix::Paths(paths)) => paths.len(),
        Some(Unix::Named(_)) | None => 0,
    }),
    ("network.connect_tcp", |document| length(&document.network.connect_tcp)),
    ("network.bind_tcp", |document| length(&document.network.bind_tcp)),
    ("network.allow", |document| document.network.allow.len()),
    ("process.env.keep", |document| document.process.env.keep.len()),
    ("process.keep_fds", |document| document.process.keep_fds.len()),
    ("limits.cpu_affinity", |document| length(&document.limits.cpu_affinity)),
    ("seccomp.allow", |document| document.seccomp.allow.len()),
];

fn length<T>(list: &Option<Spanned<Vec<T>>>) -> usize {
    list.as_ref().map_or(0, |list| list.get_ref().len())
}

/// Warns of lists that every part has and of which nothing is left.
pub(super) fn warn_of_lists(
    parts: &[Document],
    result: &Document,
    at: &Range<usize>,
    diagnostics: &mut Diagnostics,
) {
    for (key, length) in LISTS {
        if length(result) == 0 && parts.iter().all(|part| length(part) > 0) {
            diagnostics
                .warning(at.clone(), format!("nothing is left of {key}: no item is in every part"));
        }
    }
}

/// Warns of rights that every part grants somewhere and the result nowhere.
pub(super) fn warn_of_rights(
    views: &[View],
    result: &View,
    at: &Range<usize>,
    diagnostics: &mut Diagnostics,
) {
    let kinds = [("execute", Rights::EXECUTE), ("write", Rights::WRITE), ("read", Rights::READ)];
    for (verb, rights) in kinds {
        if !grants(result, rights) && views.iter().all(|view| grants(view, rights)) {
            diagnostics.warning(
                at.clone(),
                format!("nothing is left to {verb}: no file of the host is granted by every part"),
            );
        }
    }
}

/// Whether these rights are granted on anything of the host but devices.
fn grants(view: &View, rights: Rights) -> bool {
    view.points().any(|path| {
        view.rights(path).contain(rights)
            && matches!(view.standing(path), Standing::Object(object) if !object.starts_with("/dev"))
    })
}
