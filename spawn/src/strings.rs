//! C strings, as exec takes them.
#![allow(unsafe_code, reason = "an array of pointers that the launcher's library trusts")]

use std::ffi::{CStr, CString, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::ptr;

use launcher::sys::CStrings;
use rustix::io::Errno;

/// A string without the null byte that ends it in C.
///
/// # Errors
///
/// `EINVAL` where it holds one, as std::process has it.
pub(crate) fn c_string(string: &OsStr) -> Result<CString, Errno> {
    CString::new(string.as_bytes()).map_err(|_| Errno::INVAL)
}

/// `argv` or `envp`, of strings that live for `'a`.
pub(crate) struct Strings<'a> {
    /// The last of them is null.
    pointers: Vec<*const c_char>,
    strings: std::marker::PhantomData<&'a CStr>,
}

impl<'a> Strings<'a> {
    pub(crate) fn new(strings: impl IntoIterator<Item = &'a CStr>) -> Self {
        let pointers = strings.into_iter().map(CStr::as_ptr);
        let pointers = pointers.chain([ptr::null()]).collect();
        Self { pointers, strings: std::marker::PhantomData }
    }

    /// As the launcher's library takes them.
    pub(crate) fn as_c(&self) -> CStrings<'_> {
        // SAFETY: the strings were borrowed for `'a`, which outlives `self`, and
        // the last pointer is null.
        unsafe { CStrings::new(self.pointers.as_ptr()) }
    }
}
