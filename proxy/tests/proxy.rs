//! What a proxy lets through, over real sockets of this machine's loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use launcher_policy::Text;
use launcher_policy::proxy::Upstream;
use launcher_proxy::{Verdict, Way};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

mod world;

use harness::net::{Dns, head, said, server};
use world::{Served, policy, rule};

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A proxy that lets `a.test` through to a server here, by name, HTTP and SOCKS.
fn one_host() -> (Served, u16, Dns) {
    let port = server("127.0.0.1:0", "here").port();
    let dns = Dns::new(|_, _| vec![HERE]);
    let allow = [rule("a.test", port), rule("127.0.0.1", port)];
    (Served::new(policy(&allow, &[], Upstream::None), Some(dns.address)), port, dns)
}

#[test]
fn a_host_that_is_allowed_is_reached_in_every_way() {
    let (served, port, _) = one_host();
    for host in ["a.test", "A.Test.", "127.0.0.1", "[::ffff:127.0.0.1]"] {
        let (head, mut stream) = served.connect(&format!("{host}:{port}"));
        assert!(head.starts_with("HTTP/1.1 200 "), "{host}: {head}");
        assert_eq!(said(&mut stream, "hello"), "here:hello");
    }
    for host in ["a.test", "127.0.0.1"] {
        let (reply, mut stream) = served.socks(1, host, port);
        assert_eq!(reply, 0, "{host}");
        assert_eq!(said(&mut stream, "hello"), "here:hello");
    }
    for address in ["127.0.0.1", "::ffff:127.0.0.1"] {
        let address = address.parse().expect("an address");
        let (reply, mut stream) = served.socks_address(address, port);
        assert_eq!(reply, 0, "{address}");
        assert_eq!(said(&mut stream, "hello"), "here:hello");
    }
    for address in ["127.0.0.2", "::ffff:127.0.0.2", "::1"] {
        assert_eq!(served.socks_address(address.parse().expect("an address"), port).0, 2);
    }
    let mut stream = TcpStream::connect(served.http).expect("it accepts");
    write!(stream, "GET http://a.test:{port}?x HTTP/1.1\r\n\r\n").expect("written");
    let answer_head = head(&mut stream);
    assert!(answer_head.starts_with("HTTP/1.1 200 OK"), "{answer_head}");
    let mut stream = TcpStream::connect(served.http).expect("it accepts");
    write!(
        stream,
        "GET http://a.test:{port}/x?y HTTP/1.1\r\nHost: b.test\r\nProxy-Connection: close\r\n\
                    Connection: x-mine\r\nX-Mine: 1\r\nX-Kept: 2\r\n\r\n"
    )
    .expect("written");
    let answer_head = head(&mut stream);
    assert!(answer_head.starts_with("HTTP/1.1 200 OK"), "{answer_head}");
    assert!(!answer_head.to_lowercase().contains("x-hop"), "{answer_head}");
    let mut bytes = vec![0; 4096];
    let count = stream.read(&mut bytes).expect("a body");
    let request = String::from_utf8_lossy(&bytes[..count]).to_lowercase();
    assert!(request.starts_with("here:get /x?y http/1.1"), "{request}");
    // The host that was judged, whatever the client says.
    assert!(request.contains(&format!("host: a.test:{port}")), "{request}");
    assert!(request.contains("x-kept") && !request.contains("x-mine"), "{request}");
    assert!(!request.contains("proxy-connection"), "{request}");
}

#[test]
fn what_is_not_allowed_is_refused_and_not_looked_up() {
    let (served, port, dns) = one_host();
    let other = server("127.0.0.1:0", "other").port();
    for target in [
        format!("b.test:{port}"),
        format!("a.test:{other}"),
        format!("127.0.0.1:{other}"),
        format!("127.0.0.2:{port}"),
        format!("[::1]:{port}"),
        format!("localhost:{port}"),
        format!("secret.of.a.test:{port}"),
        format!("127.1:{port}"),
        format!("2130706433:{port}"),
        format!("0x7f000001:{port}"),
    ] {
        let (head, _) = served.connect(&target);
        assert!(head.starts_with("HTTP/1.1 403 "), "{target}: {head}");
        let (host, port) = target.rsplit_once(':').expect("a port");
        let host = host.trim_matches(['[', ']']);
        assert_eq!(served.socks(1, host, port.parse().expect("a port")).0, 2, "{target}");
    }
    assert!(dns.asked.lock().expect("not poisoned").is_empty());
    let entry = served.log.recv().expect("an entry");
    assert_eq!((entry.way, entry.verdict), (Way::Connect, Verdict::Refused));
    assert_eq!((entry.host.as_str(), entry.port), ("b.test", port));
    assert_eq!(entry.reason, "network.allow does not have it");
}

#[test]
fn only_connections_over_tcp_can_be_asked_for() {
    let (served, port, _) = one_host();
    for command in [2, 3] {
        assert_eq!(served.socks(command, "a.test", port).0, 7);
    }
    for request in [
        format!("GET /x HTTP/1.1\r\nHost: a.test:{port}\r\n\r\n"),
        format!("GET https://a.test:{port}/ HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        "CONNECT a.test HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned(),
    ] {
        let mut stream = TcpStream::connect(served.http).expect("it accepts");
        stream.write_all(request.as_bytes()).expect("written");
        let head = head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 400 "), "{request}: {head}");
    }
}

#[test]
fn a_name_that_leads_to_a_closed_address_is_refused() {
    let port = server("127.0.0.1:0", "here").port();
    let dns = Dns::new(|name, _| match name {
        "inside.test" => vec![HERE],
        "metadata.test" => vec![Ipv4Addr::new(169, 254, 169, 254)],
        // One that is let through does not make up for one that is not.
        _ => vec![HERE, Ipv4Addr::new(127, 0, 0, 2)],
    });
    let by_name = Served::new(policy(&[rule("*", port)], &[], Upstream::None), Some(dns.address));
    for name in ["inside.test", "metadata.test", "both.test"] {
        let (head, _) = by_name.connect(&format!("{name}:{port}"));
        assert!(head.starts_with("HTTP/1.1 403 "), "{name}: {head}");
    }
    let allow = [rule("*", port), rule("127.0.0.1", port)];
    let named = Served::new(policy(&allow, &[], Upstream::None), Some(dns.address));
    for (name, status) in [("inside.test", 200), ("metadata.test", 403), ("both.test", 403)] {
        let (head, _) = named.connect(&format!("{name}:{port}"));
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {head}");
    }
    let denied = [rule("127.0.0.0/8", port)];
    let denied = Served::new(policy(&allow, &denied, Upstream::None), Some(dns.address));
    let (head, _) = denied.connect(&format!("inside.test:{port}"));
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
}

#[test]
fn the_address_that_was_judged_is_the_one_that_is_connected_to() {
    let port = server("127.0.0.1:0", "judged").port();
    server(&format!("127.0.0.2:{port}"), "rebound");
    let dns = Dns::new(|_, question| match question {
        1 => vec![HERE],
        _ => vec![Ipv4Addr::new(127, 0, 0, 2)],
    });
    let allow = [rule("a.test", port), rule("127.0.0.1", port)];
    let served = Served::new(policy(&allow, &[], Upstream::None), Some(dns.address));
    let (_, mut stream) = served.connect(&format!("a.test:{port}"));
    assert_eq!(said(&mut stream, "x"), "judged:x");
    assert_eq!(dns.count("a.test"), 1);
    drop(stream);
    let entry = served.log.recv().expect("an entry");
    assert_eq!(entry.address, Some(HERE.into()));
    assert_eq!((entry.sent, entry.received), (1, 8));
    assert_eq!(entry.reason, format!("127.0.0.1:{port}"));
}

#[test]
fn what_fails_beyond_the_policy_is_said_as_such() {
    let dns = Dns::new(|_, _| Vec::new());
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = closed.local_addr().expect("bound").port();
    drop(closed);
    let allow = [rule("a.test", port), rule("127.0.0.1", port)];
    let served = Served::new(policy(&allow, &[], Upstream::None), Some(dns.address));
    for (host, reply) in [("a.test", 4), ("127.0.0.1", 5)] {
        let (head, _) = served.connect(&format!("{host}:{port}"));
        assert!(head.starts_with("HTTP/1.1 502 "), "{host}: {head}");
        assert_eq!(served.log.recv().expect("an entry").verdict, Verdict::Failed);
        assert_eq!(served.socks(1, host, port).0, reply, "{host}");
        assert_eq!(served.log.recv().expect("an entry").verdict, Verdict::Failed);
    }
}

#[test]
fn another_proxy_makes_the_connections_where_the_policy_says_so() {
    let (behind, port, _) = one_host();
    let address = behind.http.to_string();
    let at = std::ffi::CString::new(address.clone()).expect("no NUL").into_boxed_c_str();
    let at = Upstream::At(Text::new(Box::leak(at)));
    let allow = [rule("a.test", port), rule("c.test", port)];
    for served in [
        Served::new(policy(&allow, &[], at), None),
        Served::with(policy(&allow, &[], Upstream::Environment), None, Some(address)),
    ] {
        let (head, mut stream) = served.connect(&format!("a.test:{port}"));
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!(said(&mut stream, "hello"), "here:hello");
        let (head, _) = served.connect(&format!("b.test:{port}"));
        assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
        // This one lets it through, the one behind does not.
        let (head, _) = served.connect(&format!("c.test:{port}"));
        assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    }
}

#[test]
fn with_the_proxy_all_its_connections_end() {
    let (mut served, port, _) = one_host();
    let (_, mut stream) = served.connect(&format!("a.test:{port}"));
    assert_eq!(said(&mut stream, "hello"), "here:hello");
    drop(served.proxy.take());
    assert!(matches!(stream.read(&mut [0; 8]), Ok(0) | Err(_)));
    assert!(TcpStream::connect(served.http).is_err());
    // Nor is one forgotten that was cut off.
    let entry = served.log.recv().expect("an entry");
    assert_eq!((entry.verdict, entry.sent, entry.received), (Verdict::Allowed, 5, 10));
}

#[test]
fn a_thousand_connections_are_served_at_once_and_the_next_one_after_them() {
    // Each takes four descriptors of this process: both ends of both halves.
    let limit = getrlimit(Resource::Nofile);
    let needed = 4 * 1000 + 500;
    if limit.maximum.is_some_and(|maximum| maximum < needed) {
        harness::skip!("open_files", "the hard limit on open files is too low");
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), ..limit }).expect("it is raised");
    let (served, port, dns) = one_host();
    let target = format!("a.test:{port}");
    let mut streams: Vec<TcpStream> = (0..1000).map(|_| served.connect(&target).1).collect();
    for (number, stream) in streams.iter_mut().enumerate() {
        assert_eq!(said(stream, &number.to_string()), format!("here:{number}"));
    }
    // It is accepted by the kernel, and answered when there is a place.
    let mut next = TcpStream::connect(served.http).expect("it is in the queue");
    write!(next, "CONNECT {target} HTTP/1.1\r\n\r\n").expect("written");
    next.set_nonblocking(true).expect("fcntl");
    let error = next.read(&mut [0; 1]).expect_err("nobody has answered");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    next.set_nonblocking(false).expect("fcntl");
    drop(streams);
    assert!(head(&mut next).starts_with("HTTP/1.1 200 "));
    // Nor is a name that is known asked for again.
    assert!(dns.count("a.test") < 100, "{}", dns.count("a.test"));
}

#[test]
fn a_head_is_taken_up_to_a_length() {
    let (served, port, _) = one_host();
    // hyper reads ahead, and judges what it has.
    for (length, status) in [(60, "200"), (200, "431")] {
        let mut stream = TcpStream::connect(served.http).expect("it accepts");
        let long = "x".repeat(length << 10);
        let request = format!("GET http://a.test:{port}/ HTTP/1.1\r\nX: {long}\r\n\r\n");
        // It may be cut off while it is still written.
        let _ = stream.write_all(request.as_bytes());
        let answer = head(&mut stream);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{length} KiB: {answer}");
    }
}

#[test]
fn a_proxy_behind_is_looked_up_as_other_names_are() {
    let (behind, port, dns) = one_host();
    let at = format!("proxy.test:{}", behind.http.port());
    let at = std::ffi::CString::new(at).expect("no NUL").into_boxed_c_str();
    let at = Upstream::At(Text::new(Box::leak(at)));
    let served = Served::new(policy(&[rule("a.test", port)], &[], at), Some(dns.address));
    let (head, mut stream) = served.connect(&format!("a.test:{port}"));
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(said(&mut stream, "hello"), "here:hello");
    assert!(dns.count("proxy.test") > 0);
}
