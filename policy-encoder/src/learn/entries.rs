//! The entries that grant what was needed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::places::{Need, Surroundings};
use crate::mounts::PROTECTED;

/// What an entry grants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rights {
    /// It may be changed.
    pub write: bool,
    /// What is in it may be run.
    pub execute: bool,
}

/// Why a person should look at an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Review {
    /// It is in a home directory.
    Home,
    /// It was in a directory for temporary files before the command ran.
    Temporary,
    /// It names what others run or believe: a repository with its hooks, what
    /// tells agents what to do.
    Repository,
    /// It is changed and belongs to the system.
    System,
}

/// An entry of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The file or directory.
    pub path: PathBuf,
    /// What it grants beside reading.
    pub rights: Rights,
    /// Why a person should look at it.
    pub review: Option<Review>,
}

impl Review {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Home => "in a home directory",
            Self::Temporary => "was there before the command; /tmp is private otherwise",
            Self::Repository => "hooks and settings that others follow can be changed by it",
            Self::System => "part of the system is changed",
        }
    }
}

/// The entries for what was needed; and what none is made for, as it would have
/// to be for what holds everything.
pub fn entries<'n>(
    needs: impl IntoIterator<Item = (&'n Path, Need)>,
    around: &Surroundings,
) -> (Vec<Entry>, Vec<(PathBuf, Need)>) {
    let (mut placed, mut left) = (Vec::new(), Vec::new());
    for (path, need) in needs {
        match place(path, need, around) {
            Some(place) => placed.push((place, path, need)),
            None => left.push((path.to_owned(), need)),
        }
    }
    let granted = together(granted(&placed), around);
    let is_needless = |(path, rights): &(PathBuf, Rights)| {
        let above = path.ancestors().skip(1).find_map(|above| granted.get(above));
        above == Some(rights) && !is_protected(path)
    };
    let list: Vec<_> = granted.clone().into_iter().filter(|each| !is_needless(each)).collect();
    let entry = |(path, rights): (PathBuf, Rights)| {
        let review = review(&path, rights, around);
        Entry { path, rights, review }
    };
    (list.into_iter().map(entry).collect(), left)
}

/// What is needed in each place. The deepest entry decides alone.
fn granted(placed: &[(PathBuf, &Path, Need)]) -> BTreeMap<PathBuf, Rights> {
    let places = placed.iter().map(|(place, ..)| (place.clone(), Rights::default()));
    let mut granted: BTreeMap<_, _> = places.collect();
    for (_, path, need) in placed {
        let deepest = path.ancestors().find(|above| granted.contains_key(*above));
        if let Some(rights) = deepest.and_then(|deepest| granted.get_mut(deepest)) {
            rights.write |= need.changes();
            rights.execute |= need.execute;
        }
    }
    granted
}

/// Puts many beside each other together, those that grant the same; least first.
fn together(
    granted: BTreeMap<PathBuf, Rights>,
    around: &Surroundings,
) -> BTreeMap<PathBuf, Rights> {
    let mut of: BTreeMap<Rights, Vec<PathBuf>> = BTreeMap::new();
    for (place, rights) in granted {
        of.entry(rights).or_default().push(place);
    }
    let mut all = BTreeMap::new();
    for (rights, places) in of {
        let (free, taken): (Vec<_>, Vec<_>) = (around.together(places.clone()).into_iter())
            .partition(|place| !all.contains_key(place));
        // Where less is granted as a whole, these stay what they are.
        let single = |place: &PathBuf| taken.iter().any(|above| place.starts_with(above));
        all.extend(free.into_iter().map(|place| (place, rights)));
        all.extend(places.into_iter().filter(single).map(|place| (place, rights)));
    }
    all
}

fn place(path: &Path, need: Need, around: &Surroundings) -> Option<PathBuf> {
    let place = around.place(path, need)?;
    // Of a repository only what is changed takes an entry of its own.
    let protected = path.ancestors().filter(|above| is_protected(above)).last();
    let inside = protected.filter(|above| need.changes() && above.starts_with(&place));
    Some(inside.map_or(place, Path::to_owned))
}

fn is_protected(path: &Path) -> bool {
    path.file_name().is_some_and(|name| PROTECTED.iter().any(|protected| name == *protected))
}

fn review(path: &Path, rights: Rights, around: &Surroundings) -> Option<Review> {
    if rights.write && is_protected(path) {
        Some(Review::Repository)
    } else if around.is_temporary(path) {
        Some(Review::Temporary)
    } else if around.is_home(path) {
        Some(Review::Home)
    } else {
        let is_system = around.is_system(path) || path.starts_with("/etc");
        (rights.write && is_system).then_some(Review::System)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MAKE, READ, RUN, around};
    use super::*;

    /// Entries as `rwx path`.
    fn made(needs: &[(&str, Need)]) -> Vec<String> {
        let needs = needs.iter().map(|(path, need)| (Path::new(*path), *need));
        let (entries, _) = entries(needs, &around());
        let word = |entry: &Entry| {
            let rights = entry.rights;
            let write = if rights.write { "w" } else { "-" };
            let execute = if rights.execute { "x" } else { "-" };
            format!("r{write}{execute} {}", entry.path.display())
        };
        entries.iter().map(word).collect()
    }

    #[test]
    fn four_hundred_files_are_one_directory() {
        let names: Vec<String> = (0..400).map(|n| format!("/home/me/app/src/{n}.rs")).collect();
        let needs: Vec<_> = names.iter().map(|name| (name.as_str(), READ)).collect();
        assert_eq!(made(&needs), ["r-- /home/me/app"]);
    }

    #[test]
    fn an_entry_grants_what_was_needed_in_it_and_no_more() {
        let needs = [
            ("/home/me/app/src/x.rs", READ),
            ("/home/me/app/target/x", MAKE),
            ("/opt/tool/bin/tool", RUN),
            ("/opt/data/x", READ),
        ];
        assert_eq!(made(&needs), ["rw- /home/me/app", "r-- /opt/data", "r-x /opt/tool"]);
    }

    #[test]
    fn directories_become_one_only_where_they_grant_the_same() {
        let read = [
            ("/data/x/a/1", READ),
            ("/data/x/b/1", READ),
            ("/data/x/c/1", READ),
            ("/data/x/d/1", READ),
        ];
        let written = [("/data/x/e/1", MAKE)];
        assert_eq!(
            made(&[&read[..3], &written].concat()),
            ["r-- /data/x/a", "r-- /data/x/b", "r-- /data/x/c", "rw- /data/x/e"]
        );
        assert_eq!(made(&[&read[..], &written].concat()), ["r-- /data/x", "rw- /data/x/e"]);
        let four = ["f", "g", "h", "i"].map(|name| format!("/data/x/{name}/1"));
        let four: Vec<_> = four.iter().map(|path| (path.as_str(), MAKE)).collect();
        assert_eq!(made(&four), ["rw- /data/x"]);
        let all = made(&[&read[..], &four].concat());
        assert_eq!(all[0], "r-- /data/x");
        assert_eq!(all[1..], ["f", "g", "h", "i"].map(|name| format!("rw- /data/x/{name}")));
    }

    #[test]
    fn an_entry_inside_another_one_stands_for_what_it_has_more() {
        let needs = [("/usr/lib/x", RUN), ("/usr/lib/python3/x.pyc", MAKE)];
        assert_eq!(made(&needs), ["r-x /usr", "rw- /usr/lib/python3"]);
        let needs = [("/data/a/x", READ), ("/data/a/b/y", READ)];
        assert_eq!(made(&needs), ["r-- /data/a"]);
    }

    #[test]
    fn a_repository_that_is_changed_is_named() {
        let read = [("/home/me/app/.git/config", READ), ("/home/me/app/x", MAKE)];
        assert_eq!(made(&read), ["rw- /home/me/app"]);
        let changed = [("/home/me/app/.git/index.lock", MAKE), ("/home/me/app/x", MAKE)];
        assert_eq!(made(&changed), ["rw- /home/me/app", "rw- /home/me/app/.git"]);
        let (entries, _) =
            entries(changed.iter().map(|(path, need)| (Path::new(*path), *need)), &around());
        assert_eq!(entries[1].review, Some(Review::Repository));
    }

    #[test]
    fn what_a_person_should_look_at_says_why() {
        let needs = [
            ("/home/me/.cargo/x", READ),
            ("/tmp/given", READ),
            ("/etc/app/x", MAKE),
            ("/home/me/app/x", READ),
            ("/opt/x/y", MAKE),
        ];
        let (entries, left) =
            entries(needs.iter().map(|(path, need)| (Path::new(*path), *need)), &around());
        let reviews: Vec<_> = entries.iter().map(|entry| entry.review).collect();
        let expected =
            [Some(Review::System), Some(Review::Home), None, None, Some(Review::Temporary)];
        assert_eq!(reviews, expected, "{entries:?}");
        assert_eq!(left, []);
    }

    #[test]
    fn what_would_take_everything_is_left() {
        let needs = [(Path::new("/home/me/new"), MAKE), (Path::new("/home/me/old"), READ)];
        let (entries, left) = entries(needs, &around());
        assert_eq!(entries.len(), 1);
        assert_eq!(left, [("/home/me/new".into(), MAKE)]);
    }
}
