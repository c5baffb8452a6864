//! `[process]`: what both parts pass on to the command.

use super::super::add::by_key;
use super::{last, stricter};
use crate::Spanned;
use crate::document::{DieWithParent, Env, KeepFd, KeepFdTable, Process, Terminal};

pub(super) fn both(one: &Process, two: &Process) -> Process {
    let Process { cwd, uid, gid, hostname, argv0, umask, terminal, die_with_parent, keep_fds, env } =
        one;
    Process {
        cwd: last(cwd, &two.cwd),
        uid: last(uid, &two.uid),
        gid: last(gid, &two.gid),
        hostname: last(hostname, &two.hostname),
        argv0: last(argv0, &two.argv0),
        umask: self::umask(umask, &two.umask),
        terminal: stricter(terminal, &two.terminal, &Terminal::Auto, |terminal| match terminal {
            Terminal::None => 0,
            Terminal::Auto => 1,
            Terminal::Keep => 2,
        }),
        die_with_parent: self::die_with_parent(die_with_parent, &two.die_with_parent),
        keep_fds: self::keep_fds(keep_fds, &two.keep_fds),
        env: self::env(env, &two.env),
    }
}

/// The bits that either takes away.
fn umask(one: &Option<Spanned<u16>>, two: &Option<Spanned<u16>>) -> Option<Spanned<u16>> {
    match (one, two) {
        (Some(one), Some(two)) => Some(Spanned::new(two.span(), one.get_ref() | two.get_ref())),
        _ => last(one, two),
    }
}

/// A thread ends no later than its process; what is left out may mean either
/// the process or never.
fn die_with_parent(
    one: &Option<Spanned<DieWithParent>>,
    two: &Option<Spanned<DieWithParent>>,
) -> Option<Spanned<DieWithParent>> {
    let rank = |end: &Option<Spanned<DieWithParent>>| match end.as_ref().map(Spanned::get_ref) {
        Some(DieWithParent::Thread) => 0,
        Some(DieWithParent::Process) => 1,
        None => 2,
        Some(DieWithParent::Never) => 3,
    };
    if rank(one) < rank(two) { one.clone() } else { two.clone() }
}

/// The descriptors of both; one is a directory only if both call it one.
fn keep_fds(one: &[Spanned<KeepFd>], two: &[Spanned<KeepFd>]) -> Vec<Spanned<KeepFd>> {
    let is_directory = |keep: KeepFd| match keep {
        KeepFd::Number(_) => false,
        KeepFd::Table(KeepFdTable { directory, .. }) => directory,
    };
    one.iter()
        .filter_map(|keep| {
            let kept = *keep.get_ref();
            let other = two.iter().find(|other| other.get_ref().fd() == kept.fd())?;
            let both = is_directory(kept) && is_directory(*other.get_ref());
            Some(Spanned::new(keep.span(), if both { kept } else { KeepFd::Number(kept.fd()) }))
        })
        .collect()
}

fn env(one: &Env, two: &Env) -> Env {
    let Env { keep, set } = one;
    let covered = |name: &Spanned<String>, by: &[Spanned<String>]| {
        by.iter().any(|by| covers(by.get_ref(), name.get_ref()))
    };
    let kept = keep.iter().filter(|name| covered(name, &two.keep));
    let others = two.keep.iter().filter(|name| covered(name, keep));
    Env {
        keep: super::super::add::both(kept.cloned().collect(), others.cloned().collect()),
        set: by_key(set.clone(), two.set.clone()),
    }
}

/// Whether one pattern matches all that another one matches.
fn covers(pattern: &str, other: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => other.starts_with(prefix),
        None => pattern == other,
    }
}
