//! Names of the values that arguments of system calls have, where rules of
//! this project or of others ask for them.

use launcher_policy::wire::Architecture;

use super::super::constants;

/// What an argument of a call is one of, or has the bits of: names, or how
/// they begin, with a star.
struct Values {
    calls: &'static [&'static str],
    argument: usize,
    names: &'static [&'static str],
}

const VALUES: &[Values] = &[
    Values { calls: &["socket", "socketpair"], argument: 0, names: &["AF_*"] },
    Values {
        calls: &["socket", "socketpair"],
        argument: 1,
        names: &["SOCK_STREAM", "SOCK_DGRAM", "SOCK_RAW", "SOCK_RDM", "SOCK_SEQPACKET"],
    },
    Values { calls: &["socket", "socketpair"], argument: 2, names: &["IPPROTO_*"] },
    Values {
        calls: &["ioctl"],
        argument: 1,
        names: &["FIO*", "TIOC*", "TC*", "FS_IOC*", "EXT4_IOC*", "BTRFS_IOC*"],
    },
    Values {
        // Most names of this kind are of later arguments.
        calls: &["prctl"],
        argument: 0,
        names: &[
            "PR_SET_PDEATHSIG",
            "PR_GET_PDEATHSIG",
            "PR_SET_DUMPABLE",
            "PR_SET_NAME",
            "PR_SET_SECCOMP",
            "PR_CAPBSET_DROP",
            "PR_SET_SECUREBITS",
            "PR_SET_NO_NEW_PRIVS",
            "PR_SET_MM",
            "PR_SET_PTRACER",
            "PR_SET_CHILD_SUBREAPER",
            "PR_SET_THP_DISABLE",
            "PR_CAP_AMBIENT",
            "PR_SET_SPECULATION_CTRL",
        ],
    },
    Values { calls: &["clone", "unshare"], argument: 0, names: &["CLONE_*"] },
    Values {
        calls: &["memfd_create"],
        argument: 1,
        names: &["MFD_CLOEXEC", "MFD_ALLOW_SEALING", "MFD_HUGETLB", "MFD_NOEXEC_SEAL", "MFD_EXEC"],
    },
    Values {
        calls: &["mmap", "mmap2", "mprotect", "pkey_mprotect"],
        argument: 2,
        names: &["PROT_*"],
    },
    Values { calls: &["fcntl", "fcntl64"], argument: 1, names: &["F_*"] },
    Values { calls: &["sendto", "sendmmsg"], argument: 3, names: &["MSG_*"] },
    Values { calls: &["sendmsg"], argument: 2, names: &["MSG_*"] },
    Values { calls: &["setsockopt", "getsockopt"], argument: 1, names: &["SOL_*"] },
    Values {
        calls: &["setpriority"],
        argument: 0,
        names: &["PRIO_PROCESS", "PRIO_PGRP", "PRIO_USER"],
    },
];

impl Values {
    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == *pattern,
        })
    }
}

/// The name of a value that the argument of all these calls may have.
pub(super) fn name(
    architecture: Architecture,
    calls: &[&str],
    argument: usize,
    value: u32,
) -> Option<&'static str> {
    let values = values(calls, argument)?;
    let is = |name: &&str| constants::value(architecture, name) == Some(value.into());
    constants::names().filter(|name| values.has(name)).find(is)
}

/// The names of all bits of a mask, if every one has a name.
pub(super) fn bits(
    architecture: Architecture,
    calls: &[&str],
    argument: usize,
    mask: u32,
) -> Option<String> {
    let bits = (0..u32::BITS).map(|bit| 1 << bit).filter(|bit| mask & bit != 0);
    let names: Option<Vec<&str>> =
        bits.map(|bit| name(architecture, calls, argument, bit)).collect();
    names.map(|names| names.join("|"))
}

fn values(calls: &[&str], argument: usize) -> Option<&'static Values> {
    if calls.is_empty() {
        return None;
    }
    VALUES.iter().find(|each| {
        each.argument == argument && calls.iter().all(|call| each.calls.contains(call))
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::tables;
    use super::*;

    const X86: Architecture = Architecture::X86_64;

    #[test]
    fn a_value_has_its_name_only_where_it_means_that() {
        assert_eq!(name(X86, &["socket"], 0, 1), Some("AF_UNIX"));
        assert_eq!(name(X86, &["socket", "socketpair"], 0, 2), Some("AF_INET"));
        assert_eq!(name(X86, &["ioctl"], 1, 0x5412), Some("TIOCSTI"));
        assert_eq!(name(X86, &["socket", "read"], 0, 1), None);
        assert_eq!(name(X86, &["read"], 0, 1), None);
        assert_eq!(name(X86, &[], 0, 1), None);
        assert_eq!(name(X86, &["socket"], 0, 9999), None);
    }

    #[test]
    fn a_mask_is_its_bits_if_all_are_known() {
        let namespaces = bits(X86, &["clone"], 0, 0x1002_0000);
        assert_eq!(namespaces.as_deref(), Some("CLONE_NEWNS|CLONE_NEWUSER"));
        assert_eq!(bits(X86, &["memfd_create"], 1, 0x4000_0008), None);
        assert_eq!(bits(X86, &["read"], 0, 1), None);
    }

    #[test]
    fn calls_and_names_exist() {
        for values in VALUES {
            assert!(values.calls.iter().all(|call| tables::exists(call)), "{:?}", values.calls);
            for pattern in values.names {
                let one = Values { names: std::slice::from_ref(pattern), ..*values };
                assert!(constants::names().any(|name| one.has(name)), "{pattern}");
            }
        }
    }
}
