//! Error numbers in words: those that the calls of a launch can answer.

use linux_raw_sys::errno as uapi;

/// Name and meaning, as errno(3) and strerror(3) have them.
const WORDS: [(u32, &str, &str); 46] = [
    (uapi::EPERM, "EPERM", "operation not permitted"),
    (uapi::ENOENT, "ENOENT", "no such file or directory"),
    (uapi::ESRCH, "ESRCH", "no such process"),
    (uapi::EINTR, "EINTR", "interrupted system call"),
    (uapi::EIO, "EIO", "input/output error"),
    (uapi::ENXIO, "ENXIO", "no such device or address"),
    (uapi::E2BIG, "E2BIG", "list too long"),
    (uapi::ENOEXEC, "ENOEXEC", "exec format error"),
    (uapi::EBADF, "EBADF", "bad file descriptor"),
    (uapi::ECHILD, "ECHILD", "no child processes"),
    (uapi::EAGAIN, "EAGAIN", "resource temporarily unavailable"),
    (uapi::ENOMEM, "ENOMEM", "out of memory"),
    (uapi::EACCES, "EACCES", "permission denied"),
    (uapi::EFAULT, "EFAULT", "bad address"),
    (uapi::EBUSY, "EBUSY", "device or resource busy"),
    (uapi::EEXIST, "EEXIST", "file exists"),
    (uapi::EXDEV, "EXDEV", "cross-device link"),
    (uapi::ENODEV, "ENODEV", "no such device"),
    (uapi::ENOTDIR, "ENOTDIR", "not a directory"),
    (uapi::EISDIR, "EISDIR", "is a directory"),
    (uapi::EINVAL, "EINVAL", "invalid argument"),
    (uapi::ENFILE, "ENFILE", "too many open files in the system"),
    (uapi::EMFILE, "EMFILE", "too many open files"),
    (uapi::ENOTTY, "ENOTTY", "not a terminal"),
    (uapi::ETXTBSY, "ETXTBSY", "text file busy"),
    (uapi::EFBIG, "EFBIG", "file too large"),
    (uapi::ENOSPC, "ENOSPC", "no space left"),
    (uapi::ESPIPE, "ESPIPE", "illegal seek"),
    (uapi::EROFS, "EROFS", "read-only file system"),
    (uapi::EPIPE, "EPIPE", "broken pipe"),
    (uapi::ERANGE, "ERANGE", "result too large"),
    (uapi::ENAMETOOLONG, "ENAMETOOLONG", "file name too long"),
    (uapi::ENOSYS, "ENOSYS", "not implemented by this kernel"),
    (uapi::ELOOP, "ELOOP", "symbolic link where none may be"),
    (uapi::EOVERFLOW, "EOVERFLOW", "value too large"),
    (uapi::EBADFD, "EBADFD", "descriptor in bad state"),
    (uapi::ELIBBAD, "ELIBBAD", "bad shared library"),
    (uapi::EUSERS, "EUSERS", "too many users"),
    (uapi::EBADMSG, "EBADMSG", "not a message"),
    (uapi::EOPNOTSUPP, "EOPNOTSUPP", "not supported or switched off"),
    (uapi::EAFNOSUPPORT, "EAFNOSUPPORT", "address family not supported"),
    (uapi::EPROTONOSUPPORT, "EPROTONOSUPPORT", "protocol not supported"),
    (uapi::ETIMEDOUT, "ETIMEDOUT", "timed out"),
    (uapi::ESTALE, "ESTALE", "stale file handle"),
    (uapi::EDQUOT, "EDQUOT", "quota exceeded"),
    (uapi::ECANCELED, "ECANCELED", "canceled"),
];

/// Name and meaning of an error number, if it is among those known here.
pub(crate) fn words(error: i32) -> Option<(&'static str, &'static str)> {
    WORDS
        .iter()
        .find(|(number, ..)| i32::try_from(*number) == Ok(error))
        .map(|&(_, name, meaning)| (name, meaning))
}
