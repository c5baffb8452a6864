//! Landlock's decisions: `is_access_to_paths_allowed` and
//! `current_check_refer_path` of the kernel's security/landlock/fs.c, for one
//! layer.

use std::collections::HashMap;

use launcher_policy::landlock::ACCESS_FILE;
use linux_raw_sys::landlock as uapi;

use super::view::Id;

/// The rules of one ruleset.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    /// What is handled: everything else is free. 0 where Landlock is not used.
    handled: u32,
    granted: HashMap<Id, u32>,
}

/// What a file or directory is moved or linked from and to: from the root of
/// the view down to the two directories.
pub(super) struct Refer<'a> {
    pub(super) from: &'a [Id],
    pub(super) to: &'a [Id],
    /// How many of both lie above the root of the mount that they are on.
    pub(super) above_mount: usize,
    /// What is moved.
    pub(super) child: &'a Id,
    pub(super) child_is_directory: bool,
    pub(super) wanted_from: u32,
    pub(super) wanted_to: u32,
}

/// Why something may not be moved to another directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// These rights are missing.
    Missing(u32),
    /// It would gain rights.
    Gains,
}

impl Rules {
    /// No rule yet.
    pub(super) fn new(handled: u32) -> Self {
        Self { handled, granted: HashMap::new() }
    }

    /// Grants rights at and below an object, as far as they are handled.
    pub(super) fn allow(&mut self, id: Id, access: u32) {
        *self.granted.entry(id).or_default() |= access & self.handled;
    }

    /// The rights among `wanted` that nothing grants from the root of the view
    /// down to an object.
    pub(super) fn missing<'i>(&self, way: impl IntoIterator<Item = &'i Id>, wanted: u32) -> u32 {
        let granted = way.into_iter().fold(0, |granted, id| granted | self.of(id));
        wanted & self.handled & !granted
    }

    fn of(&self, id: &Id) -> u32 {
        self.granted.get(id).copied().unwrap_or(0)
    }

    /// Whether something may be moved or linked to another directory.
    pub(super) fn refer(&self, refer: &Refer<'_>) -> Result<(), Refusal> {
        if self.handled == 0 {
            return Ok(());
        }
        // Denied by every ruleset that does not grant it, handled or not.
        let handled = self.handled | uapi::LANDLOCK_ACCESS_FS_REFER;
        let wanted_from = (refer.wanted_from | uapi::LANDLOCK_ACCESS_FS_REFER) & handled;
        let wanted_to = (refer.wanted_to | uapi::LANDLOCK_ACCESS_FS_REFER) & handled;
        let (above_from, below_from) = refer.from.split_at(refer.above_mount);
        let (_, below_to) = refer.to.split_at(refer.above_mount);
        let collect = |way: &[Id]| way.iter().fold(0, |granted, id| granted | self.of(id));
        let (mut from, mut to) = (collect(below_from), collect(below_to));
        if handled & !from == 0 && handled & !to == 0 {
            return Ok(());
        }
        let child = self.of(refer.child);
        let meaningful = if refer.child_is_directory { handled } else { handled & ACCESS_FILE };
        // The kernel compares before it looks at each directory, from the root
        // of the mount upwards, and no more after the last.
        let mut compared = false;
        let root_of_mount = below_from.first();
        for id in root_of_mount.into_iter().chain(above_from.iter().rev()) {
            compared = compared || to & !(from | child) & meaningful == 0;
            from |= self.of(id);
            to |= self.of(id);
        }
        let missing = (wanted_from & !from) | (wanted_to & !to);
        match (missing, compared) {
            (0, true) => Ok(()),
            (0, false) => Err(Refusal::Gains),
            (missing, _) => Err(Refusal::Missing(missing)),
        }
    }
}

/// The names of rights on files, without `LANDLOCK_ACCESS_FS_`.
pub fn words(rights: u32) -> Vec<&'static str> {
    const WORDS: [&str; 17] = [
        "EXECUTE",
        "WRITE_FILE",
        "READ_FILE",
        "READ_DIR",
        "REMOVE_DIR",
        "REMOVE_FILE",
        "MAKE_CHAR",
        "MAKE_DIR",
        "MAKE_REG",
        "MAKE_SOCK",
        "MAKE_FIFO",
        "MAKE_BLOCK",
        "MAKE_SYM",
        "REFER",
        "TRUNCATE",
        "IOCTL_DEV",
        "RESOLVE_UNIX",
    ];
    let known = WORDS.iter().enumerate().filter(|(bit, _)| rights >> bit & 1 == 1);
    known.map(|(_, word)| *word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: u32 = 0x7fff & !uapi::LANDLOCK_ACCESS_FS_EXECUTE;

    fn id(inode: u64) -> Id {
        Id::Host(1, inode)
    }

    fn rules(granted: &[(u64, u32)]) -> Rules {
        let mut rules = Rules::new(0xffff);
        for &(inode, access) in granted {
            rules.allow(id(inode), access);
        }
        rules
    }

    /// A file moved from one directory to the other, both below the mount 2 in
    /// the root 1.
    fn moved(rules: &Rules, from: u64, to: u64) -> Result<(), Refusal> {
        rules.refer(&Refer {
            from: &[id(1), id(2), id(from)],
            to: &[id(1), id(2), id(to)],
            above_mount: 1,
            child: &id(9),
            child_is_directory: false,
            wanted_from: uapi::LANDLOCK_ACCESS_FS_REMOVE_FILE,
            wanted_to: uapi::LANDLOCK_ACCESS_FS_MAKE_REG,
        })
    }

    #[test]
    fn rights_add_up_on_the_way_to_the_root() {
        let rules = rules(&[(1, 0b1000), (3, 0b0100)]);
        assert_eq!(rules.missing(&[id(1), id(2), id(3)], 0b1110), 0b0010);
        assert_eq!(Rules::default().missing(&[id(1)], 0xffff), 0);
    }

    #[test]
    fn a_move_between_equal_directories_is_allowed() {
        assert_eq!(moved(&rules(&[(2, WRITE)]), 3, 4), Ok(()));
    }

    #[test]
    fn a_move_takes_the_right_to_refer_on_both_sides() {
        let refer = uapi::LANDLOCK_ACCESS_FS_REFER;
        let rules = rules(&[(3, WRITE), (4, WRITE & !refer)]);
        assert_eq!(moved(&rules, 3, 4), Err(Refusal::Missing(refer)));
    }

    #[test]
    fn nothing_is_moved_to_where_more_may_be_done_with_it() {
        let more = rules(&[(2, WRITE), (4, uapi::LANDLOCK_ACCESS_FS_EXECUTE)]);
        assert_eq!(moved(&more, 3, 4), Err(Refusal::Gains));
        assert_eq!(moved(&more, 4, 3), Ok(()));
        // What the file itself has is no gain.
        let own = rules(&[(2, WRITE), (4, 1), (9, 1)]);
        assert_eq!(moved(&own, 3, 4), Ok(()));
    }

    #[test]
    fn rights_have_the_names_of_the_header() {
        assert_eq!(words(uapi::LANDLOCK_ACCESS_FS_REFER | 1), ["EXECUTE", "REFER"]);
        assert_eq!(words(launcher_policy::landlock::ACCESS_FS).len(), 17);
    }
}
