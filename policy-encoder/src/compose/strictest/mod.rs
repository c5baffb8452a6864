//! `merge = "strictest"`: what every one of the parts grants.
//!
//! The parts are the documents that are extended, and the document itself
//! unless it says nothing of its own. What a part leaves out means its
//! default. Each table is intersected two parts at a time; the paths of
//! `[filesystem]`, of all parts at once, by what each of them grants on every
//! path that one of them speaks of.

use std::ops::Range;

use crate::diagnostic::Diagnostics;
use crate::document::{
    CallRule, CarveOut, Denial, Document, Enforce, Init, LandlockLog, Mode, Namespaces, Profile,
    Seccomp, UnixSockets, Verdict,
};
use crate::{Place, Spanned};

mod empty;
mod frame;
mod limits;
mod network;
mod paths;
mod process;
mod proxy;

#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;

/// Where two imports differ.
const IMPORTS: [&str; 2] = [
    "an imported filter cannot be intersected with another profile",
    "every part needs the same `seccomp.import`",
];

/// Merges what a document extends, and the document. `at` is where it says
/// so.
pub(super) fn merge(
    mut parts: Vec<Document>,
    own: Document,
    at: &Range<usize>,
    place: &Place,
    diagnostics: &mut Diagnostics,
) -> Document {
    let description = own.description.clone();
    if (Document { description: None, ..own.clone() }) != Document::default() {
        parts.push(own);
    }
    let mut document = match parts.as_slice() {
        [] => Document::default(),
        [only] => only.clone(),
        // Views of what could not be read would be complained of for nothing.
        [first, ..] if diagnostics.has_errors() => first.clone(),
        parts => intersected(parts, at, place, diagnostics),
    };
    document.description = description;
    document
}

fn intersected(
    parts: &[Document],
    at: &Range<usize>,
    place: &Place,
    diagnostics: &mut Diagnostics,
) -> Document {
    let Some(document) = parts.iter().cloned().reduce(|one, two| both(&one, &two, diagnostics))
    else {
        return Document::default();
    };
    empty::warn_of_lists(parts, &document, at, diagnostics);
    paths::intersected(parts, document, at, place, diagnostics)
}

/// What both grant, but for the paths. Every key is named here or in the
/// table's own function, so that none is forgotten.
fn both(one: &Document, two: &Document, diagnostics: &mut Diagnostics) -> Document {
    let network = network::both(&one.network, &two.network, diagnostics);
    Document {
        description: None,
        extends: Vec::new(),
        merge: None,
        filesystem: frame::both(&one.filesystem, &two.filesystem),
        process: process::both(&one.process, &two.process),
        limits: limits::both(&one.limits, &two.limits),
        seccomp: seccomp(&one.seccomp, &two.seccomp, diagnostics),
        namespaces: namespaces(&one.namespaces, &two.namespaces, diagnostics),
        enforce: enforce(&one.enforce, &two.enforce),
        network,
    }
}

fn seccomp(one: &Seccomp, two: &Seccomp, diagnostics: &mut Diagnostics) -> Seccomp {
    let Seccomp { profile, import, allow, deny, action, errno, architectures, rule } = one;
    let deny = super::add::both(deny.clone(), two.deny.clone());
    Seccomp {
        profile: self::profile(profile, &two.profile, diagnostics),
        import: agreed(import, &two.import, IMPORTS, diagnostics),
        allow: allow
            .iter()
            .filter(|call| two.allow.contains(call) && !deny.contains(call))
            .cloned()
            .collect(),
        deny,
        action: stricter(action, &two.action, &Denial::Errno, |action| match action {
            Denial::Kill => 0,
            Denial::Trap => 1,
            Denial::Errno => 2,
            Denial::Notify => 3,
            Denial::Log => 4,
        }),
        errno: last(errno, &two.errno),
        architectures: architectures
            .iter()
            .filter(|table| two.architectures.contains(table))
            .cloned()
            .collect(),
        rule: rules(rule, &two.rule),
    }
}

/// The stricter profile. Which of two files is, nobody knows.
fn profile(
    one: &Option<Spanned<Profile>>,
    two: &Option<Spanned<Profile>>,
    diagnostics: &mut Diagnostics,
) -> Option<Spanned<Profile>> {
    let is_file =
        |profile: &&Spanned<Profile>| matches!(profile.get_ref(), Profile::File(_)) && one != two;
    if let Some(file) = two.iter().chain(one).find(is_file) {
        diagnostics
            .error(file.span(), "the profile of a file cannot be intersected with another profile")
            .help("every part needs the same `seccomp.profile`");
    }
    stricter(one, two, &Profile::Default, |profile| match profile {
        Profile::Strict | Profile::File(_) => 0,
        Profile::Default => 1,
        Profile::Unconfined => 2,
    })
}

/// What both say. Leaving one out might open what it closes.
fn agreed(
    one: &Option<Spanned<String>>,
    two: &Option<Spanned<String>>,
    [wrong, help]: [&str; 2],
    diagnostics: &mut Diagnostics,
) -> Option<Spanned<String>> {
    if let Some(said) = two.as_ref().or(one.as_ref()).filter(|_| one != two) {
        diagnostics.error(said.span(), wrong).help(help);
    }
    one.clone()
}

/// First what either part denies, then what both allow: an earlier denial
/// takes from what is allowed after it, never the reverse.
fn rules(one: &[Spanned<CallRule>], two: &[Spanned<CallRule>]) -> Vec<Spanned<CallRule>> {
    let allows = |rule: &&Spanned<CallRule>| {
        matches!(rule.get_ref().action.get_ref(), Verdict::Allow | Verdict::Log | Verdict::Notify)
    };
    let denials = one.iter().chain(two).filter(|rule| !allows(rule));
    let allowed = one.iter().filter(|rule| allows(rule) && two.contains(rule));
    denials.chain(allowed).cloned().collect()
}

fn namespaces(one: &Namespaces, two: &Namespaces, diagnostics: &mut Diagnostics) -> Namespaces {
    let Namespaces { user, mount, pid, net, ipc, uts, cgroup, time, uid_map, gid_map, init } = one;
    // On by default.
    let on = |one, two| stricter(one, two, &true, |on| u8::from(!*on));
    Namespaces {
        user: on(user, &two.user),
        mount: on(mount, &two.mount),
        pid: on(pid, &two.pid),
        // Where it is said to be on, the network is not the host's.
        net: on(net, &two.net).filter(|net| !*net.get_ref()),
        ipc: on(ipc, &two.ipc),
        uts: on(uts, &two.uts),
        cgroup: on(cgroup, &two.cgroup),
        time: stricter(time, &two.time, &false, |on| u8::from(!*on)),
        uid_map: same("namespaces.uid_map", uid_map, &two.uid_map, diagnostics),
        gid_map: same("namespaces.gid_map", gid_map, &two.gid_map, diagnostics),
        init: last::<Init>(init, &two.init),
    }
}

fn enforce(one: &Enforce, two: &Enforce) -> Enforce {
    let Enforce {
        namespaces,
        landlock,
        seccomp,
        limits,
        landlock_log,
        waive,
        carve_out,
        unix_sockets,
    } = one;
    let rank = |mode: &Mode| match mode {
        Mode::Require => 0,
        Mode::Prefer => 1,
        Mode::Off => 2,
    };
    let mode = |one, two| stricter(one, two, &Mode::Prefer, rank);
    Enforce {
        namespaces: mode(namespaces, &two.namespaces),
        landlock: mode(landlock, &two.landlock),
        seccomp: mode(seccomp, &two.seccomp),
        limits: mode(limits, &two.limits),
        landlock_log: last::<LandlockLog>(landlock_log, &two.landlock_log),
        waive: waive.iter().filter(|name| two.waive.contains(name)).cloned().collect(),
        carve_out: stricter(carve_out, &two.carve_out, &CarveOut::Refuse, |carve_out| {
            u8::from(*carve_out == CarveOut::Siblings)
        }),
        unix_sockets: stricter(unix_sockets, &two.unix_sockets, &UnixSockets::Refuse, |sockets| {
            u8::from(*sockets == UnixSockets::Pairs)
        }),
    }
}

/// The value of the lower rank, where what is left out means `default`.
fn stricter<T: Clone, R: Ord>(
    one: &Option<Spanned<T>>,
    two: &Option<Spanned<T>>,
    default: &T,
    rank: impl Fn(&T) -> R,
) -> Option<Spanned<T>> {
    let rank = |value: &Option<Spanned<T>>| rank(value.as_ref().map_or(default, Spanned::get_ref));
    match rank(one).cmp(&rank(two)) {
        std::cmp::Ordering::Less => one.clone(),
        std::cmp::Ordering::Equal => last(one, two),
        std::cmp::Ordering::Greater => two.clone(),
    }
}

/// The last one that is said, for what grants nothing.
fn last<T: Clone>(one: &Option<Spanned<T>>, two: &Option<Spanned<T>>) -> Option<Spanned<T>> {
    two.clone().or_else(|| one.clone())
}

/// What both say alike; else nothing, with a warning.
fn same<T: Clone + PartialEq>(
    key: &str,
    one: &Option<Spanned<T>>,
    two: &Option<Spanned<T>>,
    diagnostics: &mut Diagnostics,
) -> Option<Spanned<T>> {
    if one == two {
        return one.clone();
    }
    if let Some(said) = two.as_ref().or(one.as_ref()) {
        diagnostics
            .warning(said.span(), format!("{key} is not the same in every part, and is left out"));
    }
    None
}
