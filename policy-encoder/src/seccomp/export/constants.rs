//! Names of the values that arguments of system calls have.

use linux_raw_sys::{general, ioctl, net, prctl};

/// Names and their values.
macro_rules! named {
    ($($module:ident: $($name:ident)*;)*) => {
        &[$($((stringify!($name), $module::$name as u32),)*)*]
    };
}

/// What an argument of a call is one of.
struct Constants {
    calls: &'static [&'static str],
    argument: usize,
    values: &'static [(&'static str, u32)],
}

const CONSTANTS: &[Constants] = &[
    Constants {
        calls: &["socket", "socketpair"],
        argument: 0,
        values: named! {
            net: AF_UNSPEC AF_UNIX AF_INET AF_AX25 AF_IPX AF_APPLETALK AF_NETROM AF_BRIDGE
                AF_ATMPVC AF_X25 AF_INET6 AF_ROSE AF_NETBEUI AF_SECURITY AF_KEY AF_NETLINK
                AF_PACKET AF_ASH AF_ECONET AF_ATMSVC AF_RDS AF_IRDA AF_PPPOX AF_WANPIPE AF_LLC
                AF_CAN AF_TIPC AF_BLUETOOTH AF_IUCV AF_RXRPC AF_ISDN AF_PHONET
                AF_IEEE802154 AF_CAIF AF_ALG AF_NFC AF_VSOCK AF_KCM AF_QIPCRTR AF_SMC AF_XDP;
        },
    },
    Constants {
        calls: &["socket", "socketpair"],
        argument: 1,
        values: named! { net: SOCK_STREAM SOCK_DGRAM SOCK_RAW SOCK_RDM SOCK_SEQPACKET; },
    },
    Constants {
        calls: &["ioctl"],
        argument: 1,
        values: named! {
            ioctl: TIOCSTI TIOCLINUX TIOCGWINSZ TIOCSWINSZ TCGETS TCSETS TCSETSW TCSETSF TIOCSCTTY
                TIOCNOTTY TIOCGPGRP TIOCSPGRP FIONREAD FIONBIO FIOCLEX FIONCLEX FIOASYNC
                FS_IOC_SETFLAGS FS_IOC32_SETFLAGS FS_IOC_FSSETXATTR FS_IOC_SETVERSION
                FS_IOC32_SETVERSION EXT4_IOC_SETVERSION FS_IOC_ENABLE_VERITY
                FS_IOC_SET_ENCRYPTION_POLICY BTRFS_IOC_SUBVOL_SETFLAGS
                BTRFS_IOC_SET_RECEIVED_SUBVOL BTRFS_IOC_SUBVOL_CREATE BTRFS_IOC_SUBVOL_CREATE_V2
                BTRFS_IOC_SNAP_CREATE BTRFS_IOC_SNAP_CREATE_V2 BTRFS_IOC_SNAP_DESTROY
                BTRFS_IOC_SNAP_DESTROY_V2;
        },
    },
    Constants {
        calls: &["prctl"],
        argument: 0,
        values: named! {
            prctl: PR_SET_PDEATHSIG PR_GET_PDEATHSIG PR_SET_DUMPABLE PR_SET_NAME PR_SET_SECCOMP
                PR_CAPBSET_DROP PR_SET_SECUREBITS PR_SET_NO_NEW_PRIVS PR_SET_MM PR_SET_PTRACER
                PR_SET_CHILD_SUBREAPER PR_SET_THP_DISABLE PR_CAP_AMBIENT PR_SET_SPECULATION_CTRL;
        },
    },
    Constants {
        calls: &["setsockopt", "getsockopt"],
        argument: 1,
        values: named! { net: SOL_SOCKET SOL_TCP; },
    },
    Constants {
        calls: &["setpriority"],
        argument: 0,
        values: named! { general: PRIO_PROCESS PRIO_PGRP PRIO_USER; },
    },
];

/// The name of a value that the argument of all these calls may have.
pub(super) fn name(calls: &[&str], argument: usize, value: u32) -> Option<&'static str> {
    let constants = CONSTANTS.iter().find(|each| {
        each.argument == argument && calls.iter().all(|call| each.calls.contains(call))
    })?;
    if calls.is_empty() {
        return None;
    }
    constants.values.iter().find(|(_, known)| *known == value).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::super::super::tables;
    use super::*;

    #[test]
    fn a_value_has_its_name_only_where_it_means_that() {
        assert_eq!(name(&["socket"], 0, 1), Some("AF_UNIX"));
        assert_eq!(name(&["socket", "socketpair"], 0, 2), Some("AF_INET"));
        assert_eq!(name(&["ioctl"], 1, 0x5412), Some("TIOCSTI"));
        assert_eq!(name(&["socket", "read"], 0, 1), None);
        assert_eq!(name(&["read"], 0, 1), None);
        assert_eq!(name(&[], 0, 1), None);
        assert_eq!(name(&["socket"], 0, 9999), None);
    }

    #[test]
    fn the_calls_exist() {
        for call in CONSTANTS.iter().flat_map(|each| each.calls) {
            assert!(tables::exists(call), "{call}");
        }
    }
}
