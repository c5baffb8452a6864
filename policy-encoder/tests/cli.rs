//! `encode-policy` as a person types it.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use launcher_policy::wire::{Architecture, decode, encode};

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
    directory.file("key.toml", format!("{} = 1", "z".repeat(1 << 17)));
    directory.file("value.toml", format!("filesystem.root = '{}'", "z".repeat(1 << 17)));
    directory.file("deep.toml", format!("x = {}", "[".repeat(10_000)));
    directory.file("deep.json", "{\"a\":".repeat(10_000));
    fs::create_dir(directory.0.join("directory")).expect("a directory is made");
    for (file, complaint) in [
        ("directory", "directory is a directory, not a policy"),
        ("missing.toml", "there is no file missing.toml"),
        ("binary.toml", "binary.toml is not text: line 2 is not UTF-8"),
        ("long.toml", "key with no value"),
        ("key.toml", "unknown key \"zzz"),
        ("value.toml", "zzz\" is not a root"),
        ("deep.json", "nest"),
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
    let presets = ["strict", "readonly", "build", "agent", "shell", "shim"];
    let parts = ["python", "node", "rust", "git", "network"];
    assert_eq!(list.lines().count(), presets.len() + parts.len());
    let kinds = presets.map(|name| (name, "preset")).into_iter();
    for (name, kind) in kinds.chain(parts.map(|name| (name, "part"))) {
        let words = [name, kind];
        let is_listed = |line: &str| line.split_whitespace().take(2).eq(words);
        assert!(list.lines().any(is_listed), "{name}");
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
fn check_complains_of_nothing_in_a_good_policy_and_writes_no_bytes() {
    let directory = Directory::new();
    directory.file("good.toml", "");
    directory.file("bad.toml", "x = 1");
    let good = directory.run(&["check", "good.toml"]);
    assert_eq!((code(&good), good.stdout.len()), (Some(0), 0));
    assert!(["error", "warning"].iter().all(|bad| !errors(&good).contains(bad)));
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
    // By another process: a descriptor that is open for writing would be
    // inherited by what other tests start, and the program be busy.
    let copied = Command::new("cp").arg(PROGRAM).arg(&program).status();
    assert!(copied.is_ok_and(|status| status.success()));
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

/// A document with what it extends, printed as one.
fn printed(directory: &Directory, arguments: &[&str]) -> String {
    let output = directory.run(&[&["run", "--print"], arguments].concat());
    assert_eq!(code(&output), Some(0), "{arguments:?}: {}", errors(&output));
    String::from_utf8(output.stdout).expect("it is text")
}

#[test]
fn what_a_document_extends_is_read_beside_it() {
    let directory = Directory::new();
    fs::create_dir(directory.0.join("team")).expect("a directory is made");
    directory.file("policy.toml", "extends = ['team/base.toml', 'git']\nnetwork.access = 'host'");
    directory.file("team/base.toml", "extends = ['./more.json']\nlimits.processes = 5");
    directory.file("team/more.json", r#"{ "limits": { "nice": 5 } }"#);
    let text = printed(&directory, &["policy.toml"]);
    for line in
        ["processes = 5", "nice = 5", "access = \"host\"", "root = \"minimal\"", "GIT_TERMINAL"]
    {
        assert!(text.contains(line), "{line} is missing from:\n{text}");
    }
    assert!(!text.contains("extends"), "{text}");
    assert_eq!(code(&directory.run(&["policy.toml"])), Some(0));
}

#[test]
fn a_complaint_points_into_the_file_that_it_is_about() {
    let directory = Directory::new();
    directory.file("policy.toml", "# one\nextends = ['base.toml']\nx = 1\n");
    directory.file("base.toml", "\n\nfilesystem.read = ['/nonexistent']\nnetwork.acess = 'none'\n");
    let output = directory.run(&["policy.toml"]);
    let errors = errors(&output);
    for part in ["policy.toml:3:1", "base.toml:3:20", "base.toml:4:9", "acess = 'none'"] {
        assert!(errors.contains(part), "{part} is missing from:\n{errors}");
    }
}

#[test]
fn an_entry_of_extends_that_leads_nowhere_is_one_clear_complaint() {
    let directory = Directory::new();
    fs::create_dir(directory.0.join("directory")).expect("a directory is made");
    directory.file("base", "");
    directory.file("a.toml", "extends = ['b.toml']");
    directory.file("b.toml", "extends = ['./a.toml']");
    directory.file("binary.toml", b"\xff");
    for number in 0..20 {
        directory.file(&format!("{number}.toml"), format!("extends = ['{}.toml']", number + 1));
    }
    directory.file("20.toml", "");
    for (entry, complaint, help) in [
        ("strct", "there is no preset \"strct\"", "did you mean \"strict\"?"),
        ("nothing", "there is no preset \"nothing\"", "there are strict, readonly,"),
        ("base", "there is no preset \"base\"", "a file is written with its directory: \"./base\""),
        ("", "there is no preset \"\"", "there are strict"),
        ("missing.toml", "there is no file missing.toml", ""),
        ("./directory", "./directory is a directory, not a policy", ""),
        ("$NOWHERE/x", "`$NOWHERE` is not set", ""),
        ("binary.toml", "binary.toml is not text: line 1 is not UTF-8", ""),
        ("a.toml", "documents extend each other in a circle: a.toml -> b.toml -> ./a.toml", ""),
        ("policy.toml", "documents extend each other in a circle: policy.toml -> policy.toml", ""),
        ("1.toml", "documents extend each other at most 16 deep", ""),
    ] {
        directory.file("policy.toml", format!("\nextends = ['{entry}']"));
        let output = directory.run(&["policy.toml"]);
        let errors = errors(&output);
        assert_eq!(code(&output), Some(1), "{entry}");
        assert!(errors.contains(&format!("error: {complaint}\n")), "{entry}: {errors}");
        assert!(errors.contains(help), "{entry}: {errors}");
        assert_eq!(errors.matches("error:").count(), 1, "{entry}: {errors}");
    }
    // Sixteen in a row are fine.
    assert_eq!(code(&directory.run(&["5.toml"])), Some(0));
}

#[test]
fn the_same_file_may_be_extended_twice_but_complains_once() {
    let directory = Directory::new();
    directory.file("policy.toml", "extends = ['one.toml', 'two.toml']");
    directory.file("one.toml", "extends = ['base.toml']");
    directory.file("two.toml", "extends = ['./base.toml']");
    directory.file("base.toml", "x = 1");
    let output = directory.run(&["policy.toml"]);
    assert_eq!(errors(&output).matches("unknown key").count(), 1, "{}", errors(&output));
}

#[test]
fn what_is_no_policy_is_one_clear_complaint_where_it_is_extended_as_well() {
    let directory = Directory::new();
    directory.file("deep.toml", format!("x = {}", "[".repeat(10_000)));
    directory.file("deep.json", "{\"a\":".repeat(10_000));
    directory
        .file("long.toml", format!("# {}\nx = 1 {}", "y".repeat(1 << 20), "z".repeat(1 << 20)));
    for (file, complaint) in [
        ("deep.toml", "nested too deeply"),
        ("deep.json", "nest"),
        ("long.toml", "string values must be quoted"),
    ] {
        directory.file("policy.toml", format!("extends = ['{file}']"));
        let output = directory.run(&["policy.toml"]);
        let errors = errors(&output);
        assert!(errors.contains(complaint), "{file}: {errors:.500}");
        assert_eq!(errors.matches("error:").count(), 1, "{file}: {errors:.500}");
        assert!(errors.len() < 2000, "{file}: {} bytes of complaint", errors.len());
    }
}

#[test]
fn a_merge_of_nothing_is_a_warning() {
    let directory = Directory::new();
    directory.file("policy.toml", "merge = 'strictest'");
    let output = directory.run(&["policy.toml"]);
    assert_eq!(code(&output), Some(0));
    assert!(errors(&output).contains("warning: there is nothing to merge with"));
    directory.file("policy.toml", "extends = ['strict']\nmerge = 'loosest'");
    let output = directory.run(&["policy.toml"]);
    assert!(errors(&output).contains("unknown word \"loosest\""), "{}", errors(&output));
}

#[test]
fn the_strictest_of_two_files_is_less_than_either() {
    let directory = Directory::new();
    directory
        .file("one.toml", "filesystem = { root = 'host', write = ['.'] }\nnetwork.access = 'host'");
    directory.file("two.toml", "filesystem.root = 'host'\nlimits.processes = 5");
    directory.file("policy.toml", "extends = ['one.toml', 'two.toml']\nmerge = 'strictest'");
    let text = "[filesystem]\nroot = \"host\"\n\n[limits]\nprocesses = 5\n";
    let real = directory.0.canonicalize().expect("it exists");
    assert!(real.starts_with("/tmp"), "{real:?}");
    assert_eq!(printed(&directory, &["policy.toml"]), text);
    directory.file("two.toml", "filesystem.execute = ['.']");
    let output = directory.run(&["check", "policy.toml"]);
    assert_eq!(code(&output), Some(1));
    let errors = errors(&output);
    assert!(errors.contains("warning: nothing is left to execute"), "{errors}");
    assert!(errors.contains("policy.toml:2:9"), "{errors}");
}

#[test]
fn options_speak_over_a_policy_in_the_words_of_the_document() {
    let directory = Directory::new();
    directory.file(
        "policy.toml",
        "description = 'all'\nnetwork.access = 'loopback'\nfilesystem.write = ['.', '/usr']",
    );
    let text = printed(
        &directory,
        &[
            "policy.toml",
            "--read",
            "/usr",
            "--execute",
            "/bin",
            "--execute",
            "/lib",
            "--deny",
            "/etc",
            "--network",
            "host",
            "--set",
            "limits.memory=1G",
            "--set",
            "process.env.set.A=a b",
        ],
    );
    let expected = "\
description = \"all\"

[filesystem]
execute = [\"/bin\", \"/lib\"]
read = [\"/usr\"]
write = [\".\"]
deny = [\"/etc\"]

[network]
access = \"host\"

[process.env.set]
A = \"a b\"

[limits]
memory = \"1G\"
";
    assert_eq!(text, expected);
    assert!(printed(&directory, &["--write", "."]).contains("root = \"minimal\""));
    assert!(
        printed(&directory, &["--preset", "build", "--set", "extends=[\"git\"]"]).contains("GIT_")
    );
}

#[test]
fn what_is_printed_is_the_policy_that_runs() {
    let directory = Directory::new();
    let launcher = directory.launcher("cat \"/proc/self/fd/$3\"");
    let arguments = ["--preset", "agent", "--write", "/var/tmp", "--set", "process.umask=0o077"];
    let output = directory
        .program()
        .arg("run")
        .args(arguments)
        .arg("--launcher")
        .arg(&launcher)
        .args(["--", "true"])
        .output()
        .expect("the program runs");
    let printed = printed(&directory, &arguments);
    let again = directory.run_with_input(&["-"], printed.as_bytes());
    assert!(decode(&output.stdout).is_ok(), "{}", errors(&output));
    assert_eq!(output.stdout, again.stdout, "{printed}");
}

#[test]
fn complaints_about_options_point_at_the_command_line() {
    let directory = Directory::new();
    for (arguments, complaint) in [
        (&["--network", "hots"][..], "did you mean \"host\"?"),
        (&["--read", "/nonexistent"], "\"/nonexistent\" does not exist"),
        (&["--set", "limits.memry=1G"], "did you mean \"memory\"?"),
        (&["--set", "limits.nice=1", "--set", "limits.nice=2"], "duplicate key"),
    ] {
        let output = directory.run(&[&["run"], arguments, &["--", "true"]].concat());
        let errors = errors(&output);
        assert_eq!(code(&output), Some(125), "{errors}");
        assert!(errors.contains("the command line:"), "{errors}");
        assert!(errors.contains(complaint), "{errors}");
    }
    let output = directory.run(&["run", "--set", "limits", "--", "true"]);
    assert_eq!(code(&output), Some(125));
    assert!(errors(&output).contains("there is no = in it"), "{}", errors(&output));
}

#[test]
fn policies_are_compared_as_documents_bytes_and_presets() {
    let directory = Directory::new();
    directory.file("wide.toml", "filesystem.read = ['/usr', '/etc']\n");
    directory
        .file("narrow.toml", "filesystem = { read = ['/usr', '/etc'], deny = ['/etc/passwd'] }\n");
    assert_eq!(code(&directory.run(&["narrow.toml", "-o", "narrow.bin"])), Some(0));
    for narrow in ["narrow.toml", "narrow.bin"] {
        let output = directory.run(&["compare", "wide.toml", narrow]);
        assert_eq!(code(&output), Some(0), "{}", errors(&output));
        let output = directory.run(&["compare", narrow, "wide.toml"]);
        assert_eq!(code(&output), Some(1), "{}", errors(&output));
        let said = String::from_utf8(output.stdout).expect("it is text");
        assert_eq!(
            said,
            format!("wide.toml grants what {narrow} does not:\n  mounts: /etc/passwd: read\n")
        );
    }
    let output = directory.run(&["compare", "--json", "readonly", "strict"]);
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(said["at_least_as_strict"], code(&output) == Some(0));
    assert_eq!(code(&directory.run(&["compare", "strict", "nothing"])), Some(2));
}

/// A tree with a policy over it, and the names of the policy's files.
fn explained() -> Directory {
    let directory = Directory::new();
    for name in ["data", "data/deep"] {
        fs::create_dir(directory.0.join(name)).expect("a directory is made");
    }
    directory.file("data/note", "x");
    directory.file("data/secret", "x");
    directory.file(
        "policy.toml",
        "[filesystem]\nwrite = [\n  'data',\n]\ndeny = ['data/secret']\n\
         [limits]\nmemory = '1G'\n",
    );
    let encoded = directory.run(&["policy.toml", "-o", "policy.bin"]);
    assert_eq!(code(&encoded), Some(0), "{}", errors(&encoded));
    directory
}

#[test]
fn explain_shows_what_a_policy_grants() {
    let directory = explained();
    for file in ["policy.toml", "policy.bin"] {
        let output = directory.run(&["explain", file]);
        assert_eq!(code(&output), Some(0), "{}", errors(&output));
        let text = String::from_utf8_lossy(&output.stdout);
        let data = directory.0.join("data").display().to_string();
        assert!(text.contains(&format!("rw-     {data}\n")), "{text}");
        assert!(text.contains(&format!("hidden  {data}/secret\n")), "{text}");
        assert!(text.contains("memory 1 GiB") && text.contains("none; sockets: UNIX"), "{text}");
        assert!(!text.contains('\x1b'), "a pipe has no colours");
    }
}

#[test]
fn explain_writes_the_same_for_programs() {
    let directory = explained();
    let read = |file| -> serde_json::Value {
        let output = directory.run(&["explain", "--json", file]);
        serde_json::from_slice(&output.stdout).expect("it is JSON")
    };
    let summary = read("policy.toml");
    assert_eq!(summary, read("policy.bin"));
    let keys: Vec<&String> = summary.as_object().expect("an object").keys().collect();
    let documented = [
        "files",
        "limits",
        "namespaces",
        "needs",
        "network",
        "patterns",
        "process",
        "system_calls",
    ];
    assert_eq!(keys, documented);
    let files = summary["files"].as_array().expect("a list");
    assert!(files.iter().any(|file| file["rights"]["hidden"] == true), "{summary:#}");
}

#[test]
fn explain_answers_with_the_deciding_line_and_the_exit_status() {
    let directory = explained();
    let ask = |file: &str, name: &str, operation: &str| {
        let path = directory.0.join(name).display().to_string();
        let output = directory.run(&["explain", file, "--path", &path, "--op", operation]);
        (code(&output), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (status, text) = ask("policy.toml", "data/note", "write");
    assert_eq!(status, Some(0));
    assert!(text.starts_with("yes: ") && text.contains("policy.toml:3"), "{text}");
    let (status, text) = ask("policy.toml", "data/secret", "read");
    assert_eq!(status, Some(1));
    assert!(text.starts_with("no: ") && text.contains("policy.toml:5"), "{text}");
    let (status, text) = ask("policy.bin", "data/secret", "read");
    assert_eq!(status, Some(1));
    assert!(text.contains("the mount at ") && text.contains("data/secret"), "{text}");
    assert_eq!(ask("policy.toml", "policy.toml", "read").0, Some(1));
    assert_eq!(ask("policy.toml", "data/new", "create").0, Some(0));
    assert_eq!(ask("policy.toml", "data/note", "execute").0, Some(1));
}

#[test]
fn a_question_that_makes_no_sense_is_exit_status_2() {
    let directory = explained();
    directory.file("wrong.toml", "x = 1");
    for arguments in [
        &["explain", "policy.toml", "--path", "relative", "--op", "read"][..],
        &["explain", "policy.toml", "--path", "/x"],
        &["explain", "policy.toml", "--path", "/x", "--op", "eat"],
        &["explain", "wrong.toml", "--path", "/x", "--op", "read"],
        &["explain", "missing.toml"],
    ] {
        let output = directory.run(arguments);
        assert_eq!(code(&output), Some(2), "{arguments:?}: {}", errors(&output));
    }
}

#[cfg(not(target_feature = "crt-static"))]
#[test]
fn a_program_with_shared_libraries_does_not_verify() {
    let directory = explained();
    let output = directory.run(&["verify", "policy.toml"]);
    assert_eq!(code(&output), Some(1));
    assert!(errors(&output).contains("static"), "{}", errors(&output));
}

#[test]
fn what_is_only_good_to_know_is_said_by_check_and_is_no_failure() {
    let directory = Directory::new();
    directory.file("p.toml", "filesystem.write = ['.']\n");
    let check = directory.run(&["check", "p.toml"]);
    assert_eq!(code(&check), Some(0), "{}", errors(&check));
    assert!(errors(&check).contains("note: .git, .hg"), "{}", errors(&check));
    let encode = directory.run(&["-o", "p.bin", "p.toml"]);
    assert_eq!((code(&encode), errors(&encode).as_str()), (Some(0), ""));
    directory.file("q.toml", "filesystem = { write = ['.'], deny = ['*.key'] }\n");
    assert_eq!(code(&directory.run(&["check", "q.toml"])), Some(1));
    let encode = directory.run(&["-o", "q.bin", "q.toml"]);
    assert_eq!(code(&encode), Some(0));
    assert!(errors(&encode).contains("warning: \"*.key\" matches nothing"));
}

#[test]
fn check_says_whether_the_bytes_hold_elsewhere() {
    let directory = Directory::new();
    directory.file("p.toml", "filesystem.execute = ['/usr']\n");
    let check = directory.run(&["check", "p.toml"]);
    assert_eq!(code(&check), Some(0));
    assert!(errors(&check).contains("note: the bytes hold on every host"), "{}", errors(&check));
    directory.file("q.toml", "filesystem.root = 'minimal'\n");
    let check = directory.run(&["check", "q.toml"]);
    assert_eq!(code(&check), Some(0));
    assert!(
        errors(&check).contains("note: the bytes hold for this host: root"),
        "{}",
        errors(&check)
    );
}

#[test]
fn what_patterns_matched_stands_in_the_bytes() {
    let directory = Directory::new();
    directory.file("a.key", "");
    directory.file("p.toml", "filesystem = { read = ['.'], deny = ['*.key'] }\n");
    let encode = directory.run(&["-o", "p.bin", "p.toml"]);
    assert_eq!(code(&encode), Some(0), "{}", errors(&encode));
    let bytes = fs::read(directory.0.join("p.bin")).expect("it was written");
    let policy = decode(&bytes).expect("what was encoded decodes");
    let globs: Vec<_> =
        policy.origin.globs.iter().map(|it| (it.pattern.to_bytes().to_vec(), it.matched)).collect();
    assert_eq!(globs, [(b"*.key".to_vec(), 1)]);
    assert_ne!(policy.origin.expanded_at, 0);
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
                network.unix = 'host'\nenforce.waive = ['execute']\n";
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

/// The line about a launch of a policy, with these guarantees kept.
fn launched(policy: &[u8], kept: &[&str], waived: &[&str]) -> String {
    let kept: serde_json::Map<String, serde_json::Value> =
        kept.iter().map(|name| ((*name).to_owned(), "namespaces".into())).collect();
    let line = serde_json::json!({
        "event": "launch", "version": 1, "launcher": "0.1.0", "kernel": "6.18.0",
        "digest": hex::encode(launcher_policy::wire::digest(policy)),
        "landlock_abi": 7, "landlock_errata": 0, "rung": "namespaces",
        "layers": { "namespaces": "enforced", "landlock": "enforced", "seccomp": "enforced" },
        "reasons": {}, "guarantees": kept, "waived": waived, "missing": ["loopback"],
        "die_with_parent": "process", "pids": { "launcher": 1 }, "microseconds": { "input": 7 },
    });
    format!("{line}\n")
}

#[test]
fn a_receipt_is_shown_in_words() {
    let directory = Directory::new();
    directory.file("receipt", launched(b"", &["files"], &["udp"]));
    let output = directory.run(&["receipt", "receipt"]);
    assert_eq!((code(&output), errors(&output).as_str()), (Some(0), ""));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in ["  files is kept by namespaces", "  udp is waived", "  loopback is missing"] {
        assert!(said.lines().any(|each| each == line), "{line} is missing from:\n{said}");
    }
}

#[test]
fn a_receipt_of_another_version_is_an_error_and_no_answer() {
    let directory = Directory::new();
    let line = launched(b"", &[], &[]);
    directory.file("receipt", line.replace("\"version\":1", "\"version\":2"));
    let output = directory.run(&["receipt", "receipt"]);
    assert_eq!(code(&output), Some(2));
    assert!(errors(&output).contains("of version 2"), "{}", errors(&output));
    assert_eq!(code(&directory.run_with_input(&["receipt", "-"], line.as_bytes())), Some(0));
}

#[test]
fn what_a_receipt_does_not_keep_of_a_policy_is_named_with_exit_status_1() {
    let directory = Directory::new();
    directory.file("policy.toml", "filesystem.root = 'minimal'\n");
    let bytes = directory.run(&["policy.toml"]).stdout;
    let policy = decode(&bytes).expect("it was encoded");
    let names: Vec<&str> =
        policy.enforce.guarantees.iter().map(|each| each.guarantee.name()).collect();
    let (first, rest) = names.split_first().expect("something is guaranteed");
    // Text is encoded anew, and is the same policy here.
    for policy in ["policy.toml", "policy.bin"] {
        directory.file("policy.bin", &bytes);
        let require = ["receipt", "receipt", "--require", policy];
        directory.file("receipt", launched(&bytes, &names, &[]));
        let output = directory.run(&require);
        assert_eq!(code(&output), Some(0), "{policy}: {}", errors(&output));
        directory.file("receipt", launched(&bytes, rest, &[]));
        let output = directory.run(&require);
        assert_eq!(code(&output), Some(1), "{policy}");
        let said = format!("the guarantee {first:?} is not kept");
        assert!(errors(&output).contains(&said), "{policy}: {}", errors(&output));
    }
    directory.file("receipt", launched(&[0; 64], &names, &[]));
    let output = directory.run(&["receipt", "receipt", "--require", "policy.bin"]);
    assert_eq!(code(&output), Some(1));
    assert!(errors(&output).contains("it is of the policy 0000"), "{}", errors(&output));
}

#[test]
fn explain_answers_about_a_connection_from_the_bytes() {
    let directory = Directory::new();
    let policy = "[network]\naccess = 'proxy'\nallow = ['*.example.org']\ndeny = ['x.example.org']";
    directory.file("policy.toml", policy);
    assert_eq!(code(&directory.run(&["policy.toml", "-o", "policy.bin"])), Some(0));
    for file in ["policy.toml", "policy.bin"] {
        for (target, status, said) in [
            ("git.example.org:443", 0, "yes: network.allow has *.example.org:443"),
            ("x.example.org:443", 1, "no: network.deny has x.example.org:*"),
            ("git.example.org:22", 1, "no: network.allow does not have it"),
            ("127.0.0.1:443", 1, "no: the address is private"),
            ("git.example.org", 2, ""),
        ] {
            let output = directory.run(&["explain", file, "--connect", target]);
            assert_eq!(code(&output), Some(status), "{target}: {}", errors(&output));
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(text.starts_with(said), "{target}: {text}");
        }
    }
    let output =
        directory.run(&["explain", "policy.bin", "--connect", "a.example.org:80", "--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["allowed"], true);
    let output = directory.run(&["explain", "policy.bin"]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in
        ["http at 127.0.0.1:3128", "lets through: *.example.org:80", "never: x.example.org:*"]
    {
        assert!(table.contains(line), "{table}");
    }
}

#[test]
fn an_encoded_policy_with_another_digest_is_not_trusted() {
    let directory = Directory::new();
    directory.file("policy.toml", "");
    let mut bytes = directory.run(&["policy.toml"]).stdout;
    directory.file("policy.bin", &bytes);
    assert_eq!(code(&directory.run(&["explain", "policy.bin"])), Some(0));
    bytes[12] ^= 1;
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    let sum = crc.checksum(&[&bytes[..44], &bytes[48..]].concat());
    bytes[44..48].copy_from_slice(&sum.to_le_bytes());
    directory.file("policy.bin", &bytes);
    let output = directory.run(&["explain", "policy.bin"]);
    assert_eq!(code(&output), Some(2));
    assert!(errors(&output).contains("digest"), "{}", errors(&output));
}

#[test]
fn bytes_with_the_digest_of_something_else_are_not_right() {
    let directory = Directory::new();
    directory.file("policy.toml", "");
    assert_eq!(code(&directory.run(&["policy.toml", "-o", "policy.bin"])), Some(0));
    let whole = fs::read(directory.0.join("policy.bin")).expect("it is there");
    let policy = decode(&whole).expect("it decodes");
    let mut buffer = vec![0; whole.len() + 64];
    let other = encode(&policy, Architecture::NATIVE, |_| [7; 32], &mut buffer).expect("it fits");
    // The launcher, which copies the digest, does not look at it.
    assert!(decode(other).is_ok());
    directory.file("other.bin", other);
    for (command, status) in [("check", 1), ("explain", 2)] {
        assert_eq!(code(&directory.run(&[command, "policy.bin"])), Some(0), "{command}");
        let output = directory.run(&[command, "other.bin"]);
        assert_eq!(code(&output), Some(status), "{command}");
        let said = errors(&output);
        assert!(said.contains("its digest is not that of its content"), "{command}: {said}");
    }
}
