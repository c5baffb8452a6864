//! Calls that a policy function is told of, and does not decide about: memory that is
//! mapped, and processes and threads that are started.

use std::fs;

use rustix::io::{Errno, Result};

use crate::running::{Effect, Outcome, Running};
use crate::target::{Target, directory, errno};
use crate::{Category, Notification, SyscallEvent, calls};

/// Where the heap begins in proc_pid_stat(5), counted from behind the name.
const HEAP: usize = 44;

impl Running {
    /// Tells of a call that the kernel makes, whatever is said about it; ENOSYS where
    /// it is none of these.
    pub(crate) fn notify(&mut self, asked: &Notification, target: &Target, name: &str) -> Outcome {
        let name = calls::known(name).ok_or(Errno::NOSYS)?;
        let (size, flags) = match (name, asked.arguments) {
            // Registers hold 64 bits, of which the kernel takes as many.
            ("mmap", [_, length, _, flags, ..]) => (Some(length), flags as u32),
            ("mremap", [_, _, length, flags, ..]) => (Some(length), flags as u32),
            ("brk", [end, ..]) => (Some(end.saturating_sub(heap(target)?)), 0),
            ("clone", [flags, ..]) => (None, flags as u32),
            ("clone3", [arguments, ..]) => (None, target.words::<1>(arguments)?[0] as u32),
            ("fork" | "vfork", _) => (None, 0),
            _ => return Err(Errno::NOSYS),
        };
        if size.is_some_and(|size| size < self.memory_above) {
            return Ok(Effect::Continue);
        }
        let category = if size.is_some() { Category::Memory } else { Category::Process };
        let event = SyscallEvent::new(name, category, target);
        self.observe(asked, SyscallEvent { size, flags, ..event })?;
        Ok(Effect::Continue)
    }
}

/// Where the heap of a process begins.
fn heap(target: &Target) -> Result<u64> {
    let stat = fs::read(directory(target.tid).join("stat")).map_err(errno)?;
    let stat = String::from_utf8_lossy(&stat);
    // The name may have anything in it.
    let (_, rest) = stat.rsplit_once(')').ok_or(Errno::PROTO)?;
    let word = rest.split_ascii_whitespace().nth(HEAP).ok_or(Errno::PROTO)?;
    word.parse().map_err(|_| Errno::PROTO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heap_begins_before_it_ends() {
        let own = Target::of(rustix::thread::gettid()).expect("it is this thread");
        let maps = fs::read_to_string("/proc/self/maps").expect("it is read");
        let heap = heap(&own).expect("it is read");
        let line = maps.lines().find(|line| line.ends_with("[heap]"));
        let first = line.and_then(|line| line.split_once('-')).map(|(first, _)| first);
        // Who has never used it has none.
        if let Some(first) = first {
            assert_eq!(u64::from_str_radix(first, 16), Ok(heap));
        }
    }
}
