//! The child: from vfork to exec.
//!
//! Nothing here allocates or takes a lock once the child runs: the thread that
//! called stands still, and what other threads held at that moment stays held.

use std::ffi::CStr;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use crate::in_place::InPlace;
use crate::layer::{self, Added, Apply};
use launcher::sys::{self, CStrings, Clone, SignalSet, Stack};
use linux_raw_sys::general::{CLONE_CLEAR_SIGHAND, SIGPIPE};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::chdir;

/// What a child does before exec.
pub(crate) struct Start<'a> {
    /// What is executed.
    pub(crate) program: Program<'a>,
    pub(crate) argv: CStrings<'a>,
    pub(crate) envp: CStrings<'a>,
    /// The working directory, if it is another.
    pub(crate) directory: Option<&'a CStr>,
    /// Descriptors, all above 2, and the numbers that they get, none of which
    /// another of them has.
    pub(crate) moved: &'a [(RawFd, RawFd)],
    /// Descriptors that stay open as they are.
    pub(crate) kept: &'a [RawFd],
    /// What is put on before the program is executed.
    pub(crate) layers: &'a [Added],
    /// Why exec was not reached.
    pub(crate) failed: AtomicI32,
    /// Which of the layers failed, counted from 1.
    pub(crate) failed_layer: AtomicUsize,
}

/// What a child executes.
#[derive(Clone, Copy)]
pub(crate) enum Program<'a> {
    /// The launcher, which sees to the signals itself.
    Launcher(BorrowedFd<'a>),
    /// A program by its path.
    Path(&'a CStr),
    /// The command itself, when all stages are behind it.
    InPlace(&'a InPlace<'a>),
}

/// A process, and a descriptor that stays its own.
pub(crate) type Process = sys::Child;

/// Stacks that were used before.
static STACKS: Mutex<Vec<Box<Stack>>> = Mutex::new(Vec::new());

/// How many stacks are kept, of 128 KiB each, most of which are never touched.
const MAX_STACKS: usize = 64;

impl<'a> Start<'a> {
    /// A program without environment, in this program's surroundings.
    pub(crate) fn of(program: Program<'a>, argv: CStrings<'a>, kept: &'a [RawFd]) -> Self {
        Self {
            program,
            argv,
            // What ends the arguments ends an empty environment as well.
            envp: argv.skip(usize::MAX),
            directory: None,
            moved: &[],
            kept,
            layers: &[],
            failed: AtomicI32::new(0),
            failed_layer: AtomicUsize::new(0),
        }
    }

    /// The layer that failed, if one did.
    pub(crate) fn failed_layer(&self) -> Option<&Added> {
        self.layers.get(self.failed_layer.load(Ordering::Relaxed).checked_sub(1)?)
    }

    /// Starts the child.
    ///
    /// # Errors
    ///
    /// What kept it from being made, or from exec.
    pub(crate) fn run(&self) -> Result<Process, Errno> {
        let flags = match self.program {
            Program::Launcher(_) => 0,
            // Before it lets signals in.
            Program::Path(_) | Program::InPlace(_) => CLONE_CLEAR_SIGHAND,
        };
        let child = child(flags, main, self)?;
        match self.failed.load(Ordering::Relaxed) {
            0 => Ok(child),
            error => {
                crate::child::reap(&child);
                Err(Errno::from_raw_os_error(error))
            }
        }
    }
}

/// Starts a child that stands in the place of this thread until it has called
/// exec or ended.
fn child<T: Sync>(
    flags: u64,
    main: extern "C" fn(&T) -> !,
    argument: &T,
) -> Result<Process, Errno> {
    let kept = STACKS.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
    let stack = kept.unwrap_or_else(|| Box::new(Stack::new()));
    // The child must not run the handlers of this program in its memory.
    let blocked = sys::block_signals()?;
    let child = sys::vfork(&Clone { flags, cgroup: None }, &stack, main, argument);
    let restored = sys::set_signal_mask(blocked);
    let mut stacks = STACKS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if stacks.len() < MAX_STACKS {
        stacks.push(stack);
    }
    drop(stacks);
    let child = child?;
    restored?;
    Ok(child)
}

/// Has a child put on a layer, and end.
///
/// # Errors
///
/// What the layer said.
pub(crate) fn try_layer(layer: &dyn Apply) -> io::Result<()> {
    let trial = Trial { layer, failed: AtomicI32::new(0) };
    crate::child::reap(&child(CLONE_CLEAR_SIGHAND, Trial::run, &trial)?);
    match trial.failed.into_inner() {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// A layer that is tried.
struct Trial<'a> {
    layer: &'a dyn Apply,
    failed: AtomicI32,
}

impl Trial<'_> {
    extern "C" fn run(&self) -> ! {
        if let Err(error) = self.layer.apply() {
            self.failed.store(layer::number(&error), Ordering::Relaxed);
        }
        sys::exit_group(0)
    }
}

/// The child, from its first instruction on.
extern "C" fn main(start: &Start<'_>) -> ! {
    let error = match prepare(start) {
        Ok(()) => match start.program {
            Program::Launcher(program) => sys::execveat(program, start.argv, start.envp),
            Program::Path(path) => sys::execve(path, start.argv, start.envp),
            Program::InPlace(in_place) => in_place.enter(start.argv, start.envp),
        },
        Err(error) => error,
    };
    start.failed.store(error.raw_os_error(), Ordering::Relaxed);
    sys::exit_group(launcher::report::FAILED)
}

fn prepare(start: &Start<'_>) -> Result<(), Errno> {
    for &(from, to) in start.moved {
        sys::dup_onto(sys::inherited(from), to)?;
    }
    for &fd in start.kept {
        fcntl_setfd(sys::inherited(fd), FdFlags::empty())?;
    }
    if let Some(directory) = start.directory {
        chdir(directory)?;
    }
    for (number, added) in (1..).zip(start.layers) {
        start.failed_layer.store(number, Ordering::Relaxed);
        added.apply.apply().map_err(|error| Errno::from_raw_os_error(layer::number(&error)))?;
    }
    start.failed_layer.store(0, Ordering::Relaxed);
    match start.program {
        Program::Launcher(_) | Program::InPlace(_) => Ok(()),
        Program::Path(_) => {
            // As std::process has it, which ignores this one itself.
            sys::set_default_action(SIGPIPE)?;
            sys::set_signal_mask(SignalSet::EMPTY)
        }
    }
}
