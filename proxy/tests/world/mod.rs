//! A policy that was built in code, and the proxy of it.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::ffi::CString;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;

use harness::net::head;
use launcher_policy::enforce::{Enforce, Mode};
use launcher_policy::exec::{Cwd, Exec};
use launcher_policy::namespaces::{IdMap, Init, Listener, Loopback, Namespaces, Protocol};
use launcher_policy::proxy::{Host, Network, Rule, Upstream};
use launcher_policy::session::{DieWithParent, Session, Terminal};
use launcher_policy::wire::{Architecture, MAX_FRAME, encode};
use launcher_policy::{List, Policy, Text};
use launcher_proxy::{Entry, Proxy, Resolver, Settings};

/// A rule: a name, or an address with a prefix.
pub(crate) fn rule(host: &str, port: u16) -> Rule<'static> {
    let name = |name: &str| Text::new(CString::new(name).expect("no NUL").leak_str());
    let (address, prefix) = host.split_once('/').unwrap_or((host, ""));
    let host = match (address.parse::<IpAddr>(), host.strip_prefix("*.")) {
        (Ok(address), _) => Host::Network(match prefix.parse() {
            Ok(prefix) => Network::new(address, prefix).expect("a network"),
            Err(_) => Network::of(address),
        }),
        (_, Some(above)) => Host::Below(name(above)),
        (_, None) if host == "*" => Host::AnyName,
        (_, None) => Host::Name(name(host)),
    };
    Rule { host, first: port, last: port }
}

trait LeakStr {
    fn leak_str(self) -> &'static std::ffi::CStr;
}

impl LeakStr for CString {
    fn leak_str(self) -> &'static std::ffi::CStr {
        Box::leak(self.into_boxed_c_str())
    }
}

fn list<T: serde::Serialize>(items: &[T]) -> List<'static, T> {
    let bytes: Vec<u8> =
        items.iter().flat_map(|item| postcard::to_stdvec(item).expect("encoded")).collect();
    List::from_bytes(bytes.leak())
}

/// A policy that lets this through.
pub(crate) fn policy(
    allow: &[Rule<'static>],
    deny: &[Rule<'static>],
    upstream: Upstream<'static>,
) -> Vec<u8> {
    let listeners =
        [Protocol::Http, Protocol::Socks].map(|protocol| Listener { protocol, port: 1 });
    let policy = Policy {
        enforce: Enforce {
            namespaces: Mode::Require,
            landlock: Mode::Off,
            limits: Mode::Off,
            guarantees: List::EMPTY,
            offers: List::EMPTY,
        },
        fds: Default::default(),
        namespaces: Some(Namespaces {
            flags: 0x4000_0000, // CLONE_NEWNET
            uid_map: IdMap::Caller,
            gid_map: IdMap::Caller,
            host_name: None,
            loopback: Loopback::Up,
            listeners: list(&listeners),
            init: Init::None,
        }),
        mounts: None,
        limits: Default::default(),
        session: Session {
            terminal: Terminal::None,
            umask: None,
            die_with_parent: DieWithParent::Never,
        },
        credentials: Default::default(),
        landlock: None,
        seccomp: None,
        exec: Exec { argv0: None, keep: List::EMPTY, set: List::EMPTY, cwd: Cwd::Launch },
        proxy: Some(launcher_policy::proxy::Proxy {
            allow: list(allow),
            deny: list(deny),
            upstream,
        }),
        origin: Default::default(),
    };
    let mut buffer = vec![0; MAX_FRAME];
    encode(&policy, Architecture::NATIVE, |_| [0; 32], &mut buffer).expect("a policy").to_vec()
}

/// A proxy that serves, and what it has told.
pub(crate) struct Served {
    pub(crate) proxy: Option<Proxy>,
    pub(crate) http: SocketAddr,
    pub(crate) socks: SocketAddr,
    pub(crate) log: mpsc::Receiver<Entry>,
}

impl Served {
    pub(crate) fn new(policy: Vec<u8>, dns: Option<SocketAddr>) -> Self {
        Self::with(policy, dns, None)
    }

    pub(crate) fn with(
        policy: Vec<u8>,
        dns: Option<SocketAddr>,
        environment: Option<String>,
    ) -> Self {
        let (told, log) = mpsc::channel();
        let settings = Settings {
            resolver: dns.map_or(Resolver::System, Resolver::Server),
            environment,
            log: Box::new(move |entry| drop(told.send(entry.clone()))),
        };
        let proxy = Proxy::new(policy, settings).expect("a proxy");
        let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a socket"));
        let [http, socks] = sockets.each_ref().map(|each| each.local_addr().expect("bound"));
        proxy.serve(sockets.into_iter().map(Into::into).collect()).expect("it serves");
        Self { proxy: Some(proxy), http, socks, log }
    }

    /// What a CONNECT to this target answers, and the connection.
    pub(crate) fn connect(&self, target: &str) -> (String, TcpStream) {
        let mut stream = TcpStream::connect(self.http).expect("it accepts");
        write!(stream, "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").expect("written");
        (head(&mut stream), stream)
    }

    /// The code of the reply to a SOCKS request for a name.
    pub(crate) fn socks(&self, command: u8, name: &str, port: u16) -> (u8, TcpStream) {
        let length = u8::try_from(name.len()).expect("a short name");
        self.ask_socks(command, &[&[3, length], name.as_bytes()].concat(), port)
    }

    /// The code of the reply to a SOCKS request to connect to an address.
    pub(crate) fn socks_address(&self, address: IpAddr, port: u16) -> (u8, TcpStream) {
        let host = match address {
            IpAddr::V4(address) => [&[1][..], &address.octets()].concat(),
            IpAddr::V6(address) => [&[4][..], &address.octets()].concat(),
        };
        self.ask_socks(1, &host, port)
    }

    fn ask_socks(&self, command: u8, host: &[u8], port: u16) -> (u8, TcpStream) {
        let mut stream = TcpStream::connect(self.socks).expect("it accepts");
        let bytes = [&[5, 1, 0, 5, command, 0], host, &port.to_be_bytes()].concat();
        stream.write_all(&bytes).expect("written");
        let mut reply = [0; 12];
        stream.read_exact(&mut reply).expect("a reply");
        (reply[3], stream)
    }
}
