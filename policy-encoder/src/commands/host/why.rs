//! Why a host does not give something, and what can be done about it.

use std::fs;
use std::path::Path;

use super::facts::{Error, Facts};

/// What the kernel says besides: sysctls, security modules.
pub(crate) struct Host<'h> {
    facts: &'h Facts,
    root: &'h Path,
}

/// A reason and a remedy, a sentence each.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Why {
    pub(crate) reason: String,
    pub(crate) remedy: &'static str,
}

const PROFILE: &str = "load an AppArmor profile for the launcher: encode-policy host --apparmor";
const ENABLE: &str = "as root: sysctl -w kernel.unprivileged_userns_clone=1";
const RAISE: &str =
    "as root, in the outermost user namespace that has such a limit: raise that sysctl";
const CONTAINER: &str =
    "start the container with a seccomp profile that allows it, or let the policy do without";
const NESTED: &str =
    "launch outside of the sandbox, or let the policy do without: enforce.namespaces = \"off\"";
const PRIVILEGE: &str =
    "call the launcher with CAP_SYS_ADMIN, or let the policy make a user namespace";
const MASKED: &str =
    "unmask /proc in the container, or let the policy do without: filesystem.proc = false";
const KERNEL: &str = "boot a kernel that has it";
const BOOT: &str = "boot with landlock in the list of lsm=";
const LAYERS: &str = "launch outside of some of the sandboxes around this one";

impl<'h> Host<'h> {
    /// This host.
    pub(crate) fn here(facts: &'h Facts) -> Self {
        Self { facts, root: Path::new("/") }
    }

    /// Why something that was tried is not given.
    pub(crate) fn why(&self, tried: &str) -> Option<Why> {
        if tried == "landlock" && self.facts.landlock_abi == 0 {
            return Some(self.no_landlock());
        }
        self.facts.error(tried).map(|error| self.why_of(tried, error))
    }

    fn why_of(&self, tried: &str, error: &Error) -> Why {
        let why = |reason: &str, remedy| Why { reason: reason.to_owned(), remedy };
        let is_closed = error.is_one_of(&["EPERM", "EACCES"]);
        match tried {
            _ if error.is_one_of(&["ENOSPC", "EUSERS"]) => Why {
                reason: self.limit(tried).unwrap_or_else(|| {
                    "a limit user.max_*_namespaces of this or an outer user namespace".to_owned()
                }),
                remedy: RAISE,
            },
            "maps" | "private" | "newuser" | "tmpfs" if is_closed && self.is_restricted() => why(
                "kernel.apparmor_restrict_unprivileged_userns is 1: user namespaces take an AppArmor profile",
                PROFILE,
            ),
            "newuser" | "together"
                if is_closed && self.sysctl("kernel/unprivileged_userns_clone") == Some(0) =>
            {
                why("kernel.unprivileged_userns_clone is 0", ENABLE)
            }
            "maps" => why(
                "ids cannot be mapped: inside a sandbox, or as root without CAP_SETFCAP",
                NESTED,
            ),
            "private" | "tmpfs" if is_closed => why(
                "a security module forbids to mount: this is a Landlock domain already, for instance",
                NESTED,
            ),
            "proc" if is_closed => {
                why("what shows here as /proc is not whole, as in a container", MASKED)
            }
            "without_user" if is_closed && self.facts.seccomp_mode == 0 => {
                why("making namespaces alone takes CAP_SYS_ADMIN", PRIVILEGE)
            }
            "landlock" if error.is_one_of(&["E2BIG"]) => {
                why("there are sixteen layers of Landlock already", LAYERS)
            }
            "listener" if error.is_one_of(&["EBUSY"]) => {
                why("an outer filter has a listener already, and there is only one", LAYERS)
            }
            _ if self.facts.seccomp_mode != 0 && (is_closed || error.is_one_of(&["ENOSYS"])) => {
                why("an outer seccomp filter forbids it, as in a container", CONTAINER)
            }
            _ if error.is_one_of(&["ENOSYS", "EINVAL", "ENODEV", "EOPNOTSUPP"]) => {
                why("this kernel lacks it", KERNEL)
            }
            _ => why("a security module, a chroot or a limit of this host refuses it", NESTED),
        }
    }

    fn no_landlock(&self) -> Why {
        let list = fs::read_to_string(self.root.join("sys/kernel/security/lsm"));
        let is_off =
            self.facts.error("landlock").is_some_and(|error| error.is_one_of(&["EOPNOTSUPP"]));
        match list {
            Ok(list) if !list.trim().split(',').any(|each| each == "landlock") => Why {
                reason: format!("Landlock is not among the security modules: {}", list.trim()),
                remedy: BOOT,
            },
            _ if is_off => {
                Why { reason: "this kernel has Landlock, and it is off".to_owned(), remedy: BOOT }
            }
            _ if self.facts.seccomp_mode != 0 => Why {
                reason: "this kernel lacks Landlock, or an outer seccomp filter forbids it"
                    .to_owned(),
                remedy: CONTAINER,
            },
            _ => {
                Why { reason: "this kernel lacks Landlock (Linux 5.13)".to_owned(), remedy: KERNEL }
            }
        }
    }

    fn is_restricted(&self) -> bool {
        self.sysctl("kernel/apparmor_restrict_unprivileged_userns") == Some(1)
    }

    /// The limit of this user namespace that is 0.
    fn limit(&self, tried: &str) -> Option<String> {
        let kinds = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"];
        let own = match tried {
            "newns" => "mnt",
            tried => tried.strip_prefix("new").unwrap_or("user"),
        };
        let is_zero = |kind: &&str| self.sysctl(&format!("user/max_{kind}_namespaces")) == Some(0);
        let kind = ["user", own].into_iter().chain(kinds).find(is_zero)?;
        Some(format!("user.max_{kind}_namespaces is 0"))
    }

    fn sysctl(&self, name: &str) -> Option<u64> {
        let text = fs::read_to_string(self.root.join("proc/sys").join(name)).ok()?;
        text.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::host;
    use super::*;

    /// A root with these files, which goes away with it.
    struct Root(std::path::PathBuf);

    impl Root {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root =
                Self(std::env::temp_dir().join(format!("why-{}-{name}", std::process::id())));
            for (path, content) in files {
                let path = root.0.join(path);
                fs::create_dir_all(path.parent().expect("a directory")).expect("it is made");
                fs::write(path, content).expect("it is written");
            }
            root
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn why(root: &Root, facts: &Facts, tried: &str) -> Why {
        Host { facts, root: &root.0 }.why(tried).expect("it is not given")
    }

    #[test]
    fn what_is_given_needs_no_reason() {
        assert_eq!(Host::here(&host(7, &[])).why("newuser"), None);
    }

    #[test]
    fn apparmor_is_named_where_it_restricts_user_namespaces() {
        let root = Root::new(
            "apparmor",
            &[("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n")],
        );
        for tried in ["newuser", "maps", "private"] {
            let why = why(&root, &host(7, &[(tried, "EPERM")]), tried);
            assert_eq!(why.remedy, PROFILE, "{tried}");
        }
    }

    #[test]
    fn the_sysctl_that_closes_user_namespaces_is_named() {
        let root = Root::new("clone", &[("proc/sys/kernel/unprivileged_userns_clone", "0\n")]);
        let facts = host(7, &[("newuser", "EPERM")]);
        assert_eq!(why(&root, &facts, "newuser").reason, "kernel.unprivileged_userns_clone is 0");
    }

    #[test]
    fn the_limit_that_is_zero_is_named() {
        let root = Root::new("limit", &[("proc/sys/user/max_net_namespaces", "0\n")]);
        let facts = host(7, &[("newnet", "ENOSPC")]);
        assert_eq!(why(&root, &facts, "newnet").reason, "user.max_net_namespaces is 0");
        let root = Root::new("mount", &[("proc/sys/user/max_mnt_namespaces", "0\n")]);
        let facts = host(7, &[("newns", "ENOSPC")]);
        assert_eq!(why(&root, &facts, "newns").reason, "user.max_mnt_namespaces is 0");
    }

    #[test]
    fn a_landlock_that_is_not_on_the_list_is_told_from_one_that_is_not_built() {
        let root = Root::new("lsm", &[("sys/kernel/security/lsm", "capability,yama\n")]);
        let facts = host(0, &[("landlock", "EOPNOTSUPP")]);
        assert_eq!(why(&root, &facts, "landlock").remedy, BOOT);
        let root = Root::new("nothing", &[]);
        let facts = host(0, &[("landlock", "ENOSYS")]);
        assert_eq!(why(&root, &facts, "landlock").remedy, KERNEL);
    }

    #[test]
    fn the_seventeenth_layer_and_a_second_listener_are_told_from_a_lack() {
        let root = Root::new("layers", &[]);
        for (tried, error) in [("landlock", "E2BIG"), ("listener", "EBUSY")] {
            assert_eq!(why(&root, &host(7, &[(tried, error)]), tried).remedy, LAYERS);
        }
    }
}
