//! The examples, run as programs: as root and as nobody.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use harness::{ALONE, Binaries, Caller, PATH, TempDir, WITHOUT_LANDLOCK, WITHOUT_USER_NAMESPACES};

/// An example where every user may run it, beside a launcher.
struct Example {
    directory: TempDir,
    name: &'static str,
    _binaries: Arc<Binaries>,
}

impl Example {
    fn new(name: &'static str) -> Self {
        let own = std::env::current_exe().expect("it has a path");
        let examples = own.ancestors().nth(2).expect("target/debug/deps").join("examples");
        let (directory, binaries) = (TempDir::new(), Binaries::shared());
        // By another program: see `Binaries`.
        let installed = Command::new("install")
            .args(["-m", "755", "-t"])
            .arg(directory.path())
            .args([examples.join(name), binaries.launcher()])
            .status();
        assert!(
            installed.is_ok_and(|status| status.success()),
            "run `cargo build --examples -p launcher-spawn` first"
        );
        Self { directory, name, _binaries: binaries }
    }

    /// It, under a wrapper, called by a user.
    fn command(&self, wrapper: &[&str], caller: Caller) -> Command {
        let mut all = wrapper.iter().map(PathBuf::from).chain([self.directory.join(self.name)]);
        let mut command = Command::new(all.next().expect("the example at least"));
        command.args(all).env_clear().env("PATH", PATH).current_dir("/").stdin(Stdio::null());
        if !caller.is_root() && Caller::Root.uid() == 0 {
            command.uid(caller.uid()).gid(caller.uid());
        }
        command
    }
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}{err}")
}

#[test]
fn hello_says_so_from_a_sandbox() {
    harness::needs_namespaces!();
    let hello = Example::new("hello");
    for caller in Caller::both() {
        let output = hello.command(&[], caller).output().expect("it runs");
        let said = "hello from a sandbox\nit ended with exit status: 0\n";
        assert_eq!(text(&output), said, "{caller}");
    }
}

#[test]
fn what_keeps_a_repository_denies_what_lies_in_it_and_nothing_else() {
    harness::needs_namespaces!();
    let keeper = Example::new("keeper");
    for caller in Caller::both() {
        let dir = TempDir::with_file(".git/config", "kept");
        let write = format!("echo new > {dir}/file; echo new > {dir}/.git/config");
        let mut command = keeper.command(&[], caller);
        let output = command.args([&*dir.to_string(), "sh", "-c", &write]).output();
        let text = text(&output.expect("it runs"));
        assert!(text.contains(&format!("denied: open {dir}/.git/config\n")), "{caller}: {text}");
        assert_eq!(text.matches("denied: ").count(), 1, "{caller}: {text}");
        assert_eq!((dir.read("file"), dir.read(".git/config")), ("new\n".into(), "kept".into()));
    }
}

#[test]
fn an_acceptor_is_all_the_network_there_is() {
    harness::needs!("bash");
    harness::needs_namespaces!();
    let acceptor = Example::new("acceptor");
    for caller in Caller::both() {
        let output = acceptor.command(&[], caller).output().expect("it runs");
        let said = "HTTP/1.0 200 OK\r\n\r\nyou asked for http://anywhere.example/page\n";
        assert_eq!(text(&output), said, "{caller}");
    }
}

#[test]
fn the_judge_says_of_a_hundred_submissions_what_became_of_each() {
    harness::needs!("gcc");
    harness::needs_namespaces!();
    let judge = Example::new("judge");
    // All of it once, and a round as nobody.
    for (caller, rounds) in Caller::both().into_iter().rev().zip([5, 1]) {
        let output = judge.command(&[], caller).arg(rounds.to_string()).output().expect("it runs");
        let of_round = [
            ("Accepted", 8),
            ("WrongAnswer", 4),
            ("TimeLimit", 1),
            ("MemoryLimit", 2),
            ("RuntimeError", 3),
            ("SecurityViolation", 2),
        ];
        let lines = of_round.map(|(verdict, count)| format!("{verdict} {}\n", rounds * count));
        assert_eq!(text(&output), lines.concat(), "{caller}");
    }
}

#[test]
fn every_file_is_compiled_and_nothing_else_is_written() {
    harness::needs!("gcc");
    harness::needs_namespaces!();
    let parallel = Example::new("parallel");
    for caller in Caller::both() {
        let mut dir = TempDir::new();
        for number in 0..20 {
            dir = dir.file(&format!("{number}.c"), format!("int f{number}(void) {{ return 1; }}"));
        }
        let run = || {
            let output = parallel.command(&[], caller).arg(dir.path()).output().expect("it runs");
            (output.status.success(), text(&output))
        };
        assert_eq!(run(), (true, "compiled 20 files\n".to_owned()), "{caller}");
        let objects = dir.names().iter().filter(|name| name.ends_with(".o")).count();
        assert_eq!(objects, 20, "{caller}");
        fs::write(dir.join("bad.c"), "#include \"/etc/shadow\"\nint").expect("it is written");
        let (is_good, said) = run();
        assert!(!is_good && said.contains("1 of 21 files"), "{caller}: {said}");
    }
}

/// A server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_server_runs_snippets_and_keeps_its_files_and_the_network_from_them() {
    harness::needs_namespaces!();
    let server = Example::new("server");
    let dir = TempDir::with_file("secret", "a secret");
    let secret = dir.join("secret");
    for caller in Caller::both() {
        let mut command = server.command(&[], caller);
        let child = command.arg("0").stdout(Stdio::piped()).spawn().expect("it runs");
        let mut server = Server(child);
        let stdout = server.0.stdout.take().expect("it is piped");
        let address = BufReader::new(stdout).lines().next().expect("a line").expect("text");
        let address = address.trim_start_matches("http://").trim_end_matches('/');
        assert!(address.starts_with("127.0.0.1:"), "{address}");

        let said = post(address, "echo $((6 * 7))");
        assert!(
            said.starts_with("HTTP/1.1 200") && said.ends_with("42\nexit status: 0\n"),
            "{said}"
        );
        let said = post(address, &format!("cat {}", secret.display()));
        assert!(!said.contains("a secret") && said.ends_with("exit status: 1\n"), "{said}");
        // The control: who runs the server may read it.
        assert_eq!(fs::read_to_string(&secret).expect("it is there"), "a secret");
        let said = post(address, "cat /proc/net/dev | tail -n +3 | cut -d: -f1");
        assert!(said.contains("lo\nexit status: 0"), "{said}");
        // What one leaves behind the next one does not find.
        post(address, "echo x > /tmp/left");
        let said = post(address, "ls /tmp");
        assert!(said.ends_with("\r\n\r\nexit status: 0\n"), "{said}");
        let said = post(address, "kill -9 $$");
        assert!(said.ends_with("exit status: 137\n"), "{said}");
    }
}

/// What the server answers to a snippet.
fn post(address: &str, snippet: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let length = snippet.len();
    let head =
        "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: text/plain";
    write!(stream, "{head}\r\ncontent-length: {length}\r\n\r\n{snippet}").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn a_detached_command_outlives_its_program() {
    harness::needs_namespaces!();
    let detached = Example::new("detached");
    for caller in Caller::both() {
        let mut command = detached.command(&[], caller);
        command.arg("cat").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut program = command.spawn().expect("it runs");
        let mut stdin = program.stdin.take().expect("it is piped");
        let mut stdout = BufReader::new(program.stdout.take().expect("it is piped"));
        assert!(program.wait().expect("it ends").success(), "{caller}");
        let mut lines = String::new();
        stdout.read_line(&mut lines).expect("text");
        assert!(lines.trim_end().parse::<u32>().is_ok(), "{caller}: {lines}");
        stdin.write_all(b"it is there\n").expect("it reads");
        drop(stdin);
        lines.clear();
        stdout.read_to_string(&mut lines).expect("text");
        assert_eq!(lines, "it is there\n", "{caller}");
    }
}

#[test]
fn a_program_becomes_a_command_in_a_sandbox_with_its_status() {
    harness::needs_namespaces!();
    let shim = Example::new("shim");
    let policy = "filesystem.root = 'minimal'\nprocess.env.set = { SET = '7' }";
    let dir = TempDir::with_file("policy.toml", policy);
    for caller in Caller::both() {
        let run = |command: &[&str]| {
            let mut shim = shim.command(&[], caller);
            let output = shim.arg(dir.join("policy.toml")).args(command).output();
            let output = output.expect("it runs");
            (output.status.code(), text(&output))
        };
        assert_eq!(
            run(&["sh", "-c", "echo $$; exit $SET"]),
            (Some(7), "2\n".to_owned()),
            "{caller}"
        );
        let (code, said) = run(&["/nowhere"]);
        assert_eq!(code, Some(127), "{caller}: {said}");
        let failure = said.contains("\"stage\":\"exec\"") && said.contains("/nowhere");
        assert!(failure, "{caller}: {said}");
    }
}

/// What `layers` says under a policy on a host.
fn layers(host: &[&str], caller: Caller, policy: &str, names: &str, script: &str) -> String {
    let example = Example::new("layers");
    let dir = TempDir::with_file("policy.toml", policy);
    let mut command = example.command(host, caller);
    command.arg(dir.join("policy.toml")).args([names, "sh", "-c", script]);
    text(&command.output().expect("it runs"))
}

#[test]
fn layers_that_a_process_puts_on_itself_confine_it() {
    harness::needs_landlock!(6);
    harness::needs_namespaces!();
    let dir = TempDir::with_file("note", "a note");
    let script = format!("cat {:?}; readlink /proc/self/ns/net", dir.join("note"));
    let own = fs::read_link("/proc/self/ns/net").expect("there is one");
    let own = own.to_str().expect("text");
    for caller in Caller::both() {
        let all = layers(&[], caller, ALONE, "namespaces,landlock,seccomp", &script);
        for name in ["namespaces", "landlock", "seccomp"] {
            assert!(all.contains(&format!("{name}: available\n")), "{caller}: {all}");
        }
        assert!(!all.contains("a note"), "{caller}: {all}");
        let one = layers(&[], caller, ALONE, "seccomp", &script);
        assert!(one.contains("a note") && one.contains(own), "{caller}: {one}");
        let one = layers(&[], caller, ALONE, "namespaces", &script);
        assert!(one.contains("a note") && !one.contains(own), "{caller}: {one}");
    }
}

#[test]
fn a_layer_that_is_missing_is_an_error_where_it_is_required_or_something_is_lost() {
    harness::needs_landlock!(6);
    harness::needs_strace!();
    harness::needs!("unshare");
    for caller in Caller::both() {
        let run = |policy: &str, host: &[&str], name: &str| {
            layers(host, caller, policy, name, "echo it runs")
        };
        // Nothing else keeps files from a process in the host's tree.
        let said = run(ALONE, WITHOUT_LANDLOCK, "landlock");
        assert!(said.contains("landlock: this kernel does not have"), "{caller}: {said}");
        assert!(!said.contains("it runs"), "{caller}: {said}");
        // What namespaces keep, Landlock and the filter keep as well.
        let said = run(ALONE, WITHOUT_USER_NAMESPACES, "namespaces");
        assert!(said.contains("namespaces: ") && said.contains("it runs"), "{caller}: {said}");
        assert!(!said.contains("namespaces: available"), "{caller}: {said}");
        let required = format!("{ALONE}\nenforce.namespaces = 'require'");
        let said = run(&required, WITHOUT_USER_NAMESPACES, "namespaces");
        assert!(!said.contains("it runs"), "{caller}: {said}");
        let said = run(&required, &[], "namespaces");
        assert!(said.contains("it runs"), "{caller}: {said}");
    }
}

#[test]
fn every_example_is_run_here() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let this = include_str!("examples.rs");
    for entry in fs::read_dir(examples).expect("it is listed") {
        let path = entry.expect("it is listed").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("text");
        assert!(this.contains(&format!("Example::new(\"{name}\")")), "{name} is not run");
    }
}
