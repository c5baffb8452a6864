//! `encode-policy` as a person types it.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use launcher_policy::wire::{Architecture, decode};

const PROGRAM: &str = env!("CARGO_BIN_EXE_encode-policy");

/// A directory that goes away with its owner.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("encode-policy-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a directory is made");
        Self(path)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).expect("a file is written");
        path
    }

    /// A stand-in for the launcher, which says how it was called.
    fn launcher(&self, script: &str) -> PathBuf {
        let path = self.file("launcher", format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode is set");
        path
    }

    fn program(&self) -> Command {
        let mut program = Command::new(PROGRAM);
        program.current_dir(&self.0).env_remove("NO_COLOR");
        program
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.program().args(arguments).output().expect("the program runs")
    }

    fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = self
            .program()
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        child.stdin.take().expect("it has an input").write_all(input).expect("it reads");
        child.wait_with_output().expect("it ends")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

#[test]
fn a_policy_becomes_bytes_that_decode() {
    let directory = Directory::new();
    directory.file("policy.toml", "filesystem.root = 'minimal'\n");
    let output = directory.run(&["policy.toml"]);
    assert_eq!(code(&output), Some(0), "{}", errors(&output));
    assert!(decode(&output.stdout).is_ok());
    assert_eq!(errors(&output), "");
}

#[test]
fn every_problem_is_said_in_one_run_at_its_place() {
    let directory = Directory::new();
    let text = "[filesystem]\nrea = [\"/usr\"]\nread = [\"/nonexistent\"]\n\n[network]\naccess = \"hots\"\n\
                [limits]\nprocesses = 0\n";
    directory.file("policy.toml", text);
    let output = directory.run(&["policy.toml"]);
    let errors = errors(&output);
    assert_eq!(code(&output), Some(1));
    assert!(output.stdout.is_empty());
    for part in [
        "error: unknown key \"rea\"",
        "policy.toml:2:1",
        "did you mean \"read\"?",
        "policy.toml:3:9",
        "read = [\"/nonexistent\"]",
        "error: unknown word \"hots\"",
        "policy.toml:6:10",
        "error: a limit of zero leaves nothing to run with",
        "policy.toml:8:13",
        "^^^^^^",
    ] {
        assert!(errors.contains(part), "{part} is missing from:\n{errors}");
    }
    assert!(!errors.contains('\x1b'), "there are colours off a terminal");
}

#[test]
fn json_is_known_by_its_name_or_its_first_character() {
    let directory = Directory::new();
    let json = "\n { \"filesystem\": { \"root\": \"minimal\" } }";
    directory.file("policy.json", json);
    assert_eq!(code(&directory.run(&["policy.json"])), Some(0));
    let output = directory.run_with_input(&["-"], json.as_bytes());
    assert!(decode(&output.stdout).is_ok());
    let output = directory.run_with_input(&["-"], b"filesystem.root = 'minimal'");
    assert!(decode(&output.stdout).is_ok());
    let output = directory.run_with_input(&["-"], b"{ \"netwrk\": {} }");
    assert!(errors(&output).contains("standard input:1:3"), "{}", errors(&output));
}

#[test]
fn what_is_no_policy_is_one_clear_complaint() {
    let directory = Directory::new();
    directory.file("binary.toml", b"# fine\nx = \"\xff\"\n");
    directory.file("long.toml", "z".repeat(1 << 20));
    directory.file("deep.toml", format!("x = {}", "[".repeat(10_000)));
    fs::create_dir(directory.0.join("directory")).expect("a directory is made");
    for (file, complaint) in [
        ("directory", "directory is a directory, not a policy"),
        ("missing.toml", "there is no file missing.toml"),
        ("binary.toml", "binary.toml is not text: line 2 is not UTF-8"),
        ("long.toml", "key with no value"),
        ("deep.toml", "nested too deeply"),
        ("/dev/zero", "/dev/zero is longer than any policy (16 MiB)"),
    ] {
        let output = directory.run(&[file]);
        let errors = errors(&output);
        assert_eq!(code(&output), Some(1), "{file}");
        assert!(errors.contains(complaint), "{file}: {errors}");
        assert_eq!(errors.matches("error:").count(), 1, "{file}: {errors}");
        assert!(errors.len() < 2000, "{file}: {} bytes of complaint", errors.len());
    }
}

#[test]
fn an_empty_document_is_the_safest_policy() {
    let directory = Directory::new();
    assert_eq!(code(&directory.run(&["/dev/null"])), Some(0));
}

#[test]
fn a_file_is_replaced_as_a_whole_and_nothing_is_left_beside_it() {
    let directory = Directory::new();
    directory.file("policy.toml", "");
    directory.file("real.bin", "old");
    symlink("real.bin", directory.0.join("policy.bin")).expect("a symlink is made");
    let output = directory.run(&["policy.toml", "-o", "policy.bin"]);
    assert_eq!(code(&output), Some(0), "{}", errors(&output));
    assert!(output.stdout.is_empty());
    assert!(decode(&fs::read(directory.0.join("real.bin")).expect("it is there")).is_ok());
    assert!(directory.0.join("policy.bin").is_symlink());
    assert_eq!(fs::read_dir(&directory.0).expect("it lists").count(), 3);
}

#[test]
fn a_policy_with_errors_leaves_the_old_file_alone() {
    let directory = Directory::new();
    directory.file("policy.toml", "x = 1");
    directory.file("policy.bin", "old");
    assert_eq!(code(&directory.run(&["policy.toml", "-o", "policy.bin"])), Some(1));
    assert_eq!(fs::read(directory.0.join("policy.bin")).expect("it is there"), b"old");
}

#[test]
fn a_device_is_written_to_and_stays() {
    let directory = Directory::new();
    let output = directory.run(&["--preset", "strict", "-o", "/dev/null"]);
    assert_eq!(code(&output), Some(0), "{}", errors(&output));
    assert!(fs::metadata("/dev/null").expect("it is there").file_type().is_char_device());
    let output = directory.run(&["--preset", "strict", "-o", "/dev/stdout"]);
    assert!(decode(&output.stdout).is_ok(), "{}", errors(&output));
    assert!(Path::new("/dev/stdout").is_symlink());
}

#[test]
fn bytes_are_not_written_to_a_terminal() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are terminals");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("the terminal is unlocked");
    let name = ptsname(&master, Vec::new()).expect("it has a name");
    let terminal = fs::OpenOptions::new()
        .write(true)
        .open(OsStr::from_bytes(name.to_bytes()))
        .expect("it opens");
    let directory = Directory::new();
    let output = directory
        .program()
        .args(["--preset", "strict"])
        .stdout(terminal)
        .stderr(Stdio::piped())
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .expect("the program runs");
    assert_eq!(code(&output), Some(2));
    assert!(errors(&output).contains("not for a terminal"), "{}", errors(&output));
}

#[test]
fn presets_are_listed_and_shown() {
    let directory = Directory::new();
    let list = directory.run(&["presets"]);
    let list = String::from_utf8(list.stdout).expect("it is text");
    assert_eq!(list.lines().count(), 4);
    for name in ["strict", "readonly", "build", "shim"] {
        assert!(list.lines().any(|line| line.starts_with(name)), "{name}");
        let shown = directory.run(&["presets", "show", name]);
        let again = directory.run_with_input(&["-"], &shown.stdout);
        assert_eq!(code(&again), Some(0), "{name}: {}", errors(&again));
        assert_eq!(again.stdout, directory.run(&["--preset", name]).stdout);
    }
    let output = directory.run(&["--preset", "strct"]);
    assert_eq!(code(&output), Some(2));
    assert!(errors(&output).contains("did you mean \"strict\"?"));
}

#[test]
fn check_says_nothing_of_a_good_policy_and_writes_no_bytes() {
    let directory = Directory::new();
    directory.file("good.toml", "");
    directory.file("bad.toml", "x = 1");
    let good = directory.run(&["check", "good.toml"]);
    assert_eq!((code(&good), good.stdout.len(), good.stderr.len()), (Some(0), 0, 0));
    assert_eq!(code(&directory.run(&["check", "bad.toml"])), Some(1));
}

#[test]
fn wrong_arguments_are_exit_status_2() {
    let directory = Directory::new();
    for arguments in [&["--nonsense"][..], &[], &["a", "b"], &["--preset", "strict", "a"]] {
        let output = directory.run(arguments);
        assert_eq!(code(&output), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    assert_eq!(code(&directory.run(&["--help"])), Some(0));
    assert_eq!(code(&directory.run(&["--version"])), Some(0));
}

#[test]
fn a_policy_is_made_for_another_place() {
    let directory = Directory::new();
    fs::create_dir_all(directory.0.join("image/srv/only-here")).expect("directories are made");
    directory.file("policy.toml", "filesystem.read = ['only-here']");
    assert_eq!(code(&directory.run(&["policy.toml"])), Some(1));
    assert_eq!(code(&directory.run(&["-C", "image/srv", "policy.toml"])), Some(0));
    let output = directory.run(&["--sysroot", "image", "-C", "/srv", "policy.toml"]);
    assert_eq!(code(&output), Some(0), "{}", errors(&output));
    assert_eq!(code(&directory.run(&["-C", "nowhere", "policy.toml"])), Some(1));
    let output = directory.run(&["--arch", "riscv64", "/dev/null"]);
    assert_eq!(output.stdout.get(6), Some(&(Architecture::Riscv64 as u8)));
}

#[test]
fn run_hands_a_sealed_policy_and_untouched_arguments_to_the_launcher() {
    let directory = Directory::new();
    let launcher = directory.launcher("printf '%s|' \"$@\"; cat \"/proc/self/fd/$3\" >policy.bin");
    let output = directory
        .program()
        .args(["run", "--preset", "strict", "--status-fd", "9", "--deadline", "5", "--launcher"])
        .arg(&launcher)
        .args(["--", "cmd", "--x", "a b"])
        .arg(OsStr::from_bytes(b"\xff"))
        .output()
        .expect("the program runs");
    assert_eq!(code(&output), Some(0), "{}", errors(&output));
    let mut fields = output.stdout.split(|&byte| byte == b'|');
    assert_eq!(fields.next(), Some(&b"--sealed"[..]));
    assert_eq!(fields.next(), Some(&b"--fd"[..]));
    assert!(fields.next().is_some_and(|fd| fd >= b"3"));
    let rest: Vec<_> = fields.collect();
    assert_eq!(
        rest,
        [
            b"--status-fd",
            &b"9"[..],
            b"--deadline",
            b"5",
            b"--",
            b"cmd",
            b"--x",
            b"a b",
            b"\xff",
            b""
        ]
    );
    assert!(decode(&fs::read(directory.0.join("policy.bin")).expect("it was handed over")).is_ok());
}

#[test]
fn run_leaves_the_descriptors_that_the_policy_names_alone() {
    let directory = Directory::new();
    let launcher = directory.launcher("echo \"$3\"");
    directory.file("policy.toml", "process.keep_fds = [3, 4, 5, 6, 7, 8, 9, 10]");
    let output = directory
        .program()
        .args(["run", "policy.toml", "--parent-fd", "11", "--launcher"])
        .arg(&launcher)
        .args(["--", "true"])
        .output()
        .expect("the program runs");
    let fd: u32 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("it is a number");
    assert!(fd > 11, "{fd}");
}

#[test]
fn run_never_takes_a_launcher_from_the_working_directory() {
    let directory = Directory::new();
    directory.launcher("echo wrong");
    // A copy that has no launcher beside it.
    let alone = Directory::new();
    let program = alone.0.join("encode-policy");
    fs::copy(PROGRAM, &program).expect("the program is copied");
    let run = |path: &OsStr| {
        Command::new(&program)
            .current_dir(&directory.0)
            .args(["run", "--preset", "strict", "--", "true"])
            .env("PATH", path)
            .output()
            .expect("the program runs")
    };
    for path in ["", ".", ":/nonexistent"] {
        let output = run(OsStr::new(path));
        assert_eq!(code(&output), Some(125), "{path}");
        assert!(errors(&output).contains("there is no launcher"), "{}", errors(&output));
    }
    assert_eq!(run(directory.0.as_os_str()).stdout, b"wrong\n");
    alone.launcher("echo beside");
    assert_eq!(run(OsStr::new("")).stdout, b"beside\n");
}

#[test]
fn run_that_does_not_come_to_the_command_is_exit_status_125() {
    let directory = Directory::new();
    directory.file("bad.toml", "x = 1");
    for arguments in [
        &["run", "bad.toml", "--", "true"][..],
        &["run", "missing.toml", "--", "true"],
        &["run", "--preset", "strict"],
        &["run", "--preset", "nothing", "--", "true"],
        &["run", "--preset", "strict", "--launcher", "./nothing", "--", "true"],
    ] {
        assert_eq!(code(&directory.run(arguments)), Some(125), "{arguments:?}");
    }
}

#[test]
fn a_file_with_the_name_of_a_command_is_reached_through_its_directory() {
    let directory = Directory::new();
    directory.file("run", "");
    assert_eq!(code(&directory.run(&["./run"])), Some(0));
}

#[test]
fn the_filter_of_a_policy_is_shown_in_every_format() {
    let directory = Directory::new();
    directory.file("policy.toml", "filesystem.root = 'minimal'\n");
    let text = |arguments: &[&str]| {
        let output = directory.run(arguments);
        assert_eq!(code(&output), Some(0), "{}", errors(&output));
        output.stdout
    };
    let asm = text(&["seccomp", "policy.toml"]);
    let asm = String::from_utf8(asm).expect("text");
    for part in ["; socket, socketpair", "AF_UNIX", "errno EAFNOSUPPORT", "ioctl:", "TIOCSTI"] {
        assert!(asm.contains(part), "{part} is missing from:\n{asm}");
    }
    let json = text(&["seccomp", "policy.toml", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    let bpf = text(&["seccomp", "policy.toml", "--format", "bpf"]);
    assert_eq!(json["instructions"].as_array().map(Vec::len), Some(bpf.len() / 8));

    // What was encoded already is shown as it is.
    text(&["-o", "policy.bin", "policy.toml"]);
    assert_eq!(text(&["seccomp", "policy.bin", "--format=bpf"]), bpf);
    assert_eq!(text(&["seccomp", "policy.bin"]), asm.as_bytes());

    // A filter that was written can be imported again.
    text(&["seccomp", "policy.toml", "--format=bpf", "-o", "filter.bpf"]);
    directory.file("again.toml", "filesystem.root = 'minimal'\nseccomp.import = 'filter.bpf'\n");
    assert!(text(&["seccomp", "again.toml", "--format=bpf"]).len() > bpf.len());

    // For another architecture, by its own numbers.
    let other = text(&["seccomp", "policy.toml", "--arch", "riscv64"]);
    assert!(String::from_utf8_lossy(&other).starts_with("; riscv64, "));
}

#[test]
fn the_filter_without_namespaces_is_another_one() {
    let directory = Directory::new();
    let text = "filesystem = { root = 'minimal', tmp = 'none', proc = false }\n\
                network.unix = 'host'\n";
    directory.file("policy.toml", text);
    let with = directory.run(&["seccomp", "policy.toml", "--format=json"]);
    let without =
        directory.run(&["seccomp", "policy.toml", "--format=json", "--without-namespaces"]);
    let actions = |output: &Output, name: &str| {
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let calls = json["calls"].as_array().expect("a list").clone();
        let call = calls.iter().find(|call| call["name"] == name).expect("it is there").clone();
        call["actions"].clone()
    };
    assert_eq!(actions(&with, "shmget"), serde_json::json!(["allow"]));
    assert_eq!(actions(&without, "shmget"), serde_json::json!(["errno EPERM"]));
}

#[test]
fn what_has_no_filter_is_said() {
    let directory = Directory::new();
    directory.file("off.toml", "filesystem.root = 'minimal'\nenforce.seccomp = 'off'\n");
    let output = directory.run(&["seccomp", "off.toml"]);
    assert_eq!(code(&output), Some(1));
    assert!(errors(&output).contains("no filter"), "{}", errors(&output));
    directory.file("cut.bin", "SBXP\x01\x00\x01");
    let output = directory.run(&["seccomp", "cut.bin"]);
    assert_eq!(code(&output), Some(1));
    assert!(!errors(&output).is_empty());
}

#[test]
fn a_filter_for_quick_launches_is_one_load_longer() {
    let directory = Directory::new();
    directory.file("policy.toml", "filesystem.root = 'minimal'\n");
    let filter = |optimize: &str| {
        let option = format!("--optimize={optimize}");
        let output = directory.run(&["seccomp", "policy.toml", "--format=bpf", &option]);
        assert_eq!(code(&output), Some(0), "{}", errors(&output));
        output.stdout
    };
    let (run, launch) = (filter("run"), filter("launch"));
    assert_eq!(launch[8..], run);
    let output = directory.run(&["--optimize=launch", "policy.toml"]);
    let policy = decode(&output.stdout).expect("it decodes");
    assert_eq!(policy.seccomp.expect("a filter").filter, launch);
}
