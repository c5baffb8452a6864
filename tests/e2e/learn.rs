//! `encode-policy learn`: under what was learnt from a command, the command runs.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use harness::{Caller, Output, Sandbox, TempDir, needs, skip};

/// How long a compiler may take on a busy machine, watched.
const BUILD: Duration = Duration::from_secs(180);

/// `encode-policy` with these words, in a directory.
fn encoder(caller: Caller, directory: &TempDir, words: &[&str]) -> Sandbox {
    let sandbox = Sandbox::outside().caller(caller).cwd(directory.path()).timeout(BUILD);
    let program = sandbox.binaries().encoder();
    let words = words.iter().copied().map(Into::into);
    sandbox.wrap([program.into_os_string()].into_iter().chain(words))
}

/// A policy beside the directory that it is learnt in, which the command cannot
/// see.
struct Learnt {
    caller: Caller,
    beside: TempDir,
    environment: Vec<(&'static str, String)>,
}

impl Learnt {
    fn new(caller: Caller) -> Self {
        Self { caller, beside: TempDir::new(), environment: Vec::new() }
    }

    fn path(&self) -> String {
        self.beside.join("policy.toml").display().to_string()
    }

    fn text(&self) -> String {
        self.beside.read("policy.toml")
    }

    fn with(&self, directory: &TempDir, words: &[&str], command: &[&str]) -> Output {
        let mut sandbox = encoder(self.caller, directory, &[words, &["--"]].concat());
        for (name, value) in &self.environment {
            sandbox = sandbox.env(name, value);
        }
        sandbox.run(command)
    }

    /// Learns from a command, runs it under what was learnt, and traces it there:
    /// it says the same, and nothing is denied.
    fn check(&self, directories: [&TempDir; 3], command: &[&str], said: &[&str]) {
        let path = self.path();
        let [first, second, third] = directories;
        let learnt = self.with(first, &["learn", "-o", &path], command);
        learnt.assert_said(said);
        let text = self.text().replace(&first.path().display().to_string(), "DIR");
        let moved = |directory: &TempDir| {
            let text = text.replace("DIR", &directory.path().display().to_string());
            fs::write(&path, text).expect("it is written");
        };
        moved(second);
        let run = self.with(second, &["run", &path], command);
        assert_eq!(run.code(), 0, "{}: {run:?}\n{text}", self.caller);
        run.assert_said(said);
        moved(third);
        let traced = self.with(third, &["trace", &path], command);
        traced.assert_said(said);
        assert_eq!(traced.stderr_text(), "", "{}\n{text}", self.caller);
    }
}

/// The same directory three times: commands leave something in it.
fn three(directory: impl Fn() -> TempDir) -> [TempDir; 3] {
    [directory(), directory(), directory()]
}

#[test]
fn python_runs_under_what_was_learnt_from_it() {
    needs!("python3");
    const SCRIPT: &str = r#"
import asyncio, json, ssl, subprocess, tempfile
print(subprocess.run(["echo", "a child"], capture_output=True, text=True).stdout.strip())
print(json.load(open("data/input.json"))["said"])
print(ssl.create_default_context().verify_mode.name)
with tempfile.NamedTemporaryFile() as file:
    print(file.write(b"temporary"))
open("result", "w").write("kept")
"#;
    for caller in Caller::both() {
        let directories = three(|| {
            TempDir::with_file("script.py", SCRIPT).file("data/input.json", r#"{"said": "yes"}"#)
        });
        let said = ["a child", "yes", "CERT_REQUIRED", "9"];
        let learnt = Learnt::new(caller);
        learnt.check(directories.each_ref(), &["python3", "script.py"], &said);
        let text = learnt.text();
        assert!(text.contains("root = \"minimal\"") && !text.contains("[network]"), "{text}");
        assert!(directories[1].has("result"));
    }
}

#[test]
fn git_runs_under_what_was_learnt_from_it() {
    needs!("git", "bash");
    const SCRIPT: &str = "echo more >> note && git add note && \
        git -c user.name=Me -c user.email=me@example.org commit --quiet --message second && \
        git log --format=%s && git status --short";
    for caller in Caller::both() {
        let directories = three(|| {
            let directory = TempDir::with_file("note", "kept");
            // git trusts repositories of its user.
            chown(directory.path(), Some(caller.uid()), None).expect("it is given away");
            let init = "git init --quiet && git add . && git -c user.name=Me \
                        -c user.email=me@example.org commit --quiet --message first";
            Sandbox::outside()
                .caller(caller)
                .cwd(directory.path())
                .run(["bash", "-c", init])
                .assert_said(&[]);
            directory
        });
        let learnt = Learnt::new(caller);
        learnt.check(directories.each_ref(), &["bash", "-c", SCRIPT], &["second", "first"]);
        let text = learnt.text();
        assert!(text.contains("/.git\", # review: hooks"), "{text}");
    }
}

#[test]
fn gcc_runs_under_what_was_learnt_from_it() {
    needs!("gcc", "bash");
    const C: &str = "#include <stdio.h>\nint main(void) { return puts(\"built\") < 0; }\n";
    for caller in Caller::both() {
        let directories = three(|| TempDir::with_file("program.c", C));
        let command = ["bash", "-c", "gcc -o program program.c && ./program"];
        Learnt::new(caller).check(directories.each_ref(), &command, &["built"]);
    }
}

#[test]
fn node_runs_under_what_was_learnt_from_it() {
    needs!("node");
    const SCRIPT: &str = r#"
        const { Worker, isMainThread, parentPort } = require("worker_threads");
        if (isMainThread) {
            require("fs").writeFileSync("result", require("./part.js"));
            const server = require("net").createServer((socket) => socket.end("served"));
            server.listen(0, "127.0.0.1", () => {
                const client = require("net").connect(server.address().port, "127.0.0.1");
                client.on("data", (data) => console.log(String(data)));
                client.on("end", () => server.close());
            });
            new Worker(__filename);
        }
    "#;
    for caller in Caller::both() {
        let directories = three(|| {
            TempDir::with_file("script.js", SCRIPT).file("part.js", "module.exports = 'kept'")
        });
        let learnt = Learnt::new(caller);
        learnt.check(directories.each_ref(), &["node", "script.js"], &["served"]);
        let text = learnt.text();
        assert!(text.contains("access = \"loopback\""), "{text}");
    }
}

#[test]
fn cargo_runs_under_what_was_learnt_from_it() {
    needs!("gcc");
    let Some((home, cargo)) = harness::cargo_of_rustup() else {
        skip!("cargo", "there is no rustup in the home directory");
    };
    // The toolchain is the user's own: nobody has none.
    let caller = Caller::both()[0];
    let directories = three(|| {
        TempDir::new()
            .file("Cargo.toml", "[package]\nname = \"hello\"\nedition = \"2024\"\n")
            .file("src/main.rs", "fn main() { println!(\"built\"); }")
    });
    let learnt = Learnt { environment: vec![("HOME", home.clone())], ..Learnt::new(caller) };
    let command = [cargo.as_str(), "run", "--quiet", "--offline"];
    learnt.check(directories.each_ref(), &command, &["built"]);
    let text = learnt.text();
    assert!(text.contains("~/.cargo") && text.contains("~/.rustup"), "{text}");
    // Some directories, not the files in them.
    assert!(text.lines().count() < 60, "{text}");
}

#[test]
fn credentials_are_denied_and_said_to_be() {
    needs!("bash");
    for caller in Caller::both() {
        let home = TempDir::new()
            .file(".ssh/id_rsa", "a key")
            .file(".toolrc", "settings")
            .file("app/in", "input");
        let learnt = Learnt {
            environment: vec![("HOME", home.path().display().to_string())],
            ..Learnt::new(caller)
        };
        let app = TempDir::new();
        let script = "cat ~/.toolrc ~/.ssh/id_rsa; echo; ls ~ > /dev/null; echo done";
        let command = ["bash", "-c", script];
        let path = learnt.path();

        let output = learnt.with(&app, &["learn", "-o", &path], &command);

        output.assert_said(&["settingsa key", "done"]);
        let text = learnt.text();
        let (granted, denied) = text.split_once("deny = [").expect("something is denied");
        assert!(granted.contains("\"~/.toolrc\", # review: in a home"), "{caller}: {text}");
        assert!(!granted.contains(".ssh"), "{caller}: {text}");
        assert!(denied.contains("\"~/.ssh/id_rsa\", # review: the command used it"), "{text}");
        // Nobody is given the home directory.
        assert!(!text.contains("\"~\"") && !text.contains("\"~/\""), "{text}");
        let under = learnt.with(&app, &["run", &path], &command);
        assert!(under.stdout_text().starts_with("settings\n"), "{caller}: {under:?}");
    }
}

#[test]
fn nothing_is_denied_to_a_command_that_is_learnt_from() {
    needs!("bash", "python3");
    for caller in Caller::both() {
        let (app, other) = (TempDir::new(), TempDir::with_file("file", "there"));
        let script = format!(
            "cat {other}/file && echo written > {other}/new && mkdir {other}/sub && \
             rm {other}/file && python3 -c 'import socket; socket.socket(); print(1)' && exit 5"
        );
        let learnt = Learnt::new(caller);
        let path = learnt.path();
        let output = learnt.with(&app, &["learn", "-o", &path], &["bash", "-c", &script]);
        assert_eq!((output.code(), output.stdout_text().as_str()), (5, "there1\n"), "{output:?}");
        assert!(output.stderr_text().contains("the command ended with 5"), "{output:?}");
        assert_eq!(other.names(), ["new", "sub"], "{caller}");
        let text = learnt.text();
        let granted = format!("{:?}, # review: was there before", other.path());
        assert!(text.contains(&granted), "{caller}: {text}");
    }
}

#[test]
fn a_call_that_the_default_profile_closes_is_named() {
    let caller = Caller::both()[0];
    let app = TempDir::new();
    let learnt = Learnt::new(caller);
    let path = learnt.path();
    let sandbox = Sandbox::outside();
    let probe = sandbox.probe_path();
    let command = [probe.as_str(), "syscall kcmp 1 1 0 0 0", "syscall getppid"];
    let output = learnt.with(&app, &["learn", "-o", &path], &command);
    assert_eq!(output.code(), 0, "{output:?}");
    let text = learnt.text();
    assert!(text.contains("allow = [\"kcmp\"]"), "{text}");
}

#[test]
fn a_file_that_is_there_is_not_replaced_unless_that_is_said() {
    let caller = Caller::both()[0];
    let app = TempDir::with_file("policy.toml", "mine");
    let refused = encoder(caller, &app, &["learn", "-o", "policy.toml", "--"]).run(["true"]);
    assert_eq!(refused.code(), 125, "{refused:?}");
    assert!(refused.stderr_text().contains("--force replaces it"), "{refused:?}");
    assert_eq!(app.read("policy.toml"), "mine");
    let words = ["learn", "--force", "-o", "policy.toml", "--"];
    let forced = encoder(caller, &app, &words).run(["true"]);
    assert_eq!(forced.code(), 0, "{forced:?}");
    assert!(app.read("policy.toml").starts_with("description = "));
}

#[test]
fn where_no_policy_can_be_written_nothing_is_run() {
    let caller = Caller::both()[0];
    let app = TempDir::new();
    let refused =
        encoder(caller, &app, &["learn", "-o", "absent/policy.toml", "--"]).run(["touch", "made"]);
    assert_eq!(refused.code(), 125, "{refused:?}");
    assert!(refused.stderr_text().contains("cannot write absent/policy.toml"), "{refused:?}");
    assert!(!app.has("made"));
}

#[test]
fn a_program_of_ones_own_may_be_run_under_what_was_learnt() {
    needs!("bash");
    const SCRIPT: &str = "#!/usr/bin/env bash\necho mine; ./part\n";
    for caller in Caller::both() {
        let directories = three(|| {
            let directory =
                TempDir::with_file("tool", SCRIPT).file("part", "#!/bin/sh\necho part\n");
            for name in ["tool", "part"] {
                let runs = fs::Permissions::from_mode(0o755);
                fs::set_permissions(directory.join(name), runs).expect("it is changed");
            }
            directory
        });
        let learnt = Learnt::new(caller);
        learnt.check(directories.each_ref(), &["./tool"], &["mine", "part"]);
        let text = learnt.text();
        assert!(text.contains("execute = [") && !text.contains("write = ["), "{caller}: {text}");
    }
}

#[test]
fn services_of_others_are_for_review_and_ports_are_named() {
    needs!("python3");
    const SCRIPT: &str = "import socket, sys\n\
        unix = socket.socket(socket.AF_UNIX)\n\
        unix.connect(sys.argv[1])\n\
        print(socket.create_connection(('127.0.0.1', int(sys.argv[2]))).getpeername()[0])\n";
    for caller in Caller::both() {
        let beside = TempDir::new();
        let path = beside.join("service").display().to_string();
        let _service = UnixListener::bind(&path).expect("it is bound");
        let all = fs::Permissions::from_mode(0o777);
        fs::set_permissions(&path, all).expect("it is changed");
        let server = TcpListener::bind("127.0.0.1:0").expect("it is bound");
        let port = server.local_addr().expect("it has one").port().to_string();
        let app = TempDir::with_file("client.py", SCRIPT);
        let learnt = Learnt::new(caller);
        let file = learnt.path();
        let command = ["python3", "client.py", &path, &port];

        learnt.with(&app, &["learn", "-o", &file], &command).assert_said(&["127.0.0.1"]);

        let text = learnt.text();
        assert!(text.contains("# review: services of others"), "{caller}: {text}");
        assert!(text.contains(&format!("unix = [{path:?}]")), "{caller}: {text}");
        assert!(text.contains(&format!("connect_tcp = [{port}]")), "{caller}: {text}");
        assert!(text.contains(&format!("# connected to: 127.0.0.1:{port} (tcp)")), "{text}");
        if harness::landlock_abi() >= 4 {
            learnt.with(&app, &["run", &file], &command).assert_said(&["127.0.0.1"]);
        }
    }
}

#[test]
fn what_was_learnt_says_how_it_is_tried() {
    let caller = Caller::both()[0];
    let app = TempDir::new();
    let output =
        encoder(caller, &app, &["learn", "-o", "policy.toml", "--"]).run(["echo", "two words"]);
    let text = output.stderr_text();
    assert!(text.contains("\n    encode-policy run policy.toml -- echo 'two words'\n"), "{text}");
    assert!(text.contains("\n    encode-policy trace policy.toml -- echo 'two words'\n"), "{text}");
}

/// The lines of the document behind `$ COMMAND`, up to the next empty line that
/// is followed by something else.
fn shown(document: &str, command: &str) -> Vec<String> {
    let start = format!("    $ {command}");
    let blocks = document.split('\n').skip_while(|line| **line != *start).skip(1);
    let lines = blocks.take_while(|line| {
        (line.is_empty() || line.starts_with("    ")) && !line.starts_with("    $ ")
    });
    let mut lines: Vec<String> =
        lines.map(|line| line.strip_prefix("    ").unwrap_or(line).to_owned()).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

#[test]
fn the_walk_of_the_document_is_what_is_said() {
    needs!("bash");
    let document = include_str!("../../docs/trace-and-learn.md");
    let site = TempDir::new()
        .file("build.sh", shown(document, "cat build.sh").join("\n"))
        .file("policy.toml", shown(document, "cat policy.toml").join("\n"))
        .file("pages/index", "a page");
    let caller = Caller::both()[0];
    let said = |words: &[&str]| {
        let output = encoder(caller, &site, &[words, &["--"]].concat()).run(["bash", "build.sh"]);
        let text = output.stderr_text().replace(&path_of(&site), "/home/me/site");
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let trace = "encode-policy trace policy.toml -- bash build.sh";
    let first = shown(document, trace);
    assert_eq!(said(&["trace", "policy.toml"]), first);

    let policy = site.read("policy.toml").replace("read", "write");
    fs::write(site.join("policy.toml"), policy).expect("it is written");
    let (_, rest) = document.split_once("the next thing is met").expect("it is");
    assert_eq!(said(&["trace", "policy.toml"]), shown(rest, trace));

    let learn = "encode-policy learn -o learnt.toml -- bash build.sh";
    fs::remove_file(site.join("index.html")).expect("it was made");
    assert_eq!(said(&["learn", "-o", "learnt.toml"]), shown(document, learn));
    let text = site.read("learnt.toml").replace(&path_of(&site), "/home/me/site");
    assert_eq!(text.lines().collect::<Vec<_>>(), shown(document, "cat learnt.toml"));
}

fn path_of(directory: &TempDir) -> String {
    directory.path().display().to_string()
}
