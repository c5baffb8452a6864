//! The receipt: what it says is so, and telling it changes nothing.

use std::collections::BTreeSet;
use std::fs;
use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Instant;

use harness::{Binaries, Caller, Errno, Handover, IN_PLACE, Sandbox, TempDir, is_ready};
use launcher_policy::Stage;
use launcher_policy::wire;
use policy_encoder::digest;
use policy_encoder::receipt::{DieWithParent, EndedBy, Launch, Layer, Receipt, Rung, State};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    recvmsg, socketpair,
};
use rustix::process::{Signal, pidfd_send_signal};

/// The bytes of a policy that shows the probe of these binaries, which stay
/// where they are for as long as somebody has them.
fn encoded(policy: &str, binaries: &Binaries) -> Vec<u8> {
    harness::encode(&harness::with_probe(policy, &binaries.probe()))
}

#[test]
fn a_receipt_names_the_policy_the_launcher_and_the_kernel() {
    let binaries = Binaries::shared();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").expect("it is read");
    for caller in Caller::both() {
        for policy in ["", IN_PLACE] {
            let bytes = encoded(policy, &binaries);
            let sandbox = Sandbox::of_bytes(&bytes).caller(caller);
            let launch = sandbox.run([sandbox.probe_path()]).launch();
            let payload = bytes.get(wire::HEADER..).expect("there is a policy");
            let named: String =
                digest::sha256(payload).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(launch.digest, named, "{caller}");
            assert_eq!(launch.kernel, kernel.trim(), "{caller}");
            assert_eq!(launch.launcher, env!("CARGO_PKG_VERSION"), "{caller}");
        }
    }
}

#[test]
fn the_digest_is_copied_as_it_is() {
    let binaries = Binaries::shared();
    // Whoever hands a policy over may call it what they like; hashing it here
    // would take longer than all else that a receipt takes.
    for caller in Caller::both() {
        let mut bytes = encoded("", &binaries);
        bytes[12..44].fill(0xab);
        let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
        let sum = crc.checksum(&[&bytes[..44], &bytes[48..]].concat());
        bytes[44..48].copy_from_slice(&sum.to_le_bytes());
        assert!(!digest::is_right(&bytes));
        let sandbox = Sandbox::of_bytes(&bytes).caller(caller);
        assert_eq!(
            sandbox.run([sandbox.probe_path()]).launch().digest,
            "ab".repeat(32),
            "{caller}"
        );
    }
}

#[test]
fn every_guarantee_of_the_policy_is_listed_with_its_layer() {
    let binaries = Binaries::shared();
    for caller in Caller::both() {
        for (policy, layer) in [("", Layer::Namespaces), (IN_PLACE, Layer::Landlock)] {
            let bytes = encoded(policy, &binaries);
            let sandbox = Sandbox::of_bytes(&bytes).caller(caller);
            let launch = sandbox.run([sandbox.probe_path()]).launch();
            let made = wire::decode(&bytes).expect("it was encoded").enforce.guarantees;
            let made: BTreeSet<String> =
                made.iter().map(|each| each.guarantee.name().to_owned()).collect();
            assert!(made.len() > 5, "{made:?}");
            assert_eq!(
                launch.guarantees.keys().cloned().collect::<BTreeSet<_>>(),
                made,
                "{caller}"
            );
            assert_eq!(launch.guarantees.get("files"), Some(&layer), "{caller}");
            assert_eq!(launch.waived, [""; 0], "{caller}");
        }
    }
}

#[test]
fn a_layer_that_is_not_there_is_degraded_and_the_receipt_says_why() {
    harness::needs_strace!();
    const FALLS_BACK: &str = "filesystem = { tmp = \"none\", proc = false, dev = \"none\" }\n\
                              network.unix = \"host\"";
    for caller in Caller::both() {
        let run = |policy: &str, fault: &str| {
            let fault = format!("inject={fault}");
            let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &fault, "--"];
            let sandbox = Sandbox::new(policy).caller(caller).wrap(strace);
            sandbox.run([sandbox.probe_path()]).launch()
        };
        let launch = run(FALLS_BACK, "clone3:error=EPERM:when=1");
        assert_eq!((launch.rung, launch.layers.namespaces), (Rung::Landlock, State::Degraded));
        let reason = launch.reasons.namespaces.expect("a reason");
        assert!(reason.starts_with("clone3: EPERM ("), "{caller}: {reason}");
        assert!(reason.contains("user namespaces"), "no remedy, {caller}: {reason}");
        assert_eq!(launch.guarantees.get("network"), Some(&Layer::Seccomp), "{caller}");

        let launch = run("", "landlock_create_ruleset:error=ENOSYS");
        assert_eq!((launch.rung, launch.layers.landlock), (Rung::Namespaces, State::Degraded));
        assert!(launch.reasons.landlock.is_some_and(|why| why.contains("has none")), "{caller}");
        assert_eq!((launch.landlock_abi, launch.landlock_errata), (0, 0), "{caller}");

        // The control: a call that nobody makes so often.
        let launch = run("", "clone3:error=EPERM:when=100");
        assert_eq!((launch.reasons.namespaces, launch.reasons.landlock), (None, None), "{caller}");
        assert_eq!(launch.layers.namespaces, State::Enforced, "{caller}");
    }
}

#[test]
fn errata_are_those_that_the_kernel_names() {
    for caller in Caller::both() {
        let errata =
            Sandbox::outside().caller(caller).probe("syscall landlock_create_ruleset 0 0 2");
        let errata = match errata {
            harness::Outcome::Ok(errata) => errata.parse().expect("a number"),
            _ => 0,
        };
        let sandbox = Sandbox::new("").caller(caller);
        assert_eq!(sandbox.run([sandbox.probe_path()]).launch().landlock_errata, errata);
    }
}

#[test]
fn processes_are_named_by_their_numbers_outside() {
    for caller in Caller::both() {
        for (policy, inside) in [
            ("", "2"),
            ("namespaces.init = \"none\"", "1"),
            ("namespaces.pid = false\nfilesystem.proc = false\nlimits.wall_time = \"1m\"", ""),
            (IN_PLACE, ""),
        ] {
            let sandbox = Sandbox::new(policy).caller(caller);
            let mut running = sandbox.start([&sandbox.probe_path(), "pid", "pause"]);
            let said = running.line();
            let receipt = receipt(&running.events());
            let pids = receipt.launch.expect("a launch event").pids;
            let what = format!("{caller}, {policy}: {pids:?}, {said}");
            assert_eq!(pids.launcher, running.pid(), "{what}");
            assert_eq!(pids.init.is_some(), policy.is_empty(), "{what}");
            let command = pids.command.expect("there is a /proc");
            let words = fs::read_to_string(format!("/proc/{command}/cmdline")).expect("it runs");
            assert!(words.ends_with("pid\0pause\0"), "{what}: {words:?}");
            let inside = if inside.is_empty() { command.to_string() } else { inside.to_owned() };
            assert_eq!(said, format!("ok {inside}"), "{what}");
            if let Some(init) = pids.init {
                let status = fs::read_to_string(format!("/proc/{init}/status")).expect("it runs");
                let numbers = status.lines().find(|line| line.starts_with("NSpid:"));
                assert!(
                    numbers.is_some_and(|numbers| numbers.ends_with("\t1")),
                    "{what}: {status}"
                );
            }
        }
    }
}

/// What a running launch has written.
fn receipt(events: &[serde_json::Value]) -> Receipt {
    let lines: Vec<String> = events.iter().map(ToString::to_string).collect();
    Receipt::parse(&lines.join("\n")).expect("a receipt")
}

#[test]
fn over_a_socket_a_pidfd_of_the_command_comes_with_the_line() {
    for caller in Caller::both() {
        for kind in [SocketType::STREAM, SocketType::SEQPACKET, SocketType::DGRAM] {
            for policy in ["", IN_PLACE] {
                let (reader, writer) =
                    socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
                        .expect("two sockets are made");
                let sandbox = Sandbox::new(policy).caller(caller).pass(writer, 20);
                let sandbox = sandbox.option("--status-fd=20");
                let mut running = sandbox.start([&sandbox.probe_path(), "say runs", "pause"]);
                assert_eq!(running.line(), "ok runs", "{caller}: {}", running.stderr_text());

                let (text, pidfd) = receive(&reader);

                assert!(text.starts_with("{\"event\":\"launch\""), "{caller}: {text}");
                let pidfd = pidfd.expect("a descriptor comes with it");
                pidfd_send_signal(&pidfd, Signal::USR1).expect("it is a pidfd");
                let output = running.wait();
                // SIGUSR1 is 10; nobody else has sent one.
                assert_eq!(output.code(), 128 + 10, "{caller}, {kind:?}, {policy}: {output:?}");
            }
        }
    }
}

/// What one recvmsg(2) gives: text, and the last descriptor that came along.
fn receive(socket: &OwnedFd) -> (String, Option<OwnedFd>) {
    assert!(is_ready(socket, harness::TIMEOUT), "nothing came");
    let mut buffer = vec![0; 8192];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let into = &mut [IoSliceMut::new(&mut buffer)];
    let message = recvmsg(socket, into, &mut control, RecvFlags::CMSG_CLOEXEC).expect("recvmsg");
    let fd = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => fds.last(),
        _ => None,
    });
    buffer.truncate(message.bytes);
    (String::from_utf8(buffer).expect("it is text"), fd)
}

#[test]
fn a_reader_at_a_socket_that_is_gone_does_not_stop_a_launch() {
    for caller in Caller::both() {
        for policy in ["", IN_PLACE] {
            let flags = SocketFlags::CLOEXEC;
            let (reader, writer) =
                socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).expect("sockets");
            drop(reader);
            let sandbox = Sandbox::new(policy).caller(caller).pass(writer, 20);
            let output = sandbox
                .option("--status-fd=20")
                .run([&sandbox_probe(), "say ran"].map(String::from));
            assert_eq!(output.stdout_text(), "ok ran\n", "{caller}, {policy}: {output:?}");
        }
    }
}

/// The path of the probe, which every sandbox of this process has.
fn sandbox_probe() -> String {
    Binaries::shared().probe().to_string_lossy().into_owned()
}

#[test]
fn a_filter_that_kills_whoever_tells_something_does_not_end_the_launch() {
    let calls = ["sendmsg", "uname", "clock_gettime", "pidfd_open", "fstat", "newfstatat"];
    for caller in Caller::both() {
        for policy in ["", IN_PLACE] {
            let policy = format!("seccomp = {{ deny = {calls:?}, action = \"kill\" }}\n{policy}");
            let flags = SocketFlags::CLOEXEC;
            let (reader, writer) =
                socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).expect("sockets");
            let sandbox = Sandbox::new(&policy).caller(caller).pass(writer, 20);
            let sandbox = sandbox.option("--status-fd=20");
            let output = sandbox.run([sandbox_probe(), "say ran".into()]);
            assert_eq!(output.stdout_text(), "ok ran\n", "{caller}: {output:?}");
            let (text, pidfd) = receive(&reader);
            assert!(text.contains("\"digest\""), "{caller}: {text}");
            assert!(pidfd.is_some(), "{caller}");
            // The control: the filter does kill.
            let output = sandbox.run([sandbox_probe(), "syscall uname 0".into()]);
            assert_eq!(output.code(), 128 + 31, "{caller}: {output:?}");
        }
    }
}

#[test]
fn the_times_of_the_stages_are_a_part_of_the_time_until_the_command_runs() {
    for caller in Caller::both() {
        let sandbox = Sandbox::new("").caller(caller);
        let receipt = sandbox.run([sandbox.probe_path()]).receipt();
        let times = receipt.launch.expect("a launch event").microseconds;
        let stages: BTreeSet<String> = times.keys().cloned().collect();
        let told = Stage::ALL.into_iter().filter(|stage| *stage < Stage::Seccomp);
        assert_eq!(stages, told.map(|stage| stage.name().to_owned()).collect(), "{caller}");
        let all = receipt.exec.expect("an exec event").microseconds;
        assert!(times.values().sum::<u64>() <= all, "{caller}: {times:?}, {all}");
        // Seven namespaces take the kernel more than no time at all.
        assert!(times["namespaces"] > 0 && times["mounts"] > 0, "{caller}: {times:?}");
    }
}

#[test]
fn cpu_time_that_is_over_is_told_from_a_signal() {
    for caller in Caller::both() {
        for more in
            ["", "namespaces.pid = false\nfilesystem.proc = false\nlimits.wall_time = \"1m\""]
        {
            let policy = format!("limits.cpu_time = \"1s\"\n{more}");
            let sandbox = Sandbox::new(&policy).caller(caller);
            let exit = sandbox.run([sandbox.probe_path(), "spin".into()]).exit();
            assert_eq!(exit.ended_by, EndedBy::Cpu, "{caller}: {exit:?}");
            assert!(exit.signal == Some(9) || exit.signal == Some(24), "{caller}: {exit:?}");
            assert!(exit.cpu_microseconds >= 500_000, "{caller}: {exit:?}");
            assert!(exit.wall_microseconds > 800_000, "{caller}: {exit:?}");
            // The controls: the same signals, with time left.
            for signal in [9, 24] {
                let output = sandbox.run([sandbox.probe_path(), format!("raise {signal}")]);
                let exit = output.exit();
                assert_eq!(
                    (exit.ended_by, exit.signal),
                    (EndedBy::Signal, Some(signal)),
                    "{caller}"
                );
                assert!(exit.cpu_microseconds < 500_000, "{caller}: {exit:?}");
            }
        }
    }
}

#[test]
fn memory_of_whatever_the_command_starts_is_in_the_receipt() {
    for caller in Caller::both() {
        for more in
            ["", "namespaces.pid = false\nfilesystem.proc = false\nlimits.wall_time = \"1m\""]
        {
            let sandbox = Sandbox::new(more).caller(caller);
            let rss = |line: &str| {
                let output = sandbox.run([sandbox.probe_path(), line.to_owned()]);
                assert!(output.stdout_text().starts_with("ok "), "{caller}: {output:?}");
                output.exit().max_rss_kib
            };
            let (little, much) = (rss("pid"), rss("touch 67108864"));
            assert!(little > 0 && much >= little + 60_000, "{caller}: {little}, {much}");
        }
    }
}

#[test]
fn neither_the_command_nor_pid_1_holds_the_status_descriptor() {
    for caller in Caller::both() {
        let (mut reader, writer) = std::io::pipe().expect("a pipe is made");
        let inode = rustix::fs::fstat(&writer).expect("it is open").st_ino;
        let sandbox = Sandbox::new("").caller(caller).pass(writer, 20).option("--status-fd=20");
        let mut running = sandbox.start([&sandbox.probe_path(), "fds", "pause"]);
        assert_eq!(running.line(), "ok 0 1 2", "{caller}");
        let launch = first_launch(&mut reader);
        let holds = |pid: i32| {
            let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
            let mut links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
            links.any(|link| link == Path::new(&format!("pipe:[{inode}]")))
        };
        assert!(!holds(launch.pids.command.expect("a number")), "{caller}");
        // PID 1 lets go of it while the command runs already.
        let init = launch.pids.init.expect("there is a PID 1");
        let end = Instant::now() + harness::TIMEOUT;
        while holds(init) {
            assert!(Instant::now() < end, "{caller}: PID 1 holds it");
            std::thread::yield_now();
        }
        // The control: the launcher does.
        assert!(holds(launch.pids.launcher), "{caller}");
    }
}

/// Reads the first line.
fn first_launch(reader: &mut impl std::io::Read) -> Launch {
    let mut line = Vec::new();
    let mut byte = [0];
    while reader.read(&mut byte).expect("a pipe is read") == 1 && byte != *b"\n" {
        line.extend_from_slice(&byte);
    }
    let text = String::from_utf8(line).expect("it is text");
    Receipt::parse(&text).expect("a receipt").launch.expect("a launch event")
}

#[test]
fn a_receipt_of_a_launch_satisfies_its_policy_and_no_other() {
    for caller in Caller::both() {
        let sandbox = Sandbox::outside();
        let probe = sandbox.probe_path();
        let text = harness::with_probe("", Path::new(&probe));
        let bytes = harness::encode(&text);
        let output = Sandbox::of_bytes(&bytes).caller(caller).run([&probe]);
        let lines: String = output.events.iter().map(|event| format!("{event}\n")).collect();
        let other = harness::encode(&format!("process.umask = 0o22\n{text}"));
        let files = TempDir::with_file("receipt", &lines).file("policy.bin", &bytes);
        let files = files.file("other.bin", other).file("policy.toml", text);
        let encoder = sandbox.binaries().encoder().to_string_lossy().into_owned();
        let asked = |policy: &str| {
            let (receipt, policy) = (files.join("receipt"), files.join(policy));
            let (receipt, policy) = (receipt.to_string_lossy(), policy.to_string_lossy());
            let words = [&encoder, "receipt", &receipt, "--require", &policy, "-C", "/"];
            Sandbox::outside().run(words)
        };
        let satisfied = asked("policy.bin");
        assert_eq!(satisfied.code(), 0, "{caller}: {satisfied:?}");
        let said = satisfied.stdout_text();
        for part in ["files is kept by namespaces", "exited with 0", "until the command ran"] {
            assert!(said.contains(part), "{caller}, {part}: {said}");
        }
        assert_eq!(asked("other.bin").code(), 1, "{caller}");
        assert!(asked("other.bin").stderr_text().contains("it is of the policy"), "{caller}");
    }
}

#[test]
fn an_exit_says_who_ended_it() {
    for caller in Caller::both() {
        let sandbox = Sandbox::new("").caller(caller);
        let output = sandbox.run([sandbox.probe_path(), "exit 7".into()]);
        let exit = output.exit();
        assert_eq!((exit.ended_by, exit.code, exit.signal), (EndedBy::Exit, Some(7), None));
        assert_eq!(exit.limit_events, None, "{caller}");
        assert_eq!(output.launch().die_with_parent, DieWithParent::Process, "{caller}");
    }
}

#[test]
fn a_launch_whose_filter_is_refused_says_so_behind_what_it_said() {
    harness::needs_strace!();
    for caller in Caller::both() {
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null"];
        let sandbox = Sandbox::new(IN_PLACE).caller(caller).wrap(strace);
        let sandbox = sandbox.wrap(["-e", "inject=seccomp:error=EINVAL", "--"]);
        let output = sandbox.handover(Handover::Sealed).run([sandbox_probe()]);
        assert_eq!(output.code(), 125, "{caller}: {output:?}");
        assert_eq!(output.event_names(), ["launch", "failure"], "{caller}");
        assert_eq!(output.failure()["errno"], Errno::INVAL.raw_os_error(), "{caller}");
    }
}
