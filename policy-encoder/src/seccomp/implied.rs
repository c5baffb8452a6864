//! What other tables of the document ask of the filter, under any profile.

use linux_raw_sys::errno::{
    EACCES, EAFNOSUPPORT, EOPNOTSUPP, EPERM, EPROTONOSUPPORT, ESOCKTNOSUPPORT,
};
use linux_raw_sys::{general, ioctl, net, prctl};

use super::profile::when;
use super::rules::{Action, Argument, Call, Comparison, Condition, Rule};
use super::{Facts, Sockets, shared};

/// The bits of a socket's type that are not flags: `SOCK_TYPE_MASK` of
/// linux/net.h.
const SOCK_TYPE_MASK: u64 = 0xf;

/// `SOCK_PACKET` of linux/net.h: an old way to a packet socket, through the
/// family of IP.
const SOCK_PACKET: u64 = 10;

/// `NETLINK_ROUTE` of linux/netlink.h.
const NETLINK_ROUTE: u64 = 0;

/// `MSG_FASTOPEN` of linux/socket.h: connects while it sends.
const MSG_FASTOPEN: u64 = 0x2000_0000;

/// System calls of io_uring(7).
pub(super) const IO_URING: [&str; 3] = ["io_uring_setup", "io_uring_enter", "io_uring_register"];

/// Requests of ioctl(2) that put text into a terminal's input, which the shell
/// that reads it later takes for its user's.
pub(super) const TERMINAL_INPUT: &[u32] = &[ioctl::TIOCSTI, ioctl::TIOCLINUX];

/// A guarantee of another table, which `seccomp.allow` does not lift.
pub(super) struct Guarantee {
    pub(super) call: Call,
    /// Where the document decides it.
    pub(super) by: &'static str,
}

/// The guarantee that depends on how a system call is filtered, if one does.
pub(super) fn guarantee(name: &str, facts: &Facts, denied: Action) -> Option<Guarantee> {
    let network = |call| Some(Guarantee { call, by: "[network]" });
    let tcp_only = facts.sockets.are_plain();
    let supervised = facts.sockets == Sockets::Supervised;
    match name {
        "socket" => network(socket(facts)),
        "socketpair" => network(socketpair(facts)),
        "sendto" | "send" | "sendmmsg" if tcp_only => network(without_fast_open(Argument::Fourth)),
        "sendmsg" if tcp_only => network(without_fast_open(Argument::Third)),
        "setsockopt" if tcp_only => network(setsockopt()),
        "connect" if supervised => network(Call::always(Action::Notify)),
        "bind" | "listen" if supervised => network(Call::always(error(EACCES))),
        "socketcall" if !opens_every_family(facts) => network(socketcall(facts)),
        "ioctl" => Some(Guarantee { call: ioctl(TERMINAL_INPUT, denied), by: "the terminal" }),
        "prctl" if facts.pdeathsig_relied_on => {
            Some(Guarantee { call: death_signal(denied), by: "process.die_with_parent" })
        }
        _ => None,
    }
}

/// Whether nothing but the families of the host's network is kept from the
/// command, so that who names socketcall(2) may have it.
pub(super) fn opens_every_family(facts: &Facts) -> bool {
    facts.unix && facts.sockets == Sockets::Open
}

/// What is closed under any profile, but opens when it is allowed by name.
pub(super) fn call(name: &str, facts: &Facts, denied: Action) -> Option<Call> {
    match name {
        "ioctl" => shared::requests(facts).map(|requests| ioctl(requests, denied)),
        "socketcall" => Some(socketcall(facts)),
        "memfd_create" if !facts.writable_is_executable => Some(memfd(denied)),
        // A ring makes and uses sockets that no filter sees.
        _ if IO_URING.contains(&name) => Some(Call::always(denied)),
        _ => shared::call(name, facts, denied),
    }
}

/// socket(2), by family: never by what is done with the socket later, so that
/// those that exist work fully.
fn socket(facts: &Facts) -> Call {
    let mut rules = Vec::new();
    if facts.unix {
        rules.push(when(family(net::AF_UNIX), Action::Allow));
    }
    if facts.sockets != Sockets::None {
        rules.extend(internet(facts.sockets));
        // getaddrinfo(3) asks the kernel for its addresses.
        let route = Condition::int(Argument::Third, Comparison::Equal(NETLINK_ROUTE));
        rules
            .push(Rule { conditions: vec![family(net::AF_NETLINK), route], action: Action::Allow });
    }
    Call { rules, otherwise: error(EAFNOSUPPORT) }
}

/// socketpair(2): UNIX sockets. Where there are no others, only those that
/// stay what they are: a datagram socket of a pair sends to any path, and is
/// connected to it, like one of socket(2).
fn socketpair(facts: &Facts) -> Call {
    let unix = || family(net::AF_UNIX);
    let rule = |conditions, action| Rule { conditions, action };
    let rules = if facts.unix {
        vec![when(unix(), Action::Allow)]
    } else {
        let kinds = [net::SOCK_STREAM, net::SOCK_SEQPACKET].map(u64::from);
        let pairs = kinds.map(|kind| rule(vec![unix(), socket_type(kind)], Action::Allow));
        pairs.into_iter().chain([when(unix(), error(ESOCKTNOSUPPORT))]).collect()
    };
    Call { rules, otherwise: error(EAFNOSUPPORT) }
}

/// The rules of socket(2) for IPv4 and IPv6.
fn internet(sockets: Sockets) -> Vec<Rule> {
    let families = [net::AF_INET, net::AF_INET6].map(u64::from).to_vec();
    let internet = Condition::int(Argument::First, Comparison::OneOf(families));
    let rule = |conditions: &[Condition], action| Rule {
        conditions: [std::slice::from_ref(&internet), conditions].concat(),
        action,
    };
    let raw = [u64::from(net::SOCK_RAW), SOCK_PACKET].map(|kind| {
        // As the kernel answers who may not.
        rule(&[socket_type(kind)], error(EPERM))
    });
    let mut rules = raw.to_vec();
    if !sockets.are_plain() {
        rules.push(rule(&[], Action::Allow));
        return rules;
    }
    // Zero is the protocol that goes with the type. Others look like TCP and
    // are not judged as TCP: MPTCP, SMC, SCTP.
    let only = |kind: u32, protocol: u32| {
        let protocols = Comparison::OneOf(vec![0, u64::from(protocol)]);
        let conditions = [socket_type(u64::from(kind)), Condition::int(Argument::Third, protocols)];
        rule(&conditions, Action::Allow)
    };
    rules.push(only(net::SOCK_STREAM, net::IPPROTO_TCP as u32));
    if sockets == (Sockets::Tcp { udp: true }) {
        rules.push(only(net::SOCK_DGRAM, net::IPPROTO_UDP as u32));
    }
    // What the kernel answers for a protocol that it was built without, so
    // that programs fall back to TCP.
    rules.push(rule(&[], error(EPROTONOSUPPORT)));
    rules
}

/// A call that sends, without `MSG_FASTOPEN` among the flags: sending would
/// connect, to any port.
fn without_fast_open(flags: Argument) -> Call {
    let fast_open = Comparison::MaskedEqual { mask: MSG_FASTOPEN, value: MSG_FASTOPEN };
    // As the kernel answers where net.ipv4.tcp_fastopen is off.
    let rule = when(Condition::int(flags, fast_open), error(EOPNOTSUPP));
    Call { rules: vec![rule], otherwise: Action::Allow }
}

/// setsockopt(2), without the options by which connect(2) is put off until
/// something is sent, or by which the socket becomes one of another family
/// (`TCP_ULP`, with the name of the family in memory).
fn setsockopt() -> Call {
    let options = [net::TCP_FASTOPEN, net::TCP_FASTOPEN_CONNECT, net::TCP_ULP].map(u64::from);
    let conditions = vec![
        Condition::int(Argument::Second, Comparison::Equal(u64::from(net::SOL_TCP))),
        Condition::int(Argument::Third, Comparison::OneOf(options.to_vec())),
    ];
    let rule = Rule { conditions, action: error(EOPNOTSUPP) };
    Call { rules: vec![rule], otherwise: Action::Allow }
}

/// prctl(2), without a way to clear or soften the death signal. Setting it to
/// `SIGKILL`, as a launcher inside does, changes nothing.
fn death_signal(denied: Action) -> Call {
    let option = Comparison::Equal(u64::from(prctl::PR_SET_PDEATHSIG));
    let signal = Comparison::NotEqual(u64::from(general::SIGKILL));
    let conditions =
        vec![Condition::int(Argument::First, option), Condition::long(Argument::Second, signal)];
    Call { rules: vec![Rule { conditions, action: denied }], otherwise: Action::Allow }
}

/// ioctl(2), without some requests. The kernel takes them for an `unsigned
/// int`.
fn ioctl(requests: &[u32], denied: Action) -> Call {
    let requests = Comparison::OneOf(requests.iter().copied().map(u64::from).collect());
    let rule = when(Condition::int(Argument::Second, requests), denied);
    Call { rules: vec![rule], otherwise: Action::Allow }
}

/// memfd_create(2) of files that cannot be run: anything could be written to
/// others and run, which no file system would see.
fn memfd(denied: Action) -> Call {
    let flag = u64::from(general::MFD_NOEXEC_SEAL);
    let sealed = Comparison::MaskedEqual { mask: flag, value: flag };
    let rule = when(Condition::int(Argument::Second, sealed), Action::Allow);
    Call { rules: vec![rule], otherwise: denied }
}

/// socketcall(2), which has the arguments of its calls in memory: without
/// those that could not be judged there.
fn socketcall(facts: &Facts) -> Call {
    let closed = |calls: &[u32], number| {
        let calls = Comparison::OneOf(calls.iter().copied().map(u64::from).collect());
        when(Condition::int(Argument::First, calls), error(number))
    };
    let mut rules = vec![closed(&[net::SYS_SOCKET, net::SYS_SOCKETPAIR], EAFNOSUPPORT)];
    if facts.sockets.are_plain() {
        let others = [
            net::SYS_SEND,
            net::SYS_SENDTO,
            net::SYS_SENDMSG,
            net::SYS_SENDMMSG,
            net::SYS_SETSOCKOPT,
        ];
        rules.push(closed(&others, EOPNOTSUPP));
    }
    if facts.sockets == Sockets::Supervised {
        rules.push(closed(&[net::SYS_CONNECT, net::SYS_BIND, net::SYS_LISTEN], EACCES));
    }
    Call { rules, otherwise: Action::Allow }
}

fn family(family: u32) -> Condition {
    Condition::int(Argument::First, Comparison::Equal(u64::from(family)))
}

fn socket_type(value: u64) -> Condition {
    let comparison = Comparison::MaskedEqual { mask: SOCK_TYPE_MASK, value };
    Condition::int(Argument::Second, comparison)
}

const fn error(number: u32) -> Action {
    Action::Errno(number as u16)
}
