//! A network that leads only to a proxy: the launcher's sockets, the proxy of
//! `encode-policy run`, and what real programs reach by it. Every packet stays
//! on this machine: servers, names and their DNS server are the tests' own.

mod supervised;
mod transparent;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;

use harness::net::{Dns, server};
use harness::{ALONE, Caller, Errno, Handover, Outcome, Output, Sandbox, TempDir, needs, pipe_of};
use policy_encoder::handover::Listeners;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// What lets a name through to a port here; loopback is closed unless named.
fn policy(port: u16) -> String {
    format!(
        "filesystem.root = 'minimal'\n[network]\naccess = 'proxy'\n\
         allow = ['a.test:{port}', 'closed.test:{port}', '127.0.0.1:{port}']\n"
    )
}

/// A server, names that lead to it, and a policy that lets one through.
struct World {
    port: u16,
    dns: Dns,
    log: TempDir,
}

impl World {
    fn new() -> Self {
        let dns = Dns::new(|name, _| match name {
            "closed.test" => vec![Ipv4Addr::new(127, 0, 0, 2)],
            _ => vec![HERE],
        });
        let log = TempDir::with_file("log", "");
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        fs::set_permissions(log.join("log"), all).expect("chmod");
        Self { port: server("127.0.0.1:0", "here").port(), dns, log }
    }

    /// A launch by `encode-policy run`.
    fn sandbox(&self, policy: &str, caller: Caller) -> Sandbox {
        Sandbox::new(policy)
            .handover(Handover::EncoderRun)
            .caller(caller)
            .option(format!("--proxy-dns={}", self.dns.address))
            .option(format!("--proxy-log={}", self.log.join("log").display()))
    }

    fn run(&self, caller: Caller, script: &str) -> Output {
        self.sandbox(&policy(self.port), caller).run(["bash", "-c", &self.of(script)])
    }

    /// A script with this world's port.
    fn of(&self, script: &str) -> String {
        script.replace("PORT", &self.port.to_string())
    }

    /// What was told of connections, in the order in which they ended.
    fn told(&self) -> Vec<(String, String)> {
        let text = self.log.read("log");
        let entries = text.lines().map(|line| -> serde_json::Value {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
        });
        let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        entries.map(|entry| (word(&entry["host"]), word(&entry["verdict"]))).collect()
    }
}

/// Launches that make the sockets themselves and as others do.
const PLACES: [&str; 3] = ["", "namespaces.pid = false", "namespaces.init = 'none'"];

/// A launch of which the sockets are handed to the test.
fn handed_over(policy: &str, caller: Caller, command: &[&str]) -> (Vec<OwnedFd>, Output) {
    let (listeners, theirs) = Listeners::pair().expect("a socket");
    let sandbox = Sandbox::new(policy).caller(caller);
    let sandbox = sandbox.option("--listeners-fd").option("9").pass(theirs, 9);
    let running = sandbox.start(command);
    drop(sandbox);
    (listeners.receive().expect("received"), running.wait())
}

#[test]
fn the_sockets_are_handed_over_before_the_command_begins() {
    for place in PLACES {
        let policy = format!(
            "{}{place}",
            policy(1).replace("[network]\n", "network.").replace("\nallow", "\nnetwork.allow")
        );
        for caller in Caller::both() {
            let (listeners, theirs) = Listeners::pair().expect("a socket");
            let sandbox = Sandbox::new(&policy).caller(caller);
            let probe = sandbox.probe_path();
            let sandbox = sandbox.option("--listeners-fd").option("9").pass(theirs, 9);
            let running = sandbox.start([
                probe.as_str(),
                "connect-tcp 127.0.0.1 3128",
                "connect-tcp 127.0.0.1 1080",
                "fds",
            ]);
            drop(sandbox);
            let sockets = listeners.receive().expect("received");
            let ports: Vec<u16> = sockets
                .iter()
                .map(|socket| {
                    let listener = TcpListener::from(socket.try_clone().expect("a copy"));
                    listener.local_addr().expect("bound").port()
                })
                .collect();
            assert_eq!(ports, [3128, 1080], "{place} {caller}");
            let output = running.wait();
            let text = output.stdout_text();
            let lines: Vec<&str> = text.lines().collect();
            assert!(lines[0].starts_with("ok") && lines[1].starts_with("ok"), "{place} {output:?}");
            let control = Sandbox::new("filesystem.root = 'minimal'").caller(caller).probe("fds");
            assert_eq!(Outcome::parse(lines[2]), Some(control), "{place} {caller}");
        }
    }
}

#[test]
fn nothing_but_the_sockets_leads_out() {
    let outside = server("127.0.0.1:0", "outside").port();
    for caller in Caller::both() {
        let sandbox = Sandbox::new(&policy(1)).caller(caller);
        let probe = sandbox.probe_path();
        let calls = [
            format!("connect-tcp 127.0.0.1 {outside}"),
            "connect-tcp 192.0.2.1 80".to_owned(),
            "connect-tcp 2001:db8::1 80".to_owned(),
            "send-udp 192.0.2.1 53".to_owned(),
            "socket 2 3 1".to_owned(),
            "socket 17 3".to_owned(),
            "unix-inside /tmp/socket".to_owned(),
            "tcp-inside".to_owned(),
        ];
        let command: Vec<&str> =
            std::iter::once(probe.as_str()).chain(calls.iter().map(String::as_str)).collect();
        let (_sockets, output) = handed_over(&policy(1), caller, &command);
        let text = output.stdout_text();
        let outcomes: Vec<Outcome> = text.lines().filter_map(Outcome::parse).collect();
        let refused = |errno| Outcome::Errno(errno);
        let unreachable = refused(Errno::NETUNREACH);
        assert_eq!(
            outcomes[..4],
            [refused(Errno::CONNREFUSED), unreachable.clone(), unreachable.clone(), unreachable]
        );
        assert!(outcomes[4].is_errno() && outcomes[5].is_errno(), "{output:?}");
        assert!(outcomes[6].is_ok() && outcomes[7].is_ok(), "{output:?}");
        let control = Sandbox::outside().probe(&calls[0]);
        assert!(control.is_ok(), "{control:?}");
    }
}

#[test]
fn a_launch_whose_sockets_nobody_takes_is_refused() {
    let refused = |sandbox: Sandbox, why: &str| {
        let output = sandbox.run(["/nowhere"]);
        assert_eq!(output.code(), 125, "{output:?}");
        assert!(output.stderr_text().contains(why), "{output:?}");
    };
    for place in PLACES {
        let policy = format!("network = {{ access = 'proxy', allow = ['a'] }}\n{place}");
        for caller in Caller::both() {
            let sandbox = || Sandbox::new(&policy).caller(caller);
            refused(sandbox(), "nobody takes its listening sockets; run it with encode-policy run");
            let with = |fd: OwnedFd| sandbox().option("--listeners-fd").option("9").pass(fd, 9);
            refused(with(pipe_of(b"")), "not a UNIX socket");
            let (listeners, theirs) = Listeners::pair().expect("a socket");
            drop(listeners);
            refused(with(theirs), "EPIPE");
            refused(sandbox().option("--listeners-fd").option("9"), "not open");
        }
    }
}

#[test]
fn without_a_namespace_of_its_own_a_launch_is_refused() {
    let policy = format!("{ALONE}\nnetwork.access = 'proxy'\nnetwork.allow = ['a']");
    for wrapper in [harness::WITHOUT_USER_NAMESPACES, &[]] {
        let (_listeners, theirs) = Listeners::pair().expect("a socket");
        let network = fs::File::open("/proc/self/ns/net").expect("it is there");
        let sandbox = Sandbox::new(&policy).as_nobody().option("--listeners-fd").option("9");
        let sandbox = sandbox.pass(theirs, 9);
        let sandbox = match wrapper {
            [] => sandbox.option("--netns-fd").option("8").pass(network, 8),
            wrapper => sandbox.wrap(wrapper.iter().copied()),
        };
        let output = sandbox.run(["/nowhere"]);
        assert_eq!(output.code(), 125, "{output:?}");
        let why = match wrapper {
            [] => "joins none that was made before",
            _ => "takes a network namespace",
        };
        assert!(output.stderr_text().contains(why), "{output:?}");
    }
}

/// What a client of HTTP or SOCKS says, in bash alone.
const BY_HAND: &str = r#"
    ask() { exec 3<>/dev/tcp/127.0.0.1/3128; printf '%b' "$1" >&3; head -c "$2" <&3; exec 3>&-; }
    ask 'CONNECT a.test:PORT HTTP/1.1\r\nHost: a.test\r\n\r\n' 12; echo
    ask 'CONNECT b.test:PORT HTTP/1.1\r\nHost: b.test\r\n\r\n' 12; echo
    ask 'CONNECT closed.test:PORT HTTP/1.1\r\nHost: c\r\n\r\n' 12; echo
    echo "$HTTPS_PROXY $NO_PROXY"
"#;

#[test]
fn a_run_starts_its_proxy_and_ends_it() {
    needs!("bash");
    for caller in Caller::both() {
        let world = World::new();
        let output = world.run(caller, BY_HAND);
        output.assert_said(&[
            "HTTP/1.1 200",
            "HTTP/1.1 403",
            "HTTP/1.1 403",
            "http://127.0.0.1:3128 localhost,127.0.0.1,::1",
        ]);
        let mut told = world.told();
        told.sort();
        let entry = |host: &str, verdict: &str| (host.to_owned(), verdict.to_owned());
        let said = [
            entry("a.test", "allowed"),
            entry("b.test", "refused"),
            entry("closed.test", "refused"),
        ];
        assert_eq!(
            told,
            [said[0].clone(), said[1].clone(), entry("closed.test", "refused")],
            "{caller}"
        );
        assert_eq!((world.dns.count("a.test"), world.dns.count("b.test")), (1, 0), "{caller}");
    }
}

#[test]
fn the_end_of_a_command_ends_its_connections() {
    needs!("bash");
    for caller in Caller::both() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = listener.local_addr().expect("bound").port();
        let ended = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.write_all(b"x").expect("written");
            // Until the other side is closed.
            stream.read_to_end(&mut Vec::new())
        });
        let world = World::new();
        let script = format!(
            "exec 3<>/dev/tcp/127.0.0.1/3128; printf 'CONNECT 127.0.0.1:{port} HTTP/1.1\\r\\n\\r\\n' >&3; \
             head -c 20 <&3 >/dev/null; kill -9 $$"
        );
        let output = world.sandbox(&policy(port), caller).run(["bash", "-c", &script]);
        assert_eq!(output.code(), 137, "{output:?}");
        drop(ended.join().expect("the server ends"));
        assert_eq!(world.told().len(), 1, "{caller}");
    }
}

#[test]
fn a_run_without_a_proxy_takes_no_options_of_one() {
    let world = World::new();
    let output = world.sandbox("filesystem.root = 'minimal'", Caller::Nobody).run(["true"]);
    assert_eq!(output.code(), 125, "{output:?}");
    assert!(output.stderr_text().contains("the policy has no proxy"), "{output:?}");
}

#[test]
fn curl_goes_every_way_and_no_other() {
    needs!("bash", "curl");
    const SCRIPT: &str = r#"
        get() { curl --silent --show-error --max-time 20 "$@" 2>&1 | head -n 1 | tr -d '\r'; }
        get http://a.test:PORT/x
        get --proxytunnel http://a.test:PORT/y
        get --proxy socks5h://127.0.0.1:1080 http://a.test:PORT/z
        get http://b.test:PORT/
        get --proxytunnel http://b.test:PORT/
        get --proxy socks5h://127.0.0.1:1080 http://b.test:PORT/
        get --noproxy '*' http://a.test:PORT/ | cut -d: -f1
        get --noproxy '*' http://127.0.0.1:PORT/ | cut -d: -f1
        get http://closed.test:PORT/
    "#;
    for caller in Caller::both() {
        let world = World::new();
        let output = world.run(caller, SCRIPT);
        let said = [
            "here:GET /x HTTP/1.1",
            "here:GET /y HTTP/1.1",
            "here:GET /z HTTP/1.1",
            "proxy: network.allow does not have it",
            "curl: (56) CONNECT tunnel failed, response 403",
        ];
        let text = output.stdout_text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..5], said, "{caller} {output:?}");
        assert!(lines[5].starts_with("curl: (97)"), "{caller} {output:?}");
        assert_eq!(lines[6..8], ["curl", "curl"].map(|_| lines[6]), "{output:?}");
        assert!(lines[6].starts_with("curl"), "{output:?}");
        assert!(lines[8].starts_with("proxy: 127.0.0.2: the address is private"), "{output:?}");
    }
}

#[test]
fn python_goes_by_the_variables() {
    needs!("python3");
    const SCRIPT: &str = r#"
import socket, urllib.request, urllib.error
print(urllib.request.urlopen("http://a.test:PORT/x").read().decode().splitlines()[0])
try:
    urllib.request.urlopen("http://b.test:PORT/")
except urllib.error.HTTPError as error:
    print(error.code)
try:
    socket.getaddrinfo("a.test", 80)
except socket.gaierror:
    print("no resolver")
"#;
    for caller in Caller::both() {
        let world = World::new();
        let script = world.of(SCRIPT);
        let output =
            world.sandbox(&policy(world.port), caller).run(["/usr/bin/python3", "-c", &script]);
        output.assert_said(&["here:GET /x HTTP/1.1", "403", "no resolver"]);
    }
}

/// What python3 serves of its directory, over TLS where there is a key and it is
/// not the port of HTTP.
const SERVER: &str = r#"
import http.server, os, ssl, sys
address = (sys.argv[1], int(sys.argv[2]))
server = http.server.ThreadingHTTPServer(address, http.server.SimpleHTTPRequestHandler)
server.RequestHandlerClass.log_message = lambda *arguments: None
if os.path.exists("key.pem") and address[1] != 80:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("certificate.pem", "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
"#;

/// A server of a directory, which ends with this.
struct Files {
    process: std::process::Child,
    port: u16,
}

impl Files {
    fn new(directory: &TempDir) -> Self {
        Self::at(directory, "127.0.0.1", 0)
    }

    fn at(directory: &TempDir, address: &str, port: u16) -> Self {
        let mut process = std::process::Command::new("python3")
            .args(["-c", SERVER, address, &port.to_string()])
            .current_dir(directory.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let port = line.trim().parse().expect("a port");
        Self { process, port }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a program to its success.
fn done(program: &str, arguments: &[&str], directory: &Path) {
    let output = std::process::Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{output:?}");
}

/// A directory with a bare repository and a certificate of the test's own.
fn repository() -> TempDir {
    let served = TempDir::with_file("source/note", "cloned\n");
    let git = |arguments: &[&str], directory: &Path| {
        let own = ["-c", "user.name=t", "-c", "user.email=t@t"];
        done("git", &[&own, arguments].concat(), directory);
    };
    git(&["init", "-q"], &served.join("source"));
    git(&["add", "."], &served.join("source"));
    git(&["commit", "-qm", "x"], &served.join("source"));
    git(&["clone", "-q", "--bare", "source", "served.git"], served.path());
    git(&["update-server-info"], &served.join("served.git"));
    let request = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=a.test \
                   -addext subjectAltName=DNS:a.test -keyout key.pem -out certificate.pem";
    let request: Vec<&str> = request.split_whitespace().collect();
    done("openssl", &request, served.path());
    served
}

#[test]
fn git_and_curl_speak_tls_to_what_is_let_through() {
    needs!("bash", "curl", "git", "openssl", "python3");
    const SCRIPT: &str = r"
        cd /tmp && export SSL_CERT_FILE=CERTIFICATE GIT_SSL_CAINFO=CERTIFICATE
        git clone -q https://a.test:PORT/served.git got && cat got/note
        curl -sS https://a.test:PORT/source/note
        curl -sS --proxy socks5h://127.0.0.1:1080 https://a.test:PORT/source/note
        git clone -q https://b.test:PORT/served.git no 2>&1 | grep -o 403
        curl -sS https://b.test:PORT/ 2>&1 | grep -o 'response 403'
    ";
    let served = repository();
    let files = Files::new(&served);
    let certificate = served.join("certificate.pem").display().to_string();
    let policy = policy(files.port).replacen(
        "filesystem.root = 'minimal'",
        &format!("filesystem = {{ root = 'minimal', read = ['{certificate}'] }}"),
        1,
    );
    let script = SCRIPT.replace("PORT", &files.port.to_string());
    let script = script.replace("CERTIFICATE", &certificate);
    let world = World::new();
    for caller in Caller::both() {
        let output = world.sandbox(&policy, caller).run(["bash", "-c", &script]);
        output.assert_said(&["cloned", "cloned", "cloned", "403", "response 403"]);
    }
}

#[test]
fn pip_takes_packages_from_an_index_that_is_let_through() {
    needs!("bash", "python3");
    if !Path::new("/usr/lib/python3/dist-packages/pip").exists() {
        harness::skip!("pip", "the system's python3 has no pip");
    }
    let index = TempDir::with_file(
        "simple/own/index.html",
        "<a href=\"../../own-1.0-py3-none-any.whl\">own-1.0-py3-none-any.whl</a>",
    );
    const WHEEL: &str = r#"
import zipfile
with zipfile.ZipFile("own-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("own.py", "print('installed')")
    wheel.writestr("own-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: own\nVersion: 1.0\n")
    wheel.writestr("own-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("own-1.0.dist-info/RECORD", "own.py,,\nown-1.0.dist-info/METADATA,,\nown-1.0.dist-info/WHEEL,,\nown-1.0.dist-info/RECORD,,\n")
"#;
    done("python3", &["-c", WHEEL], index.path());
    let files = Files::new(&index);
    let script = format!(
        "cd /tmp; pip() {{ /usr/bin/python3 -m pip install -q --disable-pip-version-check --no-cache-dir \
         --retries 0 --target /tmp/t --trusted-host $1 --index-url http://$1:{}/simple own; }}\n\
         pip a.test && PYTHONPATH=/tmp/t /usr/bin/python3 -c 'import own'; pip b.test 2>/dev/null || echo refused",
        files.port
    );
    let world = World::new();
    for caller in Caller::both() {
        let output = world.sandbox(&policy(files.port), caller).run(["bash", "-c", &script]);
        output.assert_said(&["installed", "refused"]);
    }
}
