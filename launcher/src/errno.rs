//! Error numbers in words: those that the calls of a launch can answer.

use launcher_policy::words::{first, line};
use linux_raw_sys::errno as uapi;

/// Defines the numbers, and beside them a line each. A table of pointers to
/// the words would be longer than they are.
macro_rules! errors {
    ($($name:ident $meaning:literal)*) => {
        const NUMBERS: &[u8] = &[$(uapi::$name as u8),*];
        const LINES: &str = concat!($(stringify!($name), " (", $meaning, ")\n"),*);
    };
}

// Name and meaning, as errno(3) and strerror(3) have them.
errors! {
    EPERM "operation not permitted"
    ENOENT "no such file or directory"
    ESRCH "no such process"
    EINTR "interrupted system call"
    EIO "input/output error"
    ENXIO "no such device or address"
    E2BIG "list too long"
    ENOEXEC "exec format error"
    EBADF "bad file descriptor"
    ECHILD "no child processes"
    EAGAIN "resource temporarily unavailable"
    ENOMEM "out of memory"
    EACCES "permission denied"
    EFAULT "bad address"
    EBUSY "device or resource busy"
    EEXIST "file exists"
    EXDEV "cross-device link"
    ENODEV "no such device"
    ENOTDIR "not a directory"
    EISDIR "is a directory"
    EINVAL "invalid argument"
    ENFILE "too many open files in the system"
    EMFILE "too many open files"
    ENOTTY "not a terminal"
    ETXTBSY "text file busy"
    EFBIG "file too large"
    ENOSPC "no space left"
    ESPIPE "illegal seek"
    EROFS "read-only file system"
    EPIPE "broken pipe"
    ERANGE "result too large"
    ENAMETOOLONG "file name too long"
    ENOSYS "not implemented by this kernel"
    ELOOP "symbolic link where none may be"
    EOVERFLOW "value too large"
    EBADFD "descriptor in bad state"
    ELIBBAD "bad shared library"
    EUSERS "too many users"
    EBADMSG "not a message"
    EOPNOTSUPP "not supported or switched off"
    EAFNOSUPPORT "address family not supported"
    EPROTONOSUPPORT "protocol not supported"
    ETIMEDOUT "timed out"
    ESTALE "stale file handle"
    EDQUOT "quota exceeded"
    ECANCELED "canceled"
}

/// Name and meaning of an error number, as in `ENOENT (no such file or
/// directory)`, if it is among those known here.
pub(crate) fn words(error: u16) -> Option<&'static str> {
    let place = NUMBERS.iter().position(|&number| u16::from(number) == error)?;
    Some(line(LINES, place as u8))
}

/// Its name alone.
pub(crate) fn name(error: u16) -> Option<&'static str> {
    words(error).map(first)
}
