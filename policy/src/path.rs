//! Paths and other strings, NUL-terminated in the bytes.
//!
//! The terminator is part of the encoding, so that the kernel can be handed
//! the policy's own bytes and nothing is copied.

use core::ffi::CStr;
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest path, terminator included: `PATH_MAX` of limits.h.
pub const MAX_PATH: usize = 4096;

/// A string that ends in its only NUL.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<'a>(&'a CStr);

impl<'a> Text<'a> {
    /// Wraps a C string.
    pub const fn new(text: &'a CStr) -> Self {
        Self(text)
    }

    /// The string as the kernel takes it.
    pub const fn as_c_str(self) -> &'a CStr {
        self.0
    }

    /// The bytes before the NUL.
    pub const fn to_bytes(self) -> &'a [u8] {
        self.0.to_bytes()
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0.to_bytes_with_nul())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <&'a [u8]>::deserialize(deserializer)?;
        match CStr::from_bytes_until_nul(bytes) {
            Ok(text) if text.to_bytes_with_nul().len() == bytes.len() => Ok(Self(text)),
            _ => Err(de::Error::custom("a string that does not end in its only NUL")),
        }
    }
}

/// An absolute path without `.`, `..`, empty components or a trailing slash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Path<'a>(#[serde(borrow)] Text<'a>);

impl<'a> Path<'a> {
    /// The root directory.
    pub const ROOT: Path<'static> = Path(Text::new(c"/"));

    /// Wraps a path that is absolute and normal, else `None`.
    pub fn new(path: &'a CStr) -> Option<Self> {
        let path = Self(Text::new(path));
        path.is_normal().then_some(path)
    }

    /// The path as the kernel takes it.
    pub const fn as_c_str(self) -> &'a CStr {
        self.0.as_c_str()
    }

    /// The bytes before the NUL.
    pub const fn to_bytes(self) -> &'a [u8] {
        self.0.to_bytes()
    }

    /// The same path relative to the root directory; `.` for the root itself.
    pub fn relative(self) -> &'a CStr {
        let bytes = self.as_c_str().to_bytes_with_nul();
        match CStr::from_bytes_until_nul(bytes.get(1..).unwrap_or_default()) {
            Ok(relative) if !relative.is_empty() => relative,
            _ => c".",
        }
    }

    /// Whether the decoded bytes are a path as this type promises.
    pub fn is_normal(self) -> bool {
        let bytes = self.to_bytes();
        if bytes == b"/" {
            return true;
        }
        bytes.len() < MAX_PATH
            && bytes.first() == Some(&b'/')
            && bytes
                .get(1..)
                .unwrap_or_default()
                .split(|&byte| byte == b'/')
                .all(|name| !matches!(name, b"" | b"." | b".."))
    }
}

impl fmt::Debug for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_normal_paths_are_paths() {
        for good in [c"/", c"/usr", c"/a/..b/.c"] {
            assert!(Path::new(good).is_some(), "{good:?}");
        }
        for bad in [c"", c"usr", c"/usr/", c"//", c"/a//b", c"/a/../b", c"/..", c"/a/."] {
            assert!(Path::new(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn the_root_is_the_dot_of_its_own_directory() {
        assert_eq!(Path::ROOT.relative(), c".");
        assert_eq!(Path::new(c"/usr/lib").map(Path::relative), Some(c"usr/lib"));
    }
}
