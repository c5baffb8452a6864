//! The same policies on a host without namespaces: a supervisor makes the
//! connections.

use harness::{ALONE, Caller, Errno, Handover, Outcome, Sandbox, WITHOUT_USER_NAMESPACES, needs};

use super::{BY_HAND, World};
use harness::net::server;

/// What lets the world's names through, and one address, with namespaces and
/// without.
fn policy(port: u16, more: &str) -> String {
    format!(
        "{ALONE}\n[network]\nunix = 'host'\naccess = 'proxy'\nwithout_namespace = 'supervise'\n\
         allow = ['a.test:{port}', 'closed.test:{port}', '127.0.0.1:{port}']\n{more}"
    )
    .replace("network.unix = \"host\"\n", "")
}

/// Both: a host with namespaces, and one without.
const HOSTS: [&[&str]; 2] = [&[], WITHOUT_USER_NAMESPACES];

impl World {
    fn on(&self, host: &[&str], policy: &str, caller: Caller) -> Sandbox {
        self.sandbox(policy, caller).wrap(host.iter().copied())
    }
}

#[test]
fn a_supervisor_leads_to_the_same_proxy() {
    needs!("bash");
    for host in HOSTS {
        let world = World::new();
        let policy = policy(world.port, "");
        let command = ["bash", "-c", &world.of(BY_HAND)];
        let output = world.on(host, &policy, Caller::Nobody).run(command);
        output.assert_said(&[
            "HTTP/1.1 200",
            "HTTP/1.1 403",
            "HTTP/1.1 403",
            "http://127.0.0.1:3128 localhost,127.0.0.1,::1",
        ]);
        assert_eq!(world.dns.count("b.test"), 0, "{host:?}");
    }
}

#[test]
fn launches_beside_each_other_have_proxies_of_their_own() {
    needs!("bash");
    let worlds = [World::new(), World::new()];
    let policies = worlds.each_ref().map(|world| policy(world.port, ""));
    let sandboxes: Vec<Sandbox> = worlds
        .iter()
        .zip(&policies)
        .map(|(world, policy)| world.on(WITHOUT_USER_NAMESPACES, policy, Caller::Nobody))
        .collect();
    let started: Vec<_> = sandboxes
        .iter()
        .zip(&worlds)
        .map(|(sandbox, world)| sandbox.start(["bash", "-c", &world.of(BY_HAND)]))
        .collect();
    for running in started {
        let output = running.wait();
        assert!(output.stdout_text().starts_with("HTTP/1.1 200"), "{output:?}");
    }
}

#[test]
fn only_the_proxy_and_listed_addresses_are_connected_to() {
    let world = World::new();
    let other = server("127.0.0.1:0", "other").port();
    let policy = policy(world.port, "");
    let sandbox = world.on(WITHOUT_USER_NAMESPACES, &policy, Caller::Nobody);
    let calls = [
        "connect-tcp 127.0.0.1 3128".to_owned(),
        "connect-tcp 127.0.0.1 1080".to_owned(),
        format!("connect-tcp 127.0.0.1 {}", world.port),
        format!("connect-tcp ::ffff:127.0.0.1 {}", world.port),
        format!("connect-tcp 127.0.0.2 {}", world.port),
        format!("connect-tcp 127.0.0.1 {other}"),
        format!("connect-tcp ::1 {other}"),
        "connect-tcp 192.0.2.1 80".to_owned(),
        "tcp-inside".to_owned(),
        "socket 2 2".to_owned(),
        "socket 2 3 1".to_owned(),
        "socket 2 1 262".to_owned(),
    ];
    let probe = sandbox.probe_path();
    let command: Vec<&str> =
        std::iter::once(probe.as_str()).chain(calls.iter().map(String::as_str)).collect();
    let output = sandbox.run(&command);
    let outcomes: Vec<Outcome> = output.stdout_text().lines().filter_map(Outcome::parse).collect();
    let (reached, refused) = outcomes.split_at_checked(4).unwrap_or_else(|| panic!("{output:?}"));
    assert!(reached.iter().all(Outcome::is_ok), "{output:?}");
    assert_eq!(refused[..4], [const { Outcome::Errno(Errno::NETUNREACH) }; 4], "{output:?}");
    assert!(refused.len() == 8 && refused.iter().all(Outcome::is_errno), "{output:?}");
    let control = Sandbox::outside().probe(&calls[5]);
    assert!(control.is_ok(), "{control:?}");
    let direct: Vec<(String, String)> =
        world.told().into_iter().filter(|(host, _)| host.starts_with("127.0.0.")).collect();
    let entry = |host: &str, verdict: &str| (host.to_owned(), verdict.to_owned());
    assert_eq!(
        direct,
        [
            entry("127.0.0.1", "allowed"),
            entry("127.0.0.1", "allowed"),
            entry("127.0.0.2", "refused"),
            entry("127.0.0.1", "refused"),
        ]
    );
}

#[test]
fn nobody_else_supervises_such_a_policy() {
    let world = World::new();
    let policy = policy(world.port, "");
    let log = world.log.join("audit").display().to_string();
    let output =
        world.sandbox(&policy, Caller::Nobody).option(format!("--audit={log}")).run(["true"]);
    assert_eq!(output.code(), 125, "{output:?}");
    assert!(output.stderr_text().contains("a supervisor of its own"), "{output:?}");
    for host in HOSTS {
        let sandbox = Sandbox::new(&policy).handover(Handover::EncoderRun).as_nobody();
        let output = sandbox.wrap(host.iter().copied()).option("--proxy-dns=127.0.0.1:1");
        assert_eq!(output.run(["/usr/bin/true"]).code(), 0, "{host:?}");
    }
}
