//! The checks that types alone do not make.
//!
//! Decoding has made sure of every type; here lists are walked and values
//! compared with what this version gives a meaning.

use linux_raw_sys::general as uapi;

use crate::exec::Cwd;
use crate::mounts::{MOUNT_ATTRIBUTES, Mount, Node, Root, Source};
use crate::namespaces::{IdMap, MAX_HOST_NAME, MAX_ID_RANGES, MAX_LISTENERS, NAMESPACE_FLAGS};
use crate::{
    Path, Policy, Refusal, exec, fds, landlock, limits, mounts, namespaces, proxy, seccomp, session,
};

type Checked = Result<(), Refusal>;

/// Refuses a policy of which a value that a launch uses has no meaning.
pub(crate) fn used(policy: &Policy<'_>) -> Checked {
    policy.enforce.guarantees.check::<Refusal>(|_| Ok(()))?;
    policy.enforce.offers.check::<Refusal>(|offer| {
        require(offer.needs & !NAMESPACE_FLAGS == 0, Refusal::NamespaceFlags)
    })?;
    fds(&policy.fds)?;
    policy.namespaces.as_ref().map_or(Ok(()), namespaces)?;
    policy.mounts.as_ref().map_or(Ok(()), mounts)?;
    limits(&policy.limits)?;
    session(&policy.session)?;
    policy.landlock.as_ref().map_or(Ok(()), landlock)?;
    policy.seccomp.as_ref().map_or(Ok(()), seccomp)?;
    exec(&policy.exec)?;
    let listens = policy.namespaces.is_some_and(|namespaces| !namespaces.listeners.is_empty());
    require(listens == policy.proxy.is_some(), Refusal::Listeners)
}

/// Refuses a policy of which another value has none.
pub(crate) fn unused(policy: &Policy<'_>) -> Checked {
    policy.proxy.as_ref().map_or(Ok(()), proxy)?;
    policy.origin.globs.check(|_| Ok(()))
}

/// `Err` with these words unless the fact holds.
fn require(fact: bool, otherwise: Refusal) -> Checked {
    if fact { Ok(()) } else { Err(otherwise) }
}

fn path(path: Path<'_>) -> Checked {
    require(path.is_normal(), Refusal::Path)
}

fn fd(number: u32) -> Checked {
    require((3..=fds::MAX_FD).contains(&number), Refusal::Descriptor)
}

fn fds(fds: &fds::Fds<'_>) -> Checked {
    fds.keep.check(|keep| fd(keep.fd))
}

fn namespaces(namespaces: &namespaces::Namespaces<'_>) -> Checked {
    require(namespaces.flags & !NAMESPACE_FLAGS == 0, Refusal::NamespaceFlags)?;
    id_map(&namespaces.uid_map)?;
    id_map(&namespaces.gid_map)?;
    let length = namespaces.host_name.map_or(1, |name| name.to_bytes().len());
    require((1..=MAX_HOST_NAME).contains(&length), Refusal::HostName)?;
    let mut count = 0;
    namespaces.listeners.check::<Refusal>(|listener| {
        count += 1;
        require(listener.port != 0, Refusal::Listeners)
    })?;
    let has_place = count == 0 || namespaces.flags & uapi::CLONE_NEWNET != 0;
    require(has_place && count <= MAX_LISTENERS, Refusal::Listeners)
}

fn id_map(map: &IdMap<'_>) -> Checked {
    let IdMap::Ranges(ranges) = map else {
        return Ok(());
    };
    let mut count = 0;
    ranges.check::<Refusal>(|range| {
        count += 1;
        let last = |first: u32| first.checked_add(range.count).is_some();
        require(range.count > 0 && last(range.inside) && last(range.outside), Refusal::IdRange)
    })?;
    require((1..=MAX_ID_RANGES).contains(&count), Refusal::IdRanges)
}

fn mounts(mounts: &mounts::Mounts<'_>) -> Checked {
    match mounts.root {
        Root::Skeleton => {}
        Root::Host { access } => rights(access)?,
        Root::Tree { path: tree, access } => {
            path(tree)?;
            rights(access)?;
        }
    }
    require(mounts.skeleton_size > 0, Refusal::SkeletonSize)?;
    mounts.skeleton.check(node)?;
    let mut count = 0;
    mounts.mounts.check::<Refusal>(|each| {
        count += 1;
        mount(each)
    })?;
    require(count <= mounts::MAX_MOUNTS, Refusal::MountCount)?;
    mounts.rules.check(rule)?;
    mounts.carved.check(carved)
}

fn carved(carved: mounts::Carved<'_>) -> Checked {
    path(carved.path)?;
    rights(carved.shared | carved.access)?;
    carved.except.check(|_| Ok(()))
}

fn rule(rule: mounts::Rule<'_>) -> Checked {
    path(rule.path)?;
    rights(rule.access)
}

fn node(node: Node<'_>) -> Checked {
    let mode = match node.kind {
        mounts::NodeKind::Directory { mode } | mounts::NodeKind::File { mode, .. } => mode,
        mounts::NodeKind::Symlink { content } => {
            require(!content.to_bytes().is_empty(), Refusal::EmptySymlink)?;
            0
        }
    };
    permissions(mode)?;
    path(node.path)?;
    require(node.path != Path::ROOT, Refusal::MakesRoot)
}

fn permissions(mode: u16) -> Checked {
    require(mode & !0o1777 == 0, Refusal::Permissions)
}

fn mount(mount: Mount<'_>) -> Checked {
    path(mount.target)?;
    require(mount.target != Path::ROOT, Refusal::MountsOnRoot)?;
    require(mount.attributes & !MOUNT_ATTRIBUTES == 0, Refusal::MountAttributes)?;
    rights(mount.access)?;
    match mount.source {
        Source::Host { path: source, .. } => path(source),
        Source::Fd { fd: number } => fd(number),
        Source::Tmpfs { size, mode } => {
            require(size > 0, Refusal::TmpfsSize)?;
            permissions(mode)
        }
        Source::Overlay { lower, upper, work } => {
            path(lower)?;
            path(upper)?;
            path(work)
        }
        Source::Skeleton | Source::Proc | Source::Devpts => Ok(()),
    }
}

fn rights(access: u32) -> Checked {
    require(access & !landlock::ACCESS_FS == 0, Refusal::LandlockRights)
}

fn limits(limits: &limits::Limits<'_>) -> Checked {
    limits.rlimits.check::<Refusal>(|rlimit| {
        require(rlimit.resource < limits::RLIMITS, Refusal::Resource)?;
        require(rlimit.soft <= rlimit.hard, Refusal::SoftAboveHard)
    })?;
    require(limits.memory != Some(0), Refusal::LimitOfZero)?;
    require(limits.processes != Some(0), Refusal::LimitOfZero)?;
    require(limits.cpu_time != Some(0), Refusal::LimitOfZero)?;
    require(limits.wall_time != Some(0), Refusal::LimitOfZero)?;
    require(limits.cpu_affinity.len() <= limits::MAX_CPUS / 8, Refusal::CpuAffinity)?;
    require(limits.nice.is_none_or(|nice| (-20..=19).contains(&nice)), Refusal::Nice)?;
    require(
        limits.oom_score_adj.is_none_or(|score| (-1000..=1000).contains(&score)),
        Refusal::OomScore,
    )
}

fn session(session: &session::Session) -> Checked {
    require(session.umask.is_none_or(|umask| umask & !0o777 == 0), Refusal::Permissions)
}

fn landlock(landlock: &landlock::Landlock<'_>) -> Checked {
    let mut count = 0;
    landlock.handled.check::<Refusal>(|handled| {
        count += 1;
        rights(handled.fs)?;
        require(
            handled.net & !landlock::ACCESS_NET == 0 && handled.scoped & !landlock::SCOPES == 0,
            Refusal::LandlockRights,
        )
    })?;
    require(count == usize::from(landlock::NEWEST_ABI), Refusal::LandlockAbis)?;
    landlock.ports.check::<Refusal>(|port| {
        require(
            port.access & !landlock::ACCESS_NET == 0 && port.access != 0,
            Refusal::LandlockRights,
        )
    })?;
    require(landlock.log & !landlock::LOG_FLAGS == 0, Refusal::LandlockFlags)
}

fn seccomp(seccomp: &seccomp::Seccomp<'_>) -> Checked {
    let listener = seccomp.flags & seccomp::LISTENER_FLAGS;
    require(listener == 0 || listener == seccomp::LISTENER_FLAGS, Refusal::SeccompFlags)?;
    require(seccomp.flags & !seccomp::FILTER_FLAGS == 0, Refusal::SeccompFlags)
}

fn exec(exec: &exec::Exec<'_>) -> Checked {
    exec.keep.check(|_| Ok::<(), Refusal>(()))?;
    let mut count = 0;
    exec.set.check::<Refusal>(|variable| {
        count += 1;
        let name = variable.to_bytes().iter().position(|&byte| byte == b'=');
        require(name.is_some_and(|length| length > 0), Refusal::VariableName)
    })?;
    require(count <= exec::MAX_ENVIRONMENT, Refusal::VariableCount)?;
    match exec.cwd {
        Cwd::Launch => Ok(()),
        Cwd::Path(directory) => path(directory),
    }
}

fn proxy(proxy: &proxy::Proxy<'_>) -> Checked {
    for rules in [proxy.allow, proxy.deny] {
        rules.check::<Refusal>(|rule| {
            let has_ports = rule.first != 0 && rule.first <= rule.last;
            require(has_ports && rule.host.is_valid(), Refusal::ProxyRule)
        })?;
    }
    Ok(())
}
