//! Many starts in one process, which has nothing left of them in the end. The
//! only test of its program: others would open and close what it counts.

use std::fs;
use std::time::Instant;

use harness::net::{Dns, said, server};
use harness::{Caller, Namespaces, Sandbox, TIMEOUT};
use policy_encoder::handover::Listeners;

mod world;

use world::{Served, policy, rule};

/// What this process has: descriptors, threads.
fn counted() -> [usize; 2] {
    ["/proc/self/fd", "/proc/self/task"]
        .map(|directory| fs::read_dir(directory).expect("a directory").count())
}

#[test]
fn many_starts_leave_no_socket_no_thread_and_no_namespace() {
    let starts = std::env::var("STARTS").ok().and_then(|starts| starts.parse().ok()).unwrap_or(20);
    let port = server("127.0.0.1:0", "here").port();
    let dns = Dns::new(|_, _| vec![std::net::Ipv4Addr::LOCALHOST]);
    let allow = [rule("a.test", port), rule("127.0.0.1", port)];
    let bytes = policy(&allow, &[], launcher_policy::proxy::Upstream::None);
    let text = "network = { access = 'proxy', allow = ['a'] }";
    let sandbox = Sandbox::new(text).caller(Caller::Nobody);
    let probe = sandbox.probe_path();
    let once = || {
        let served = Served::new(bytes.clone(), Some(dns.address));
        let (_, mut stream) = served.connect(&format!("a.test:{port}"));
        assert_eq!(said(&mut stream, "x"), "here:x");
        let (listeners, theirs) = Listeners::pair().expect("a socket");
        let sandbox = Sandbox::new(text).caller(Caller::Nobody);
        let sandbox = sandbox.option("--listeners-fd").option("9").pass(theirs, 9);
        let running = sandbox.start([probe.as_str(), "pid"]);
        drop(sandbox);
        let sockets = listeners.receive().expect("received");
        served.proxy.as_ref().expect("a proxy").serve(sockets).expect("it serves");
        assert_eq!(running.wait().code(), 0);
    };
    once();
    let (before, namespaces) = (counted(), Namespaces::now());
    (0..starts).for_each(|_| once());
    // The server's thread of the last connection may not have seen its end.
    let after = counted();
    assert!(
        after.iter().zip(before).all(|(after, before)| *after <= before + 2),
        "{before:?} {after:?}"
    );
    // The kernel takes them apart after their last process; others may have some.
    let end = Instant::now() + TIMEOUT;
    while Namespaces::now().are_more_than(&namespaces, starts / 2) {
        assert!(Instant::now() < end, "{namespaces:?} {:?}", Namespaces::now());
        std::thread::yield_now();
    }
}
