//! `launcher`: reads an encoded policy from a descriptor, enters it, and runs
//! a command.
//!
//! There is no libc but for its memcpy, no heap, one thread.
#![no_std]
#![no_main]
#![allow(unsafe_code, reason = "the entry point and its memory")]

use core::ffi::c_int;
use core::mem::MaybeUninit;

use launcher::gather::{self, Given};
use launcher::input::{self, Form};
use launcher::probe::Host;
use launcher::receipt::Notes;
use launcher::report::{self, Words};
use launcher::serve::{self, Room, Served};
use launcher::session;
use launcher::sys::{self, CStrings, Initial};
use launcher::{Caller, Options, Stacks};
use launcher_policy::wire::MAX_FRAME;
use launcher_policy::{Call, Failure, Policy, Refusal, Stage, Subject};
use rustix::fd::RawFd;
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::{Errno, fcntl_getfd};

mod arguments;

use arguments::{Arguments, Request, Source};

const STAGE: Stage = Stage::Input;

/// Everything that is too large for the stack. It is all zeroes, so it takes
/// no room in the file and no page that is not used.
// In this order most launches touch the first page and one for the policy's
// bytes.
#[repr(C, align(4096))]
struct Memory {
    policy: MaybeUninit<Policy<'static>>,
    gathered: launcher::gather::Memory,
    frame: Paged<[u8; MAX_FRAME]>,
    host: MaybeUninit<Host>,
    room: Room,
}

/// What begins a page.
#[repr(align(4096))]
struct Paged<T>(T);

static mut MEMORY: Memory = Memory {
    policy: MaybeUninit::uninit(),
    gathered: launcher::gather::Memory::new(),
    frame: Paged([0; MAX_FRAME]),
    host: MaybeUninit::uninit(),
    room: Room::new(),
};

static STACKS: Stacks = Stacks::new();

#[link(name = "c")]
unsafe extern "C" {}

/// What the compiler's helpers for atomics ask: whether to use the newer
/// instructions. Finding out takes a kilobyte, and both kinds do.
#[cfg(target_arch = "aarch64")]
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the helpers' name")]
static __aarch64_have_lse_atomics: u8 = 0;

/// Where the kernel enters: passes on the stack as it is there. A libc's start
/// code would make two system calls, and touch two pages, for what is not used
/// here.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn start() -> ! {
    #[cfg(target_arch = "x86_64")]
    core::arch::naked_asm!(
        "xor ebp, ebp",
        "mov rdi, rsp",
        "call {main}",
        main = sym main,
    );
    #[cfg(target_arch = "aarch64")]
    core::arch::naked_asm!(
        "mov x29, xzr",
        "mov x30, xzr",
        "mov x0, sp",
        "b {main}",
        main = sym main,
    );
    #[cfg(target_arch = "riscv64")]
    core::arch::naked_asm!(
        "mv ra, zero",
        "mv a0, sp",
        "tail {main}",
        main = sym main,
    );
}

/// The first function of ours; `stack` is what the kernel has put there.
extern "C" fn main(stack: *const usize) -> ! {
    // SAFETY: `start` passes the stack of this process as it was at its
    // beginning, and nothing writes to that part of it.
    let Initial { argv, envp, uid, gid } = unsafe { sys::initial(stack) };
    let memory = &raw mut MEMORY;
    // SAFETY: this function runs once, in the only thread, and is the only
    // place that names the memory.
    let memory = unsafe { &mut *memory };
    let mut words = Words::default();
    let status = match run(argv, envp, (uid, gid), memory, &mut words) {
        Ok(status) => status,
        Err(failure) => {
            report::failure(&failure, &words);
            report::exit_status(&failure)
        }
    };
    sys::exit_group(status)
}

/// Reads the arguments and does what they say.
fn run(
    argv: CStrings<'static>,
    envp: CStrings<'static>,
    ids: (u32, u32),
    memory: &'static mut Memory,
    words: &mut Words<'static>,
) -> Result<c_int, Failure> {
    match arguments::parse(argv, &mut words.argument)? {
        Request::Print(text) => wrote(rustix::io::write(sys::inherited(1), text.as_bytes())),
        Request::ProbeHost => {
            let caller = Caller { uid: ids.0, gid: ids.1, parent: 0 };
            wrote(memory.host.write(Host::new(caller)).probe(&STACKS))
        }
        Request::Launch(given) => {
            words.status = given.options.status;
            words.errors = given.options.errors;
            words.command = Some(given.command);
            match launch(&given, envp, ids, memory, words)? {}
        }
    }
}

/// Nothing else is to be done.
fn wrote(written: Result<usize, Errno>) -> Result<c_int, Failure> {
    written.map(|_| 0).map_err(report::failed(STAGE, Call::Write))
}

/// Gathers what a launch needs and starts it.
fn launch(
    given: &Arguments,
    envp: CStrings<'static>,
    ids: (u32, u32),
    memory: &'static mut Memory,
    words: &mut Words<'static>,
) -> Result<core::convert::Infallible, Failure> {
    let notes = Notes::begin(given.options.status);
    // Before anything is opened: a descriptor of our own must not pass for
    // one that was given.
    let source = open_source(given, words)?;
    let caller = Caller { uid: ids.0, gid: ids.1, parent: session::parent() };
    check_open(given)?;
    let form = source.form;
    let (policy, digest) = input::apply(
        sys::inherited(source.fd),
        source.stat,
        form,
        given.deadline,
        &mut memory.frame.0,
        &mut memory.policy,
    )?;
    notes.is_over(Stage::Input);
    words.policy = Some(policy);
    check_numbers(policy, given)?;
    if source.replaced_by_null {
        null_input()?;
    }
    let options = given.options;
    if options.serve.is_some() {
        let served = Served { policy, digest, options, caller, stacks: &STACKS };
        return serve::apply(served, &mut memory.room, &mut memory.gathered);
    }
    let given = Given {
        policy,
        digest,
        command: given.command,
        argv: given.argv,
        envp,
        options,
        caller,
        notes,
        stacks: &STACKS,
    };
    gather::launch(given, &mut memory.gathered, words)
}

/// Where the policy is read from.
struct Opened {
    fd: RawFd,
    /// What it is, where that was asked.
    stat: Option<Stat>,
    form: Form,
    /// Whether standard input was used up, and the command gets /dev/null.
    replaced_by_null: bool,
}

fn open_source(given: &Arguments, words: &mut Words<'static>) -> Result<Opened, Failure> {
    let opened = |fd, form| Ok(Opened { fd, stat: None, form, replaced_by_null: false });
    let input = Opened { fd: 0, stat: None, form: Form::Any, replaced_by_null: true };
    match given.source {
        Source::Fd(fd) if given.sealed => opened(fd, Form::Sealed),
        Source::Fd(0) => opened(0, Form::Shared),
        Source::Fd(fd) => match fstat(sys::inherited(fd)) {
            Ok(stat) => {
                Ok(Opened { fd, stat: Some(stat), form: Form::Any, replaced_by_null: false })
            }
            // As in `encode-policy ... | launcher --fd 3 -- cmd`.
            Err(Errno::BADF) if is_pipe(0) => Ok(input),
            Err(error) => Err(report::failed(STAGE, Call::Fstat)(error)),
        },
        Source::Input => Ok(input),
        Source::File(path) => {
            words.argument = Some(path);
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
            let file = openat(CWD, path, flags, Mode::empty())
                .map_err(report::failed(STAGE, Call::Open))
                .map_err(|failure| failure.about(Subject::Argument))?;
            // It must not lie among 0 to 2, which the command would inherit.
            let file = rustix::io::fcntl_dupfd_cloexec(file, 3)
                .map_err(report::failed(STAGE, Call::Fcntl))?;
            let form = if given.sealed { Form::Sealed } else { Form::Any };
            opened(rustix::fd::AsRawFd::as_raw_fd(&sys::until_exec(file)), form)
        }
    }
}

fn is_pipe(fd: RawFd) -> bool {
    fstat(sys::inherited(fd))
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo)
}

/// Refuses a descriptor that was named but is not open, and a caller that is
/// no process.
fn check_open(given: &Arguments) -> Result<(), Failure> {
    let caller = given.options.caller;
    for (fd, name) in named(given.options) {
        if let Some(fd) = fd
            && fcntl_getfd(sys::inherited(fd)).is_err()
        {
            return Err(Failure::refused(STAGE, name, Refusal::FdClosed));
        }
    }
    // Signal 0 asks without doing anything; what else it may answer is about
    // the process.
    if caller.is_some_and(|fd| sys::pidfd_send_signal(sys::inherited(fd), 0) == Err(Errno::BADF)) {
        return Err(Failure::refused(STAGE, Call::ParentFd, Refusal::NoPidfd));
    }
    Ok(())
}

/// The descriptors that the arguments name.
fn named(options: Options) -> [(Option<RawFd>, Call); 12] {
    let hold = options.hold.map(|hold| hold.socket);
    let holds = options.hold.map_or(Call::HoldTemplate, |hold| hold.what.call());
    [
        (options.status, Call::StatusFd),
        (options.errors, Call::ErrorFd),
        (options.caller, Call::ParentFd),
        (options.cgroup, Call::CgroupFd),
        (options.ruleset, Call::RulesetFd),
        (options.notify, Call::NotifyFd),
        (options.listeners, Call::ListenersFd),
        (options.template, Call::TemplateFd),
        (options.network, Call::NetnsFd),
        (hold, holds),
        (options.serve, Call::Serve),
        (options.program, Call::ExecFd),
    ]
}

/// Refuses a descriptor that would serve two purposes.
fn check_numbers(policy: &Policy<'_>, given: &Arguments) -> Result<(), Failure> {
    let source = match given.source {
        Source::Fd(fd) => Some(fd),
        Source::Input | Source::File(_) => None,
    };
    let own = named(given.options).map(|(fd, _)| fd);
    let is_own = |fd| source == Some(fd) || own.contains(&Some(fd));
    if policy.fds.keep.iter().any(|keep| is_own(keep.fd as RawFd)) {
        let why = Refusal::FdKept;
        return Err(Failure::refused(STAGE, Call::KeepFds, why));
    }
    if source.is_some() && own.contains(&source) {
        let why = Refusal::FdTwice;
        return Err(Failure::refused(STAGE, Call::Fd, why));
    }
    Ok(())
}

/// Gives the command /dev/null where its input was the policy.
fn null_input() -> Result<(), Failure> {
    let null = openat(CWD, c"/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(report::failed(STAGE, Call::Open))
        .map_err(|failure| failure.about(Subject::DevNull))?;
    sys::dup_onto(null, 0).map_err(report::failed(STAGE, Call::Dup3))
}

/// A panic is a bug; it ends the launch like any failure.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    let failure = Failure::refused(STAGE, Call::Panic, Refusal::Bug);
    report::failure(&failure, &Words::default());
    sys::exit_group(report::FAILED)
}
