//! Whether the bytes of a policy hold on another host.

use std::path::Path;

use crate::document::{Access, Document, Entry, EntryTable, Home};
use crate::mounts;
use crate::{Place, Spanned, diagnostic::Diagnostics};

/// Why the bytes of a document hold only for the host and the directory that
/// they are made for, in words. Without a reason they hold wherever the paths
/// exist that the document names.
pub fn reasons(document: &Document, place: &Place) -> Vec<String> {
    let mut reasons = Vec::new();
    let filesystem = &document.filesystem;
    let root = filesystem.root.as_ref().map_or("empty", |root| root.get_ref().as_str());
    if root == "minimal" {
        reasons.push("root = \"minimal\" lists the system directories that are here".to_owned());
    }
    let home = filesystem.home.as_ref().map(|home| *home.get_ref());
    let is_replaced = home == Some(Home::Private) || (home != Some(Home::Host) && is_tree(root));
    if let Some(home) = place.home().filter(|_| is_replaced) {
        reasons.push(format!("the home directory is {home:?}"));
    }
    let written: Vec<&str> = written(document).collect();
    let first = |is: &dyn Fn(&str) -> bool| written.iter().copied().find(|text| is(text));
    if let Some(text) = first(&|text| text.starts_with('~') || text.contains('$')) {
        reasons.push(format!("{text:?} is expanded with the variables of here"));
    }
    if let Some(text) = first(&is_relative) {
        reasons.push(format!("{text:?} starts at {:?}", place.directory));
    }
    if let Some(text) = first(&|text| text.starts_with('@')) {
        reasons.push(format!("{text} lists what is here"));
    }
    let patterns = filesystem.deny.iter().chain(&filesystem.protect);
    let mut patterns = patterns.filter_map(|entry| match entry.get_ref() {
        Entry::Path(text) if mounts::is_pattern(text) => Some(text),
        _ => None,
    });
    if let Some(text) = patterns.next() {
        reasons.push(format!("{text:?} stands for the files that match it here"));
    }
    if filesystem.write.iter().any(|entry| !is_descriptor(entry.get_ref())) {
        reasons.push("names that are protected were looked for in what is writable".to_owned());
    }
    if document.network.access.as_ref().map(Spanned::get_ref) == Some(&Access::Host) {
        reasons.push("network.access = \"host\" shows the resolver's files that are here".into());
    }
    if let Some(link) = link(document, place) {
        reasons.push(format!("{link} is a symlink here"));
    }
    reasons
}

fn is_tree(root: &str) -> bool {
    !matches!(root, "empty" | "minimal")
}

/// Every path of an entry, as it is written.
fn written(document: &Document) -> impl Iterator<Item = &str> {
    let filesystem = &document.filesystem;
    let lists =
        [&filesystem.execute, &filesystem.read, &filesystem.write, &filesystem.deny].into_iter();
    lists.flatten().filter_map(|entry| match entry.get_ref() {
        Entry::Path(text) => Some(text.as_str()),
        Entry::Table(table) => table.path.as_deref(),
    })
}

fn is_relative(text: &str) -> bool {
    !text.starts_with(['/', '~', '$', '@']) && !mounts::is_pattern(text)
}

fn is_descriptor(entry: &Entry) -> bool {
    matches!(entry, Entry::Table(EntryTable { fd: Some(_), .. }))
}

/// A symlink on the way to something that an entry shows.
fn link(document: &Document, place: &Place) -> Option<String> {
    let view = mounts::resolve(document, place, &mut Diagnostics::default());
    let is_listed = |link: &&Path| {
        let mut written = written(document);
        !link.starts_with("/dev") && written.any(|text| Path::new(text).starts_with(link))
    };
    view.links().find(is_listed).map(|link| link.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mounts::testing::Tree;
    use crate::tests::document;

    fn reasons(text: &str) -> Vec<String> {
        let tree = Tree::new(&["usr/bin/", "srv/", "home/u/"], &[("bin", "usr/bin")]);
        let place = Place {
            sysroot: tree.path().into(),
            directory: "/srv".into(),
            variables: [("HOME".to_owned(), "/home/u".into())].into(),
        };
        super::reasons(&document(text), &place)
    }

    #[test]
    fn absolute_paths_and_descriptors_hold_everywhere() {
        assert_eq!(reasons(""), [""; 0]);
        let text = "filesystem = { read = ['/usr'], write = [{ fd = 5, at = '/work' }] }";
        assert_eq!(reasons(text), [""; 0]);
    }

    #[test]
    fn what_holds_only_here_is_named() {
        let list = |text: &str| format!("filesystem = {{ {text} }}");
        for (text, reason) in [
            ("root = 'minimal'", "root = \"minimal\" lists"),
            ("root = 'host'", "the home directory is \"/home/u\""),
            ("read = ['~']", "\"~\" is expanded"),
            ("read = ['.']", "\".\" starts at \"/srv\""),
            ("read = ['@certificates']", "@certificates lists what is here"),
            ("read = ['/usr'], deny = ['**/x']", "\"**/x\" stands for the files"),
            ("write = ['/srv']", "names that are protected"),
            ("execute = ['/bin']", "/bin is a symlink here"),
        ] {
            let found = reasons(&list(text));
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains(reason), "{text}: {found:?}");
        }
        assert_eq!(reasons("network.access = 'host'").len(), 1);
    }
}
