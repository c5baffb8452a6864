//! Whether a policy can be honoured, and on which rung: what the launcher will
//! do, by the same bytes.

use std::fmt;

use launcher_policy::Policy;
use launcher_policy::enforce::{Facility, Keeper, Mode};
use launcher_policy::mounts::Source;
use launcher_policy::namespaces::{IdMap, Loopback};
use linux_raw_sys::general as uapi;
use linux_raw_sys::landlock::LANDLOCK_ACCESS_FS_REFER;

use super::facts::{Error, Facts};

/// The kinds of namespaces, and what the probe calls them.
const KINDS: [(u32, &str); 8] = [
    (uapi::CLONE_NEWUSER, "newuser"),
    (uapi::CLONE_NEWNS, "newns"),
    (uapi::CLONE_NEWPID, "newpid"),
    (uapi::CLONE_NEWNET, "newnet"),
    (uapi::CLONE_NEWIPC, "newipc"),
    (uapi::CLONE_NEWUTS, "newuts"),
    (uapi::CLONE_NEWCGROUP, "newcgroup"),
    (uapi::CLONE_NEWTIME, "newtime"),
];

/// Errors after which the launcher goes on without namespaces.
const CLOSED: [&str; 5] = ["EPERM", "EACCES", "ENOSPC", "EUSERS", "EINVAL"];

/// Errors of the maps after which it does so, too.
const UNMAPPED: [&str; 4] = ["EPERM", "EACCES", "EROFS", "ENOENT"];

/// What a host allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rung {
    Namespaces,
    Landlock,
    Seccomp,
}

/// What a launch comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Honoured {
    pub(crate) rung: Rung,
    /// What is offered and not there, by the words of the status.
    pub(crate) missing: Vec<&'static str>,
}

/// Why there is no launch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) why: String,
    /// What the probe calls that which would have to be given.
    pub(crate) lacks: Option<&'static str>,
}

/// What becomes of a policy's namespaces.
enum Namespaces<'f> {
    /// They are made, as far as it is known.
    Made,
    /// They cannot be made, or nothing mounted in them, and the launch goes on
    /// without.
    Closed(&'static str, Option<&'f Error>),
    /// They can be made, and are of no use.
    Useless(&'static str, &'f Error),
}

/// Judges by a rung alone.
pub(crate) fn on_rung(policy: &Policy<'_>, rung: Rung, abi: u32) -> Result<Honoured, Refused> {
    let namespaces = match rung {
        Rung::Namespaces => Namespaces::Made,
        Rung::Landlock | Rung::Seccomp => Namespaces::Closed("newuser", None),
    };
    judge(policy, &namespaces, if rung == Rung::Seccomp { 0 } else { abi })
}

/// Judges by what a host gives.
pub(crate) fn on_host(policy: &Policy<'_>, facts: &Facts) -> Result<Honoured, Refused> {
    if policy.seccomp.is_some()
        && let Some(error) = facts.error("filter")
    {
        let why = format!("the policy has a seccomp filter, which is refused here: {error}");
        return Err(Refused { why, lacks: Some("filter") });
    }
    let mut honoured = judge(policy, &namespaces(policy, facts), facts.landlock_abi)?;
    let uses_landlock = policy.landlock.is_some() && facts.landlock_abi > 0;
    if uses_landlock && moves(policy) && !is_safe_to_move(policy, facts, honoured.rung) {
        honoured.missing.push(Facility::Refer.name());
    }
    if uses_landlock && let Some(error) = facts.error("landlock") {
        let why = format!("the kernel has Landlock, and refuses one more layer of it: {error}");
        return Err(Refused { why, lacks: Some("landlock") });
    }
    if honoured.rung == Rung::Namespaces {
        facilities(policy, facts, &mut honoured.missing)?;
    }
    Ok(honoured)
}

fn judge(policy: &Policy<'_>, namespaces: &Namespaces<'_>, abi: u32) -> Result<Honoured, Refused> {
    let enforce = &policy.enforce;
    let mut missing = Vec::new();
    if policy.landlock.is_some() && abi == 0 {
        if enforce.landlock == Mode::Require {
            let why = "the policy requires Landlock, and there is none".to_owned();
            return Err(Refused { why, lacks: Some("landlock") });
        }
        missing.push("landlock");
    }
    let wanted = policy.namespaces.map_or(0, |namespaces| namespaces.flags) != 0;
    let (made, lacks) = match *namespaces {
        _ if !wanted => (policy.namespaces.is_some(), None),
        Namespaces::Made => (true, None),
        Namespaces::Closed(lacks, error) => {
            if enforce.namespaces == Mode::Require || has_ranges(policy) {
                let error = error.map_or_else(String::new, |error| format!(": {lacks}: {error}"));
                let why = format!("the policy requires namespaces, which cannot be made{error}");
                return Err(Refused { why, lacks: Some(lacks) });
            }
            missing.insert(0, "namespaces");
            (false, Some(lacks))
        }
        Namespaces::Useless(lacks, error) => {
            let why = format!(
                "namespaces can be made, but nothing can be done in them: {lacks}: {error}"
            );
            return Err(Refused { why, lacks: Some(lacks) });
        }
    };
    // Of those that nothing keeps, the launcher names the first that namespaces
    // would not keep either: it has not tried them yet.
    let wants = policy.namespaces.is_some();
    let lost = enforce.lost(wants, abi).map(|lost| (lost, wants));
    if let Some((lost, made)) = lost.or_else(|| Some((enforce.lost(made, abi)?, made))) {
        let name = lost.guarantee.name();
        let (why, lacks) = match lost.keeper(made) {
            Keeper::Nothing(why) => (String::from_utf8_lossy(why.to_bytes()).into_owned(), lacks),
            Keeper::Landlock(needed) => {
                let why = format!("it takes Landlock ABI {needed}, and there is {abi}");
                // Namespaces would keep it, too.
                (why, lacks.or(Some("landlock")))
            }
            Keeper::Namespaces | Keeper::Seccomp => ("its keeper is missing".to_owned(), lacks),
        };
        let where_ = if wanted && !made { " without namespaces" } else { "" };
        return Err(Refused { why: format!("nothing keeps {name:?}{where_}: {why}"), lacks });
    }
    let flags = policy.namespaces.filter(|_| made).map_or(0, |namespaces| namespaces.flags);
    let lacking = enforce.offers.iter().filter(|offer| offer.needs & !flags != 0);
    missing.extend(lacking.map(|offer| offer.facility.name()));
    let rung = match (wanted && made, policy.landlock.is_some() && abi > 0) {
        (true, _) => Rung::Namespaces,
        (false, true) => Rung::Landlock,
        (false, false) => Rung::Seccomp,
    };
    Ok(Honoured { rung, missing })
}

/// Whether the policy lets files be moved to other directories.
fn moves(policy: &Policy<'_>) -> bool {
    let mut mounts = policy.mounts.iter().flat_map(|mounts| mounts.mounts.iter());
    mounts.any(|mount| mount.access & LANDLOCK_ACCESS_FS_REFER != 0)
}

/// Whether the launcher grants that here: Landlock knows it since ABI 2, and
/// without mounts it must not have erratum 3.
fn is_safe_to_move(policy: &Policy<'_>, facts: &Facts, rung: Rung) -> bool {
    let flags = policy.namespaces.map_or(0, |namespaces| namespaces.flags);
    let has_mounts = rung == Rung::Namespaces && flags & uapi::CLONE_NEWNS != 0;
    facts.landlock_abi >= 2 && (has_mounts || facts.landlock_errata & 1 << 2 != 0)
}

/// Whether id maps are written from outside, which nothing replaces.
fn has_ranges(policy: &Policy<'_>) -> bool {
    policy.namespaces.is_some_and(|all| {
        matches!(all.uid_map, IdMap::Ranges(_)) || matches!(all.gid_map, IdMap::Ranges(_))
    })
}

fn namespaces<'f>(policy: &Policy<'_>, facts: &'f Facts) -> Namespaces<'f> {
    let flags = policy.namespaces.map_or(0, |namespaces| namespaces.flags);
    let has_user = flags & uapi::CLONE_NEWUSER != 0;
    let kinds = KINDS.iter().filter(|(flag, _)| flags & flag != 0).map(|&(_, tried)| tried);
    let alone = (flags != 0 && !has_user).then_some("without_user");
    let refused = match has_user {
        true => facts.first_error(kinds),
        false => facts.first_error(alone),
    };
    match refused {
        Some((tried, error)) if error.is_one_of(&CLOSED) => {
            return Namespaces::Closed(tried, Some(error));
        }
        Some((tried, error)) => return Namespaces::Useless(tried, error),
        None => {}
    }
    let maps = has_user.then_some("maps");
    let mounts = if flags & uapi::CLONE_NEWNS != 0 { &["private", "tmpfs"][..] } else { &[] };
    match facts.first_error(maps.into_iter().chain(mounts.iter().copied())) {
        // Inside another sandbox, or where AppArmor takes the capabilities.
        Some((tried @ "maps", error)) if error.is_one_of(&UNMAPPED) => {
            Namespaces::Closed(tried, Some(error))
        }
        Some((tried @ "private", error)) if error.is_one_of(&["EPERM", "EACCES"]) => {
            Namespaces::Closed(tried, Some(error))
        }
        Some((tried, error)) => Namespaces::Useless(tried, error),
        None => Namespaces::Made,
    }
}

/// What of the view is not given: a facility, unless the policy requires it.
fn facilities(
    policy: &Policy<'_>,
    facts: &Facts,
    missing: &mut Vec<&'static str>,
) -> Result<(), Refused> {
    let is_required = policy.enforce.namespaces == Mode::Require;
    let mounts = policy.mounts.iter().flat_map(|mounts| mounts.mounts.iter());
    for mount in mounts {
        let (tried, facility) = match mount.source {
            Source::Proc => ("proc", Some("proc")),
            Source::Devpts => ("devpts", Some("pts")),
            Source::Overlay { .. } => ("overlay", None),
            _ => continue,
        };
        let Some(error) = facts.error(tried) else { continue };
        match facility.filter(|_| error.is_one_of(&["EPERM"]) && !is_required) {
            Some(facility) => missing.push(facility),
            None => {
                let why =
                    format!("the policy mounts what this host does not give: {tried}: {error}");
                return Err(Refused { why, lacks: Some(tried) });
            }
        }
    }
    let has_loopback = policy.namespaces.is_some_and(|namespaces| {
        namespaces.flags & uapi::CLONE_NEWNET != 0 && namespaces.loopback == Loopback::Up
    });
    match facts.error("loopback").filter(|_| has_loopback) {
        Some(error) if policy.proxy.is_some() => {
            let why = format!(
                "the proxy is found on a loopback interface, which this host does not give: {error}"
            );
            Err(Refused { why, lacks: Some("loopback") })
        }
        Some(_) => {
            missing.push("loopback");
            Ok(())
        }
        None => Ok(()),
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Namespaces => "namespaces",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::host;
    use super::*;
    use launcher_policy::wire;
    use policy_encoder::{Architecture, Place, encode, parse};

    /// What Landlock and seccomp can keep alone.
    const EXPRESSIBLE: &str = "filesystem = { read = ['/usr'], tmp = 'none', proc = false, \
                               dev = 'none' }\nnetwork.unix = 'host'\n\
                               enforce.waive = ['execute']\n";

    fn encoded(text: &str) -> Vec<u8> {
        let (document, mut diagnostics) = parse::toml(text);
        let place = Place { sysroot: "/".into(), directory: "/usr".into(), variables: [].into() };
        encode(&document, &place, Architecture::NATIVE, &mut diagnostics)
            .unwrap_or_else(|| panic!("{diagnostics:?}"))
    }

    fn judged(text: &str, facts: &Facts) -> Result<Honoured, Refused> {
        on_host(&wire::decode(&encoded(text)).expect("it decodes"), facts)
    }

    fn predicted(text: &str, rung: Rung, abi: u32) -> Result<Rung, String> {
        let bytes = encoded(text);
        let policy = wire::decode(&bytes).expect("it decodes");
        on_rung(&policy, rung, abi).map(|honoured| honoured.rung).map_err(|refused| refused.why)
    }

    fn honoured(rung: Rung, missing: &[&'static str]) -> Result<Honoured, Refused> {
        Ok(Honoured { rung, missing: missing.to_vec() })
    }

    #[test]
    fn a_host_that_gives_everything_honours_every_policy() {
        assert_eq!(judged("", &host(7, &[])), honoured(Rung::Namespaces, &[]));
        let off = format!("{EXPRESSIBLE}enforce.namespaces = 'off'");
        assert_eq!(judged(&off, &host(7, &[])), honoured(Rung::Landlock, &[]));
    }

    #[test]
    fn without_user_namespaces_landlock_keeps_what_it_can() {
        let closed = host(7, &[("newuser", "EPERM")]);
        assert_eq!(judged(EXPRESSIBLE, &closed), honoured(Rung::Landlock, &["namespaces"]));
        let refused = judged("", &closed).expect_err("unix sockets inside");
        assert!(refused.why.contains("\"unix-path\" without namespaces"), "{refused:?}");
        assert_eq!(refused.lacks, Some("newuser"));
        let required = format!("{EXPRESSIBLE}enforce.namespaces = 'require'");
        let refused = judged(&required, &closed).expect_err("it is required");
        assert!(refused.why.contains("newuser: EPERM"), "{refused:?}");
    }

    #[test]
    fn namespaces_in_which_nothing_can_be_done_are_a_refusal() {
        for (lacks, error) in [("maps", "EIO"), ("private", "EINVAL"), ("tmpfs", "EPERM")] {
            let refused = judged(EXPRESSIBLE, &host(7, &[(lacks, error)])).expect_err(lacks);
            assert_eq!(refused.lacks, Some(lacks));
        }
    }

    #[test]
    fn where_no_id_can_be_mapped_landlock_keeps_what_it_can() {
        for error in ["EPERM", "EACCES", "EROFS", "ENOENT"] {
            let host = host(7, &[("maps", error)]);
            assert_eq!(judged(EXPRESSIBLE, &host), honoured(Rung::Landlock, &["namespaces"]));
        }
    }

    #[test]
    fn where_nothing_can_be_mounted_landlock_keeps_what_it_can() {
        let confined = host(7, &[("private", "EACCES")]);
        assert_eq!(judged(EXPRESSIBLE, &confined), honoured(Rung::Landlock, &["namespaces"]));
        let nested = host(7, &[("private", "EPERM")]);
        assert_eq!(judged(EXPRESSIBLE, &nested), honoured(Rung::Landlock, &["namespaces"]));
        let hostname = format!("{EXPRESSIBLE}network.access = 'loopback'");
        let missing = ["namespaces", "loopback"];
        assert_eq!(judged(&hostname, &nested), honoured(Rung::Landlock, &missing));
        assert_eq!(judged("", &nested).expect_err("unix sockets inside").lacks, Some("private"));
    }

    #[test]
    fn a_proxy_takes_a_network_namespace_with_a_loopback_interface() {
        let proxied = format!("{EXPRESSIBLE}network = {{ access = 'proxy', allow = ['a'] }}");
        let proxied = proxied.replace("network.unix = 'host'", "");
        assert_eq!(judged(&proxied, &host(7, &[])), honoured(Rung::Namespaces, &[]));
        let down = judged(&proxied, &host(7, &[("loopback", "EPERM")])).expect_err("no proxy");
        assert_eq!(down.lacks, Some("loopback"));
        let closed = judged(&proxied, &host(7, &[("newuser", "EPERM")])).expect_err("no namespace");
        assert_eq!(closed.lacks, Some("newuser"));
    }

    #[test]
    fn moves_between_directories_are_a_facility() {
        let writes = EXPRESSIBLE.replace("read", "write");
        let closed = host(7, &[("newuser", "EPERM")]);
        let missing = ["namespaces", "refer"];
        assert_eq!(judged(&writes, &closed), honoured(Rung::Landlock, &missing));
        assert_eq!(judged(&writes, &host(7, &[])), honoured(Rung::Namespaces, &[]));
        assert_eq!(judged(&writes, &host(1, &[])), honoured(Rung::Namespaces, &["refer"]));
    }

    #[test]
    fn a_masked_proc_is_a_missing_facility_unless_namespaces_are_required() {
        let masked = host(7, &[("proc", "EPERM")]);
        assert_eq!(judged("", &masked), honoured(Rung::Namespaces, &["proc"]));
        assert!(judged("enforce.namespaces = 'require'", &masked).is_err());
    }

    #[test]
    fn an_old_landlock_is_named_with_the_one_that_is_needed() {
        let why = predicted(EXPRESSIBLE, Rung::Landlock, 2).expect_err("ABI 2 is not enough");
        assert!(why.contains("it takes Landlock ABI 3, and there is 2"), "{why}");
        assert_eq!(predicted(EXPRESSIBLE, Rung::Landlock, 6), Ok(Rung::Landlock));
        assert_eq!(predicted("", Rung::Namespaces, 0), Ok(Rung::Namespaces));
        assert!(predicted(EXPRESSIBLE, Rung::Seccomp, 7).is_err());
    }

    #[test]
    fn a_filter_that_is_refused_is_a_refusal() {
        let refused = judged("", &host(7, &[("filter", "EPERM")])).expect_err("no filter");
        assert_eq!(refused.lacks, Some("filter"));
    }
}
