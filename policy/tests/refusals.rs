//! Bytes that are no policy: each kind has an error of its own, and each value
//! without a meaning has its words.

use std::ffi::CStr;
use std::iter::repeat_n;

use launcher_policy::enforce::{Enforce, Facility, Offer};
use launcher_policy::exec::{Cwd, Exec, MAX_ENVIRONMENT};
use launcher_policy::fds::{FdKind, Fds, KeepFd, MAX_FD};
use launcher_policy::landlock::{Handled, Landlock, NEWEST_ABI, Port};
use launcher_policy::limits::{Limits, MAX_CPUS, RLIMITS, Rlimit};
use launcher_policy::mounts::{Carved, MAX_MOUNTS, Mount, Mounts, Node, NodeKind, Root, Source};
use launcher_policy::namespaces::{
    IdMap, IdRange, Listener, MAX_HOST_NAME, MAX_ID_RANGES, MAX_LISTENERS, Namespaces, Protocol,
};
use launcher_policy::proxy::{Host, Network, Proxy, Rule, Upstream};
use launcher_policy::seccomp::{FilterError, Seccomp};
use launcher_policy::session::Session;
use launcher_policy::wire::{
    Architecture, DecodeError, Digest, HEADER, MAGIC, MAX_FRAME, VERSION, decode, encode,
    frame_length,
};
use launcher_policy::{List, Path, Policy, Refusal, Text};

mod policies;

use policies::{bind, filter, list, nothing, path, proxied, sandbox};

#[test]
fn every_kind_of_refusal_has_bytes_that_cause_it() {
    let good = framed(&payload(&nothing()));
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = good.clone();
        changed.splice(at..at + bytes.len(), bytes.iter().copied());
        changed
    };
    let other = match Architecture::NATIVE {
        Architecture::X86_64 => Architecture::Aarch64,
        Architecture::Aarch64 | Architecture::Riscv64 => Architecture::X86_64,
    };
    let too_long = u32::try_from(MAX_FRAME - HEADER + 1).expect("it fits").to_le_bytes();
    let bad_filter =
        Seccomp { filter: &[], without_namespaces: &[], flags: 0, terminal_is_safe: false };
    let cases = [
        (vec![], DecodeError::Empty),
        (good.split_at(HEADER - 1).0.to_vec(), DecodeError::Truncated),
        (with(0, b"ELF"), DecodeError::Magic),
        (b"#!/bin/sh\n".to_vec(), DecodeError::Magic),
        (b"#".to_vec(), DecodeError::Magic),
        (b"SB".to_vec(), DecodeError::Truncated),
        (with(4, &(VERSION + 1).to_le_bytes()), DecodeError::Version),
        (with(6, &[other as u8]), DecodeError::Architecture),
        (with(7, &[1]), DecodeError::Architecture),
        (with(8, &too_long), DecodeError::TooLong),
        ([good.as_slice(), &[0]].concat(), DecodeError::TooManyBytes),
        (with(12, &[!good[12]]), DecodeError::Checksum),
        (framed(&[payload(&nothing()).as_slice(), &[0]].concat()), DecodeError::TrailingBytes),
        (framed(&[0xff; 4]), DecodeError::Malformed),
        (
            framed(&payload(&Policy { limits: memory(0), ..nothing() })),
            DecodeError::Invalid(Refusal::LimitOfZero),
        ),
        (
            framed(&payload(&Policy { seccomp: Some(bad_filter), ..nothing() })),
            DecodeError::Filter(FilterError::Size),
        ),
    ];
    for (bytes, error) in &cases {
        assert_eq!(decode(bytes), Err(*error));
        assert!(!error.message().is_empty() && !error.message().ends_with('.'));
    }
    let met: Vec<_> = cases.iter().map(|(_, error)| std::mem::discriminant(error)).collect();
    assert!(every_kind().iter().all(|kind| met.contains(&std::mem::discriminant(kind))));
}

/// One of each, held complete by the match.
fn every_kind() -> Vec<DecodeError> {
    use DecodeError as E;
    let mut kinds = vec![E::Empty];
    while let Some(next) = match kinds.last().expect("it is never empty") {
        E::Empty => Some(E::Truncated),
        E::Truncated => Some(E::Magic),
        E::Magic => Some(E::Version),
        E::Version => Some(E::Architecture),
        E::Architecture => Some(E::TooLong),
        E::TooLong => Some(E::TooManyBytes),
        E::TooManyBytes => Some(E::Checksum),
        E::Checksum => Some(E::TrailingBytes),
        E::TrailingBytes => Some(E::Malformed),
        E::Malformed => Some(E::Invalid(Refusal::Bug)),
        E::Invalid(_) => Some(E::Filter(FilterError::Size)),
        E::Filter(_) => None,
    } {
        kinds.push(next);
    }
    kinds
}

#[test]
fn a_frame_that_is_cut_anywhere_is_refused() {
    let frame = framed(&payload(&sandbox()));
    for length in 1..frame.len() {
        let (cut, _) = frame.split_at(length);
        assert_eq!(decode(cut), Err(DecodeError::Truncated), "{length} bytes");
    }
}

#[test]
fn a_frame_with_any_bit_flipped_is_refused() {
    let frame = framed(&payload(&sandbox()));
    for bit in 0..8 * frame.len() {
        let mut flipped = frame.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn a_payload_that_is_cut_does_not_decode_although_its_frame_is_whole() {
    let payload = payload(&sandbox());
    for length in 0..payload.len() {
        let (cut, _) = payload.split_at(length);
        assert!(decode(&framed(cut)).is_err(), "{length} bytes");
    }
}

#[test]
fn the_header_alone_tells_the_length_of_the_frame() {
    let frame = framed(&payload(&sandbox()));
    let header = frame.first_chunk().expect("a frame has a header");
    assert_eq!(frame_length(header), Ok(frame.len()));
}

#[test]
fn a_buffer_that_is_too_short_is_not_written_behind() {
    let length = framed(&payload(&sandbox())).len();
    for room in 0..length {
        let mut buffer = vec![0; room];
        let encoded = encode(&sandbox(), Architecture::NATIVE, no_hash, &mut buffer);
        assert_eq!(encoded, Err(DecodeError::TooLong), "{room} bytes");
    }
    assert!(encode(&sandbox(), Architecture::NATIVE, no_hash, &mut vec![0; length]).is_ok());
}

#[test]
fn a_policy_that_no_frame_holds_is_refused_by_both_sides() {
    let data = vec![0; MAX_FRAME].leak();
    let policy =
        Policy { mounts: Some(node(c"/x", NodeKind::File { mode: 0, data })), ..nothing() };
    let mut buffer = vec![0; 2 * MAX_FRAME];
    let encoded = encode(&policy, Architecture::NATIVE, no_hash, &mut buffer);
    assert_eq!(encoded, Err(DecodeError::TooLong));
    assert_eq!(decode(&framed(&payload(&policy))), Err(DecodeError::TooLong));
}

#[test]
fn the_largest_lists_are_accepted() {
    for policy in [
        mounts(repeat_n(bind(c"/a"), MAX_MOUNTS)),
        id_ranges([RANGE; MAX_ID_RANGES]),
        set(repeat_n(c"A=b", MAX_ENVIRONMENT)),
        Policy { limits: Limits { cpu_affinity: &[1; MAX_CPUS / 8], ..no_limits() }, ..nothing() },
    ] {
        assert_eq!(decode(&framed(&payload(&policy))), Ok(policy));
    }
}

#[test]
fn descriptors_without_a_meaning_are_refused() {
    for fd in [0, 2, MAX_FD + 1] {
        let keep = list([KeepFd { fd, kind: FdKind::Stream }]);
        let why = "a descriptor number of the policy is out of range";
        refused(&Policy { fds: Fds { keep }, ..nothing() }, why);
        refused(&source(Source::Fd { fd }), why);
    }
}

#[test]
fn namespaces_without_a_meaning_are_refused() {
    let namespaces = |change: fn(&mut Namespaces<'static>)| {
        let mut policy = sandbox();
        policy.namespaces.as_mut().map(change);
        policy
    };
    let vm = namespaces(|each| each.flags |= linux_raw_sys::general::CLONE_VM);
    refused(&vm, "the policy has an unknown namespace");
    let why = "the policy's host name has a wrong length";
    refused(&namespaces(|each| each.host_name = Some(Text::new(c""))), why);
    let long: &'static [u8] = [[b'x'; MAX_HOST_NAME + 1].as_slice(), &[0]].concat().leak();
    let long = CStr::from_bytes_with_nul(long).expect("it ends in NUL");
    let mut policy = sandbox();
    policy.namespaces.as_mut().expect("it has some").host_name = Some(Text::new(long));
    refused(&policy, why);
}

#[test]
fn listening_sockets_without_a_meaning_are_refused() {
    let why = "the policy has impossible listening sockets";
    let listener = |port| Listener { protocol: Protocol::Http, port };
    for listeners in [vec![], vec![listener(0)], vec![listener(1); MAX_LISTENERS + 1]] {
        let mut policy = proxied();
        policy.namespaces.as_mut().expect("it has some").listeners = list(listeners);
        refused(&policy, why);
    }
    let mut policy = proxied();
    policy.namespaces.as_mut().expect("it has some").flags &= !linux_raw_sys::general::CLONE_NEWNET;
    refused(&policy, why);
    refused(&Policy { proxy: None, ..proxied() }, why);
    refused(&Policy { proxy: proxied().proxy, ..nothing() }, why);
}

#[test]
fn rules_for_a_proxy_without_a_meaning_are_refused() {
    let good = Rule { host: Host::AnyName, first: 443, last: 443 };
    let network = |address, prefix| Host::Network(Network { address, prefix });
    for rule in [
        Rule { first: 0, ..good },
        Rule { first: 444, ..good },
        Rule { host: Host::Name(Text::new(c"A.test")), ..good },
        Rule { host: Host::Below(Text::new(c"")), ..good },
        Rule { host: network([0; 16], 129), ..good },
        Rule { host: network([1; 16], 8), ..good },
    ] {
        for (allow, deny) in [(list([rule]), List::EMPTY), (List::EMPTY, list([rule]))] {
            let proxy = Proxy { allow, deny, upstream: Upstream::None };
            let policy = Policy { proxy: Some(proxy), ..proxied() };
            refused(&policy, "the policy has an impossible rule for its proxy");
        }
    }
}

#[test]
fn id_ranges_without_a_meaning_are_refused() {
    let why = "the policy has an impossible id range";
    refused(&id_ranges([IdRange { count: 0, ..RANGE }]), why);
    refused(&id_ranges([IdRange { inside: u32::MAX, ..RANGE }]), why);
    refused(&id_ranges([IdRange { outside: u32::MAX, ..RANGE }]), why);
    let why = "the policy has too many or no id ranges";
    refused(&id_ranges([]), why);
    refused(&id_ranges([RANGE; MAX_ID_RANGES + 1]), why);
}

#[test]
fn roots_and_skeletons_without_a_meaning_are_refused() {
    let right = "the policy has an unknown Landlock right";
    let root = |root| Policy { mounts: Some(Mounts { root, ..NO_MOUNTS }), ..nothing() };
    refused(&root(Root::Host { access: 1 << 17 }), right);
    refused(&root(Root::Tree { path: path(c"/srv"), access: 1 << 17 }), right);
    refused(&root(Root::Tree { path: unchecked(c"srv"), access: 0 }), NOT_NORMAL);
    let small = Policy { mounts: Some(Mounts { skeleton_size: 0, ..NO_MOUNTS }), ..nothing() };
    refused(&small, "the policy gives the skeleton no size");

    let made = |at, kind| Policy { mounts: Some(node(at, kind)), ..nothing() };
    let directory = |mode| NodeKind::Directory { mode };
    refused(&made(c"/", directory(0o755)), "the policy makes the root directory");
    refused(&made(c"/a", directory(0o2755)), "the policy has impossible permission bits");
    let file = NodeKind::File { mode: 0o4755, data: b"" };
    refused(&made(c"/a", file), "the policy has impossible permission bits");
    let symlink = NodeKind::Symlink { content: Text::new(c"") };
    refused(&made(c"/a", symlink), "the policy has an empty symlink");
}

#[test]
fn paths_that_are_not_normal_are_refused_wherever_they_stand() {
    let bad = unchecked(c"/a/../b");
    let good = path(c"/a");
    let Source::Host { kind, symlinks, missing, .. } = bind(c"/a").source else {
        panic!("a bind shows a path of the host")
    };
    let made = Node { path: bad, kind: NodeKind::Directory { mode: 0 } };
    for policy in [
        Policy { mounts: Some(Mounts { skeleton: list([made]), ..NO_MOUNTS }), ..nothing() },
        mounts([Mount { target: bad, ..bind(c"/a") }]),
        source(Source::Host { path: bad, kind, symlinks, missing }),
        source(Source::Overlay { lower: bad, upper: good, work: good }),
        source(Source::Overlay { lower: good, upper: bad, work: good }),
        source(Source::Overlay { lower: good, upper: good, work: bad }),
        Policy { exec: Exec { cwd: Cwd::Path(bad), ..nothing().exec }, ..nothing() },
    ] {
        refused(&policy, NOT_NORMAL);
    }
}

#[test]
fn mounts_without_a_meaning_are_refused() {
    refused(&mounts([bind(c"/")]), "the policy mounts on the root directory");
    let attribute = Mount { attributes: linux_raw_sys::general::MOUNT_ATTR_IDMAP, ..bind(c"/a") };
    refused(&mounts([attribute]), "the policy has an unknown mount attribute");
    let right = Mount { access: 1 << 17, ..bind(c"/a") };
    refused(&mounts([right]), "the policy has an unknown Landlock right");
    let carved = |at, shared, access| {
        let carved = list([Carved { path: at, shared, access, except: List::EMPTY }]);
        Policy { mounts: Some(Mounts { carved, ..NO_MOUNTS }), ..nothing() }
    };
    refused(&carved(path(c"/a"), 1 << 17, 0), "the policy has an unknown Landlock right");
    refused(&carved(path(c"/a"), 0, 1 << 17), "the policy has an unknown Landlock right");
    refused(&carved(unchecked(c"a"), 0, 0), NOT_NORMAL);
    let tmpfs = |size, mode| source(Source::Tmpfs { size, mode });
    refused(&tmpfs(0, 0), "the policy gives a tmpfs no size");
    refused(&tmpfs(1, 0o2000), "the policy has impossible permission bits");
    refused(
        &mounts(repeat_n(bind(c"/a"), MAX_MOUNTS + 1)),
        "the policy has more than 16384 mounts",
    );
}

#[test]
fn limits_without_a_meaning_are_refused() {
    let limits = |limits| Policy { limits, ..nothing() };
    let rlimit = |resource, soft, hard| {
        limits(Limits { rlimits: list([Rlimit { resource, soft, hard }]), ..no_limits() })
    };
    refused(&rlimit(RLIMITS, 0, 0), "the policy has an unknown resource limit");
    refused(&rlimit(0, 2, 1), "the policy has a soft limit above the hard one");
    for zero in [
        memory(0),
        Limits { processes: Some(0), ..no_limits() },
        Limits { cpu_time: Some(0), ..no_limits() },
        Limits { wall_time: Some(0), ..no_limits() },
    ] {
        refused(&limits(zero), "the policy has a limit of zero");
    }
    let affinity = Limits { cpu_affinity: &[1; MAX_CPUS / 8 + 1], ..no_limits() };
    refused(&limits(affinity), "the policy names a CPU that is out of range");
    for nice in [-21, 20] {
        let nice = Limits { nice: Some(nice), ..no_limits() };
        refused(&limits(nice), "the policy has an impossible nice value");
    }
    for score in [-1001, 1001] {
        let score = Limits { oom_score_adj: Some(score), ..no_limits() };
        refused(&limits(score), "the policy has an impossible OOM score");
    }
}

#[test]
fn a_umask_without_a_meaning_is_refused() {
    let session = Session { umask: Some(0o1000), ..nothing().session };
    refused(&Policy { session, ..nothing() }, "the policy has impossible permission bits");
}

#[test]
fn an_offer_that_needs_an_unknown_namespace_is_refused() {
    let offers = list([Offer { facility: Facility::Proc, needs: 1 }]);
    let policy = Policy { enforce: Enforce { offers, ..nothing().enforce }, ..nothing() };
    refused(&policy, "the policy has an unknown namespace");
}

#[test]
fn rulesets_without_a_meaning_are_refused() {
    let landlock = |change: &dyn Fn(&mut Landlock<'static>)| {
        let mut policy = sandbox();
        policy.landlock.as_mut().map(change);
        policy
    };
    let none = Handled { fs: 0, net: 0, scoped: 0 };
    for unknown in [
        Handled { fs: 1 << 17, ..none },
        Handled { net: 16, ..none },
        Handled { scoped: 4, ..none },
    ] {
        let policy = landlock(&|each| each.handled = list([unknown; NEWEST_ABI as usize]));
        refused(&policy, "the policy has an unknown Landlock right");
    }
    for access in [0, 16] {
        let policy = landlock(&|each| each.ports = list([Port { port: 1, access }]));
        refused(&policy, "the policy has an unknown Landlock right");
    }
    for count in [0, NEWEST_ABI - 1, NEWEST_ABI + 1] {
        let policy = landlock(&|each| each.handled = list(vec![none; count.into()]));
        refused(&policy, "the policy lacks a Landlock ABI");
    }
    refused(&landlock(&|each| each.log = 8), "the policy has an unknown Landlock flag");
}

#[test]
fn filters_without_a_meaning_are_refused() {
    let seccomp = |filter, flags| {
        let seccomp =
            Some(Seccomp { filter, without_namespaces: &[], flags, terminal_is_safe: false });
        Policy { seccomp, ..nothing() }
    };
    let allow = filter(&[(6, 0, 0, 0x7fff_0000)]);
    refused(&seccomp(allow, 1), "the policy has an unknown seccomp flag");
    let jumps_out = seccomp(filter(&[(5, 0, 0, 1), (6, 0, 0, 0)]), 0);
    assert_eq!(both_errors(&jumps_out), [DecodeError::Filter(FilterError::Jump(0)); 2]);
}

#[test]
fn variables_without_a_name_are_refused() {
    refused(&set([c"=value"]), "the policy sets a variable without a name");
    refused(&set([c"name"]), "the policy sets a variable without a name");
    refused(&set(repeat_n(c"A=b", MAX_ENVIRONMENT + 1)), "the policy sets too many variables");
}

#[test]
fn a_list_with_an_item_that_does_not_decode_is_refused() {
    let keep = List::from_bytes(&[5]);
    let policy = Policy { fds: Fds { keep }, ..nothing() };
    assert_eq!(both_errors(&policy), [DecodeError::Malformed; 2]);
}

const NOT_NORMAL: &str = "a path of the policy is not absolute and normal";

const RANGE: IdRange = IdRange { inside: 0, outside: 0, count: 1 };

const NO_MOUNTS: Mounts<'static> = Mounts {
    root: Root::Skeleton,
    skeleton_size: 4096,
    skeleton: List::EMPTY,
    mounts: List::EMPTY,
    rules: List::EMPTY,
    carved: List::EMPTY,
};

/// Both sides refuse the policy in these words.
#[track_caller]
fn refused(policy: &Policy<'_>, why: &str) {
    for error in both_errors(policy) {
        assert!(matches!(error, DecodeError::Invalid(_)), "{error:?}");
        assert_eq!(error.message().to_string(), why);
    }
}

/// What `encode` and `decode` say of a policy that both refuse.
#[track_caller]
fn both_errors(policy: &Policy<'_>) -> [DecodeError; 2] {
    let encoded =
        encode(policy, Architecture::NATIVE, no_hash, &mut vec![0; MAX_FRAME]).map(<[u8]>::len);
    let bytes = framed(&payload(policy));
    [encoded.expect_err("it is encoded"), decode(&bytes).expect_err("it decodes")]
}

/// The value alone, valid or not.
fn payload(policy: &Policy<'_>) -> Vec<u8> {
    postcard::to_stdvec(policy).expect("a policy is encoded into memory")
}

/// A frame around any payload, as `encode` would make it for a valid one.
fn framed(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it fits").to_le_bytes();
    let mut frame = [MAGIC.as_slice(), &VERSION.to_le_bytes()].concat();
    frame.extend([Architecture::NATIVE as u8, 0]);
    frame.extend(length);
    frame.extend(no_hash(payload));
    let checksum =
        crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&[frame.as_slice(), payload].concat());
    frame.extend(checksum.to_le_bytes());
    frame.extend(payload);
    frame
}

/// A digest, which no reader computes.
fn no_hash(_: &[u8]) -> Digest {
    [0; 32]
}

/// A path as it comes out of bytes that nobody has checked.
fn unchecked(text: &'static CStr) -> Path<'static> {
    let bytes = postcard::to_stdvec(&Text::new(text)).expect("a text is encoded into memory");
    postcard::from_bytes(bytes.leak()).expect("any text decodes as a path")
}

fn mounts(mounts: impl IntoIterator<Item = Mount<'static>>) -> Policy<'static> {
    Policy { mounts: Some(Mounts { mounts: list(mounts), ..NO_MOUNTS }), ..nothing() }
}

fn source(source: Source<'static>) -> Policy<'static> {
    mounts([Mount { source, ..bind(c"/a") }])
}

fn node(at: &'static CStr, kind: NodeKind<'static>) -> Mounts<'static> {
    Mounts { skeleton: list([Node { path: path(at), kind }]), ..NO_MOUNTS }
}

fn id_ranges(ranges: impl IntoIterator<Item = IdRange>) -> Policy<'static> {
    let mut policy = sandbox();
    policy.namespaces.as_mut().expect("it has some").uid_map = IdMap::Ranges(list(ranges));
    policy
}

fn set(variables: impl IntoIterator<Item = &'static CStr>) -> Policy<'static> {
    let set = list(variables.into_iter().map(Text::new));
    Policy { exec: Exec { set, ..nothing().exec }, ..nothing() }
}

fn no_limits() -> Limits<'static> {
    Limits::default()
}

fn memory(bytes: u64) -> Limits<'static> {
    Limits { memory: Some(bytes), ..no_limits() }
}
