//! C strings, as exec takes them.
#![allow(unsafe_code, reason = "an array of pointers that the launcher's library trusts")]

use std::ffi::{CStr, CString, OsStr, OsString, c_char};
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

/// Strings, as [`c_string`] makes each.
pub(crate) fn c_strings<'a>(
    strings: impl IntoIterator<Item = &'a OsStr>,
) -> Result<Vec<CString>, Errno> {
    strings.into_iter().map(c_string).collect()
}

/// Variables of an environment, as exec takes them.
pub(crate) fn variables(
    all: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<CString>, Errno> {
    let joined = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        c_string(&name)
    };
    all.into_iter().map(joined).collect()
}

/// `argv` or `envp`, of strings that live for `'a`.
pub(crate) struct Strings<'a> {
    /// The last of them is null.
    pointers: Vec<*const c_char>,
    strings: std::marker::PhantomData<&'a CStr>,
}

// SAFETY: it is a list of `&CStr`, which are shared and sent.
unsafe impl Send for Strings<'_> {}

// SAFETY: as above.
unsafe impl Sync for Strings<'_> {}

self_cell::self_cell! {
    /// The same of strings that it owns.
    pub(crate) struct OwnedStrings {
        owner: Vec<CString>,
        #[covariant]
        dependent: Strings,
    }
}

impl From<Vec<CString>> for OwnedStrings {
    fn from(strings: Vec<CString>) -> Self {
        Self::new(strings, |strings| Strings::new(strings.iter().map(CString::as_c_str)))
    }
}

impl OwnedStrings {
    /// As the launcher's library takes them.
    pub(crate) fn as_c(&self) -> CStrings<'_> {
        self.borrow_dependent().as_c()
    }
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
