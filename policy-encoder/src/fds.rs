//! `process.keep_fds`: descriptors that reach the command.

use std::collections::BTreeSet;

use launcher_policy::fds::{FdKind, MAX_FD};

use crate::diagnostic::Diagnostics;
use crate::document::{Document, Entry, KeepFd, KeepFdTable};
use crate::items::Items;

/// The stage's part of the policy.
#[derive(Debug)]
pub(crate) struct Fds {
    keep: Items,
}

impl Fds {
    pub(crate) fn wire(&self) -> launcher_policy::fds::Fds<'_> {
        launcher_policy::fds::Fds { keep: self.keep.list() }
    }
}

/// Resolves `process.keep_fds`.
pub(crate) fn resolve(document: &Document, diagnostics: &mut Diagnostics) -> Fds {
    let mut seen = BTreeSet::new();
    let mut keep = Vec::new();
    for written in &document.process.keep_fds {
        let KeepFdTable { fd, directory } = table(*written.get_ref());
        if fd < 3 {
            diagnostics
                .error(written.span(), format!("descriptor {fd} always reaches the command"))
                .help("leave it out of keep_fds");
        } else if fd > MAX_FD {
            diagnostics.error(written.span(), format!("a descriptor number is at most {MAX_FD}"));
        } else if !seen.insert(fd) {
            diagnostics.error(written.span(), format!("descriptor {fd} is listed twice"));
        } else if !directory && entries(document).any(|entry| entry == fd) {
            diagnostics
                .error(
                    written.span(),
                    format!(
                        "descriptor {fd} is a directory of [filesystem], through which the \
                             command reaches past what is mounted"
                    ),
                )
                .help(format!("if that is meant, write {{ fd = {fd}, directory = true }}"));
        }
        let kind = if directory { FdKind::Directory } else { FdKind::Stream };
        keep.push(launcher_policy::fds::KeepFd { fd, kind });
    }
    Fds { keep: Items::new(keep) }
}

/// Every descriptor that the caller of the launcher hands over under a number
/// that the document names.
pub fn used(document: &Document) -> BTreeSet<u32> {
    let kept = document.process.keep_fds.iter().map(|written| table(*written.get_ref()).fd);
    kept.chain(entries(document)).collect()
}

/// The descriptors that stand for directories in `[filesystem]`.
fn entries(document: &Document) -> impl Iterator<Item = u32> {
    let filesystem = &document.filesystem;
    [&filesystem.execute, &filesystem.read, &filesystem.write, &filesystem.deny]
        .into_iter()
        .flatten()
        .filter_map(|entry| match entry.get_ref() {
            Entry::Path(_) => None,
            Entry::Table(table) => table.fd,
        })
}

fn table(written: KeepFd) -> KeepFdTable {
    match written {
        KeepFd::Number(fd) => KeepFdTable { fd, directory: false },
        KeepFd::Table(table) => table,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{document, messages};

    fn complaints(text: &str) -> Vec<String> {
        let mut diagnostics = Diagnostics::default();
        resolve(&document(text), &mut diagnostics);
        messages(&diagnostics)
    }

    #[test]
    fn a_directory_must_be_called_one() {
        let document = document("process.keep_fds = [5, { fd = 6, directory = true }]");
        let fds = resolve(&document, &mut Diagnostics::default());
        let kinds: Vec<_> = fds.wire().keep.iter().map(|keep| (keep.fd, keep.kind)).collect();
        assert_eq!(kinds, [(5, FdKind::Stream), (6, FdKind::Directory)]);
    }

    #[test]
    fn standard_streams_and_repetitions_are_not_kept() {
        assert_eq!(
            complaints("process.keep_fds = [0, 5, 5, 4294967295]"),
            [
                "descriptor 0 always reaches the command",
                "descriptor 5 is listed twice",
                "a descriptor number is at most 1048576"
            ]
        );
    }

    #[test]
    fn a_mounted_descriptor_is_kept_as_a_directory_only() {
        let entry = "filesystem.write = [{ fd = 5, at = '/work' }]\n";
        assert_eq!(complaints(&format!("{entry}process.keep_fds = [5]")).len(), 1);
        let declared = "process.keep_fds = [{ fd = 5, directory = true }]";
        assert_eq!(complaints(&format!("{entry}{declared}")).len(), 0);
    }

    #[test]
    fn used_descriptors_are_those_kept_and_those_mounted() {
        let document =
            document("filesystem.read = [{ fd = 7, at = '/a' }]\nprocess.keep_fds = [5]");
        assert_eq!(used(&document), BTreeSet::from([5, 7]));
    }
}
