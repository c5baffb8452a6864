//! Programs that know of no proxy: names lead to it all the same.

use std::net::Ipv4Addr;

use harness::net::Dns;
use harness::{Caller, Output, TempDir, needs, skip};
use rustix::process::geteuid;

use super::{Files, World, repository};

/// Where the names lead outside: addresses of this machine's loopback that no
/// other test uses, for each test its own.
fn outside(test: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 77, test)
}

/// `a.test` and `other.test`, with servers of TLS and of HTTP behind them.
struct Usual {
    world: World,
    certificate: String,
    policy: String,
    _served: TempDir,
    _servers: [Files; 2],
}

impl Usual {
    /// `None` where this test may not serve at the usual ports.
    fn new(test: u8, root: &str) -> Option<Self> {
        if !geteuid().is_root() {
            return None;
        }
        let address = outside(test);
        let served = repository();
        let servers = [443, 80].map(|port| Files::at(&served, &address.to_string(), port));
        let certificate = served.join("certificate.pem").display().to_string();
        let policy = format!(
            "filesystem = {{ root = '{root}', read = ['{certificate}'] }}\n[network]\naccess = 'proxy'\n\
             allow = ['a.test', '{address}']\nproxy.transparent = true\n\
             [process]\nenv = {{ set = {{ SSL_CERT_FILE = '{certificate}', \
             NODE_EXTRA_CA_CERTS = '{certificate}', GIT_SSL_CAINFO = '{certificate}' }} }}\n"
        );
        let world = World { dns: Dns::new(move |_, _| vec![address]), ..World::new() };
        Some(Self { world, certificate, policy, _served: served, _servers: servers })
    }

    /// Runs a script without the variables that name the proxy.
    fn run(&self, caller: Caller, script: &str) -> Output {
        let unset = "unset http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy ALL_PROXY\n";
        let script = format!("{unset}cd /tmp\n{script}");
        self.world.sandbox(&self.policy, caller).run(["bash", "-c", &script])
    }
}

macro_rules! usual {
    ($test:literal, $root:literal) => {
        match Usual::new($test, $root) {
            Some(usual) => usual,
            None => skip!("the usual ports", "they take root"),
        }
    };
}

#[test]
fn programs_that_know_of_no_proxy_reach_what_is_let_through() {
    needs!("bash", "curl", "git", "openssl", "python3");
    const SCRIPT: &str = r#"
        cat /etc/resolv.conf
        curl -sS http://a.test/source/note
        curl -sS https://a.test/source/note
        curl -sS --tls-max 1.2 https://A.test./source/note
        git clone -q https://a.test/served.git got && cat got/note
        /usr/bin/python3 -c 'import urllib.request as r
for scheme in ("http", "https"): print(r.urlopen(scheme + "://a.test/source/note").read().decode(), end="")'
    "#;
    let usual = usual!(1, "minimal");
    for caller in Caller::both() {
        let output = usual.run(caller, SCRIPT);
        output.assert_said(&[
            "nameserver 127.0.0.1",
            "cloned",
            "cloned",
            "cloned",
            "cloned",
            "cloned",
            "cloned",
        ]);
        assert!(usual.world.told().iter().all(|(host, how)| host == "a.test" && how == "allowed"));
    }
}

#[test]
fn node_fetches_without_knowing_of_a_proxy() {
    needs!("bash", "node", "openssl", "python3");
    const SCRIPT: &str = r#"
        node -e 'const get = url => fetch(url).then(r => r.text(), e => e.cause.code);
            (async () => { for (const url of ["https://a.test/source/note", "http://a.test/source/note", "http://b.test/"])
                console.log((await get(url)).trim()) })()'
    "#;
    let usual = usual!(2, "minimal");
    for caller in Caller::both() {
        usual.run(caller, SCRIPT).assert_said(&["cloned", "cloned", "ENOTFOUND"]);
    }
}

#[test]
fn the_hosts_resolver_is_not_asked_where_its_files_are_shown() {
    needs!("bash", "curl", "openssl", "python3");
    let usual = usual!(3, "host");
    for caller in Caller::both() {
        let script = "cat /etc/resolv.conf; curl -sS http://a.test/source/note";
        usual.run(caller, script).assert_said(&["nameserver 127.0.0.1", "cloned"]);
    }
}

#[test]
fn what_is_not_let_through_is_refused_without_a_proxy_being_named() {
    needs!("bash", "curl", "openssl", "python3");
    const SCRIPT: &str = r#"
        get() { curl -sS --max-time 20 "$@" 2>&1 | head -n 1 | tr -d '\r' | cut -c 1-40; }
        get http://b.test/
        get http://secret.a.test/
        get --resolve b.test:80:127.0.0.1 http://b.test/
        get -H 'Host: b.test' http://a.test/
        get -H 'Host:' http://a.test/
        get http://127.0.0.1/
        get --resolve b.test:443:127.0.0.1 https://b.test/ | cut -c 1-10
        get -k https://127.0.0.1/ | cut -c 1-10
        get http://a.test:81/ | cut -c 1-9
        get http://192.0.2.1/ | cut -c 1-9
        get https://OUTSIDE/ | cut -c 1-9
        get -H 'Host: b.test' https://a.test/source/note
    "#;
    let usual = usual!(4, "minimal");
    for caller in Caller::both() {
        let output = usual.run(caller, &SCRIPT.replace("OUTSIDE", &outside(4).to_string()));
        output.assert_said(&[
            "curl: (6) Could not resolve host: b.test",
            "curl: (6) Could not resolve host: secret",
            "proxy: network.allow does not have it",
            "proxy: network.allow does not have it",
            "proxy: this is a proxy: it takes CONNECT",
            "proxy: 127.0.0.1: the address is private",
            "curl: (35)",
            "curl: (35)",
            "curl: (7)",
            "curl: (7)",
            "curl: (7)",
            // It is whom TLS is spoken with that is judged.
            "cloned",
        ]);
        assert_eq!(usual.world.dns.count("b.test") + usual.world.dns.count("secret.a.test"), 0);
    }
    // What is asked for in vain inside is there outside.
    let control = std::process::Command::new("curl")
        .args(["-sS", "--noproxy", "*", "--cacert", &usual.certificate])
        .args(["--resolve", &format!("a.test:443:{}", outside(4)), "https://a.test/source/note"])
        .output()
        .expect("curl runs");
    assert_eq!(control.stdout, b"cloned\n", "{control:?}");
}
