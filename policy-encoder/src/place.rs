//! Where a policy is made for: the tree whose paths are judged, the directory
//! that relative paths start from, the variables that are expanded.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// The surroundings that a document is resolved in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The tree that paths are judged in; `/` unless the policy is made for
    /// an image.
    pub sysroot: PathBuf,
    /// The directory that relative paths start from, absolute inside
    /// `sysroot`.
    pub directory: PathBuf,
    /// The variables that `$NAME` and `~` stand for.
    pub variables: BTreeMap<String, OsString>,
}

impl Place {
    /// This host, this process's working directory and environment.
    ///
    /// # Errors
    ///
    /// When the working directory cannot be found, see getcwd(3).
    pub fn here() -> io::Result<Self> {
        Ok(Self {
            sysroot: PathBuf::from("/"),
            directory: std::env::current_dir()?,
            variables: variables(),
        })
    }

    /// This host, with another directory that relative paths start from.
    ///
    /// # Errors
    ///
    /// When `directory` does not exist or is none.
    pub fn in_directory(directory: &Path) -> io::Result<Self> {
        Ok(Self {
            sysroot: PathBuf::from("/"),
            directory: existing_directory(directory)?,
            variables: variables(),
        })
    }

    /// The tree of an image; relative paths start from `directory` in it.
    ///
    /// # Errors
    ///
    /// When `sysroot` does not exist, or `directory` is not an absolute path.
    pub fn in_sysroot(sysroot: &Path, directory: &Path) -> io::Result<Self> {
        if !directory.is_absolute() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a directory of a sysroot is an absolute path inside it",
            ));
        }
        Ok(Self {
            sysroot: existing_directory(sysroot)?,
            directory: directory.to_owned(),
            variables: variables(),
        })
    }
}

/// The real path of a directory.
fn existing_directory(path: &Path) -> io::Result<PathBuf> {
    let path = path.canonicalize()?;
    match path.is_dir() {
        true => Ok(path),
        false => Err(io::ErrorKind::NotADirectory.into()),
    }
}

/// The variables of this process; a name that is not UTF-8 cannot be written
/// in a document.
fn variables() -> BTreeMap<String, OsString> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_existing_directory() {
        let place = Place::in_directory(Path::new("/usr/../usr")).expect("/usr exists");
        assert_eq!(place.directory, Path::new("/usr"));
        assert!(Place::in_directory(Path::new("/nonexistent")).is_err());
        assert!(Place::in_directory(Path::new("/dev/null")).is_err());
    }

    #[test]
    fn a_directory_of_a_sysroot_is_absolute() {
        assert!(Place::in_sysroot(Path::new("/usr"), Path::new("/")).is_ok());
        assert!(Place::in_sysroot(Path::new("/usr"), Path::new("lib")).is_err());
    }
}
