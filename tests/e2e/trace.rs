//! `encode-policy trace`: it tells what a policy denies, and changes nothing.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use harness::{
    Caller, IN_PLACE, Outcome, Output, Running, Sandbox, TempDir, WITHOUT_USER_NAMESPACES, needs,
    skip,
};
use rustix::process::Signal;

/// The probe and files of a test: `given` can be read by the policy, `kept` is
/// beside it.
struct World {
    sandbox: Sandbox,
    dir: TempDir,
    policy: String,
}

impl World {
    fn new(caller: Caller, policy: &str) -> Self {
        let dir = TempDir::new()
            .directory("given")
            .file("given/note", "yes")
            .file("kept/secret", "no")
            .file("kept/other", "no")
            .file("kept/tool", "#!/bin/sh\n");
        let runs = fs::Permissions::from_mode(0o755);
        fs::set_permissions(dir.join("kept/tool"), runs).expect("it is changed");
        let sandbox = Sandbox::outside().caller(caller).cwd("/");
        let probe = sandbox.probe_path();
        let policy = format!(
            "filesystem.execute = [{probe:?}]\nfilesystem.read = [\"{dir}/given\"]\n{policy}\n"
        );
        fs::write(dir.join("policy.toml"), &policy).expect("it is written");
        Self { sandbox, dir, policy }
    }

    /// Runs probes under the policy, by `run` or `trace`.
    fn probes(self, command: &[&str], probes: &[&str]) -> (Output, TempDir) {
        self.probes_on(&[], command, probes)
    }

    /// The same on a host that something makes of this one.
    fn probes_on(self, host: &[&str], command: &[&str], probes: &[&str]) -> (Output, TempDir) {
        let probe = self.sandbox.probe_path();
        let words = [&[probe.as_str()], probes].concat();
        let policy = self.dir.join("policy.toml");
        let policy = policy.to_str().expect("it is text");
        let encoder = self.sandbox.binaries().encoder().to_str().expect("it is text").to_owned();
        let (first, options) = command.split_first().expect("a command");
        let wrapper = [host, &[encoder.as_str(), first, policy], options, &["--"]].concat();
        (self.sandbox.wrap(wrapper).run(words), self.dir)
    }
}

fn policies() -> [&'static str; 2] {
    ["", IN_PLACE]
}

/// Probes of what the policy of a [`World`] grants and what it does not.
fn probes(dir: &str) -> Vec<String> {
    [
        "read DIR/given/note",
        "list DIR/given",
        "stat DIR/given/note",
        "read DIR/kept/secret",
        "open-path DIR/kept/secret",
        "list DIR/kept",
        "create DIR/given/new",
        "open-for-write DIR/given/note",
        "unlink DIR/given/note",
        "rename DIR/given/note DIR/given/other",
        "mkdir DIR/kept/new",
        "exec DIR/kept/tool",
        "read DIR/absent",
        "read DIR/kept/absent",
        "chdir DIR/kept",
        "socket inet stream",
        "socket vsock stream",
        "syscall getppid",
        "syscall add_key 0 0 0 0 0",
        "syscall ptrace 0 0 0 0",
        "kill parent 0",
    ]
    .map(|probe| probe.replace("DIR", dir))
    .into()
}

#[test]
fn a_traced_command_gets_what_it_gets_without() {
    for policy in policies() {
        for caller in Caller::both() {
            let answers = ["run", "trace"].map(|command| {
                let world = World::new(caller, policy);
                let probes = probes(&world.dir.path().display().to_string());
                let probes: Vec<&str> = probes.iter().map(String::as_str).collect();
                let (output, dir) = world.probes(&[command], &probes);
                assert_eq!(output.stdout_text().lines().count(), probes.len(), "{output:?}");
                let said: Vec<String> = output
                    .stdout_text()
                    .lines()
                    .zip(&probes)
                    // Numbers of processes differ.
                    .map(|(line, probe)| match probe.contains("getppid") {
                        true => line.split(' ').next().unwrap_or_default().to_owned(),
                        false => line.to_owned(),
                    })
                    .collect();
                let left = dir.names();
                (output.code(), said, left)
            });
            let [plain, traced] = answers;
            assert_eq!(traced, plain, "{caller} {policy}");
            // The control: much of it was denied, and not all.
            let denied = plain.1.iter().filter(|line| line.starts_with("errno")).count();
            assert!((8..18).contains(&denied), "{caller}: {plain:?}");
        }
    }
}

/// A policy that goes on without namespaces, where its filter closes more.
const FALLS_BACK: &str = r#"
    filesystem.tmp = "none"
    filesystem.proc = false
    filesystem.dev = "none"
    network.unix = "host"
    enforce.waive = ["execute"]
"#;

#[test]
fn where_no_namespace_can_be_made_a_trace_opens_nothing_that_is_closed_then() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        let answers = ["run", "trace"].map(|command| {
            let world = World::new(caller, FALLS_BACK);
            let dir = path(&world.dir);
            let probes = [
                &*format!("chmod {dir}/given/note 600"),
                &format!("set-times {dir}/given/note"),
                &format!("set-xattr {dir}/given/note"),
                "syscall setpriority 0 1 5",
                "syscall shmget 0 4096 0x3ff",
                &format!("read {dir}/given/note"),
                &format!("read {dir}/kept/secret"),
            ];
            let (output, dir) = world.probes_on(WITHOUT_USER_NAMESPACES, &[command], &probes);
            assert_eq!(output.stdout_text().lines().count(), probes.len(), "{output:?}");
            if command == "trace" {
                let said = denied(&output, &dir);
                assert!(
                    said.contains(&"call fchmodat".to_owned())
                        || said.contains(&"call chmod".to_owned()),
                    "{caller}: {said:?}"
                );
                assert!(said.contains(&"read DIR/kept/secret".to_owned()), "{caller}: {said:?}");
            }
            output.stdout_text()
        });
        let [plain, traced] = answers;
        assert_eq!(traced, plain, "{caller}");
        assert_eq!(plain.matches("errno").count(), 6, "{caller}: {plain}");
    }
}

/// What was denied, without the lines that permit it.
fn denied(output: &Output, dir: &TempDir) -> Vec<String> {
    let text = output.stderr_text().replace(&dir.path().display().to_string(), "DIR");
    let lines = text.lines().filter_map(|line| line.strip_prefix("denied: "));
    lines.map(|line| line.split(" -> ").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn every_denial_is_said_once_and_nothing_else_is() {
    let probes = |dir: &TempDir| {
        [
            "read DIR/given/note",
            "read DIR/kept/secret",
            "read DIR/kept/secret",
            "read DIR/absent",
            "read DIR/kept/absent",
            "create DIR/given/new",
            "open-for-write DIR/given/note",
            "exec DIR/kept/tool",
            "socket inet stream",
            "syscall add_key 0 0 0 0 0",
            "syscall add_key 1 0 0 0 0",
            "syscall getppid",
        ]
        .map(|probe| probe.replace("DIR", &dir.path().display().to_string()))
    };
    for policy in policies() {
        for caller in Caller::both() {
            let world = World::new(caller, policy);
            let probes = probes(&world.dir);
            let probes: Vec<&str> = probes.iter().map(String::as_str).collect();

            let (output, dir) = world.probes(&["trace"], &probes);

            let mut said = denied(&output, &dir);
            said.sort();
            let expected = [
                "call add_key",
                "call socket (AF_INET)",
                "create DIR/given/new",
                "execute DIR/kept/tool",
                "read DIR/kept/secret",
                "write DIR/given/note",
            ];
            assert_eq!(said, expected, "{caller} {policy}: {}", output.stderr_text());
        }
    }
}

#[test]
fn the_lines_that_are_said_permit_it() {
    let probes = |dir: &TempDir| {
        [
            "read DIR/kept/secret",
            "read DIR/kept/other",
            "write DIR/given/note more",
            "create DIR/given/new",
            "exec DIR/kept/tool",
            "socket inet stream",
            "syscall add_key 0 0 0 0 0",
        ]
        .map(|probe| probe.replace("DIR", &dir.path().display().to_string()))
    };
    // The policy of the first run names them in the second.
    let _keeps_the_binaries = Sandbox::outside();
    for caller in Caller::both() {
        let world = World::new(caller, "filesystem.tmp = \"none\"");
        let mut policy: toml::Table = world.policy.parse().expect("it is TOML");
        let texts = probes(&world.dir);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (output, dir) = world.probes(&["trace"], &texts);
        let refused = output.stdout_text();
        assert_eq!(refused.matches("errno").count(), texts.len(), "{output:?}");

        for line in output.stderr_text().lines() {
            let (_, line) = line.split_once(" -> ").expect("each says what would permit it");
            add(&mut policy, line);
        }
        // The interpreter of the script, which is beside its own denial.
        add(&mut policy, "filesystem.root = \"minimal\"");
        let world = World::new(caller, "");
        let text = policy.to_string().replace(&path(&dir), &path(&world.dir));
        fs::write(world.dir.join("policy.toml"), text).expect("it is written");
        let texts = probes(&world.dir);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (output, _dir) = world.probes(&["run"], &texts[..6]);
        let said = output.stdout_text();
        // What is executed says nothing more.
        assert!(said.lines().take(4).all(|line| line.starts_with("ok")), "{caller}: {output:?}");
        assert_eq!(said.lines().count(), 4, "{output:?}");
    }
}

fn path(dir: &TempDir) -> String {
    dir.path().display().to_string()
}

/// Does to a policy what a line says.
fn add(policy: &mut toml::Table, line: &str) {
    let (key, operator, value) = match line.split_once(" += ") {
        Some((key, value)) => (key, "+=", value),
        None => line.split_once(" = ").map(|(key, value)| (key, "=", value)).expect("a line"),
    };
    let value: toml::Table = format!("x = {value}").parse().expect("a value");
    let (table, key) = key.split_once('.').expect("a key of a table");
    let table = policy.entry(table).or_insert_with(|| toml::Table::new().into());
    let table = table.as_table_mut().expect("a table");
    let value = value["x"].clone();
    if operator == "=" {
        table.insert(key.to_owned(), value);
        return;
    }
    let list = table.entry(key).or_insert_with(|| toml::Value::Array(Vec::new()));
    let list = list.as_array_mut().expect("a list");
    if !list.contains(&value) {
        list.push(value);
    }
}

#[test]
fn many_denials_of_one_directory_are_one_line_to_add() {
    let caller = Caller::both()[0];
    let world = World::new(caller, "");
    let dir = path(&world.dir);
    for number in 0..20 {
        fs::write(world.dir.join(format!("kept/{number}")), "x").expect("it is written");
    }
    let probes: Vec<String> = (0..20).map(|number| format!("read {dir}/kept/{number}")).collect();
    let probes: Vec<&str> = probes.iter().map(String::as_str).collect();

    let (output, _dir) = world.probes(&["trace"], &probes);

    let text = output.stderr_text();
    let lines: Vec<&str> = text.lines().collect();
    let line = format!("-> filesystem.read += \"{dir}/kept\"");
    assert!(lines.iter().all(|said| said.ends_with(&line)), "{text}");
    assert_eq!(lines.len(), 9, "{text}");
    assert!(lines[8].starts_with("denied: 12 more"), "{text}");
}

#[test]
fn what_an_entry_hides_is_said_to_be_hidden_by_it() {
    for caller in Caller::both() {
        let world = World::new(caller, "");
        let dir = path(&world.dir);
        let policy = format!("{}\nfilesystem.deny = [\"{dir}/given/note\"]\n", world.policy);
        fs::write(world.dir.join("policy.toml"), policy).expect("it is written");

        let (output, _dir) = world.probes(&["trace"], &[&format!("read {dir}/given/note")]);

        let said = format!("read {dir}/given/note -> filesystem.deny -= \"{dir}/given/note\"");
        assert!(output.stderr_text().contains(&said), "{caller}: {output:?}");
    }
}

#[test]
fn what_cannot_be_reached_is_said_with_what_would_open_it() {
    if harness::landlock_abi() < 4 {
        skip!("ports", "Landlock does not limit ports here");
    }
    let server = TcpListener::bind("127.0.0.1:0").expect("it is bound");
    let port = server.local_addr().expect("it has one").port();
    let service = TempDir::new();
    let path = service.join("service").display().to_string();
    let _service = UnixListener::bind(&path).expect("it is bound");
    let probes = [
        &*format!("connect-tcp 127.0.0.1 {port}"),
        "bind-tcp 127.0.0.1 0",
        &format!("unix-connect {path}"),
    ];
    for caller in Caller::both() {
        let ports = "network = { access = \"host\", connect_tcp = [], bind_tcp = [0] }";
        let (output, _dir) = World::new(caller, ports).probes(&["trace"], &probes);
        let text = output.stderr_text();
        let lines: Vec<&str> = text.lines().collect();
        let expected = [
            format!("denied: connect to 127.0.0.1 port {port} -> network.connect_tcp += {port}"),
            format!("denied: connect to {path} -> network.unix += \"{path}\""),
        ];
        assert_eq!(lines, expected, "{caller}: {output:?}");

        let own = "network.access = \"loopback\"";
        let far = ["connect-tcp 192.0.2.1 80"];
        let (output, _dir) = World::new(caller, own).probes(&["trace"], &far);
        let expected = "denied: connect to 192.0.2.1 port 80 -> network.access = \"host\"\n";
        assert_eq!(output.stderr_text(), expected, "{caller}: {output:?}");
    }
}

#[test]
fn programs_read_it_as_json() {
    let world = World::new(Caller::both()[0], "");
    let dir = path(&world.dir);
    let file = world.dir.join("denied.json");
    let options = ["trace", "--json", "-o", file.to_str().expect("it is text")];

    let (output, _dir) = world.probes(&options, &[&format!("read {dir}/kept/secret")]);

    assert_eq!(output.stderr_text(), "");
    let text = fs::read_to_string(&file).expect("it is written");
    let said: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let denied = &said["denied"][0];
    assert_eq!(denied["denied"], "read");
    assert_eq!(denied["subject"], format!("{dir}/kept/secret"));
    assert_eq!(denied["permitted_by"], format!("filesystem.read += \"{dir}/kept\""));
}

#[test]
fn how_the_command_ends_is_how_the_trace_ends() {
    needs!("bash");
    let policy = "filesystem.root = \"minimal\"";
    for caller in Caller::both() {
        let traced = |script: &str| traced(caller, policy).run(["bash", "-c", script]);
        assert_eq!(traced("exit 7").code(), 7, "{caller}");
        assert_eq!(traced("kill -KILL $$").code(), 137, "{caller}");
        let outcome = traced("exit 0");
        assert_eq!((outcome.code(), outcome.stderr_text().as_str()), (0, ""), "{caller}");
        let missing = super::trace::traced(caller, policy).run(["/nowhere"]);
        assert_eq!(missing.code(), 127, "{missing:?}");
    }
}

/// `encode-policy trace` with a policy in a file.
fn traced(caller: Caller, policy: &str) -> Sandbox {
    let sandbox = Sandbox::outside().caller(caller);
    let encoder = sandbox.binaries().encoder();
    // Read before anything else is done with standard input.
    let file = harness::memory(policy.as_bytes(), rustix::fs::SealFlags::empty());
    sandbox.pass(file, 60).wrap([
        encoder.as_os_str(),
        "trace".as_ref(),
        "/dev/fd/60".as_ref(),
        "--".as_ref(),
    ])
}

#[test]
fn a_signal_reaches_the_command() {
    needs!("bash");
    for caller in Caller::both() {
        let script = "trap 'echo got it; exit 3' TERM; echo ready; while :; do sleep 0.1; done";
        let policy = "filesystem.root = \"minimal\"";
        let mut running = traced(caller, policy).start(["bash", "-c", script]);
        assert_eq!(running.line(), "ready", "{}", running.stderr_text());
        running.signal(Signal::TERM);
        assert_eq!(running.line(), "got it");
        assert_eq!(running.wait().code(), 3, "{caller}");
    }
}

#[test]
fn without_its_watcher_a_command_fails_and_does_not_hang() {
    needs!("bash");
    let policy =
        format!("filesystem.root = \"minimal\"\nprocess.die_with_parent = false\n{IN_PLACE}\n");
    for caller in Caller::both() {
        let script = "echo ready; read line; cat /etc/passwd > /dev/null 2>&1; echo \"it said $?\"";
        let mut running: Running = traced(caller, &policy).start(["bash", "-c", script]);
        assert_eq!(running.line(), "ready", "{}", running.stderr_text());
        running.signal(Signal::KILL);
        running.write("\n");
        let said = running.line();
        assert!(said.starts_with("it said ") && !said.ends_with(" 0"), "{caller}: {said}");
    }
}

#[test]
fn a_policy_that_asks_a_supervisor_is_not_traced() {
    let policy = "filesystem.root = \"minimal\"\n\
                  seccomp.rule = [{ call = \"getppid\", action = \"notify\" }]";
    let outcome = traced(Caller::both()[0], policy).run(["/bin/true"]);
    assert_eq!(outcome.code(), 125, "{outcome:?}");
    assert!(outcome.stderr_text().contains("asks a supervisor already"), "{outcome:?}");
}

#[test]
fn a_command_that_the_filter_ends_is_told_of() {
    let world = World::new(Caller::both()[0], "seccomp.action = \"kill\"");
    let (output, _dir) = world.probes(&["trace"], &["syscall add_key 0 0 0 0 0"]);
    assert_eq!(output.code(), 159, "{output:?}");
    assert!(output.stderr_text().contains("the filter has ended the command"), "{output:?}");
}

#[test]
fn what_a_command_makes_for_itself_is_not_denied() {
    for caller in Caller::both() {
        let world = World::new(caller, "");
        // There is one of this name outside, too.
        let name = world.dir.path().file_name().expect("it has one").to_owned();
        let own = std::path::Path::new("/tmp").join(name);
        let own = own.display();
        let probes = [
            format!("mkdir {own}x"),
            format!("write {own}x/file text"),
            format!("read {own}x/file"),
            format!("unlink {own}x/file"),
        ];
        let probes: Vec<&str> = probes.iter().map(String::as_str).collect();
        let (output, dir) = world.probes(&["trace"], &probes);
        assert_eq!(denied(&output, &dir), [""; 0], "{caller}: {output:?}");
        let answers: Vec<_> = output.stdout_text().lines().map(Outcome::parse).collect();
        assert!(answers.iter().flatten().all(Outcome::is_ok), "{caller}: {output:?}");
    }
}
