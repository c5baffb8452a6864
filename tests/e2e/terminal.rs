//! Terminals: Ctrl-C, Ctrl-Z, job control and who has the foreground, on a
//! pseudo-terminal whose other side the test holds.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use harness::{Caller, Errno, Outcome, Output, Running, Sandbox, TIMEOUT, TempDir, is_ready, skip};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

const CTRL_C: &str = "\x03";
const CTRL_Z: &str = "\x1a";

/// The number of SIGINT.
const SIGINT: i32 = 2;

/// What makes whatever follows the leader of a session on its standard input.
const SESSION: [&str; 2] = ["setsid", "--ctty"];

/// A terminal as a person sits at it.
struct Terminal {
    keyboard: File,
    line: OwnedFd,
    /// What came that nobody has asked for yet.
    screen: String,
    /// All that came.
    transcript: String,
}

impl Terminal {
    fn new() -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a pseudo-terminal is made");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let name = ptsname(&master, Vec::new()).expect("it has a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let line = open(name, flags, Mode::empty()).expect("its other side opens");
        // What is typed is not to be taken for what is said.
        let mut modes = tcgetattr(&line).expect("tcgetattr");
        modes.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&line, OptionalActions::Now, &modes).expect("tcsetattr");
        Self {
            keyboard: File::from(master),
            line,
            screen: String::new(),
            transcript: String::new(),
        }
    }

    /// The same sandbox with this terminal for everything.
    fn around(&self, sandbox: Sandbox) -> Sandbox {
        let line = || self.line.try_clone().expect("dup");
        sandbox.stdin_from(line()).stdout_to(line()).stderr_to(line())
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("a key is pressed");
    }

    /// Waits for a text on the screen; returns what stands before it.
    #[track_caller]
    fn wait_for(&mut self, text: &str) -> String {
        let end = Instant::now() + TIMEOUT;
        loop {
            if let Some((before, rest)) = self.screen.split_once(text) {
                let (before, rest) = (before.to_owned(), rest.to_owned());
                self.screen = rest;
                return before;
            }
            assert!(self.read(end), "no {text:?} came: {:?}", self.transcript);
        }
    }

    /// Reads what there is; `false` when nothing comes any more.
    fn read(&mut self, end: Instant) -> bool {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).expect("a timeout");
        let mut keyboard = [PollFd::new(&self.keyboard, PollFlags::IN)];
        let ready = poll(&mut keyboard, Some(&left)).expect("poll");
        let mut buffer = [0; 4096];
        let count = match ready {
            0 => return false,
            _ => self.keyboard.read(&mut buffer).unwrap_or(0),
        };
        let text = String::from_utf8_lossy(buffer.get(..count).unwrap_or_default()).into_owned();
        self.screen.push_str(&text);
        self.transcript.push_str(&text);
        count > 0
    }

    /// The rest of what a launch says, when it has ended.
    #[track_caller]
    fn end(&mut self, running: Running) -> Output {
        let output = running.wait();
        while self.read(Instant::now() + Duration::ZERO) {}
        output
    }
}

/// Programs of the system, a terminal of this kind.
fn policy(terminal: &str) -> String {
    format!("[filesystem]\nroot = 'minimal'\n[process]\nterminal = '{terminal}'\n")
}

/// A shell with job control between the terminal and the launcher, which is
/// `"$@"` in the script.
fn under_a_shell(script: &str) -> Vec<&str> {
    SESSION
        .into_iter()
        .chain(["bash", "--noprofile", "--norc", "-m", "-c", script, "bash"])
        .collect()
}

/// Whether a terminal can be given to somebody here.
fn is_obstructed() -> bool {
    let terminal = Terminal::new();
    let sandbox = terminal.around(Sandbox::outside()).wrap(SESSION);
    sandbox.run(["bash", "-c", "exit 0"]).code() != 0
}

macro_rules! needs_terminal {
    () => {
        if is_obstructed() {
            skip!("terminal", "setsid(1) or bash is not installed");
        }
    };
}

#[test]
fn ctrl_c_ends_the_command() {
    needs_terminal!();
    for caller in Caller::both() {
        for kind in ["auto", "keep", "none"] {
            let mut terminal = Terminal::new();
            let sandbox = Sandbox::new(&policy(kind)).caller(caller).wrap(SESSION);
            let probe = sandbox.probe_path();

            let running = terminal.around(sandbox).start([probe.as_str(), "say ready", "pause"]);
            terminal.wait_for("ok ready");
            terminal.press(CTRL_C);
            let output = terminal.end(running);

            assert_eq!(output.code(), 128 + SIGINT, "{caller}, {kind}: {output:?}");
            let exit = output.event("exit").expect("it ended");
            assert_eq!(exit["signal"], SIGINT, "{caller}, {kind}: {output:?}");
        }
    }
}

#[test]
fn a_command_that_catches_ctrl_c_goes_on() {
    needs_terminal!();
    // A shell that is just about to read would look at the signal only later.
    const COMMAND: &str = "trap 'echo caught; caught=yes' INT; echo ready; \
        until [ -n \"$caught\" ]; do :; done; read -r line; echo \"got $line\"";
    for caller in Caller::both() {
        for kind in ["auto", "keep", "none"] {
            let mut terminal = Terminal::new();
            let sandbox = Sandbox::new(&policy(kind)).caller(caller).wrap(SESSION);

            let running = terminal.around(sandbox).start(["bash", "-c", COMMAND]);
            terminal.wait_for("ready");
            terminal.press(CTRL_C);
            terminal.wait_for("caught");
            terminal.press("a line\n");
            let output = terminal.end(running);

            assert_eq!(output.code(), 0, "{caller}, {kind}: {}", terminal.transcript);
            assert!(terminal.screen.contains("got a line"), "{}", terminal.transcript);
        }
    }
}

/// Stops a job with Ctrl-Z, looks at the processes of the launch, goes on.
const STOP_AND_GO_ON: &str = r#"
    state() { read -r stat < "/proc/$1/stat"; stat=${stat##*) }; echo "${stat%% *}"; }
    child() { read -r children < "/proc/$1/task/$1/children"; echo "${children%% *}"; }
    "$@"
    echo "the shell has the terminal"
    launcher=$(jobs -p)
    until [ "$(state "$launcher")" = T ]; do :; done
    command=$(child "$(child "$launcher")")
    until [ "$(state "$command")" = T ]; do :; done
    echo "both are stopped"
    read -r line
    fg > /dev/null
    echo "status $?"
"#;

#[test]
fn ctrl_z_stops_launcher_and_command_and_fg_continues_both() {
    needs_terminal!();
    const COMMAND: &str = "echo ready; read -r line; echo \"got $line\"; exit 7";
    for caller in Caller::both() {
        for kind in ["auto", "keep", "none"] {
            let mut terminal = Terminal::new();
            let sandbox =
                Sandbox::new(&policy(kind)).caller(caller).wrap(under_a_shell(STOP_AND_GO_ON));

            let running = terminal.around(sandbox).start(["bash", "-c", COMMAND]);
            terminal.wait_for("ready");
            terminal.press(CTRL_Z);
            terminal.wait_for("the shell has the terminal");
            terminal.wait_for("both are stopped");
            terminal.press("go on\n");
            terminal.press("a line\n");
            terminal.wait_for("got a line");
            terminal.wait_for("status 7");
            terminal.end(running);
        }
    }
}

#[test]
fn a_command_that_stops_itself_in_a_kept_terminal_does_not_outlive_the_wall_time() {
    harness::needs_landlock!(6);
    needs_terminal!();
    const COMMAND: &str = "sleep 1000 & echo ready; kill -STOP $$; echo it runs on; sleep 1000";
    for caller in Caller::both() {
        for kind in ["auto", "keep"] {
            // Where no PID 1 watches the time, the launcher does not stop.
            for (shared, stops) in
                [("", true), ("proc = false\n[namespaces]\npid = false\n", false)]
            {
                let what = format!("{caller}, {kind}, {shared}");
                let policy = format!(
                    "{}keep_fds = [7]\n[limits]\nwall_time = '2s'",
                    policy(kind).replace("[process]", &format!("{shared}[process]")),
                );
                let (mut alive, held) = std::io::pipe().expect("a pipe is made");
                let mut terminal = Terminal::new();
                let sandbox = Sandbox::new(&policy).caller(caller).wrap(SESSION).pass(held, 7);

                let running = terminal.around(sandbox).start(["bash", "-c", COMMAND]);
                terminal.wait_for("ready");
                if stops {
                    // The launcher follows its command, as a shell's job does.
                    wait_for_state(&running, 'T', &what);
                }
                assert!(is_ready(&alive, TIMEOUT), "{what}: it runs on");
                assert_eq!(alive.read(&mut [0]).expect("a pipe is read"), 0, "{what}");
                if stops {
                    running.signal(Signal::CONT);
                }
                let output = terminal.end(running);

                assert_eq!(output.code(), 124, "{what}: {output:?}");
                let exit = output.event("exit").expect("an exit event");
                assert_eq!(exit["ended_by"], "wall", "{what}");
                assert!(!terminal.transcript.contains("it runs on"), "{what}");
            }
        }
    }
}

/// Waits until the launcher is in a state of proc(5).
#[track_caller]
fn wait_for_state(running: &Running, state: char, what: &str) {
    let path = format!("/proc/{}/stat", running.pid());
    let end = Instant::now() + TIMEOUT;
    loop {
        let stat = std::fs::read_to_string(&path).expect("it has not been waited for");
        let now = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        if now == Some(state) {
            return;
        }
        assert!(Instant::now() < end && now != Some('Z'), "{what}: it is {now:?}");
        std::thread::yield_now();
    }
}

#[test]
fn an_interactive_shell_inside_has_job_control() {
    needs_terminal!();
    let shell = ["bash", "--noprofile", "--norc", "--noediting", "-i"];
    for caller in Caller::both() {
        let mut terminal = Terminal::new();
        let sandbox = Sandbox::new(&policy("keep")).caller(caller).wrap(SESSION);

        let running = terminal.around(sandbox).start(shell);
        // A job says something when it runs, so it has the foreground then.
        terminal.press("bash -c 'echo in front; exec sleep 1000'\n");
        terminal.wait_for("in front");
        terminal.press(CTRL_Z);
        terminal.wait_for("Stopped");
        terminal.press("bg\n");
        terminal.press("jobs\n");
        terminal.wait_for("Running");
        terminal.press("kill %1; wait %1; echo status $?\n");
        terminal.wait_for("status 143");
        terminal.press("bash -c 'echo again; exec sleep 1000'\n");
        terminal.wait_for("again");
        terminal.press(CTRL_C);
        terminal.press("echo \"the shell lives\"; exit 3\n");
        terminal.wait_for("the shell lives");
        let output = terminal.end(running);

        assert_eq!(output.code(), 3, "{caller}: {}", terminal.transcript);
        for complaint in ["no job control", "cannot set terminal process group", "Inappropriate"] {
            assert!(!terminal.transcript.contains(complaint), "{}", terminal.transcript);
        }
    }
}

#[test]
fn the_terminal_is_taken_back_when_the_command_ends() {
    needs_terminal!();
    // A shell without job control does not take it by itself.
    const SCRIPT: &str = "\"$@\"; echo \"status $?\"; read -r line; echo \"back: $line\"";
    let endings = [
        (["bash", "-c", "exit 3"], "status 3"),
        (["bash", "-c", "kill -KILL $$"], "status 137"),
        (["no-such-program", "", ""], "status 127"),
    ];
    for caller in Caller::both() {
        for kind in ["auto", "keep"] {
            for (command, status) in endings {
                let mut terminal = Terminal::new();
                let words = SESSION.into_iter().chain(["sh", "-c", SCRIPT, "sh"]);
                let sandbox = Sandbox::new(&policy(kind)).caller(caller).wrap(words);

                let running = terminal.around(sandbox).start(command);
                terminal.wait_for(status);
                terminal.press("a line\n");
                terminal.wait_for("back: a line");
                terminal.end(running);
            }
        }
    }
}

/// Says `process group session terminal foreground` of the command itself.
const WHERE: &str =
    "read -ra stat < /proc/self/stat; echo \"where: ${stat[*]:0:1} ${stat[*]:4:4}.\"";

/// The same, as numbers.
#[track_caller]
fn whereabouts(sandbox: Sandbox) -> [i64; 5] {
    let mut terminal = Terminal::new();
    let running = terminal.around(sandbox).start(["bash", "-c", WHERE]);
    terminal.wait_for("where: ");
    let numbers = terminal.wait_for(".");
    terminal.end(running);
    let numbers: Vec<_> =
        numbers.split(' ').map(|number| number.parse().expect("a number")).collect();
    numbers.try_into().expect("five numbers")
}

#[test]
fn the_command_has_a_process_group_of_its_own_in_the_foreground() {
    needs_terminal!();
    for caller in Caller::both() {
        for kind in ["auto", "keep"] {
            let sandbox = Sandbox::new(&policy(kind)).caller(caller).wrap(SESSION);

            let [process, group, session, terminal, foreground] = whereabouts(sandbox);

            assert_eq!([process, group, foreground], [2, 2, 2], "{caller}, {kind}");
            // The session's leader lies outside.
            assert_eq!(session, 0, "{caller}, {kind}");
            assert_ne!(terminal, 0, "{caller}, {kind}");
        }
    }
}

#[test]
fn with_terminal_none_the_command_has_a_session_of_its_own_and_no_terminal() {
    needs_terminal!();
    for caller in Caller::both() {
        let sandbox = Sandbox::new(&policy("none")).caller(caller).wrap(SESSION);
        assert_eq!(whereabouts(sandbox), [2, 2, 2, 0, -1], "{caller}");
    }
}

#[test]
fn in_the_background_auto_gives_no_terminal_and_keep_gives_no_foreground() {
    needs_terminal!();
    let background = under_a_shell("\"$@\" & wait");
    for caller in Caller::both() {
        let sandbox =
            |kind| Sandbox::new(&policy(kind)).caller(caller).wrap(background.iter().copied());

        let auto = whereabouts(sandbox("auto"));
        let [process, group, session, terminal, foreground] = whereabouts(sandbox("keep"));

        assert_eq!(auto, [2, 2, 2, 0, -1], "{caller}");
        assert_eq!([process, group, session], [2, 2, 0], "{caller}");
        assert_ne!(terminal, 0, "{caller}");
        assert_ne!(foreground, group, "{caller}");
    }
}

/// Without a waiter: the launcher becomes the command.
const IN_PLACE: &str = "
[filesystem]
root = 'minimal'
proc = false
[process]
terminal = 'none'
[namespaces]
pid = false
";

#[test]
fn in_place_a_group_leader_gives_its_terminal_up() {
    harness::needs_landlock!(6);
    needs_terminal!();
    // TIOCGSID, which answers to those who have the terminal only.
    const WHOSE: &str = "ioctl 0 0x5429";
    // As a job of a shell, and as the leader of the session; with and without
    // a /dev/tty in view.
    for caller in Caller::both() {
        for words in [under_a_shell("\"$@\"; exit $?"), SESSION.into()] {
            for devices in ["'minimal'", "['tty']"] {
                let policy = IN_PLACE.replace("proc =", &format!("dev = {devices}\nproc ="));
                let mut terminal = Terminal::new();
                let sandbox = Sandbox::new(&policy).caller(caller).wrap(words.clone());
                let probe = sandbox.probe_path();

                let running = terminal.around(sandbox).start([probe.as_str(), WHOSE]);
                let output = terminal.end(running);

                let what = format!("{caller}, {words:?}, {devices}: {output:?}");
                let refused = format!("errno {}", Errno::NOTTY.raw_os_error());
                assert_eq!(output.code(), 0, "{what}");
                assert_eq!(terminal.screen.trim_end(), refused, "{what}");
            }
        }
        // The control: who keeps it is answered.
        let mut terminal = Terminal::new();
        let sandbox = Sandbox::outside().caller(caller).wrap(SESSION);
        let probe = sandbox.probe_path();
        let running = terminal.around(sandbox).start([probe.as_str(), WHOSE]);
        terminal.end(running);
        assert!(terminal.screen.starts_with("ok "), "{caller}: {}", terminal.transcript);
    }
}

#[test]
fn nothing_can_be_typed_into_a_kept_terminal() {
    needs_terminal!();
    // TIOCSTI, TIOCLINUX, and the same with bits that the kernel ignores.
    let probes = ["0x5412", "0x541c", "0x100005412", "0xffffffff0000541c"]
        .map(|request| format!("ioctl 0 {request}"));
    for caller in Caller::both() {
        let answers = |sandbox: Sandbox| {
            let mut terminal = Terminal::new();
            let sandbox = terminal.around(sandbox.caller(caller).wrap(SESSION));
            let probe = sandbox.probe_path();
            let running = sandbox.start(std::iter::once(&probe).chain(&probes).map(String::as_str));
            terminal.end(running);
            terminal.screen.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>()
        };
        let refused = format!("errno {}", Errno::PERM.raw_os_error());

        for kind in ["auto", "keep"] {
            let inside = answers(Sandbox::new(&policy(kind)));
            assert_eq!(inside, vec![refused.clone(); probes.len()], "{caller}, {kind}");
        }
        let outside = answers(Sandbox::outside());
        assert_eq!(outside.len(), probes.len(), "{caller}: {outside:?}");
        assert!(!outside.contains(&refused), "{caller}: {outside:?}");
    }
}

#[test]
fn ctrl_c_and_the_keyboard_reach_the_command_at_the_end_of_a_pipeline() {
    needs_terminal!();
    const SCRIPT: &str = r#"
        "$1" policy.toml | "$2" --fd 3 -- bash -c 'echo ready; read -r line; echo "got $line"; exec sleep 1000' 3<&0 </dev/tty
        echo "status $?"
        read -r line
        echo "back: $line"
    "#;
    for caller in Caller::both() {
        for kind in ["auto", "keep"] {
            let directory = TempDir::with_file("policy.toml", &policy(kind));
            let mut terminal = Terminal::new();
            let sandbox = Sandbox::outside().caller(caller).cwd(directory.path());
            let [encoder, launcher] = [sandbox.binaries().encoder(), sandbox.binaries().launcher()]
                .map(|path| path.to_string_lossy().into_owned());
            let mut command = under_a_shell(SCRIPT);
            command.extend([encoder.as_str(), launcher.as_str()]);

            let running = terminal.around(sandbox).start(command);
            terminal.wait_for("ready");
            terminal.press("a line\n");
            terminal.wait_for("got a line");
            terminal.press(CTRL_C);
            terminal.wait_for("status 130");
            terminal.press("another\n");
            terminal.wait_for("back: another");
            let output = terminal.end(running);

            assert_eq!(output.code(), 0, "{caller}, {kind}: {}", terminal.transcript);
        }
    }
}

#[test]
fn without_a_terminal_keep_is_a_session_of_its_own() {
    for caller in Caller::both() {
        let sandbox = Sandbox::new(&policy("keep")).caller(caller).wrap(["setsid"]);
        assert_eq!(sandbox.probes(&["sid", "pgrp"]), vec![Outcome::Ok("2".into()); 2], "{caller}");
    }
}

#[test]
fn a_shell_under_its_preset_has_the_terminal_and_changes_its_directory_alone() {
    needs_terminal!();
    for caller in Caller::both() {
        let directory = TempDir::new();
        let mut terminal = Terminal::new();
        let sandbox = Sandbox::of_preset("shell").caller(caller).cwd(directory.path());
        let sandbox = sandbox.env("PS1", "next> ").wrap(SESSION);

        let running = terminal.around(sandbox).start([
            "bash",
            "--noprofile",
            "--norc",
            "-i",
            "+o",
            "history",
        ]);
        terminal.wait_for("next> ");
        // What is typed appears on the screen as well, with its quotes. The job itself says that it
        // runs: between a builtin and the next job, Ctrl-C would find the shell in the foreground.
        terminal.press("bash -c 'echo re\"\"ady; exec sleep 1000'\n");
        terminal.wait_for("ready");
        terminal.press(CTRL_C);
        terminal.wait_for("next> ");
        terminal.press("[ -t 0 ] && echo inter\"\"rupted\n");
        terminal.wait_for("interrupted");
        terminal.wait_for("next> ");
        terminal.press("echo kept > note; touch /usr/note 2> /dev/null || echo re\"\"fused\n");
        terminal.wait_for("refused");
        terminal.wait_for("next> ");
        terminal.press("exit 7\n");
        let output = terminal.end(running);

        assert_eq!(output.code(), 7, "{caller}: {}", terminal.transcript);
        assert_eq!(directory.read("note"), "kept\n", "{caller}");
    }
}
