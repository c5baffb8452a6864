//! A command that runs while somebody watches what it calls.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use launcher_supervisor::Answer;
use launcher_supervisor::Handover;
use launcher_supervisor::watch::{Call, watch};
use policy_encoder::seccomp::rules::Data;
use policy_encoder::seccomp::watched::Unwatchable;

use crate::run::Launcher;

/// Who watches, and remembers what there was to see.
pub(super) trait Watcher: Send + 'static {
    /// What becomes of a call.
    fn judge(&mut self, call: &Call<'_>) -> Answer;
}

/// Runs a command with all its arguments while it is watched; its exit status, and
/// what the watcher says at its end.
///
/// If the watcher ends before the command, calls fail: the kernel says ENOSYS
/// to each that it would have asked about.
pub(super) fn run<W: Watcher, T>(
    watcher: W,
    end: impl FnOnce(&mut W) -> T,
    mut launcher: Launcher,
) -> Result<(u8, T), String> {
    let cannot = |error: std::io::Error| format!("cannot watch the command: {error}");
    let (handover, theirs) = Handover::pair().map_err(cannot)?;
    launcher.notify(&theirs)?;
    drop(theirs);
    let shared = Arc::new(Mutex::new(watcher));
    let watching = thread::Builder::new().name("watcher".to_owned()).spawn({
        let shared = Arc::clone(&shared);
        move || {
            let Some(listener) = handover.receive()? else { return Ok(()) };
            watch(&listener, |call| locked(&shared).judge(call))
        }
    });
    let watching = watching.map_err(cannot)?;
    let status = launcher.wait()?;
    // What the command has left behind goes on, and is not waited for.
    if watching.is_finished() {
        watching.join().map_err(|_| "the watcher has failed".to_owned())?.map_err(cannot)?;
    }
    let said = end(&mut locked(&shared));
    Ok((status, said))
}

/// A call as a filter sees it.
pub(super) fn data(call: &Call<'_>) -> Data {
    Data {
        number: call.asked.call.cast_unsigned(),
        architecture: call.asked.architecture,
        instruction_pointer: call.asked.instruction_pointer,
        arguments: call.asked.arguments,
    }
}

/// A watcher that has failed still knows what it has seen.
fn locked<W>(shared: &Mutex<W>) -> MutexGuard<'_, W> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a policy cannot be watched, and what can be done about it.
pub(super) fn words(why: Unwatchable) -> String {
    match why {
        Unwatchable::Asks => "the policy asks a supervisor already (`action = \"notify\"`), and \
                              the kernel asks one at most; trace it with another action"
            .to_owned(),
        Unwatchable::Closes(name) => format!(
            "the policy closes {name}, by which the launcher says that there is something to \
             watch; trace it with `seccomp.allow = [\"{name}\"]`"
        ),
        Unwatchable::Long => "the filter is too long to be watched: it is there twice then, and \
                              the kernel takes 4096 instructions"
            .to_owned(),
        Unwatchable::Invalid(error) => {
            format!("the filter cannot be watched: {}", error.refusal().name())
        }
    }
}

#[cfg(test)]
mod tests {
    use launcher_supervisor::watch::WATCHED;
    use policy_encoder::seccomp::tables;

    #[test]
    fn every_call_that_is_watched_exists_and_is_there_once() {
        for (at, name) in WATCHED.iter().enumerate() {
            assert!(tables::exists(name), "{name}");
            assert!(!WATCHED[..at].contains(name), "{name}");
        }
    }
}
