//! Each preset and part with the program that it is for, as a newcomer runs
//! it: `encode-policy run --preset NAME -- ...` in a directory of theirs.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use harness::{Caller, Sandbox, TIMEOUT, TempDir, WITHOUT_USER_NAMESPACES, is_ready, needs, skip};
use policy_encoder::presets::PRESETS;

/// How long a compiler may take on a busy machine.
const BUILD: Duration = Duration::from_secs(180);

fn under(preset: &str, caller: Caller, directory: &TempDir) -> Sandbox {
    Sandbox::of_preset(preset).caller(caller).cwd(directory.path())
}

#[test]
fn every_preset_is_run_by_a_test() {
    let tests = concat!(include_str!("presets.rs"), include_str!("terminal.rs"));
    for preset in PRESETS {
        let name = preset.name;
        let calls = [format!("under(\"{name}\""), format!("of_preset(\"{name}\"")];
        assert!(calls.iter().any(|call| tests.contains(call)), "no test runs {name}");
    }
}

/// What a program finds that tries everything: files of the caller, the
/// network, the system.
const TRY: &str = r#"
    cat note 2> /dev/null || echo "note is hidden"
    echo changed 2> /dev/null > note || echo "note stays"
    echo new 2> /dev/null > new || echo "nothing new"
    echo evil 2> /dev/null > /usr/evil || echo "the system stays"
    echo temporary > /tmp/file && cat /tmp/file
    : 2> /dev/null < /dev/tcp/127.0.0.1/9 || echo "no network"
"#;

#[test]
fn under_strict_nothing_of_yours_is_there() {
    needs!("bash");
    for caller in Caller::both() {
        let directory = TempDir::with_file("note", "secret\n");

        let output = under("strict", caller, &directory).run(["bash", "-c", TRY]);

        let said = [
            "note is hidden",
            "note stays",
            "nothing new",
            "the system stays",
            "temporary",
            "no network",
        ];
        output.assert_said(&said);
        assert_eq!(directory.read("note"), "secret\n", "{caller}");
    }
}

#[test]
fn under_readonly_everything_is_read_and_nothing_changed() {
    needs!("bash");
    for caller in Caller::both() {
        // The host's temporary directories are replaced.
        let output = under("readonly", caller, &TempDir::new()).run(["bash", "-c", TRY]);

        let said = [
            "note is hidden",
            "note stays",
            "nothing new",
            "the system stays",
            "temporary",
            "no network",
        ];
        output.assert_said(&said);
        let system = under("readonly", caller, &TempDir::new()).run(["cat", "/etc/passwd"]);
        assert_eq!(system.stdout, fs::read("/etc/passwd").expect("it is readable"), "{caller}");
    }
}

const C: &str = "#include <stdio.h>\nint main(void) { return puts(\"built\") < 0; }\n";

#[test]
fn under_build_what_is_built_runs_and_only_the_directory_changes() {
    needs!("gcc", "bash");
    const SCRIPT: &str = "gcc -o program program.c && ./program && touch /usr/evil 2> /dev/null \
                          || echo refused";
    for caller in Caller::both() {
        let directory = TempDir::with_file("program.c", C);

        let output = under("build", caller, &directory).timeout(BUILD).run(["bash", "-c", SCRIPT]);

        output.assert_said(&["built", "refused"]);
        assert!(directory.has("program"), "{caller}");
    }
}

#[test]
fn under_shim_the_directory_changes_without_namespaces() {
    harness::needs_landlock!(6);
    needs!("bash");
    for caller in Caller::both() {
        let directory = TempDir::with_file("note", "kept\n");

        let output = under("shim", caller, &directory).run([
            "bash",
            "-c",
            "cat note; echo new > new; echo evil 2> /dev/null > /usr/evil || echo refused",
        ]);

        output.assert_said(&["kept", "refused"]);
        assert_eq!(directory.read("new"), "new\n", "{caller}");
    }
}

#[test]
fn under_agent_a_command_works_where_no_namespace_can_be_made() {
    needs!("bash", "git", "unshare");
    const SCRIPT: &str = r#"
        echo new > src/new && cat src/new
        cat source
        git status --short --untracked-files=no && echo "git works"
        echo evil 2> /dev/null > .git/hooks/pre-commit || echo "hooks are closed"
        cat .env 2> /dev/null || echo "secrets are hidden"
        echo evil 2> /dev/null > .envrc || echo "no new name beside them"
        cat /etc/shadow 2> /dev/null || echo "passwords are hidden"
        ls /root /home /run /tmp 2> /dev/null | grep . || echo "nobody is at home"
        : 2> /dev/null < /dev/tcp/127.0.0.1/9 || echo "no network"
    "#;
    for caller in Caller::both() {
        let directory =
            TempDir::with_file("source", "read\n").file(".env", "SECRET=1").file("src/a", "");
        let home = TempDir::new();
        // Git works in nobody else's repository.
        std::os::unix::fs::chown(directory.path(), Some(caller.uid()), Some(caller.uid()))
            .expect("an owner is set");
        let git = ["git", "init", "--quiet"];
        let made = Sandbox::outside().caller(caller).cwd(directory.path()).run(git);
        assert_eq!(made.code(), 0, "{caller}: {made:?}");

        let sandbox = under("agent", caller, &directory)
            .env("HOME", home.path())
            .wrap(WITHOUT_USER_NAMESPACES);
        let output = sandbox.run(["bash", "-c", SCRIPT]);

        output.assert_said(&[
            "new",
            "read",
            "git works",
            "hooks are closed",
            "secrets are hidden",
            "no new name beside them",
            "passwords are hidden",
            "nobody is at home",
            "no network",
        ]);
        assert_eq!(directory.read("src/new"), "new\n", "{caller}");
        let launch = output.event("launch").expect("a launch event");
        assert_eq!(launch["rung"], "landlock", "{caller}");
        let missing = ["namespaces", "proc", "pts", "tmp", "home", "unix-sockets", "new-names"];
        assert_eq!(launch["missing"], serde_json::json!(missing), "{caller}");
    }
}

#[test]
fn under_agent_a_command_works_on_its_project_and_sees_no_keys() {
    needs!("bash", "git");
    const SCRIPT: &str = r#"
        printf '#!/bin/sh\necho tool\n' > tool && chmod +x tool && ./tool
        cat source
        git status --short --untracked-files=no && echo "git works"
        echo evil 2> /dev/null > .git/hooks/pre-commit || echo "hooks are closed"
        cat .env 2> /dev/null || echo "secrets are hidden"
        cat /etc/shadow 2> /dev/null || echo "passwords are hidden"
        ls -A /root /home 2> /dev/null | grep -v : | grep . || echo "nobody is at home"
        : 2> /dev/null < /dev/tcp/127.0.0.1/9 || echo "no network"
        echo "token: $TOKEN"
    "#;
    for caller in Caller::both() {
        let directory = TempDir::with_file("source", "read\n").file(".env", "SECRET=1");
        let git = |arguments: &[&str]| {
            Sandbox::outside()
                .caller(caller)
                .cwd(directory.path())
                .run([&["git"], arguments].concat())
        };
        assert_eq!(git(&["init", "--quiet"]).code(), 0);

        let sandbox = under("agent", caller, &directory).env("TOKEN", "a secret");
        let output = sandbox.env("HOME", "/root").run(["bash", "-c", SCRIPT]);

        let said = [
            "tool",
            "read",
            "git works",
            "hooks are closed",
            "secrets are hidden",
            "passwords are hidden",
            "nobody is at home",
            "no network",
            "token: ",
        ];
        output.assert_said(&said);
        assert!(!directory.has(".git/hooks/pre-commit"), "{caller}");
    }
}

#[test]
fn python_runs_tasks_processes_and_its_directory() {
    needs!("python3");
    const SCRIPT: &str = r#"
import asyncio, multiprocessing, socket, ssl, tempfile

async def child():
    process = await asyncio.create_subprocess_exec("echo", "a child", stdout=asyncio.subprocess.PIPE)
    return (await process.communicate())[0].decode().strip()

def square(number):
    return number * number

if __name__ == "__main__":
    print(asyncio.run(child()))
    with multiprocessing.Pool(2) as pool:
        print(pool.map(square, range(3)))
    print(ssl.create_default_context().verify_mode.name)
    open("result", "w").write(tempfile.gettempdir())
    try:
        socket.create_connection(("127.0.0.1", 9))
    except OSError as error:
        print("no network")
"#;
    for caller in Caller::both() {
        let directory = TempDir::with_file("script.py", SCRIPT);

        let output = under("python", caller, &directory).run(["python3", "script.py"]);

        output.assert_said(&["a child", "[0, 1, 4]", "CERT_REQUIRED", "no network"]);
        assert_eq!(directory.read("result"), "/tmp", "{caller}");
    }
}

#[test]
fn node_runs_scripts_and_the_programs_of_packages() {
    needs!("node");
    const SCRIPT: &str = r#"
        require("fs").writeFileSync("result", require("package"));
        console.log(require("child_process").execFileSync("node_modules/.bin/tool").toString().trim());
        require("net").connect(9, "127.0.0.1").on("error", () => console.log("no network"));
    "#;
    for caller in Caller::both() {
        let directory = TempDir::with_file("script.js", SCRIPT)
            .file("node_modules/package/index.js", "module.exports = 'kept';")
            .file("node_modules/.bin/tool", "#!/bin/sh\necho a tool\n");
        let tool = directory.join("node_modules/.bin/tool");
        fs::set_permissions(tool, fs::Permissions::from_mode(0o777)).expect("chmod");

        let output = under("node", caller, &directory).run(["node", "script.js"]);

        output.assert_said(&["a tool", "no network"]);
        assert_eq!(directory.read("result"), "kept", "{caller}");
    }
}

#[test]
fn cargo_builds_and_tests_offline() {
    needs!("gcc");
    let Some((home, cargo)) = harness::cargo_of_rustup() else {
        skip!("cargo", "there is no rustup in the home directory");
    };
    // The toolchain is the user's own: nobody has none.
    let caller = Caller::both()[0];
    let directory = TempDir::new()
        .file("Cargo.toml", "[package]\nname = \"hello\"\nedition = \"2024\"\n")
        .file("build.rs", "fn main() { println!(\"cargo::rustc-env=SAID=built\"); }")
        .file(
            "src/main.rs",
            "fn main() { println!(\"{}\", env!(\"SAID\")); }\n#[test]\nfn it_works() {}\n",
        );
    let run = |arguments: &[&str]| {
        let command = [&[cargo.as_str()], arguments].concat();
        under("rust", caller, &directory).env("HOME", &home).timeout(BUILD).run(command)
    };

    run(&["run", "--quiet"]).assert_said(&["built"]);
    let tested = run(&["test"]);

    assert!(tested.stdout_text().contains("test it_works ... ok"), "{tested:?}");
    assert!(directory.has("target/debug/hello"));
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
        git config --get user.email || echo "no configuration of yours"
    "#;
    for caller in Caller::both() {
        let directory = TempDir::with_file("note", "kept");
        let mut sandbox = under("git", caller, &directory);
        for (name, value) in [("NAME", "Somebody"), ("EMAIL", "somebody@example.org")] {
            sandbox = sandbox
                .env(format!("GIT_AUTHOR_{name}"), value)
                .env(format!("GIT_COMMITTER_{name}"), value);
        }

        let output = sandbox.run(["bash", "-c", SCRIPT]);

        output.assert_said(&["Somebody: The first", "no configuration of yours"]);
        assert!(directory.has(".git/refs/heads/main"), "{caller}");
    }
}

const CLIENT: &str = r#"
import os, socket, ssl, sys
print(socket.create_connection(("localhost", int(sys.argv[1]))).recv(9).decode())
print(len(ssl.create_default_context().get_ca_certs()) > 0 or not os.path.isdir("/etc/ssl/certs"))
print(os.path.exists("/etc/resolv.conf") and os.environ["https_proxy"])
"#;

#[test]
fn under_network_hosts_are_found_by_name_and_certificates_are_there() {
    needs!("python3");
    for caller in Caller::both() {
        let directory = TempDir::new();
        let server = TcpListener::bind(("127.0.0.1", 0)).expect("a port is bound");
        let port = server.local_addr().expect("it has an address").port().to_string();
        let client = ["python3", "-c", CLIENT, &port];
        let running = under("network", caller, &directory)
            .env("https_proxy", "proxy.example.org")
            .start(client);
        assert!(is_ready(&server, TIMEOUT), "nobody connects: {}", running.stderr_text());
        let (mut stream, _) = server.accept().expect("somebody connects");
        stream.write_all(b"connected").expect("it is written");
        drop(stream);

        running.wait().assert_said(&["connected", "True", "proxy.example.org"]);
        let without = under("strict", caller, &directory).run(client);
        assert!(without.stderr_text().contains("in name resolution"), "{without:?}");
    }
}

#[test]
fn parts_are_put_together_by_options() {
    needs!("git", "python3");
    for caller in Caller::both() {
        let directory = TempDir::with_file("note", "kept");
        let sandbox = under("python", caller, &directory)
            .option("--set=extends=['git']")
            .option("--read=.")
            .option("--set=process.hostname=box");

        let output = sandbox.run([
            "python3",
            "-c",
            "import os, socket; print(socket.gethostname(), os.environ['GIT_TERMINAL_PROMPT']); \
             open('new', 'w')",
        ]);

        assert_eq!(output.code(), 1, "{output:?}");
        assert_eq!(output.stdout_text(), "box 0\n", "{output:?}");
        assert!(output.stderr_text().contains("Read-only file system"), "{output:?}");
        assert!(!directory.has("new"), "{caller}");
    }
}
