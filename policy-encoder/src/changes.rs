//! What the upper layer of an overlay says about the lower one, in a list and
//! as differences of text: kernel documentation, filesystems/overlayfs.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::lgetxattr;
use similar::TextDiff;

/// Files that are longer are not compared line by line.
const MAX_TEXT: u64 = 1 << 20;

/// What has happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Added,
    Modified,
    Deleted,
}

impl Change {
    /// As version control shows it.
    const fn letter(self) -> char {
        match self {
            Self::Added => 'A',
            Self::Modified => 'M',
            Self::Deleted => 'D',
        }
    }
}

/// Writes each path that was changed, `A`, `M` or `D` in front of it, then how
/// the text of files has changed.
///
/// # Errors
///
/// What could not be read.
pub(crate) fn describe(upper: &Path, lower: &Path, text: &mut Vec<u8>) -> io::Result<()> {
    let mut changes = Vec::new();
    compare(upper, lower, Path::new(""), is_opaque(upper), &mut changes)?;
    for (change, path) in &changes {
        text.extend(format!("{} {}\n", change.letter(), shown(Path::new(path))).into_bytes());
    }
    for (change, path) in &changes {
        let before = (*change != Change::Added).then(|| lower.join(path));
        let after = (*change != Change::Deleted).then(|| upper.join(path));
        let [before, after] =
            [before, after].map(|file| file.map_or(Ok(Some(String::new())), content));
        if let (Some(before), Some(after)) = (before?, after?)
            && before != after
        {
            let name = shown(Path::new(path));
            let [from, to] = [
                if *change == Change::Added { "/dev/null".into() } else { format!("a/{name}") },
                if *change == Change::Deleted { "/dev/null".into() } else { format!("b/{name}") },
            ];
            let difference = TextDiff::from_lines(&before, &after);
            text.extend(difference.unified_diff().header(&from, &to).to_string().into_bytes());
        }
    }
    Ok(())
}

/// A path on one line, whatever is in its name.
pub(crate) fn shown(path: &Path) -> String {
    match path.to_str() {
        Some(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => format!("{path:?}"),
    }
}

/// The same without what a terminal would obey: files may say anything.
pub(crate) fn printable(text: &[u8]) -> Vec<u8> {
    let obeyed = |character: char| character.is_control() && !matches!(character, '\n' | '\t');
    let text = String::from_utf8_lossy(text).replace(obeyed, "\u{fffd}");
    text.into_bytes()
}

/// Adds what has changed in one directory of the upper layer. Nothing shows
/// through from below an opaque one.
fn compare(
    upper: &Path,
    lower: &Path,
    path: &Path,
    opaque: bool,
    changes: &mut Vec<(Change, OsString)>,
) -> io::Result<()> {
    let of = |name: &OsString| path.join(name).into_os_string();
    let here = names(&upper.join(path))?;
    let there = match fs::symlink_metadata(lower.join(path)) {
        Ok(directory) if directory.is_dir() => names(&lower.join(path))?,
        Ok(_) => BTreeSet::new(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
        Err(error) => return Err(error),
    };
    for name in here.union(&there) {
        let (above, below) = (upper.join(path).join(name), lower.join(path).join(name));
        let before = there.contains(name).then(|| fs::symlink_metadata(&below)).transpose()?;
        if !here.contains(name) {
            if opaque {
                changes.push((Change::Deleted, of(name)));
            }
            continue;
        }
        let after = fs::symlink_metadata(&above)?;
        match before {
            _ if is_whiteout(&above, &after) => {
                if before.is_some() {
                    changes.push((Change::Deleted, of(name)));
                }
                continue;
            }
            None => changes.push((Change::Added, of(name))),
            Some(before) if is_same(&above, &after, &below, &before)? => {}
            Some(_) => changes.push((Change::Modified, of(name))),
        }
        if after.is_dir() {
            compare(upper, lower, &path.join(name), is_opaque(&above), changes)?;
        }
    }
    Ok(())
}

fn names(directory: &Path) -> io::Result<BTreeSet<OsString>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
}

/// Whether what was copied up is what it was: a directory, whatever is in it.
fn is_same(above: &Path, after: &Metadata, below: &Path, before: &Metadata) -> io::Result<bool> {
    if after.mode() != before.mode() {
        return Ok(false);
    }
    if after.is_symlink() {
        return Ok(fs::read_link(above)? == fs::read_link(below)?);
    }
    if !after.is_file() {
        return Ok(true);
    }
    Ok(after.len() == before.len() && fs::read(above)? == fs::read(below)?)
}

/// Whether a node of the upper layer says that there is nothing.
fn is_whiteout(path: &Path, metadata: &Metadata) -> bool {
    let is_device = metadata.file_type().is_char_device() && metadata.rdev() == 0;
    is_device || metadata.is_file() && metadata.len() == 0 && has_attribute(path, "whiteout")
}

/// Whether a directory of the upper layer hides the one below it.
fn is_opaque(path: &Path) -> bool {
    has_attribute(path, "opaque")
}

/// An attribute of overlays, of either kind.
fn has_attribute(path: &Path, name: &str) -> bool {
    ["user", "trusted"].into_iter().any(|class| {
        let mut value = [0; 1];
        // Opaque is also "x", where a directory holds whiteouts.
        lgetxattr(path, format!("{class}.overlay.{name}"), &mut value)
            .is_ok_and(|length| name != "opaque" || (length == 1 && value == *b"y"))
    })
}

/// The text of a file; `None` for what is none.
fn content(path: std::path::PathBuf) -> io::Result<Option<String>> {
    let metadata = fs::symlink_metadata(&path)?;
    if !metadata.is_file() || metadata.len() > MAX_TEXT {
        return Ok(None);
    }
    let text = String::from_utf8(fs::read(path)?).ok();
    Ok(text.filter(|text| !text.contains('\0')))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// Two layers, and what one says about the other.
    fn described(name: &str, prepare: impl FnOnce(&Path, &Path)) -> String {
        let base = std::env::temp_dir().join(format!("changes-{name}-{}", std::process::id()));
        let (upper, lower) = (base.join("upper"), base.join("lower"));
        for layer in [&upper, &lower] {
            fs::create_dir_all(layer.join("d")).expect("a layer is made");
        }
        prepare(&upper, &lower);
        let mut text = Vec::new();
        describe(&upper, &lower, &mut text).expect("the layers can be read");
        fs::remove_dir_all(base).expect("the layers are removed");
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn additions_and_changes_are_listed_with_their_difference() {
        let said = described("text", |upper, lower| {
            fs::write(lower.join("d/old"), "one\ntwo\n").expect("written");
            fs::write(upper.join("d/old"), "one\n2\n").expect("written");
            fs::write(upper.join("new"), "here\n").expect("written");
        });
        assert!(said.starts_with("M d/old\nA new\n--- a/d/old\n+++ b/d/old\n"), "{said}");
        assert!(said.contains(" one\n-two\n+2\n--- /dev/null\n+++ b/new\n"), "{said}");
    }

    #[test]
    fn a_terminal_is_not_told_what_to_do() {
        assert_eq!(printable(b"a\x1b[2J\tb\n"), "a\u{fffd}[2J\tb\n".as_bytes());
    }

    #[test]
    fn what_was_only_copied_up_is_no_change() {
        let said = described("same", |upper, lower| {
            for layer in [upper, lower] {
                fs::write(layer.join("d/file"), "same").expect("written");
                symlink("file", layer.join("d/link")).expect("linked");
            }
        });
        assert_eq!(said, "");
    }

    #[test]
    fn modes_and_kinds_count_and_bytes_are_not_shown() {
        let said = described("kinds", |upper, lower| {
            for layer in [upper, lower] {
                fs::write(layer.join("mode"), "same").expect("written");
            }
            let mode = fs::Permissions::from_mode(0o700);
            fs::set_permissions(upper.join("mode"), mode).expect("set");
            fs::write(lower.join("kind"), "text\n").expect("written");
            symlink("d", upper.join("kind")).expect("linked");
            fs::write(upper.join("bytes"), [0xff, 0]).expect("written");
            fs::write(upper.join("a\nb"), "").expect("written");
        });
        assert_eq!(said, "A \"a\\nb\"\nA bytes\nM kind\nM mode\n");
    }
}
