//! Ways around a filter: other names for what is closed, and arguments that
//! the kernel reads otherwise than a filter might.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

use harness::{Caller, Errno, Outcome, Sandbox, TempDir};

/// No UNIX sockets, by the filter alone: every path is in view.
const NO_UNIX: &str = r#"
    filesystem = { tmp = "none", proc = false, dev = "none" }
    network.unix = "none"
    enforce.namespaces = "off"
    "#;

#[test]
fn a_pair_of_sockets_reaches_no_other_socket() {
    for caller in Caller::both() {
        let directory = TempDir::new();
        let path = directory.join("socket");
        let server = UnixDatagram::bind(&path).expect("it is bound");
        server.set_nonblocking(true).expect("it has flags");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).expect("it is given");
        let lines = ["send dgram", "send raw", "connect dgram", "connect raw"];
        // These stay with their peers by themselves.
        let bound = ["send stream", "connect stream", "connect seqpacket"];
        let ask = |sandbox: Sandbox, lines: &[&str]| {
            let lines: Vec<String> =
                lines.iter().map(|line| format!("pair-{line} {directory}/socket")).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            sandbox.caller(caller).probes(&lines)
        };

        let inside = ask(Sandbox::new(NO_UNIX), &lines);
        let got_inside = server.recv(&mut [0; 1]).is_ok();
        let outside = ask(Sandbox::outside(), &lines);
        let got_outside = server.recv(&mut [0; 1]).is_ok();

        assert_eq!(inside, vec![Outcome::Errno(Errno::SOCKTNOSUPPORT); lines.len()], "{caller}");
        assert!(outside.iter().all(Outcome::is_ok), "{caller}: {outside:?}");
        assert!(got_outside && !got_inside, "{caller}");
        for sandbox in [Sandbox::new(NO_UNIX), Sandbox::outside()] {
            let outcomes = ask(sandbox, &bound);
            assert!(outcomes.iter().all(Outcome::is_errno), "{caller}: {outcomes:?}");
        }
    }
}
