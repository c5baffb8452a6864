//! Input: the ways to hand over a policy, and everything that is no policy.
//! What is refused here is refused before anything has happened.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;

use harness::{
    Caller, Handover, Outcome, Output, POLICY_FD, SEALS, STATUS_FD, Sandbox, TempDir, encode,
    memory, pipe_of, with_probe,
};
use launcher_policy::enforce::{Enforce, Mode};
use launcher_policy::exec::{Cwd, Exec, Keep};
use launcher_policy::mounts::{MAX_MOUNTS, Mount, Node, NodeKind, Parents, Source};
use launcher_policy::origin::Origin;
use launcher_policy::seccomp::{Instruction, op};
use launcher_policy::session::{DieWithParent, Session, Terminal};
use launcher_policy::wire::{self, Architecture, HEADER, MAX_FRAME};
use launcher_policy::{List, Path, Policy, Text, credentials, fds, limits};
use policy_encoder::digest;
use rustix::fs::SealFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};

#[test]
fn every_way_to_hand_over_a_policy_works() {
    for caller in Caller::both() {
        for handover in [
            Handover::Sealed,
            Handover::File,
            Handover::Pipe,
            Handover::Fallback,
            Handover::Input,
            Handover::PolicyFile,
            Handover::Dash,
            Handover::Encoder,
            Handover::EncoderRun,
        ] {
            let outcome = Sandbox::new("").caller(caller).handover(handover).probe("pid");
            assert_eq!(outcome, Outcome::Ok("2".into()), "{caller}, {handover:?}");
        }
    }
}

#[test]
fn a_policy_comes_through_a_socket() {
    for caller in Caller::both() {
        let (own, other) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .expect("a socket pair is made");
        let sandbox = on_fd(other).caller(caller);
        File::from(own).write_all(&with(&sandbox, "")).expect("the policy is sent");
        assert_eq!(sandbox.probe("pid"), Outcome::Ok("2".into()), "{caller}");
    }
}

#[test]
fn a_policy_that_comes_in_small_pieces_is_read_to_its_end() {
    for caller in Caller::both() {
        // A read from a pipe in packet mode gives one packet and no more.
        let flags = PipeFlags::CLOEXEC | PipeFlags::DIRECT;
        let (reader, writer) = pipe_with(flags).expect("a pipe is made");
        let mut writer = File::from(writer);
        for piece in bare().chunks(HEADER / 4) {
            writer.write_all(piece).expect("a piece is written");
        }
        Attempt::new(caller).option("--fd=5").pass(reader, 5).accepted();
    }
}

#[test]
fn a_closed_descriptor_and_a_pipe_on_standard_input_give_the_command_dev_null() {
    for caller in Caller::both() {
        let sandbox = |handover| Sandbox::new("").caller(caller).handover(handover).stdin("mine");
        for handover in [Handover::Fallback, Handover::Dash] {
            let outcomes = sandbox(handover).probes(&["fd-kind 0", "echo-input"]);
            let null = Outcome::Ok("CharacterDevice 1:3".into());
            assert_eq!(outcomes, [null, Outcome::Ok(String::new())], "{caller}, {handover:?}");
        }
        let control = sandbox(Handover::Sealed).probe("echo-input");
        assert_eq!(control, Outcome::Ok("mine".into()), "{caller}");
    }
}

#[test]
fn what_follows_the_policy_on_descriptor_0_belongs_to_the_command() {
    for caller in Caller::both() {
        let piped = Sandbox::new("").caller(caller).handover(Handover::Input).stdin("rest");
        assert_eq!(piped.probe("echo-input"), Outcome::Ok("rest".into()), "{caller}");

        let sandbox = Sandbox::of_bytes(b"").caller(caller).handover(Handover::Nothing);
        let mut bytes = with(&sandbox, "");
        bytes.extend_from_slice(b"rest");
        let sandbox = sandbox.option("--fd=0").stdin_from(memory(&bytes, SealFlags::empty()));
        assert_eq!(sandbox.probe("echo-input"), Outcome::Ok("rest".into()), "{caller}");
    }
}

#[test]
fn what_follows_the_policy_in_a_pipe_is_not_looked_at() {
    for caller in Caller::both() {
        let sandbox = Sandbox::of_bytes(b"").caller(caller).handover(Handover::Nothing);
        let mut bytes = with(&sandbox, "");
        bytes.extend_from_slice(b"something else");
        let sandbox = sandbox.option("--fd=5").pass(pipe_of(&bytes), 5);
        assert_eq!(sandbox.probe("pid"), Outcome::Ok("2".into()), "{caller}");
    }
}

#[test]
fn the_pipe_of_a_policy_need_not_be_closed() {
    for caller in Caller::both() {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe is made");
        let sandbox = on_fd(reader).caller(caller);
        let mut writer = File::from(writer);
        writer.write_all(&with(&sandbox, "")).expect("the policy is written");
        assert_eq!(sandbox.probe("pid"), Outcome::Ok("2".into()), "{caller}");
        drop(writer);
    }
}

#[test]
fn a_file_is_read_at_its_offset() {
    for caller in Caller::both() {
        let sandbox = Sandbox::of_bytes(b"").caller(caller).handover(Handover::Nothing);
        let bytes = [b"something else".to_vec(), with(&sandbox, "")].concat();
        let mut file = File::from(memory(&bytes, SealFlags::empty()));
        file.seek(SeekFrom::Start(14)).expect("a file has an offset");
        let outcome = sandbox.option("--fd=5").pass(file, 5).probe("pid");
        assert_eq!(outcome, Outcome::Ok("2".into()), "{caller}");
    }
}

#[test]
fn a_sealed_policy_is_read_from_its_start_by_every_launch() {
    for caller in Caller::both() {
        let sandbox = Sandbox::of_bytes(b"").caller(caller).handover(Handover::Nothing);
        let mut file = File::from(memory(&with(&sandbox, ""), SEALS));
        file.seek(SeekFrom::End(0)).expect("a file has an offset");
        let sandbox = sandbox.option("--sealed").option("--fd=5").pass(file, 5);
        for _ in 0..2 {
            assert_eq!(sandbox.probe("pid"), Outcome::Ok("2".into()), "{caller}");
        }
    }
}

#[test]
fn sealed_means_sealed() {
    let all = [SealFlags::WRITE, SealFlags::GROW, SealFlags::SHRINK];
    for caller in Caller::both() {
        for missing in all {
            let seals = all.into_iter().filter(|seal| *seal != missing).collect();
            let attempt = Attempt::new(caller).option("--sealed").option("--fd=5");
            let policy = memory(&attempt.policy, seals);
            attempt.pass(policy, 5).refused("the policy is not sealed");
        }
        let attempt = Attempt::new(caller).option("--sealed").option("--fd=5");
        let policy = pipe_of(&attempt.policy);
        attempt.pass(policy, 5).refused("the policy is not a sealed memfd");

        let attempt = Attempt::new(caller).option("--sealed").option("--fd=5");
        let longer = [attempt.policy.as_slice(), b"x"].concat();
        attempt.pass(memory(&longer, SEALS), 5).refused("there are bytes after the policy");

        let attempt = Attempt::new(caller).option("--sealed").option("--fd=5");
        let policy = memory(&attempt.policy, SEALS);
        attempt.pass(policy, 5).accepted();
    }
}

#[test]
fn sealed_never_falls_back_to_standard_input() {
    for caller in Caller::both() {
        let attempt = Attempt::new(caller).option("--sealed").option("--fd=3").close(3);
        let policy = attempt.policy.clone();
        attempt.stdin(&policy).refused("EBADF");

        let control = Attempt::new(caller).option("--fd=3").close(3);
        control.stdin(&policy).accepted();
    }
}

#[test]
fn a_closed_descriptor_is_refused_where_standard_input_is_no_pipe() {
    for caller in Caller::both() {
        Attempt::new(caller).option("--fd=3").close(3).refused("EBADF");
        let attempt = Attempt::new(caller).option("--fd=3").close(3);
        let file = memory(&attempt.policy, SealFlags::empty());
        attempt.stdin_from(file).refused("EBADF");
        Attempt::new(caller).option("--fd=0").close(0).refused("EBADF");
    }
}

#[test]
fn a_policy_cut_at_any_byte_is_refused() {
    for caller in Caller::both() {
        let whole = bare();
        for length in 0..whole.len() {
            let (cut, _) = whole.split_at(length);
            let said = if length == 0 { "the policy is empty" } else { "the policy is cut short" };
            for policy in [memory(cut, SealFlags::empty()), pipe_of(cut)] {
                Attempt::new(caller).option("--fd=5").pass(policy, 5).refused(said);
            }
        }
        Attempt::with(caller, &whole).accepted();
    }
}

#[test]
fn a_policy_with_any_bit_flipped_is_refused() {
    for caller in Caller::both() {
        let whole = bare();
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            Attempt::with(caller, &damaged).refused("");
        }
    }
}

#[test]
fn bytes_behind_the_policy_are_refused_in_a_file_and_in_the_frame() {
    for caller in Caller::both() {
        let longer = [bare(), b"x".to_vec()].concat();
        Attempt::with(caller, &longer).refused("there are bytes after the policy");

        let mut payload = bare()[HEADER..].to_vec();
        payload.push(0);
        Attempt::with(caller, &frame(&payload)).refused("inside the policy after its value");
    }
}

#[test]
fn an_empty_policy_blames_the_encoder() {
    for caller in Caller::both() {
        Attempt::with(caller, b"").refused("the policy is empty; the encoder probably failed");
        let attempt = Attempt::new(caller).option("--fd=3").close(3);
        attempt.stdin(b"").refused("the encoder probably failed");
    }
}

#[test]
fn a_policy_of_another_kind_says_which() {
    let changed = |place: usize, value: u8| {
        let mut frame = bare();
        frame[place] = value;
        seal(frame)
    };
    for caller in Caller::both() {
        Attempt::with(caller, &changed(0, b'X')).refused("not an encoded policy");
        Attempt::with(caller, b"#!/bin/sh\nexit 0\n\n\n").refused("not an encoded policy");
        Attempt::with(caller, &changed(4, 99)).refused("format version");
        Attempt::with(caller, &changed(5, 1)).refused("format version");
        let other = if cfg!(target_arch = "x86_64") { 2 } else { 1 };
        Attempt::with(caller, &changed(6, other)).refused("another architecture");
        Attempt::with(caller, &changed(6, 99)).refused("another architecture");
        Attempt::with(caller, &changed(7, 1)).refused("");
        Attempt::with(caller, &seal(bare())).accepted();
    }
}

#[test]
fn an_oversized_policy_is_refused() {
    for caller in Caller::both() {
        let mut announced = bare();
        announced[8..12].copy_from_slice(&((MAX_FRAME - HEADER + 1) as u32).to_le_bytes());
        let announced = seal(announced);
        Attempt::with(caller, &announced).refused("longer than 2 MiB");
        for policy in [pipe_of(&announced), memory(&announced, SEALS)] {
            Attempt::new(caller).option("--fd=5").pass(policy, 5).refused("2 MiB");
        }
        let large = memory(&vec![b'S'; MAX_FRAME + 1], SEALS);
        let attempt = Attempt::new(caller).option("--sealed").option("--fd=5");
        attempt.pass(large, 5).refused("longer than 2 MiB");
    }
}

#[test]
fn a_pipe_that_never_closes_is_given_up_at_the_deadline() {
    for caller in Caller::both() {
        for sent in [0, 3, HEADER, HEADER + 1] {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe is made");
            let mut writer = File::from(writer);
            writer.write_all(&bare()[..sent]).expect("a part is written");
            let attempt = Attempt::new(caller).option("--fd=5").option("--deadline=1");
            attempt.pass(reader, 5).refused("no whole policy came before the deadline");
            drop(writer);
        }
    }
}

#[test]
fn what_is_no_pipe_socket_or_file_is_refused() {
    for caller in Caller::both() {
        for (path, said) in [("/", "the policy is a directory"), ("/dev/null", "a device")] {
            let file = File::open(path).expect("it opens");
            Attempt::new(caller).option("--fd=5").pass(file, 5).refused(said);
            let attempt = Attempt::new(caller).option("--policy").option(path);
            attempt.refused(said);
        }
        let attempt = Attempt::new(caller);
        let path = attempt.directory.join("nothing");
        attempt.option("--policy").option(&path.to_string_lossy()).refused("ENOENT");
    }
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    for caller in Caller::both() {
        let given = |options: &[&str]| {
            let attempt = Attempt::new(caller);
            let policy = memory(&attempt.policy, SealFlags::empty());
            options.iter().fold(attempt.pass(policy, 5), |attempt, option| attempt.option(option))
        };
        given(&["--fd=5", "--fd=5"]).refused("more than one policy");
        given(&["--fd=5", "--policy=x"]).refused("more than one policy");
        given(&[]).refused("there is no policy");
        given(&["--fd=5", "--colour"]).refused("unknown option");
        given(&["--fd=5", "-v"]).refused("unknown option");
        given(&["--fd=5", "--sealed=yes"]).refused("unknown option");
        given(&["--fd=5", "true"]).refused("unknown option");
        for number in ["", "x", "-1", "3x", " 5", "9999999"] {
            given(&[&format!("--fd={number}")]).refused("number is wrong");
        }
        given(&["--fd=5", "--status-fd=2"]).refused("standard streams");
        given(&["--fd=5", "--status-fd=150"]).refused("the descriptor is not open");
        given(&["--fd=5", "--parent-fd=150"]).refused("the descriptor is not open");
        given(&["--fd=5", "--cgroup-fd=150"]).refused("the descriptor is not open");
        given(&["--fd=5", "--parent-fd=5"]).refused("--parent-fd: the descriptor is not a pidfd");
        given(&["--fd=5"]).accepted();
    }
}

#[test]
fn a_command_behind_two_dashes_has_to_be_there() {
    for caller in Caller::both() {
        let sandbox = Sandbox::outside().caller(caller);
        let launcher = sandbox.binaries().launcher();
        let launcher = launcher.to_string_lossy();
        let refused = |words: &[&str], said: &str| {
            let policy = memory(&bare(), SealFlags::empty());
            let sandbox = Sandbox::outside().caller(caller).pass(policy, 5);
            let output = sandbox.run(std::iter::once(&*launcher).chain(words.iter().copied()));
            assert_eq!(output.code(), 125, "{caller}: {output:?}");
            assert!(output.stderr_text().contains(said), "{caller}: {output:?}");
            assert_eq!(output.stderr_text().lines().count(), 1, "{caller}: {output:?}");
        };
        refused(&[], "there is no -- before the command");
        refused(&["--fd", "5"], "there is no -- before the command");
        refused(&["--fd"], "a value is missing");
        refused(&["--fd", "5", "--"], "there is no command behind --");
    }
}

#[test]
fn help_and_version_are_printed() {
    let launcher = Sandbox::outside();
    let launcher = |option| {
        let program = launcher.binaries().launcher();
        launcher.run([program.as_os_str(), option])
    };
    let help = launcher("--help".as_ref());
    assert_eq!(help.code(), 0);
    for option in ["--fd", "--policy", "--sealed", "--deadline", "--status-fd", "--parent-fd"] {
        assert!(help.stdout_text().contains(option), "{option}: {help:?}");
    }
    let version = launcher("--version".as_ref());
    assert_eq!((version.code(), version.stdout_text().starts_with("launcher ")), (0, true));
}

#[test]
fn no_descriptor_serves_two_purposes() {
    for caller in Caller::both() {
        let refused = |policy: &str, options: &[&str], said: &str| {
            let sandbox = Sandbox::new(policy).caller(caller).handover(Handover::File);
            let sandbox = options.iter().fold(sandbox, |sandbox, option| sandbox.option(*option));
            let output = sandbox.run(["true"]);
            assert_eq!(output.code(), 125, "{caller}: {output:?}");
            assert!(output.stderr_text().contains(said), "{caller}: {output:?}");
        };
        let keep = |fd| format!("process.keep_fds = [{fd}]");
        refused(&keep(POLICY_FD), &[], "among the policy's keep_fds");
        refused(&keep(STATUS_FD), &[], "among the policy's keep_fds");
        let same = format!("--status-fd={POLICY_FD}");
        refused("", &[&same], "serves another purpose");
    }
}

#[test]
fn a_path_with_a_dot_dot_or_a_nul_is_refused() {
    let dir = TempDir::with_file("zz", "");
    let policy = |mounts: &str| encode(&format!("[filesystem]\n{mounts}"));
    let original = policy(&format!("read = [{{ path = {dir:?}, at = \"/aa/zz\" }}]"));
    for caller in Caller::both() {
        for bad in [b"/../zz\0", b"/aa/..\0", b"/aa//z\0", b"/aa/.z\0", b"xaa/zz\0", b"/a\0/zz\0"] {
            // A name that only begins with a dot is a name like any other.
            if bad.ends_with(b".z\0") {
                continue;
            }
            let changed = replaced(&original, b"/aa/zz\0", bad);
            Attempt::with(caller, &changed).refused("");
        }
        let host = [dir.path().as_os_str().as_encoded_bytes(), b"\0"].concat();
        let mut up = host.clone();
        up[1..4].copy_from_slice(b"../");
        Attempt::with(caller, &replaced(&original, &host, &up)).refused("");
    }
}

#[test]
fn a_policy_may_have_no_mount_and_16384_but_not_more() {
    for caller in Caller::both() {
        let none = Sandbox::of_bytes(&bare()).caller(caller).run(["true"]);
        assert_eq!(none.code(), 0, "{caller}: {none:?}");

        let sandbox = Sandbox::of_bytes(b"").caller(caller);
        let many = |count| with_mounts(&with(&sandbox, ""), count);
        let most = Sandbox::of_bytes(&many(MAX_MOUNTS)).caller(caller);
        let outcomes = most.probes(&["pid", "mount-flags /m16000"]);
        let flags = Outcome::Ok("ro,nosuid,nodev,noexec".into());
        assert_eq!(outcomes, [Outcome::Ok("2".into()), flags], "{caller}");

        Attempt::with(caller, &many(MAX_MOUNTS + 1)).refused("more than 16384 mounts");
    }
}

#[test]
fn a_filter_that_the_kernel_would_refuse_is_refused_first() {
    let filter = |instructions: &[Instruction]| -> Vec<u8> {
        let filter: Vec<u8> = instructions.iter().flat_map(|each| each.to_bytes()).collect();
        let mut policy = bare_policy();
        policy.seccomp = Some(launcher_policy::seccomp::Seccomp {
            filter: &filter,
            flags: 0,
            without_namespaces: &[],
            terminal_is_safe: false,
        });
        frame(&postcard::to_stdvec(&policy).expect("a policy is encoded"))
    };
    let instruction = |code, jt, jf, k| Instruction { code, jt, jf, k };
    let allow = instruction(op::RETURN, 0, 0, 0x7fff_0000);
    for caller in Caller::both() {
        for (name, program) in [
            ("a jump out of range", vec![instruction(op::JUMP_EQUAL, 1, 0, 0), allow]),
            ("a long jump out of range", vec![instruction(op::JUMP, 0, 0, u32::MAX), allow]),
            ("a load from outside", vec![instruction(op::LOAD, 0, 0, 64), allow]),
            ("a load that is not aligned", vec![instruction(op::LOAD, 0, 0, 2), allow]),
            ("an end without a return", vec![instruction(op::LOAD, 0, 0, 0)]),
            ("an unknown operation", vec![instruction(0xffff, 0, 0, 0), allow]),
            ("a division by zero", vec![instruction(0x34, 0, 0, 0), allow]),
            ("no instruction", vec![]),
            ("too many instructions", vec![allow; 4097]),
        ] {
            eprintln!("{name}");
            Attempt::with(caller, &filter(&program)).refused("filter");
        }
        Attempt::with(caller, &filter(&[allow])).accepted();
    }
}

#[test]
fn an_unknown_variant_or_bit_is_refused() {
    for caller in Caller::both() {
        let mut payload = bare()[HEADER..].to_vec();
        // The first byte is the first `Mode`.
        payload[0] = 3;
        Attempt::with(caller, &frame(&payload)).refused("the policy does not decode");
        let mut policy = bare_policy();
        policy.fds.keep = List::from_bytes(&[1, 0]);
        let payload = postcard::to_stdvec(&policy).expect("a policy is encoded");
        Attempt::with(caller, &frame(&payload)).refused("descriptor number");
    }
}

/// A launch whose command would leave a file behind.
struct Attempt {
    caller: Caller,
    directory: TempDir,
    policy: Vec<u8>,
    sandbox: Sandbox,
}

impl Attempt {
    /// Nothing said yet; `policy` would be a good one.
    fn new(caller: Caller) -> Self {
        let sandbox = Sandbox::of_bytes(b"").caller(caller).handover(Handover::Nothing);
        Self { caller, directory: TempDir::new(), policy: bare(), sandbox }
    }

    /// With these bytes in a file.
    fn with(caller: Caller, policy: &[u8]) -> Self {
        Self::new(caller).option("--fd=5").pass(memory(policy, SealFlags::empty()), 5)
    }

    fn option(self, option: &str) -> Self {
        Self { sandbox: self.sandbox.option(option), ..self }
    }

    fn pass(self, fd: impl Into<OwnedFd>, number: i32) -> Self {
        Self { sandbox: self.sandbox.pass(fd, number), ..self }
    }

    fn close(self, number: i32) -> Self {
        Self { sandbox: self.sandbox.close(number), ..self }
    }

    fn stdin(self, bytes: &[u8]) -> Self {
        Self { sandbox: self.sandbox.stdin(bytes), ..self }
    }

    fn stdin_from(self, fd: OwnedFd) -> Self {
        Self { sandbox: self.sandbox.stdin_from(fd), ..self }
    }

    fn run(&self) -> Output {
        let marker = self.directory.join("marker");
        self.sandbox.run([self.sandbox.probe_path(), format!("create {}", marker.display())])
    }

    /// The launch is refused at once: 125, one line, one event, no command.
    #[track_caller]
    fn refused(self, said: &str) {
        let output = self.run();
        let caller = self.caller;
        assert_eq!(output.code(), 125, "{caller}: {output:?}");
        let text = output.stderr_text();
        assert!(text.starts_with("launcher: input: "), "{caller}: {output:?}");
        assert!(text.contains(said) && text.lines().count() == 1, "{caller}: {output:?}");
        if !output.events.is_empty() {
            assert_eq!(output.failure()["stage"], "input", "{caller}");
        }
        assert!(!self.directory.has("marker"), "{caller}: the command ran");
    }

    /// The control: the command runs.
    #[track_caller]
    fn accepted(self) {
        let output = self.run();
        let caller = self.caller;
        assert_eq!(output.code(), 0, "{caller}: {output:?}");
        assert!(self.directory.has("marker"), "{caller}: {output:?}");
    }
}

/// A launcher that reads its policy from descriptor 5.
fn on_fd(fd: OwnedFd) -> Sandbox {
    Sandbox::of_bytes(b"").handover(Handover::Nothing).option("--fd=5").pass(fd, 5)
}

/// The bytes of a policy that shows the probe.
fn with(sandbox: &Sandbox, policy: &str) -> Vec<u8> {
    encode(&with_probe(policy, &sandbox.binaries().probe()))
}

/// The shortest policy: it restricts nothing but the capabilities.
fn bare() -> Vec<u8> {
    let mut buffer = [0; 512];
    wire::encode(&bare_policy(), Architecture::NATIVE, digest::sha256, &mut buffer)
        .expect("the policy is valid")
        .to_vec()
}

fn bare_policy() -> Policy<'static> {
    Policy {
        enforce: Enforce {
            namespaces: Mode::Off,
            landlock: Mode::Off,
            limits: Mode::Off,
            guarantees: List::EMPTY,
            offers: List::EMPTY,
        },
        fds: fds::Fds::default(),
        namespaces: None,
        mounts: None,
        limits: limits::Limits::default(),
        session: Session {
            terminal: Terminal::None,
            umask: None,
            die_with_parent: DieWithParent::Never,
        },
        credentials: credentials::Credentials::default(),
        landlock: None,
        seccomp: None,
        exec: Exec { argv0: None, keep: everything(), set: List::EMPTY, cwd: Cwd::Launch },
        proxy: None,
        origin: Origin::default(),
    }
}

/// Every variable of the environment.
fn everything() -> List<'static, Keep<'static>> {
    let all = postcard::to_stdvec(&Keep::Prefix(Text::new(c""))).expect("it is encoded");
    List::from_bytes(all.leak())
}

/// A frame around any payload, with the right checksum.
fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = bare()[..HEADER].to_vec();
    frame[8..12].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    frame.extend_from_slice(payload);
    seal(frame)
}

/// The same frame, with the right checksum.
fn seal(mut frame: Vec<u8>) -> Vec<u8> {
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    let covered = [&frame[..HEADER - 4], &frame[HEADER..]].concat();
    frame[HEADER - 4..HEADER].copy_from_slice(&crc.checksum(&covered).to_le_bytes());
    frame
}

/// The same policy with some bytes of its payload replaced by as many others.
fn replaced(policy: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let mut policy = policy.to_vec();
    let places: Vec<usize> =
        (HEADER..policy.len()).filter(|&place| policy[place..].starts_with(old)).collect();
    assert!(!places.is_empty(), "the policy has no such path");
    for place in places {
        policy[place..place + new.len()].copy_from_slice(new);
    }
    seal(policy)
}

/// The same policy with so many mounts: small empty ones are added.
fn with_mounts(policy: &[u8], count: usize) -> Vec<u8> {
    let policy = wire::decode(policy).expect("the policy is valid");
    let mounts = policy.mounts.expect("there are mounts");
    let mut nodes = mounts.skeleton.as_bytes().to_vec();
    let mut list = mounts.mounts.as_bytes().to_vec();
    for number in mounts.mounts.count()..count {
        let path = std::ffi::CString::new(format!("/m{number}")).expect("a path");
        let path = Path::new(&path).expect("a path");
        let node = Node { path, kind: NodeKind::Directory { mode: 0o755 } };
        let mount = Mount {
            target: path,
            parents: Parents::Skeleton,
            source: Source::Skeleton,
            attributes: 15,
            access: 0,
            carved: false,
        };
        nodes.extend(postcard::to_stdvec(&node).expect("a node is encoded"));
        list.extend(postcard::to_stdvec(&mount).expect("a mount is encoded"));
    }
    let mounts = launcher_policy::mounts::Mounts {
        skeleton: List::from_bytes(&nodes),
        mounts: List::from_bytes(&list),
        skeleton_size: 128 << 20,
        ..mounts
    };
    let policy = Policy { mounts: Some(mounts), ..policy };
    frame(&postcard::to_stdvec(&policy).expect("a policy is encoded"))
}
