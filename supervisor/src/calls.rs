//! The calls that are decided about.

use crate::Firmness;

/// The calls that a supervisor decides about, and how firmly. Every other call
/// that it is asked about fails with ENOSYS.
pub const SUPERVISED: [(&str, Firmness); 55] = [
    ("open", Firmness::Firm),
    ("openat", Firmness::Firm),
    ("creat", Firmness::Firm),
    ("unlink", Firmness::Firm),
    ("unlinkat", Firmness::Firm),
    ("rmdir", Firmness::Firm),
    ("rename", Firmness::Firm),
    ("renameat", Firmness::Firm),
    ("renameat2", Firmness::Firm),
    ("link", Firmness::Firm),
    ("linkat", Firmness::Firm),
    ("symlink", Firmness::Firm),
    ("symlinkat", Firmness::Firm),
    ("mkdir", Firmness::Firm),
    ("mkdirat", Firmness::Firm),
    ("mknod", Firmness::Firm),
    ("mknodat", Firmness::Firm),
    ("chmod", Firmness::Firm),
    ("fchmodat", Firmness::Firm),
    ("fchmodat2", Firmness::Firm),
    ("chown", Firmness::Firm),
    ("lchown", Firmness::Firm),
    ("fchownat", Firmness::Firm),
    ("utime", Firmness::Firm),
    ("utimes", Firmness::Firm),
    ("futimesat", Firmness::Firm),
    ("utimensat", Firmness::Firm),
    ("setxattr", Firmness::Firm),
    ("lsetxattr", Firmness::Firm),
    ("removexattr", Firmness::Firm),
    ("lremovexattr", Firmness::Firm),
    ("truncate", Firmness::Firm),
    ("stat", Firmness::Firm),
    ("lstat", Firmness::Firm),
    ("newfstatat", Firmness::Firm),
    ("statx", Firmness::Firm),
    ("access", Firmness::Firm),
    ("faccessat", Firmness::Firm),
    ("faccessat2", Firmness::Firm),
    ("readlink", Firmness::Firm),
    ("readlinkat", Firmness::Firm),
    ("connect", Firmness::Firm),
    ("bind", Firmness::Firm),
    ("sendto", Firmness::Firm),
    ("sendmsg", Firmness::Firm),
    ("sendmmsg", Firmness::Firm),
    ("execve", Firmness::BestEffort),
    ("execveat", Firmness::BestEffort),
    ("mmap", Firmness::Observed),
    ("mremap", Firmness::Observed),
    ("brk", Firmness::Observed),
    ("clone", Firmness::Observed),
    ("clone3", Firmness::Observed),
    ("fork", Firmness::Observed),
    ("vfork", Firmness::Observed),
];

/// The name of a call, if it is decided about.
pub(crate) fn known(name: &str) -> Option<&'static str> {
    // That of one table is the other's.
    let name = if name == "fstatat" { "newfstatat" } else { name };
    SUPERVISED.iter().map(|(call, _)| *call).find(|call| *call == name)
}

/// What a verdict about a call is worth.
pub(crate) fn firmness(name: &str) -> Firmness {
    let found = SUPERVISED.iter().find(|(call, _)| *call == name);
    found.map_or(Firmness::Observed, |(_, firmness)| *firmness)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_says_what_a_verdict_is_worth() {
        let text = include_str!("../../docs/supervisor.md");
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
        let said: Vec<(&str, &str)> = rows
            .filter_map(|row| row.split_once("` | "))
            .filter_map(|(call, rest)| Some((call, rest.split_once(" |")?.0)))
            .collect();
        let word = |firmness| match firmness {
            Firmness::Firm => "firm",
            Firmness::BestEffort => "best effort",
            Firmness::Observed => "observed",
        };
        assert_eq!(said, SUPERVISED.map(|(call, firmness)| (call, word(firmness))));
    }
}
