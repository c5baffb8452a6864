//! The launcher's own arguments. What stands behind `--` is the command's and
//! is passed on untouched.

use core::ffi::CStr;

use launcher::Options;
use launcher::hold::{Hold, What};
use launcher::report::VERSION_LINE;
use launcher::sys::CStrings;
use launcher_policy::{Call, Failure, Refusal, Stage, Subject, words};
use rustix::fd::RawFd;

const STAGE: Stage = Stage::Input;

/// Seconds to wait for a policy from a pipe.
const DEADLINE: u32 = 10;

const HELP: &str = "\
Run a command under an encoded sandbox policy.

Usage: launcher (--fd N | --policy FILE) [OPTION]... -- COMMAND [ARGUMENT]...
       launcher (--fd N | --policy FILE) --hold-template N | --hold-networks N
       launcher (--fd N | --policy FILE) [OPTION]... --serve N

    encode-policy policy.toml | launcher --fd 3 -- COMMAND
    launcher --policy policy.bin -- COMMAND

Where the policy comes from:
  --fd N           a descriptor: pipe, socket or file; where N is closed and
                   standard input is a pipe, standard input
  --policy FILE    a file; - is standard input
  --sealed         it is a memfd sealed against write, grow and shrink
  --deadline SECS  how long to wait for it (default 10)

What else is passed in:
  --status-fd N    write what happens as JSON lines
  --error-fd N     write a failure as a JSON line, instead of to standard error
  --parent-fd N    a pidfd: the command ends when this process does
  --cgroup-fd N    a cgroup v2 directory that the command gets its own in
  --ruleset-fd N   the Landlock ruleset of the policy, which is not made then
  --notify-fd N    a UNIX socket that gets the listener of the policy's filter
  --listeners-fd N  a UNIX socket that gets the sockets at which the policy's
                   proxy is found
  --netns-fd N     a network namespace that is joined instead of making one
  --template-fd N  a pidfd: the view of this process is copied instead of
                   building one; only /proc, /tmp and their like are made
  --exec-fd N      the program itself; COMMAND is only what it is called

Instead of a command, what is made once for many, until the other end of the
socket N, a SOCK_SEQPACKET, is closed:
  --hold-template N  the policy's view; sends the pidfd for --template-fd
  --hold-networks N  empty network namespaces; sends each for --netns-fd
  --serve N          launches them as they are asked for over the socket

  --landlock-abi N  use at most this Landlock ABI

  --probe-host      print what this host gives, as JSON
  --help, --version

Exit status: that of the command, or 128 + the signal that ended it;
124 wall time over, 125 refused or failed, 126 not executable, 127 not found.
";

/// What the arguments ask for.
pub(crate) enum Request {
    /// A launch.
    Launch(Arguments),
    /// This text on standard output.
    Print(&'static str),
    /// What this host gives, on standard output.
    ProbeHost,
}

/// A launch as the arguments describe it.
pub(crate) struct Arguments {
    /// Where the policy comes from.
    pub(crate) source: Source,
    /// Whether it must be a sealed memfd.
    pub(crate) sealed: bool,
    /// Seconds to wait for it.
    pub(crate) deadline: u32,
    /// Descriptors that were passed in.
    pub(crate) options: Options,
    /// The command as it was named.
    pub(crate) command: &'static CStr,
    /// The command and its arguments.
    pub(crate) argv: CStrings<'static>,
}

/// Where the policy comes from.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    /// A descriptor.
    Fd(RawFd),
    /// Standard input.
    Input,
    /// A file.
    File(&'static CStr),
}

words! {
    /// The launcher's own arguments.
    pub enum Name {
        End "--"
        Help "--help"
        Version "--version"
        ProbeHost "--probe-host"
        Sealed "--sealed"
        // What follows takes a value.
        Fd "--fd"
        LandlockAbi "--landlock-abi"
        Policy "--policy"
        Deadline "--deadline"
        StatusFd "--status-fd"
        ErrorFd "--error-fd"
        RulesetFd "--ruleset-fd"
        ParentFd "--parent-fd"
        CgroupFd "--cgroup-fd"
        NotifyFd "--notify-fd"
        ListenersFd "--listeners-fd"
        TemplateFd "--template-fd"
        NetnsFd "--netns-fd"
        HoldTemplate "--hold-template"
        HoldNetworks "--hold-networks"
        Serve "--serve"
        ExecFd "--exec-fd"
    }
}

/// Reads the arguments, and keeps the one it reads in `at`.
///
/// # Errors
///
/// The first one that makes no sense.
pub(crate) fn parse(
    argv: CStrings<'static>,
    at: &mut Option<&'static CStr>,
) -> Result<Request, Failure> {
    let mut source = None;
    let mut sealed = false;
    let mut deadline = DEADLINE;
    let mut options = Options::default();
    let mut rest = argv.skip(1);
    loop {
        let argument = match rest.first() {
            Some(argument) => argument,
            None if serves_many(options) => break,
            None => return Err(refused(Refusal::NoSeparator)),
        };
        *at = Some(argument);
        rest = rest.skip(1);
        let (name, attached) = split(argument);
        let is_given = |known: &&Name| known.name().as_bytes() == name;
        let name = *Name::ALL.iter().find(is_given).ok_or_else(unknown)?;
        let value = match (name, attached) {
            (Name::End, None) => break,
            (Name::Help, None) => return Ok(Request::Print(HELP)),
            (Name::Version, None) => return Ok(Request::Print(VERSION_LINE)),
            (Name::ProbeHost, None) => return Ok(Request::ProbeHost),
            (Name::Sealed, None) => {
                sealed = true;
                continue;
            }
            (Name::End | Name::Help | Name::Version | Name::ProbeHost | Name::Sealed, Some(_)) => {
                None
            }
            (_, Some(value)) => Some(value),
            (_, None) => {
                *at = rest.first();
                rest = rest.skip(1);
                *at
            }
        };
        let value = value.ok_or_else(unknown)?;
        match name {
            Name::HoldTemplate | Name::HoldNetworks | Name::Serve if serves_many(options) => {
                return Err(refused(Refusal::HoldTwice).about(Subject::Argument));
            }
            Name::Policy if value == c"-" => set(&mut source, Source::Input)?,
            Name::Policy => set(&mut source, Source::File(value))?,
            Name::Fd => set(&mut source, Source::Fd(number(value, 0)?))?,
            Name::Deadline => deadline = number(value, 0)? as u32,
            Name::LandlockAbi => options.landlock_abi = Some(number(value, 0)? as u32),
            Name::StatusFd => options.status = Some(number(value, 3)?),
            Name::ErrorFd => options.errors = Some(number(value, 3)?),
            Name::RulesetFd => options.ruleset = Some(number(value, 3)?),
            Name::ParentFd => options.caller = Some(number(value, 3)?),
            Name::NotifyFd => options.notify = Some(number(value, 3)?),
            Name::ListenersFd => options.listeners = Some(number(value, 3)?),
            Name::CgroupFd => options.cgroup = Some(number(value, 3)?),
            Name::TemplateFd => options.template = Some(number(value, 3)?),
            Name::NetnsFd => options.network = Some(number(value, 3)?),
            Name::HoldTemplate => options.hold = held(What::Template, value)?,
            Name::HoldNetworks => options.hold = held(What::Networks, value)?,
            Name::Serve => options.serve = Some(number(value, 3)?),
            _ => options.program = Some(number(value, 3)?),
        }
    }
    let source = source.ok_or_else(|| refused(Refusal::NoPolicy))?;
    let command = match rest.first() {
        Some(command) => command,
        None if serves_many(options) => c"",
        None => return Err(refused(Refusal::NoCommand)),
    };
    Ok(Request::Launch(Arguments { source, sealed, deadline, options, command, argv: rest }))
}

/// `--name=value` in its two parts.
fn split(argument: &'static CStr) -> (&'static [u8], Option<&'static CStr>) {
    let bytes = argument.to_bytes_with_nul();
    match bytes.iter().position(|&byte| byte == b'=') {
        Some(sign) if bytes.starts_with(b"--") => {
            let (name, value) = bytes.split_at(sign);
            let value = value.get(1..).and_then(|value| CStr::from_bytes_until_nul(value).ok());
            (name, value)
        }
        _ => (argument.to_bytes(), None),
    }
}

/// Whether there is no command.
fn serves_many(options: Options) -> bool {
    options.hold.is_some() || options.serve.is_some()
}

/// What is made for many launches, and the socket to who wants it.
fn held(what: What, socket: &CStr) -> Result<Option<Hold>, Failure> {
    Ok(Some(Hold { what, socket: number(socket, 3)? }))
}

fn set(source: &mut Option<Source>, new: Source) -> Result<(), Failure> {
    match source.replace(new) {
        None => Ok(()),
        Some(_) => Err(refused(Refusal::TwoPolicies)),
    }
}

/// A number of at most six digits that is at least `least`.
fn number(value: &CStr, least: RawFd) -> Result<RawFd, Failure> {
    let digits = value.to_bytes();
    let valid = (1..=6).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let number = digits.iter().fold(0, |sum, digit| sum * 10 + RawFd::from(digit & 15));
    let why = match valid {
        true if number >= least => return Ok(number),
        true => Refusal::StandardFd,
        false => Refusal::Number,
    };
    Err(refused(why).about(Subject::Argument))
}

fn unknown() -> Failure {
    refused(Refusal::UnknownOption).about(Subject::Argument)
}

fn refused(why: Refusal) -> Failure {
    Failure::refused(STAGE, Call::Arguments, why)
}
