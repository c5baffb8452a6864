//! Hosts that a command may reach, or not, while it runs.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use harness::{Caller, Errno, IN_PLACE, Output, Sandbox};
use launcher_supervisor::{
    Answer, Handover, Listener, Notification, PolicyContext, Protocol, Supervisor, SyscallEvent,
    Verdict,
};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::{RACE, TRIES, errno, races, supervised};

/// Asks about all that reaches a host.
const ASKS: &str = r#"
    [[seccomp.rule]]
    call = ["connect", "bind", "sendto", "sendmsg", "sendmmsg"]
    action = "notify"
"#;

/// The host's network, with namespaces and without.
fn policies(more: &str) -> [String; 2] {
    let network = format!("network.access = \"host\"\n{more}");
    [format!("{network}{ASKS}"), format!("{network}{IN_PLACE}{ASKS}")]
}

fn unsupervised(policy: &str, caller: Caller, probes: &[&str]) -> Output {
    let sandbox = Sandbox::new(policy.strip_suffix(ASKS).expect("it has it")).caller(caller);
    let probe = sandbox.probe_path();
    sandbox.run([&[probe.as_str()], probes].concat())
}

/// A server, and its port.
fn listen() -> (TcpListener, u16) {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("it listens");
    let port = server.local_addr().expect("it has one").port();
    (server, port)
}

fn receiver() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("it is bound");
    socket.set_nonblocking(true).expect("it is set");
    let port = socket.local_addr().expect("it has one").port();
    (socket, port)
}

/// What has arrived, up to now.
fn arrived(socket: &UdpSocket) -> Vec<String> {
    let mut found = Vec::new();
    let mut buffer = [0; 64];
    while let Ok(length) = socket.recv(&mut buffer) {
        found.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    found
}

/// Denies what reaches a port.
fn denies(port: u16) -> impl FnOnce(Listener) -> Supervisor {
    move |listener| {
        Supervisor::new(listener).policy_fn(move |event, _| match event.port == Some(port) {
            true => Verdict::DenyWith(Errno::NODATA),
            false => Verdict::Allow,
        })
    }
}

#[test]
fn what_a_supervisor_denies_is_not_connected_to_however_the_address_is_written() {
    for caller in Caller::both() {
        let ((_open, open), (_closed, closed)) = (listen(), listen());
        let probes = [
            &*format!("connect-tcp 127.0.0.1 {open}"),
            &format!("connect-tcp 127.0.0.1 {closed}"),
            &format!("connect-tcp 0.0.0.0 {closed}"),
            &format!("connect-tcp ::ffff:127.0.0.1 {closed}"),
            &format!("connect-tcp ::ffff:0.0.0.0 {closed}"),
            &format!("connect-tcp ::ffff:127.0.0.1 {open}"),
            &format!("reconnect-udp 127.0.0.1 {open}"),
            &format!("reconnect-udp 127.0.0.1 {closed}"),
        ];
        for policy in policies("") {
            let decides = move |event: &SyscallEvent, _: &mut PolicyContext| {
                let local = Some(IpAddr::from(Ipv4Addr::LOCALHOST));
                assert!(event.host == local && event.is_connect(), "{event:?}");
                let is_closed = event.port == Some(closed);
                if is_closed { Verdict::DenyWith(Errno::NODATA) } else { Verdict::Allow }
            };
            let output = supervised(Sandbox::new(&policy).caller(caller), &probes, |listener| {
                Supervisor::new(listener).policy_fn(decides)
            });
            let no = errno(Errno::NODATA);
            output.assert_said(&["ok ", &no, &no, &no, &no, "ok ", "ok ", &no]);
            unsupervised(&policy, caller, &probes).assert_said(&["ok "; 8]);
        }
    }
}

#[test]
fn a_socket_gets_no_address_that_is_denied() {
    for caller in Caller::both() {
        let (reserved, port) = receiver();
        drop(reserved);
        let probes = ["bind-tcp 127.0.0.1 0".to_owned(), format!("bind-tcp 127.0.0.1 {port}")];
        let probes = probes.each_ref().map(String::as_str);
        for policy in policies("") {
            let sandbox = Sandbox::new(&policy).caller(caller);
            let text = supervised(sandbox, &probes, denies(port)).stdout_text();
            let (bound, denied) = text.split_once('\n').expect("two lines");
            assert!(bound.starts_with("ok "), "{caller}: {text}");
            assert_eq!(denied.trim_end(), errno(Errno::NODATA), "{caller}");
            let control = unsupervised(&policy, caller, &probes).stdout_text();
            assert!(control.ends_with(&format!("ok {port}\n")), "{caller}: {control}");
        }
    }
}

#[test]
fn what_is_sent_to_an_address_is_judged_by_it() {
    for caller in Caller::both() {
        let ((open, one), (closed, other)) = (receiver(), receiver());
        let probes = [
            &*format!("send-udp 127.0.0.1 {one}"),
            &format!("send-udp 127.0.0.1 {other}"),
            &format!("send-message 127.0.0.1 {one}"),
            &format!("send-message 127.0.0.1 {other}"),
            &format!("send-message 127.0.0.1 {one} control"),
            &format!("send-messages 127.0.0.1 {one} {one}"),
            &format!("send-messages 127.0.0.1 {one} {other}"),
            &format!("send-messages 127.0.0.1 {other} {one}"),
        ];
        for policy in policies("") {
            let (say, heard) = mpsc::channel();
            let decides = move |event: &SyscallEvent, _: &mut PolicyContext| {
                assert!(event.is_send() && event.protocol == Some(Protocol::Udp), "{event:?}");
                say.send(event.size.expect("it has one")).expect("it is heard");
                if event.port == Some(other) { Verdict::Deny } else { Verdict::Allow }
            };
            let output = supervised(Sandbox::new(&policy).caller(caller), &probes, |listener| {
                Supervisor::new(listener).policy_fn(decides)
            });
            let (no, control) = (errno(Errno::PERM), errno(Errno::OPNOTSUPP));
            let said = ["ok ", &no, "ok 5", &no, &control, "ok 2: 3 5", "ok 1: 3 0", &no];
            output.assert_said(&said);
            assert_eq!(arrived(&open), ["x", "hello", "one", "three", "one"], "{caller}");
            assert!(arrived(&closed).is_empty(), "{caller}");
            assert_eq!(heard.iter().collect::<Vec<_>>(), [1, 1, 5, 5, 3, 5, 3, 5, 3], "{caller}");
            let control = unsupervised(&policy, caller, &probes);
            let sent = ["ok ", "ok ", "ok 5", "ok 5", "ok 5", "ok 2: 3 5"];
            control.assert_said(&[&sent[..], &["ok 2: 3 5"; 2]].concat());
            assert_eq!((arrived(&open).len(), arrived(&closed).len()), (7, 4), "{caller}");
        }
    }
}

#[test]
fn unix_sockets_are_not_reached_by_address_where_that_is_asked_about() {
    for caller in Caller::both() {
        let probes = ["unix-abstract-connect nobody", "unix-abstract-bind somebody", "socketpair"];
        for policy in policies("") {
            let sandbox = Sandbox::new(&policy).caller(caller);
            let no = errno(Errno::ACCESS);
            supervised(sandbox, &probes, Supervisor::new).assert_said(&[&no, &no, "ok hello"]);
            let refused = errno(Errno::CONNREFUSED);
            unsupervised(&policy, caller, &probes).assert_said(&[&refused, "ok ", "ok hello"]);
        }
    }
}

#[test]
fn what_a_supervisor_allows_is_still_held_to_the_ports_of_the_policy() {
    for caller in Caller::both() {
        let ((_open, open), (_closed, closed)) = (listen(), listen());
        let probes = [
            &*format!("connect-tcp 127.0.0.1 {open}"),
            &format!("connect-tcp 127.0.0.1 {closed}"),
            &format!("bind-tcp 127.0.0.1 {open}"),
            &format!("fastopen 127.0.0.1 {closed}"),
        ];
        for policy in policies(&format!("network.connect_tcp = [{open}]\nnetwork.bind_tcp = []")) {
            let sandbox = Sandbox::new(&policy).caller(caller);
            let output = supervised(sandbox, &probes, Supervisor::new);
            let no = errno(Errno::ACCESS);
            output.assert_said(&["ok ", &no, &no, &errno(Errno::OPNOTSUPP)]);
        }
    }
}

#[test]
fn a_socket_waits_or_does_not_as_the_command_has_it() {
    for caller in Caller::both() {
        let (server, port) = listen();
        let much = 8 << 20;
        let probes = [
            format!("connect-flags 127.0.0.1 {port}"),
            format!("send-much 127.0.0.1 {port} {much}"),
        ];
        let probes = probes.each_ref().map(String::as_str);
        for policy in policies("") {
            thread::scope(|scope| {
                scope.spawn(|| {
                    let mut streams = server.incoming().map(|stream| stream.expect("one"));
                    let [_, _] = [streams.next(), streams.next()];
                    let mut stream = streams.next().expect("another");
                    let mut bytes = Vec::new();
                    stream.read_to_end(&mut bytes).expect("it is read");
                    assert_eq!(bytes.len(), much);
                });
                let sandbox = Sandbox::new(&policy).caller(caller);
                let text = supervised(sandbox, &probes, Supervisor::new).stdout_text();
                // To this machine's own address it may be connected at once.
                let lines: Vec<&str> = text.lines().collect();
                assert!(lines[0].starts_with("ok false true "), "{caller}: {text}");
                assert_eq!(lines[1], "ok ", "{caller}: {text}");
            });
        }
    }
}

#[test]
fn messages_on_a_stream_follow_each_other_without_a_gap() {
    for caller in Caller::both() {
        let (server, port) = listen();
        let much = 300 << 10;
        let probe = format!("send-two 127.0.0.1 {port} {much}");
        let wanted = [vec![b'a'; much], vec![b'b'; much]].concat();
        for policy in policies("") {
            thread::scope(|scope| {
                let received = scope.spawn(|| {
                    let (mut stream, _) = server.accept().expect("one");
                    let mut bytes = Vec::new();
                    stream.read_to_end(&mut bytes).expect("it is read");
                    bytes
                });
                let sandbox = Sandbox::new(&policy).caller(caller);
                let output = supervised(sandbox, &[&probe], Supervisor::new);
                let bytes = received.join().expect("it does not panic");
                assert!(!bytes.is_empty() && wanted.starts_with(&bytes), "{caller}: {output:?}");
                let told = format!("ok 1: {} 0\n", bytes.len());
                assert_eq!(output.stdout_text(), told, "{caller}");
                let control = scope.spawn(|| {
                    let (mut stream, _) = server.accept().expect("one");
                    let mut bytes = Vec::new();
                    stream.read_to_end(&mut bytes).map(|_| bytes).expect("it is read")
                });
                unsupervised(&policy, caller, &[&probe])
                    .assert_said(&[&format!("ok 2: {much} {much}")]);
                assert!(control.join().expect("it does not panic") == wanted, "{caller}");
            });
        }
    }
}

#[test]
fn a_connection_that_is_waited_for_keeps_nobody_else_waiting() {
    let full = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("one");
    rustix::net::bind(&full, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("it is bound");
    rustix::net::listen(&full, 0).expect("it listens");
    let address = rustix::net::getsockname(&full).expect("it has one");
    let address = SocketAddr::try_from(address).expect("it is one");
    // Whom nobody accepts, so that the next one is not answered.
    let _first = TcpStream::connect(address).expect("it is connected");
    let (_open, open) = listen();
    let port = address.port();
    let probe = format!("while-connecting 127.0.0.1 {port} connect-tcp 127.0.0.1 {open}");
    for policy in policies("") {
        supervised(Sandbox::new(&policy), &[&probe], Supervisor::new).assert_said(&["ok "]);
    }
}

#[test]
fn an_end_that_is_gone_is_an_error_of_the_command_and_no_signal_of_the_supervisor() {
    let (server, port) = listen();
    let probe = format!("send-on 127.0.0.1 {port}");
    for policy in policies("") {
        thread::scope(|scope| {
            scope.spawn(|| drop(server.accept()));
            let text = supervised(Sandbox::new(&policy), &[&probe], Supervisor::new).stdout_text();
            let gone = [Errno::PIPE, Errno::CONNRESET].map(errno);
            assert!(gone.iter().any(|error| *error == text.trim_end()), "{text}");
        });
    }
}

/// A server that counts who connects.
struct Counted {
    port: u16,
    count: Arc<AtomicUsize>,
}

impl Counted {
    fn start() -> Self {
        let (server, port) = listen();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        thread::spawn(move || {
            for stream in server.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
                drop(stream);
            }
        });
        Self { port, count }
    }

    /// How many have connected. Who does so last is counted last, and told by
    /// the end of the connection.
    fn count(&self) -> usize {
        let mut last = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("it connects");
        let _ = last.read(&mut [0]);
        self.count.load(Ordering::SeqCst) - 1
    }
}

/// Of all that a probe counted, what succeeded.
fn succeeded(output: &Output) -> usize {
    super::opened(output, "0")
}

/// And what was denied.
fn denied(output: &Output) -> usize {
    super::opened(output, &Errno::NODATA.raw_os_error().to_string())
}

#[test]
fn an_address_that_changes_all_the_while_connects_nothing_that_is_denied() {
    for policy in policies("") {
        let (open, closed) = (Counted::start(), Counted::start());
        let probe = format!("flip-connect {} 127.0.0.1 {} {}", races(), open.port, closed.port);
        super::until_both_are_met(|| {
            let sandbox = Sandbox::new(&policy).timeout(RACE);
            let output = supervised(sandbox, &[&probe], denies(closed.port));
            println!("on behalf: {}", output.stdout_text());
            [succeeded(&output), denied(&output)]
        });
        assert_eq!(closed.count(), 0);
    }
}

#[test]
fn a_number_that_means_another_socket_all_the_while_connects_nothing_that_is_denied() {
    for policy in policies("") {
        let closed = Counted::start();
        let probe = format!("flip-socket {} 127.0.0.1 {}", races(), closed.port);
        let denies = |event: &SyscallEvent, _: &mut PolicyContext| match event.protocol {
            Some(Protocol::Tcp) => Verdict::DenyWith(Errno::NODATA),
            _ => Verdict::Allow,
        };
        super::until_both_are_met(|| {
            let output = supervised(Sandbox::new(&policy).timeout(RACE), &[&probe], |listener| {
                Supervisor::new(listener).policy_fn(denies)
            });
            println!("on behalf: {}", output.stdout_text());
            [succeeded(&output), denied(&output)]
        });
        assert_eq!(closed.count(), 0);
    }
}

/// Runs a probe whose calls are judged, and then made by the kernel; whether what
/// is denied has happened.
fn loses(probe: &str, is_denied: fn(&Notification, u16) -> bool) -> bool {
    let (open, closed) = (Counted::start(), Counted::start());
    let port = closed.port;
    let probe = probe.replace("OPEN", &open.port.to_string());
    let probe = probe.replace("CLOSED", &port.to_string());
    let [policy, _] = policies("");
    let (handover, theirs) = Handover::pair().expect("a socket");
    let sandbox = Sandbox::new(&policy).timeout(RACE);
    let path = sandbox.probe_path();
    let running =
        sandbox.option("--notify-fd").option("9").pass(theirs, 9).start([&*path, &*probe]);
    let listener = handover.receive().expect("it is received").expect("there is one");
    let naive = thread::spawn(move || {
        while let Some(asked) = listener.receive().expect("it listens") {
            let answer = if is_denied(&asked, port) {
                Answer::Fail(Errno::NODATA)
            } else {
                Answer::Continue
            };
            listener.answer(asked.id, answer).expect("it is answered");
        }
    });
    let output = running.wait();
    naive.join().expect("it does not panic");
    let reached = closed.count();
    println!("naive: {} {reached}", output.stdout_text());
    reached > 0
}

fn socket_of(asked: &Notification) -> Option<OwnedFd> {
    let process = pidfd_open(asked.thread?, PidfdFlags::empty()).ok()?;
    let number = i32::try_from(asked.arguments[0]).ok()?;
    pidfd_getfd(process, number, PidfdGetfdFlags::empty()).ok()
}

fn port_of(asked: &Notification) -> Option<u16> {
    let memory = std::fs::File::open(format!("/proc/{}/mem", asked.thread?)).ok()?;
    let mut port = [0; 2];
    std::os::unix::fs::FileExt::read_exact_at(&memory, &mut port, asked.arguments[1] + 2).ok()?;
    Some(u16::from_be_bytes(port))
}

/// The controls: whoever judges what memory or a number says and has the kernel
/// read it again loses.
#[test]
fn the_races_are_won_against_a_supervisor_that_lets_the_kernel_look_again() {
    let flips = format!("flip-connect {} 127.0.0.1 OPEN CLOSED", races());
    let is_closed = |asked: &Notification, closed| port_of(asked) == Some(closed);
    assert!((0..TRIES).any(|_| loses(&flips, is_closed)));
    let flips = format!("flip-socket {} 127.0.0.1 CLOSED", races());
    let is_stream = |asked: &Notification, _| {
        let kind = socket_of(asked).map(rustix::net::sockopt::socket_type);
        kind.is_some_and(|kind| kind == Ok(SocketType::STREAM))
    };
    assert!((0..TRIES).any(|_| loses(&flips, is_stream)));
}
