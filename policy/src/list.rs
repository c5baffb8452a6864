//! A list that stays in the bytes it came in.
//!
//! Items are decoded as they are visited, so a list of any length costs the
//! reader no memory. Decoding walks every list that a launch uses once before
//! anything is applied; an item that does not decode is therefore met before the
//! first effect, never in the middle of a launch.

use core::fmt;
use core::marker::PhantomData;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Items of type `T`, back to back in postcard, behind one length prefix.
pub struct List<'a, T> {
    bytes: &'a [u8],
    item: PhantomData<fn() -> T>,
}

impl<'a, T> List<'a, T> {
    /// The list without items.
    pub const EMPTY: Self = Self::from_bytes(&[]);

    /// A list over items that are already encoded, back to back.
    pub const fn from_bytes(bytes: &'a [u8]) -> Self {
        Self { bytes, item: PhantomData }
    }

    /// The encoded items.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether there is no item.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl<'a, T: Deserialize<'a>> List<'a, T> {
    /// Visits the items in order. Ends early at bytes that do not decode,
    /// which [`List::check`] has ruled out for every decoded policy.
    pub fn iter(&self) -> Iter<'a, T> {
        Iter { rest: self.bytes, item: PhantomData }
    }

    /// The number of items, found by visiting them.
    pub fn count(&self) -> usize {
        self.iter().count()
    }

    /// Decodes every item and hands it to `each`; the first error ends it.
    ///
    /// # Errors
    ///
    /// What postcard says of an item that does not decode, or what `each` says.
    pub fn check<E: From<postcard::Error>>(
        &self,
        mut each: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut items = self.iter();
        for item in items.by_ref() {
            each(item)?;
        }
        if items.rest.is_empty() {
            return Ok(());
        }
        Err(postcard::Error::DeserializeBadEncoding.into())
    }
}

impl<T> Clone for List<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for List<'_, T> {}

impl<T> PartialEq for List<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl<T> Eq for List<'_, T> {}

impl<T> Default for List<'_, T> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<'a, T: Deserialize<'a> + fmt::Debug> fmt::Debug for List<'a, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

impl<T> Serialize for List<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.bytes)
    }
}

impl<'de: 'a, 'a, T> Deserialize<'de> for List<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'a [u8]>::deserialize(deserializer).map(Self::from_bytes)
    }
}

/// The iterator of [`List::iter`].
pub struct Iter<'a, T> {
    rest: &'a [u8],
    item: PhantomData<fn() -> T>,
}

impl<'a, T: Deserialize<'a>> Iterator for Iter<'a, T> {
    type Item = T;

    // One copy per type, or every loop over a list would hold a decoder.
    #[inline(never)]
    fn next(&mut self) -> Option<T> {
        if self.rest.is_empty() {
            return None;
        }
        let mut bytes = postcard::Deserializer::from_bytes(self.rest);
        let item = T::deserialize(&mut bytes).ok()?;
        let rest = bytes.finalize().ok()?;
        // An item of no bytes would be met for ever.
        if rest.len() == self.rest.len() {
            return None;
        }
        self.rest = rest;
        Some(item)
    }
}
