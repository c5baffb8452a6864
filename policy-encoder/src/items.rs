//! Owned counterparts of the policy's borrowed values: strings that end in
//! NUL, and lists as bytes.

use std::ffi::CString;

use launcher_policy::List;
use serde::Serialize;

/// Items of a [`List`], encoded back to back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Items(Vec<u8>);

impl Items {
    /// Encodes the items.
    pub(crate) fn new<T: Serialize>(items: impl IntoIterator<Item = T>) -> Self {
        let bytes = items.into_iter().fold(Vec::new(), |bytes, item| {
            // Writing to memory does not fail, and no type of the policy
            // refuses to be written.
            postcard::to_extend(&item, bytes).expect("an item is encoded into memory")
        });
        Self(bytes)
    }

    /// The list as the policy borrows it.
    pub(crate) fn list<T>(&self) -> List<'_, T> {
        List::from_bytes(&self.0)
    }
}

/// The text as the kernel takes it, unless it holds a NUL.
pub(crate) fn c_string(text: impl Into<Vec<u8>>) -> Option<CString> {
    CString::new(text).ok()
}
