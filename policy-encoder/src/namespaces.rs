//! `[namespaces]`, and what the other tables ask of namespaces.

use std::ffi::CString;

use launcher_policy::namespaces::{IdRange, Init, Loopback, MAX_HOST_NAME, MAX_ID_RANGES};
use linux_raw_sys::general as uapi;

use crate::Spanned;
use crate::diagnostic::Diagnostics;
use crate::document::{self, Access, Document, Mode};
use crate::items::{Items, c_string};
use crate::network::Network;
use crate::network::proxy::Proxy;

/// Every namespace by its key in the document.
pub(crate) const NAMESPACES: [(u32, &str); 8] = [
    (uapi::CLONE_NEWUSER, "user"),
    (uapi::CLONE_NEWNS, "mount"),
    (uapi::CLONE_NEWPID, "pid"),
    (uapi::CLONE_NEWNET, "net"),
    (uapi::CLONE_NEWIPC, "ipc"),
    (uapi::CLONE_NEWUTS, "uts"),
    (uapi::CLONE_NEWCGROUP, "cgroup"),
    (uapi::CLONE_NEWTIME, "time"),
];

/// The stage's part of the policy.
#[derive(Debug)]
pub(crate) struct Namespaces {
    flags: u32,
    uid_map: IdMap,
    gid_map: IdMap,
    host_name: Option<CString>,
    loopback: Loopback,
    listeners: Items,
    init: Init,
}

/// An id map that owns its ranges.
#[derive(Debug)]
enum IdMap {
    Caller,
    Single(u32),
    Ranges(Items),
}

impl Namespaces {
    /// `CLONE_NEW*`.
    pub(crate) fn flags(&self) -> u32 {
        self.flags
    }

    pub(crate) fn wire(&self) -> launcher_policy::namespaces::Namespaces<'_> {
        launcher_policy::namespaces::Namespaces {
            flags: self.flags,
            uid_map: self.uid_map.wire(),
            gid_map: self.gid_map.wire(),
            host_name: self.host_name.as_deref().map(launcher_policy::Text::new),
            loopback: self.loopback,
            listeners: self.listeners.list(),
            init: self.init,
        }
    }
}

impl IdMap {
    fn wire(&self) -> launcher_policy::namespaces::IdMap<'_> {
        match self {
            Self::Caller => launcher_policy::namespaces::IdMap::Caller,
            Self::Single(id) => launcher_policy::namespaces::IdMap::Single(*id),
            Self::Ranges(ranges) => launcher_policy::namespaces::IdMap::Ranges(ranges.list()),
        }
    }
}

/// Resolves `[namespaces]`; `None` if none is left.
pub(crate) fn resolve(
    document: &Document,
    network: &Network,
    diagnostics: &mut Diagnostics,
) -> Option<Namespaces> {
    let written = &document.namespaces;
    let process = &document.process;
    let flags = if is_off(document) {
        refuse_wishes(document, diagnostics);
        0
    } else {
        flags(document, network, diagnostics)
    };
    let has_user = flags & uapi::CLONE_NEWUSER != 0;
    let namespaces = Namespaces {
        flags,
        uid_map: id_map(
            "uid",
            written.uid_map.as_ref(),
            process.uid.as_ref(),
            has_user,
            diagnostics,
        ),
        gid_map: id_map(
            "gid",
            written.gid_map.as_ref(),
            process.gid.as_ref(),
            has_user,
            diagnostics,
        ),
        host_name: host_name(process.hostname.as_ref(), flags, diagnostics),
        loopback: match network.access {
            Access::Loopback | Access::Proxy => Loopback::Up,
            Access::None | Access::Host => Loopback::Down,
        },
        listeners: network.proxy.as_ref().map(Proxy::listeners).unwrap_or_default(),
        init: init(written.init.as_ref(), flags, diagnostics),
    };
    // A reaper without a PID namespace is wanted where the launcher is PID 1.
    (flags != 0 || namespaces.init == Init::Reaper).then_some(namespaces)
}

/// Whether `enforce.namespaces` gives them up.
pub(crate) fn is_off(document: &Document) -> bool {
    document.enforce.namespaces.as_ref().is_some_and(|mode| *mode.get_ref() == Mode::Off)
}

/// Whether the user namespace is wanted, so that ids are chosen freely.
pub(crate) fn wants_user(document: &Document) -> bool {
    !is_off(document) && document.namespaces.user.as_ref().is_none_or(|user| *user.get_ref())
}

/// A document without namespaces may not ask for what they give.
fn refuse_wishes(document: &Document, diagnostics: &mut Diagnostics) {
    let why = "enforce.namespaces = \"off\"";
    for (key, _, written) in kinds(document) {
        if let Some(written) = written
            && *written.get_ref()
        {
            diagnostics.error(written.span(), format!("{why}, so there is no {key} namespace"));
        }
    }
    let maps =
        [("uid_map", &document.namespaces.uid_map), ("gid_map", &document.namespaces.gid_map)];
    for (key, map) in maps {
        if let Some(map) = map {
            diagnostics.error(map.span(), format!("{why}, so {key} has no meaning"));
        }
    }
}

/// `CLONE_NEW*`: all but time, unless another table or the author says so.
fn flags(document: &Document, network: &Network, diagnostics: &mut Diagnostics) -> u32 {
    let has_net = network.access != Access::Host;
    check_net(document.namespaces.net.as_ref(), network.access, diagnostics);
    kinds(document)
        .into_iter()
        .filter(|&(_, flag, written)| {
            let by_itself = match flag {
                uapi::CLONE_NEWTIME => false,
                uapi::CLONE_NEWNET => has_net,
                _ => true,
            };
            written.map_or(by_itself, |written| *written.get_ref())
        })
        .fold(0, |flags, (_, flag, _)| flags | flag)
}

/// Each namespace: its word, its flag, and what the author says of it.
fn kinds(document: &Document) -> [(&'static str, u32, Option<&Spanned<bool>>); 8] {
    let written = &document.namespaces;
    [
        ("user", uapi::CLONE_NEWUSER, written.user.as_ref()),
        ("mount", uapi::CLONE_NEWNS, written.mount.as_ref()),
        ("pid", uapi::CLONE_NEWPID, written.pid.as_ref()),
        ("net", uapi::CLONE_NEWNET, written.net.as_ref()),
        ("ipc", uapi::CLONE_NEWIPC, written.ipc.as_ref()),
        ("uts", uapi::CLONE_NEWUTS, written.uts.as_ref()),
        ("cgroup", uapi::CLONE_NEWCGROUP, written.cgroup.as_ref()),
        ("time", uapi::CLONE_NEWTIME, written.time.as_ref()),
    ]
}

/// What is lost without a network namespace is judged with the other
/// guarantees, in `enforce`.
fn check_net(net: Option<&Spanned<bool>>, access: Access, diagnostics: &mut Diagnostics) {
    if let Some(net) = net
        && *net.get_ref()
        && access == Access::Host
    {
        diagnostics
            .error(
                net.span(),
                "a network namespace of its own contradicts network.access = \"host\"",
            )
            .help("leave net out: it follows from network.access");
    }
}

fn id_map(
    kind: &str,
    ranges: Option<&Spanned<Vec<document::IdRange>>>,
    id: Option<&Spanned<u32>>,
    has_user: bool,
    diagnostics: &mut Diagnostics,
) -> IdMap {
    if let Some(id) = id
        && *id.get_ref() == u32::MAX
    {
        diagnostics.error(id.span(), format!("{} is no {kind}: it means none", u32::MAX));
    }
    match (ranges, id) {
        (Some(ranges), _) if !has_user => {
            diagnostics
                .error(ranges.span(), format!("{kind}_map is the map of a user namespace"))
                .help("leave namespaces.user at true");
            IdMap::Caller
        }
        (Some(ranges), id) => {
            check_ranges(kind, ranges, id, diagnostics);
            let each = ranges.get_ref().iter().map(|range| IdRange {
                inside: range.inside,
                outside: range.outside,
                count: range.count,
            });
            IdMap::Ranges(Items::new(each))
        }
        (None, Some(id)) if has_user => IdMap::Single(*id.get_ref()),
        (None, _) => IdMap::Caller,
    }
}

/// What the kernel would refuse, with the reason.
fn check_ranges(
    kind: &str,
    ranges: &Spanned<Vec<document::IdRange>>,
    id: Option<&Spanned<u32>>,
    diagnostics: &mut Diagnostics,
) {
    let (span, ranges) = (ranges.span(), ranges.get_ref());
    if ranges.is_empty() || ranges.len() > MAX_ID_RANGES {
        diagnostics.error(span.clone(), format!("{kind}_map has 1 to {MAX_ID_RANGES} ranges"));
    }
    for (index, range) in ranges.iter().enumerate() {
        if range.count == 0 {
            diagnostics.error(span.clone(), "an id range counts at least 1");
        }
        let ends = [range.inside, range.outside].map(|first| first.checked_add(range.count));
        if ends.contains(&None) {
            diagnostics.error(span.clone(), "an id range goes past the last id");
        }
        let (_, after) = ranges.split_at(index + 1);
        if after.iter().any(|other| overlap(range, other)) {
            diagnostics.error(span.clone(), format!("two ranges of {kind}_map overlap"));
        }
    }
    match id {
        None => {
            if let Some(first) = ranges.first() {
                let message = format!(
                    "the command runs as {kind} {}, the first id of {kind}_map",
                    first.inside
                );
                diagnostics
                    .warning(span, message)
                    .help(format!("say which one with process.{kind}"));
            }
        }
        Some(id) => check_mapped(kind, ranges, id, diagnostics),
    }
}

/// The kernel refuses an id that the map does not have.
fn check_mapped(
    kind: &str,
    ranges: &[document::IdRange],
    id: &Spanned<u32>,
    diagnostics: &mut Diagnostics,
) {
    let has = |range: &document::IdRange| {
        id.get_ref().checked_sub(range.inside).is_some_and(|offset| offset < range.count)
    };
    if !ranges.iter().any(has) {
        diagnostics.error(id.span(), format!("{kind} {} is not in {kind}_map", id.get_ref()));
    }
}

/// Whether two ranges share an id inside or outside.
fn overlap(a: &document::IdRange, b: &document::IdRange) -> bool {
    let shared = |first: u32, second: u32| {
        u64::from(first) < u64::from(second) + u64::from(b.count)
            && u64::from(second) < u64::from(first) + u64::from(a.count)
    };
    shared(a.inside, b.inside) || shared(a.outside, b.outside)
}

fn host_name(
    written: Option<&Spanned<String>>,
    flags: u32,
    diagnostics: &mut Diagnostics,
) -> Option<CString> {
    let written = written?;
    if flags & uapi::CLONE_NEWUTS == 0 {
        diagnostics.error(written.span(), "a host name of its own needs a UTS namespace");
    }
    if !(1..=MAX_HOST_NAME).contains(&written.get_ref().len()) {
        diagnostics.error(written.span(), format!("a host name has 1 to {MAX_HOST_NAME} bytes"));
    }
    let name = c_string(written.get_ref().as_str());
    if name.is_none() {
        diagnostics.error(written.span(), "a host name holds no NUL");
    }
    name
}

fn init(
    written: Option<&Spanned<document::Init>>,
    flags: u32,
    diagnostics: &mut Diagnostics,
) -> Init {
    let has_pid = flags & uapi::CLONE_NEWPID != 0;
    match written.map(|written| (written.span(), *written.get_ref())) {
        None if has_pid => Init::Reaper,
        None => Init::None,
        Some((_, document::Init::Reaper)) => Init::Reaper,
        Some((span, document::Init::None)) => {
            if !has_pid {
                diagnostics.warning(span, "init = \"none\" has no effect without a PID namespace");
            }
            Init::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{document, messages};

    fn resolved(text: &str) -> (Option<Namespaces>, Vec<String>) {
        let mut diagnostics = Diagnostics::default();
        let document = document(text);
        let network = crate::network::resolve(&document, &mut diagnostics);
        let namespaces = resolve(&document, &network, &mut diagnostics);
        (namespaces, messages(&diagnostics))
    }

    #[test]
    fn all_namespaces_but_time_are_new_by_default() {
        let (namespaces, complaints) = resolved("");
        let namespaces = namespaces.expect("there are namespaces");
        assert!(complaints.is_empty(), "{complaints:?}");
        assert_eq!(
            namespaces.flags(),
            launcher_policy::namespaces::NAMESPACE_FLAGS & !uapi::CLONE_NEWTIME
        );
        assert_eq!(namespaces.wire().init, Init::Reaper);
        assert_eq!(namespaces.wire().loopback, Loopback::Down);
    }

    #[test]
    fn the_network_of_the_host_is_no_namespace() {
        let (namespaces, _) = resolved("network.access = 'host'");
        assert_eq!(namespaces.expect("there are others").flags() & uapi::CLONE_NEWNET, 0);
        let (_, complaints) = resolved("network.access = 'host'\nnamespaces.net = true");
        assert_eq!(complaints.len(), 1);
    }

    #[test]
    fn a_loopback_of_its_own_is_up() {
        let (namespaces, _) = resolved("network.access = 'loopback'");
        assert_eq!(namespaces.expect("there are some").wire().loopback, Loopback::Up);
    }

    #[test]
    fn a_uid_without_a_map_is_the_callers_under_another_number() {
        let (namespaces, _) = resolved("process.uid = 1000");
        let namespaces = namespaces.expect("there are some");
        assert_eq!(namespaces.wire().uid_map, launcher_policy::namespaces::IdMap::Single(1000));
        assert_eq!(namespaces.wire().gid_map, launcher_policy::namespaces::IdMap::Caller);
    }

    #[test]
    fn impossible_id_ranges_are_refused() {
        for (ranges, complaint) in [
            ("[]", "uid_map has 1 to 340 ranges"),
            ("[{ inside = 0, outside = 0, count = 0 }]", "an id range counts at least 1"),
            (
                "[{ inside = 5, outside = 0, count = 4294967295 }]",
                "an id range goes past the last id",
            ),
            (
                "[{ inside = 0, outside = 0, count = 5 }, { inside = 4, outside = 9, count = 1 }]",
                "two ranges of uid_map overlap",
            ),
        ] {
            let text = format!("process.uid = 0\nnamespaces.uid_map = {ranges}");
            assert!(resolved(&text).1.contains(&complaint.to_owned()), "{ranges}");
        }
        let text = "process.uid = 7\nnamespaces.uid_map = [{ inside = 0, outside = 0, count = 7 }]";
        assert_eq!(resolved(text).1, ["uid 7 is not in uid_map"]);
    }

    #[test]
    fn ranges_without_an_id_say_who_the_command_is() {
        let map = "namespaces.uid_map = [{ inside = 7, outside = 0, count = 9 }]\n";
        assert_eq!(resolved(map).1, ["the command runs as uid 7, the first id of uid_map"]);
        assert!(resolved(&format!("{map}process.uid = 8")).1.is_empty());
    }

    #[test]
    fn a_host_name_needs_its_namespace() {
        assert_eq!(resolved("process.hostname = 'box'").1.len(), 0);
        assert_eq!(resolved("process.hostname = 'box'\nnamespaces.uts = false").1.len(), 1);
        assert_eq!(resolved("process.hostname = ''").1, ["a host name has 1 to 64 bytes"]);
        assert_eq!(resolved("process.hostname = \"a\\u0000\"").1, ["a host name holds no NUL"]);
    }

    #[test]
    fn without_namespaces_nothing_may_ask_for_one() {
        let (namespaces, complaints) = resolved(
            "enforce.namespaces = 'off'\nnamespaces = { pid = true, uid_map = [] }\n\
             process.hostname = 'box'",
        );
        assert!(namespaces.is_none());
        assert_eq!(complaints.len(), 4, "{complaints:?}");
    }

    #[test]
    fn a_reaper_is_possible_without_a_pid_namespace() {
        let (namespaces, complaints) =
            resolved("enforce.namespaces = 'off'\nnamespaces.init = 'reaper'");
        assert!(complaints.is_empty(), "{complaints:?}");
        assert_eq!(namespaces.expect("a reaper is wanted").wire().init, Init::Reaper);
    }
}
