//! Memory of a command that an answer is written to.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

use rustix::io::{Errno, Result};

use crate::target::{Target, directory, errno};

/// The memory of the program that a thread runs. It stays that, whatever becomes of
/// the thread and of its number.
#[derive(Debug)]
pub(crate) struct Memory {
    bytes: File,
    maps: File,
}

impl Memory {
    /// That of a thread; that its call still waits has to be checked afterwards.
    pub(crate) fn of(target: &Target) -> Result<Self> {
        let directory = directory(target.tid);
        let bytes = File::options().write(true).open(directory.join("mem")).map_err(errno)?;
        let maps = File::open(directory.join("maps")).map_err(errno)?;
        Ok(Self { bytes, maps })
    }

    /// Writes where the program itself can. The file would take what is written
    /// anywhere: code, say.
    pub(crate) fn write(&self, bytes: &[u8], address: u64) -> Result<()> {
        let mut maps = Vec::new();
        (&self.maps).read_to_end(&mut maps).map_err(|_| Errno::FAULT)?;
        let end = address.checked_add(bytes.len() as u64).ok_or(Errno::FAULT)?;
        if !is_writable(&maps, address, end) {
            return Err(Errno::FAULT);
        }
        self.bytes.write_all_at(bytes, address).map_err(|_| Errno::FAULT)
    }
}

/// Whether all of a range can be written, by proc_pid_maps(5).
fn is_writable(maps: &[u8], mut from: u64, end: u64) -> bool {
    for line in maps.split(|&byte| byte == b'\n') {
        if from >= end {
            break;
        }
        let Some((first, last, writes)) = parse(line) else { continue };
        if first <= from && from < last {
            if !writes {
                return false;
            }
            from = last;
        }
    }
    from >= end
}

/// From where, up to where, and whether it can be written.
fn parse(line: &[u8]) -> Option<(u64, u64, bool)> {
    let mut words = line.splitn(3, |&byte| byte == b' ');
    let (range, rights) = (str::from_utf8(words.next()?).ok()?, words.next()?);
    let (first, last) = range.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some((number(first)?, number(last)?, rights.get(1) == Some(&b'w')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_written_where_the_program_can_write() {
        let own = || {
            let target = Target::of(rustix::thread::gettid()).expect("it is this thread");
            Memory::of(&target).expect("it opens")
        };
        let place = [std::sync::atomic::AtomicU8::new(1), std::sync::atomic::AtomicU8::new(2)];
        let address = place.as_ptr().addr() as u64;
        own().write(&[7, 8], address).expect("it is written");
        assert_eq!(place.map(std::sync::atomic::AtomicU8::into_inner), [7, 8]);
        let constant = b"constant".as_ptr().addr() as u64;
        assert_eq!(own().write(&[0], constant), Err(Errno::FAULT));
        assert_eq!(own().write(&[0], 1), Err(Errno::FAULT));
        assert_eq!(own().write(&[0, 0], u64::MAX), Err(Errno::FAULT));
    }

    #[test]
    fn a_range_may_lie_in_two_mappings_and_in_no_gap() {
        let maps =
            b"1000-2000 rw-p 0 00:00 0\n2000-3000 rw-p 0 00:00 0 a\n4000-5000 r-xp 0 00:00 0\n";
        let is_writable = |from, end| is_writable(maps, from, end);
        assert!(is_writable(0x1ff0, 0x2010) && is_writable(0x2ff0, 0x3000));
        assert!(!is_writable(0x2ff0, 0x3001) && !is_writable(0x4000, 0x4001));
    }
}
