//! What the proxy costs, beside the same over loopback without it: a new
//! connection to a name that is known, an exchange on one that stands, a
//! download.
//!
//! Both take turns within each measurement, so that whatever else the machine
//! does is borne by both.
#![allow(missing_docs, reason = "criterion's macros document nothing")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use harness::net::{Dns, head};
use launcher_policy::wire::Architecture;
use launcher_proxy::{Proxy, Resolver, Settings};
use policy_encoder::diagnostic::Diagnostics;
use policy_encoder::{Place, encode, parse};

/// How much is downloaded at once.
const DOWNLOAD: usize = 256 << 20;

/// What is read and written at once.
const PART: usize = 256 << 10;

/// The two ways to the server, in this order.
const WAYS: [&str; 2] = ["direct", "proxy"];

/// A server, and a proxy that lets its name through.
struct World {
    server: SocketAddr,
    proxy: SocketAddr,
    _proxy: Proxy,
    _dns: Dns,
}

impl World {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let server = listener.local_addr().expect("bound");
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || serve(stream));
            }
        });
        let dns = Dns::new(|_, _| vec![Ipv4Addr::LOCALHOST]);
        let settings = Settings {
            resolver: Resolver::Server(dns.address),
            environment: None,
            log: Box::new(|_| {}),
        };
        let proxy = Proxy::new(policy(server.port()), settings).expect("a proxy");
        let ports = proxy.serve_here().expect("it serves");
        let http = ports.first().expect("HTTP comes first").1;
        let http = (Ipv4Addr::LOCALHOST, http).into();
        Self { server, proxy: http, _proxy: proxy, _dns: dns }
    }

    /// A connection to the server, one of the [`WAYS`].
    fn connect(&self, way: usize) -> TcpStream {
        let stream = TcpStream::connect([self.server, self.proxy][way]).expect("it accepts");
        stream.set_nodelay(true).expect("it is set");
        let mut stream = stream;
        if way == 1 {
            let port = self.server.port();
            write!(stream, "CONNECT a.test:{port} HTTP/1.1\r\n\r\n").expect("written");
            assert!(head(&mut stream).starts_with("HTTP/1.1 200 "));
        }
        stream
    }
}

fn policy(port: u16) -> Vec<u8> {
    let text =
        format!("network = {{ access = 'proxy', allow = ['a.test:{port}', '127.0.0.1:{port}'] }}");
    let (document, mut diagnostics): (_, Diagnostics) = parse::toml(&text);
    let place = Place { sysroot: "/".into(), directory: "/".into(), variables: [].into() };
    encode(&document, &place, Architecture::NATIVE, &mut diagnostics).expect("a policy")
}

/// Gives a byte back; to a zero it gives [`DOWNLOAD`].
fn serve(mut stream: TcpStream) {
    stream.set_nodelay(true).expect("it is set");
    let part = vec![1; PART];
    let mut asked = [0];
    while stream.read_exact(&mut asked).is_ok() {
        let parts = if asked == [0] { DOWNLOAD / PART } else { 0 };
        let sent = (0..parts).try_for_each(|_| stream.write_all(&part));
        if sent.is_err() || parts == 0 && stream.write_all(&asked).is_err() {
            return;
        }
    }
}

fn exchange(stream: &mut TcpStream) {
    let mut byte = [1];
    stream.write_all(&byte).expect("written");
    stream.read_exact(&mut byte).expect("an answer");
}

fn download(stream: &mut TcpStream) {
    stream.write_all(&[0]).expect("written");
    let (mut part, mut left) = (vec![0; PART], DOWNLOAD);
    while left > 0 {
        left -= stream.read(&mut part).expect("a part");
    }
}

/// The time that one of the ways takes, with both taking turns.
fn in_turns(measured: usize, rounds: u64, mut one: impl FnMut(usize)) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..rounds {
        for way in 0..WAYS.len() {
            let begin = Instant::now();
            one(way);
            if way == measured {
                total += begin.elapsed();
            }
        }
    }
    total
}

fn proxy(criterion: &mut Criterion) {
    let world = World::new();
    let mut group = criterion.benchmark_group("proxy");
    for (way, name) in WAYS.into_iter().enumerate() {
        group.bench_function(BenchmarkId::new("connection", name), |bench| {
            bench.iter_custom(|rounds| {
                in_turns(way, rounds, |way| exchange(&mut world.connect(way)))
            });
        });
    }
    let mut streams = [world.connect(0), world.connect(1)];
    for (way, name) in WAYS.into_iter().enumerate() {
        group.bench_function(BenchmarkId::new("exchange", name), |bench| {
            bench.iter_custom(|rounds| in_turns(way, rounds, |way| exchange(&mut streams[way])));
        });
    }
    group.sample_size(10).throughput(Throughput::Bytes(DOWNLOAD as u64));
    for (way, name) in WAYS.into_iter().enumerate() {
        group.bench_function(BenchmarkId::new("download", name), |bench| {
            bench.iter_custom(|rounds| in_turns(way, rounds, |way| download(&mut streams[way])));
        });
    }
}

criterion_group!(benches, proxy);
criterion_main!(benches);
