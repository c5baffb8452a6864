//! What `verify` runs inside the sandbox: it does one thing after the other
//! and says what the kernel answers.
//!
//! It is harmless on a person's own files: nothing is emptied or written to,
//! no device, pipe or socket is opened, and only a file that it has made itself
//! is renamed, linked and removed.

use std::ffi::{CString, OsStr};
use std::io::{self, BufRead, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno as NixErrno;
use rustix::fs::{CWD, FileType, Mode, OFlags, linkat, open, renameat, stat, unlink};
use rustix::io::Errno;

use crate::cli::{Done, WRONG};

/// Whether a program could be run, without running it: execveat(2), Linux 6.14.
const AT_EXECVE_CHECK: i32 = 0x10000;

/// What came of a question.
enum Said {
    Done,
    Refused(Errno),
    Skipped(&'static str),
}

/// Answers the questions on standard input, each of which is three strings that
/// end in a NUL: an operation, a path and the other path.
pub(crate) fn main() -> Done {
    serve().map_err(|_| WRONG)
}

fn serve() -> io::Result<()> {
    let mut input = io::stdin().lock();
    writeln!(io::stdout(), "ready")?;
    loop {
        let Some(operation) = word(&mut input)? else { return Ok(()) };
        let path = word(&mut input)?.unwrap_or_default();
        let to = word(&mut input)?.unwrap_or_default();
        let paths = [&path, &to].map(|path| Path::new(OsStr::from_bytes(path)));
        match answer(&operation, paths) {
            Ok(said) => writeln!(io::stdout(), "{}", line(&said))?,
            Err(errno) => writeln!(io::stdout(), "{}", line(&Said::Refused(errno)))?,
        }
    }
}

/// The bytes before the next NUL; `None` at the end.
fn word(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    input.read_until(0, &mut bytes)?;
    Ok(bytes.pop_if(|last| *last == 0).map(|_| bytes))
}

fn line(said: &Said) -> String {
    match said {
        Said::Done => "ok".into(),
        Said::Refused(errno) => format!("errno {}", errno.raw_os_error()),
        Said::Skipped(why) => format!("skip {why}"),
    }
}

fn answer(operation: &[u8], [path, to]: [&Path; 2]) -> Result<Said, Errno> {
    let flags = OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = |flags, mode| open(path, flags, mode).map(|_| Said::Done);
    match operation {
        b"list" => opened(flags | OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()),
        b"read" | b"write" => match kind(path)? {
            FileType::RegularFile | FileType::Directory if operation == b"read" => {
                opened(flags | OFlags::RDONLY, Mode::empty())
            }
            FileType::RegularFile | FileType::Directory => {
                opened(flags | OFlags::WRONLY, Mode::empty())
            }
            _ => Ok(Said::Skipped("a device, a pipe or a socket is not opened")),
        },
        b"execute" => match kind(path)? {
            FileType::RegularFile => execute(path),
            _ => Ok(Said::Skipped("not a regular file")),
        },
        b"create" => {
            opened(flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, Mode::from(0o600))
        }
        b"rename" => {
            renameat(CWD, path, CWD, to)?;
            renameat(CWD, to, CWD, path).map(|()| Said::Done)
        }
        b"link" => {
            linkat(CWD, path, CWD, to, rustix::fs::AtFlags::empty())?;
            unlink(to).map(|()| Said::Done)
        }
        b"remove" => unlink(path).map(|()| Said::Done),
        _ => Err(Errno::NOSYS),
    }
}

fn kind(path: &Path) -> Result<FileType, Errno> {
    stat(path).map(|stat| FileType::from_raw_mode(stat.st_mode))
}

fn execute(path: &Path) -> Result<Said, Errno> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
    let flags = nix::fcntl::AtFlags::from_bits_retain(AT_EXECVE_CHECK);
    NixErrno::clear();
    // It returns after a success as well, when only asked.
    let Err(error) = nix::unistd::execveat(CWD, &path, &[&path], &[] as &[CString], flags);
    match error as i32 {
        0 => Ok(Said::Done),
        code if code == NixErrno::EINVAL as i32 => {
            Ok(Said::Skipped("whether a program runs can be asked since Linux 6.14"))
        }
        code => Err(Errno::from_raw_os_error(code)),
    }
}
