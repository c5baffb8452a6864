//! Real programs under the policies of `examples/`, which is what most people
//! start from. The image is in `image.rs`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use harness::{Caller, Handover, Sandbox, TempDir, needs, skip};
use serde_json::json;

/// The directory of the examples.
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

/// How long a compiler may take on a busy machine.
const BUILD: Duration = Duration::from_secs(180);

/// The text of an example.
fn example(name: &str) -> String {
    fs::read_to_string(format!("{EXAMPLES}/{name}.toml")).expect("the example exists")
}

/// A launch as a newcomer does it: `encode-policy run EXAMPLE -- ...` in a
/// directory of theirs.
fn under(name: &str, caller: Caller, directory: &TempDir) -> Sandbox {
    of_text(&example(name), caller, directory)
}

/// The same with a profile of the filter.
fn under_profile(name: &str, profile: &str, caller: Caller, directory: &TempDir) -> Sandbox {
    let policy = format!("{}\n[seccomp]\nprofile = {profile:?}\n", example(name));
    of_text(&policy, caller, directory)
}

/// Every caller with every profile that is for programs.
fn callers_and_profiles() -> impl Iterator<Item = (Caller, &'static str)> {
    let callers = Caller::both().into_iter();
    callers.flat_map(|caller| ["default", "strict"].map(|profile| (caller, profile)))
}

fn of_text(policy: &str, caller: Caller, directory: &TempDir) -> Sandbox {
    Sandbox::new(policy)
        .without_probe()
        .handover(Handover::EncoderRun)
        .caller(caller)
        .cwd(directory.path())
}

#[test]
fn every_example_is_described_and_run_by_a_test() {
    let tests = concat!(include_str!("programs.rs"), include_str!("image.rs"));
    for entry in fs::read_dir(EXAMPLES).expect("the directory exists") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        let Some(name) = name.strip_suffix(".toml") else { continue };
        let document: toml::Table = example(name).parse().expect("the example is TOML");
        assert!(document["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
        let is_run = ["(\"N\"", "\"N.toml\""].map(|call| call.replace('N', name));
        assert!(is_run.iter().any(|call| tests.contains(call)), "no test runs {name}");
    }
}

#[test]
fn bash_works_in_its_directory_and_has_process_substitution() {
    needs!("bash", "diff");
    const SCRIPT: &str = r#"
        diff <(printf 'a\nb\n') <(printf 'a\nc\n') | tail -n 2
        cat <<< "a here string"
        while read -r line; do echo "got $line"; done < <(echo one)
        echo words | tee >(cat > copy) | wc -w
        echo kept > note
        mktemp > /dev/null && echo temporary
        echo changed > /usr/note || echo refused
    "#;
    for (caller, profile) in callers_and_profiles() {
        let directory = TempDir::new();

        let output = under_profile("bash", profile, caller, &directory).run(["bash", "-c", SCRIPT]);

        let said = ["---", "> c", "a here string", "got one", "1", "temporary", "refused"];
        output.assert_said(&said);
        assert!(output.stderr_text().contains("Read-only file system"), "{output:?}");
        assert_eq!(directory.read("note"), "kept\n", "{caller}");
    }
}

const PYTHON: &str = r#"
import asyncio, errno, multiprocessing, socket, ssl, tempfile

async def loop():
    child = await asyncio.create_subprocess_exec("echo", "a child", stdout=asyncio.subprocess.PIPE)
    said, _ = await child.communicate()
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    theirs.send(b"a line\n")
    line = await reader.readline()
    writer.close()
    return (said + line).decode(), await asyncio.to_thread(sum, [1, 2])

def square(number):
    return number * number

if __name__ == "__main__":
    print(asyncio.run(loop()))
    with multiprocessing.Pool(2) as pool:
        print(pool.map(square, range(4)))
    with multiprocessing.Manager() as manager:
        print(list(manager.list([1])))
    print(ssl.create_default_context().verify_mode.name)
    with tempfile.NamedTemporaryFile() as file:
        print(file.write(b"temporary"))
    open("result", "w").write("kept")
    try:
        socket.create_connection(("127.0.0.1", 80))
    except OSError as error:
        print(errno.errorcode[error.errno])
"#;

#[test]
fn python_has_asyncio_multiprocessing_and_ssl() {
    needs!("python3");
    for (caller, profile) in callers_and_profiles() {
        let directory = TempDir::with_file("script.py", PYTHON);

        let output =
            under_profile("python", profile, caller, &directory).run(["python3", "script.py"]);

        let said = [
            "('a child\\na line\\n', 3)",
            "[0, 1, 4, 9]",
            "[1]",
            "CERT_REQUIRED",
            "9",
            "EAFNOSUPPORT",
        ];
        output.assert_said(&said);
        assert_eq!(directory.read("result"), "kept", "{caller}");
    }
}

#[test]
fn git_inits_commits_and_logs() {
    needs!("git", "bash");
    const SCRIPT: &str = r#"
        set -e
        git init --quiet --initial-branch=main .
        git add note
        git commit --quiet --message "The first"
        git log --format='%an: %s'
        git status --short
        git config --get user.email || echo "no configuration of yours"
    "#;
    for (caller, profile) in callers_and_profiles() {
        let directory = TempDir::with_file("note", "kept");

        let output = under_profile("git", profile, caller, &directory).run(["bash", "-c", SCRIPT]);

        output.assert_said(&["Sandbox: The first", "no configuration of yours"]);
        assert!(directory.has(".git/refs/heads/main"), "{caller}");
    }
}

const C: &str = "#include <stdio.h>\nint main(void) { return puts(\"built\") < 0; }\n";

#[test]
fn gcc_builds_and_what_is_built_runs() {
    needs!("gcc", "bash");
    const SCRIPT: &str = "gcc -Wall -o program program.c && ./program";
    for (caller, profile) in callers_and_profiles() {
        let directory = TempDir::with_file("program.c", C);

        let output = under_profile("gcc", profile, caller, &directory)
            .timeout(BUILD)
            .run(["bash", "-c", SCRIPT]);

        output.assert_said(&["built"]);
        assert!(directory.has("program"), "{caller}");
    }
}

#[test]
fn without_execute_what_is_built_does_not_run() {
    needs!("gcc", "bash");
    let policy = example("gcc").replace("execute = [\".\"]", "");
    for caller in Caller::both() {
        let directory = TempDir::with_file("program.c", C);
        let sandbox = of_text(&policy, caller, &directory).timeout(BUILD);

        let built = sandbox.run(["gcc", "-o", "program", "program.c"]);
        let output = sandbox.run(["./program"]);

        built.assert_said(&[]);
        assert_eq!(output.code(), 126, "{output:?}");
        let failure = output.event("failure").expect("it failed");
        assert_eq!(failure["error"], "EACCES", "{caller}");
        let why = failure["refused"].as_str().expect("it says why");
        assert!(why.starts_with("noexec: "), "{caller}: {failure}");
    }
}

#[test]
fn cargo_builds_offline_with_the_toolchain_of_rustup() {
    needs!("gcc");
    let Some((home, cargo)) = harness::cargo_of_rustup() else {
        skip!("cargo", "there is no rustup in the home directory");
    };
    // The toolchain is the user's own: nobody has none.
    let caller = Caller::both()[0];
    let directory = TempDir::new()
        .file("Cargo.toml", "[package]\nname = \"hello\"\nedition = \"2024\"\n")
        .file("build.rs", "fn main() { println!(\"cargo::rustc-env=SAID=built\"); }")
        .file("src/main.rs", "fn main() { println!(\"{}\", env!(\"SAID\")); }");

    let output = under("cargo", caller, &directory).env("HOME", &home).timeout(BUILD).run([
        &cargo,
        "run",
        "--quiet",
        "--offline",
    ]);

    output.assert_said(&["built"]);
    assert!(directory.has("target/debug/hello"));
}

#[test]
fn node_runs_scripts_and_threads() {
    needs!("node");
    const SCRIPT: &str = r#"
        const { Worker, isMainThread, parentPort } = require("worker_threads");
        const fs = require("fs");
        if (isMainThread) {
            fs.writeFileSync("result", "kept");
            new Worker(__filename).on("message", console.log);
            require("net").connect(80, "127.0.0.1").on("error", (error) => console.log(error.code));
        } else {
            parentPort.postMessage("a thread");
        }
    "#;
    for (caller, profile) in callers_and_profiles() {
        let directory = TempDir::with_file("script.js", SCRIPT);

        let output = under_profile("node", profile, caller, &directory).run(["node", "script.js"]);

        assert_eq!(output.code(), 0, "{output:?}");
        let mut said: Vec<_> = output.stdout_text().lines().map(str::to_owned).collect();
        said.sort();
        assert_eq!(said, ["EAFNOSUPPORT", "a thread"], "{output:?}");
        assert_eq!(directory.read("result"), "kept", "{caller}");
    }
}

#[test]
fn an_agent_works_on_its_project_and_nowhere_else() {
    needs!("bash", "git");
    const SCRIPT: &str = r#"
        printf '#!/bin/sh\necho tool\n' > tool && chmod +x tool && ./tool
        cat source
        echo evil 2> /dev/null > .git/hooks/pre-commit || echo "hooks are closed"
        echo evil 2> /dev/null >> .git/config || echo "so is the configuration"
        mv .git moved 2> /dev/null || echo "and neither is moved away"
        echo fine > .git/index.lock && echo "the rest of .git is open"
        cat .env 2> /dev/null || echo "secrets are hidden"
        cat /etc/shadow 2> /dev/null || echo "of the system, too"
        echo evil 2> /dev/null > /var/evil || echo "the system stays"
        echo "token: $TOKEN"
    "#;
    for caller in Caller::both() {
        let directory = TempDir::with_file("source", "read\n")
            .file(".env", "SECRET=1")
            .file(".git/config", "[core]\n")
            .directory(".git/hooks");

        let output = under("agent-like", caller, &directory)
            .env("TOKEN", "a secret")
            .run(["bash", "-c", SCRIPT]);

        let said = [
            "tool",
            "read",
            "hooks are closed",
            "so is the configuration",
            "and neither is moved away",
            "the rest of .git is open",
            "secrets are hidden",
            "of the system, too",
            "the system stays",
            "token: ",
        ];
        output.assert_said(&said);
        assert_eq!(directory.read(".git/config"), "[core]\n", "{caller}");
        assert!(!directory.has(".git/hooks/pre-commit"), "{caller}");
    }
}

const SERVER: &str = r#"
import http.server, socket, threading, urllib.request
server = http.server.ThreadingHTTPServer(("127.0.0.1", 8080), http.server.SimpleHTTPRequestHandler)
server.RequestHandlerClass.log_message = lambda *arguments: None
threading.Thread(target=server.serve_forever, daemon=True).start()
print(urllib.request.urlopen("http://127.0.0.1:8080/page").read().decode(), flush=True)
six = socket.create_server(("::1", 0), family=socket.AF_INET6)
print(socket.create_connection(six.getsockname()[:2]).getpeername()[0])
try:
    socket.create_connection(("192.0.2.1", 80))
except OSError as error:
    print(error.strerror, flush=True)
input()
"#;

#[test]
fn a_server_and_its_client_share_a_loopback_with_nobody_else() {
    needs!("python3");
    for caller in Caller::both() {
        let directory = TempDir::with_file("server.py", SERVER).file("page", "served");
        let sandbox = under("server-loopback", caller, &directory);

        // Both listen on the same port at the same time.
        let mut both = [(); 2].map(|()| sandbox.start(["python3", "server.py"]));
        for server in &mut both {
            assert_eq!(server.line(), "served", "{caller}: {}", server.stderr_text());
            assert_eq!(server.line(), "::1", "{caller}");
            assert_eq!(server.line(), "Network is unreachable", "{caller}");
        }

        for mut server in both {
            server.write("\n");
            let output = server.wait();
            assert_eq!(output.code(), 0, "{output:?}");
        }
    }
}

#[test]
fn a_network_leads_to_a_proxy_that_keeps_its_rules() {
    needs!("bash");
    // No host of the example is asked for: that would leave this machine.
    const SCRIPT: &str = r#"
        for host in example.org:443 gist.githubusercontent.com:443 github.com:22 127.0.0.1:443; do
            exec 3<>/dev/tcp/127.0.0.1/3128
            printf "CONNECT $host HTTP/1.1\r\n\r\n" >&3
            head -c 12 <&3; echo
        done
        echo "$https_proxy"
    "#;
    for caller in Caller::both() {
        let directory = TempDir::new();
        let output = under("proxied", caller, &directory).run(["bash", "-c", SCRIPT]);
        let no = "HTTP/1.1 403";
        output.assert_said(&[no, no, no, no, "http://127.0.0.1:3128"]);
    }
}

#[test]
fn a_read_only_directory_is_searched_and_not_changed() {
    needs!("bash", "grep");
    const SCRIPT: &str = r#"
        grep --recursive --files-with-matches needle .
        touch note || echo refused
        touch /tmp/note || echo refused
        ./program || echo "not run"
    "#;
    for caller in Caller::both() {
        let directory =
            TempDir::with_file("hay", "a needle").file("program", "#!/bin/sh\necho ran\n");
        let mode = fs::Permissions::from_mode(0o777);
        fs::set_permissions(directory.join("program"), mode).expect("chmod");

        let output = under("read-only", caller, &directory).run(["bash", "-c", SCRIPT]);

        output.assert_said(&["./hay", "refused", "refused", "not run"]);
        assert_eq!(output.stderr_text().matches("Read-only file system").count(), 2, "{output:?}");
        assert_eq!(directory.names(), ["hay", "program"], "{caller}");
    }
}

#[test]
fn a_converter_computes_with_threads_and_starts_nothing() {
    needs!("python3");
    const SCRIPT: &str = r#"
import fcntl, os, socket, sys, threading, termios

def attempt(what, action):
    try:
        action()
        print(what, "made")
    except OSError as error:
        print(what, error.errno)

read, write = os.pipe()
text = sys.stdin.read()
thread = threading.Thread(target=lambda: print(text.upper()))
thread.start()
thread.join()
sys.stdout.flush()
attempt("fork", lambda: os.fork() or os._exit(0))
attempt("pair", lambda: socket.socketpair())
attempt("asked", lambda: fcntl.ioctl(read, termios.FIONREAD, bytes(4)))
attempt("set", lambda: fcntl.ioctl(read, termios.FIONBIO, bytes(4)))
"#;
    for caller in Caller::both() {
        let directory = TempDir::with_file("convert.py", SCRIPT);
        let convert = |sandbox: Sandbox| sandbox.stdin("text").run(["python3", "convert.py"]);
        // The same without what the example says of system calls.
        let open = "filesystem = { root = 'minimal', read = ['.'] }";

        let inside = convert(under("converter", caller, &directory));
        let outside = convert(of_text(open, caller, &directory));

        inside.assert_said(&["TEXT", "fork 11", "pair 1", "asked made", "set 25"]);
        outside.assert_said(&["TEXT", "fork made", "pair made", "asked made", "set made"]);
    }
}

#[test]
fn a_judged_program_reads_its_input_within_its_limits() {
    needs!("bash");
    const SCRIPT: &str = r#"
        read -r line; echo "input: $line"
        ulimit -t; ulimit -v; ulimit -n; ulimit -f
        nice; hostname; cat /proc/self/oom_score_adj
    "#;
    for caller in Caller::both() {
        let output =
            under("limits", caller, &TempDir::new()).stdin("a line\n").run(["bash", "-c", SCRIPT]);

        let said = ["input: a line", "5", "524288", "64", "16384", "10", "judge", "500"];
        output.assert_said(&said);
    }
}

#[test]
fn a_judged_program_that_takes_too_long_or_says_too_much_is_ended() {
    needs!("bash", "sleep");
    const SIGXFSZ: i32 = 25;
    let hurried = example("limits").replace("\"10s\"", "\"100ms\"");
    for caller in Caller::both() {
        let directory = TempDir::new();

        let slow = of_text(&hurried, caller, &directory).run(["sleep", "1000"]);
        let loud = under("limits", caller, &directory).run(["head", "-c", "17M", "/dev/zero"]);

        assert_eq!(slow.code(), 124, "{slow:?}");
        assert_eq!(slow.event("exit").expect("it ended")["ended_by"], "wall", "{caller}");
        assert_eq!(loud.code(), 128 + SIGXFSZ, "{caller}");
        assert_eq!(loud.stdout.len(), 16 << 20, "{caller}");
    }
}

const FORKS: &str = r#"
import os, signal
children = 0
try:
    while children < 64:
        if os.fork() == 0:
            signal.pause()
        children += 1
except BlockingIOError:
    print(1 + children, flush=True)
"#;

#[test]
fn a_judged_program_has_no_more_processes_than_it_may() {
    needs!("python3");
    let fork = ["python3", "-c", FORKS];

    let output = under("limits", Caller::Nobody, &TempDir::new()).run(fork);

    output.assert_said(&["16"]);
}

#[test]
fn the_status_says_which_limit_does_not_bind_the_whole_tree() {
    harness::needs_landlock!(1);
    needs!("true");
    for caller in Caller::both() {
        let output = under("limits", caller, &TempDir::new()).run(["true"]);

        // Per process, RLIMIT_CPU does; nothing counts the processes of root
        // but a cgroup.
        let mut missing = vec!["limits.cpu_time"];
        if caller.is_root() {
            missing.insert(0, "limits.processes");
        }
        let launch = output.event("launch").expect("it was launched");
        assert_eq!(launch["missing"], json!(missing), "{caller}");
    }
}
