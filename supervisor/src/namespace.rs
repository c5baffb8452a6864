//! Ids of users and groups as a command sees them: user_namespaces(7).

use std::fs;

use rustix::fs::{fstat, stat};
use rustix::io::{Errno, Result};

use crate::target::{Target, directory, errno};

/// What is seen of an id that is not in a namespace.
const OVERFLOW: u32 = 65534;

/// A user namespace, beside that of this process.
#[derive(Debug, Default)]
pub(crate) struct Namespace {
    users: Map,
    groups: Map,
}

/// Ids inside, the same ids outside, and how many; `None` where it is the same
/// namespace.
#[derive(Debug, Default)]
struct Map(Option<Vec<[u32; 3]>>);

impl Namespace {
    /// That of a thread.
    pub(crate) fn of(target: &Target) -> Result<Self> {
        let (its, own) = (fstat(target.link("ns/user")?)?, stat("/proc/self/ns/user")?);
        if (its.st_dev, its.st_ino) == (own.st_dev, own.st_ino) {
            return Ok(Self::default());
        }
        let map = |name| {
            let text = fs::read_to_string(directory(target.tid).join(name)).map_err(errno)?;
            Map::parse(&text).ok_or(Errno::PROTO)
        };
        Ok(Self { users: map("uid_map")?, groups: map("gid_map")? })
    }

    /// What it calls a user.
    pub(crate) fn user(&self, outside: u32) -> u32 {
        self.users.inside(outside)
    }

    /// What it calls a group.
    pub(crate) fn group(&self, outside: u32) -> u32 {
        self.groups.inside(outside)
    }

    /// A user by what it calls it.
    pub(crate) fn user_outside(&self, inside: u32) -> Option<u32> {
        self.users.outside(inside)
    }

    /// A group by what it calls it.
    pub(crate) fn group_outside(&self, inside: u32) -> Option<u32> {
        self.groups.outside(inside)
    }
}

impl Map {
    fn parse(text: &str) -> Option<Self> {
        let line = |line: &str| {
            let numbers = line.split_ascii_whitespace().map(|number| number.parse().ok());
            numbers.collect::<Option<Vec<u32>>>()?.try_into().ok()
        };
        text.lines().map(line).collect::<Option<_>>().map(|ranges| Self(Some(ranges)))
    }

    fn inside(&self, id: u32) -> u32 {
        self.find(id, |[inside, outside, count]| [outside, inside, count]).unwrap_or(OVERFLOW)
    }

    fn outside(&self, id: u32) -> Option<u32> {
        // An id that this process's namespace lacks is of nobody.
        self.find(id, |range| range).filter(|id| *id != u32::MAX)
    }

    fn find(&self, id: u32, from_to: impl Fn([u32; 3]) -> [u32; 3]) -> Option<u32> {
        let Some(ranges) = &self.0 else { return Some(id) };
        ranges.iter().copied().map(from_to).find_map(|[from, to, count]| {
            let place = id.checked_sub(from).filter(|place| *place < count)?;
            to.checked_add(place)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_namespace() {
        let map = Map::parse("         0       1000          1\n 10 100000 5\n").expect("a map");
        assert_eq!([1000, 100_004, 100_005, 0].map(|id| map.inside(id)), [0, 14, 65534, 65534]);
        let outside = [0, 14, 15, 1000].map(|id| map.outside(id));
        assert_eq!(outside, [Some(1000), Some(100_004), None, None]);
        assert_eq!((Map::default().inside(7), Map::default().outside(7)), (7, Some(7)));
        assert!(Map::parse("0 0").is_none());
    }
}
