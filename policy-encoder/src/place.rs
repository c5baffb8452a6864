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
    /// The variables that `$NAME` and `~` stand for, see [`Place::variable`].
    pub variables: BTreeMap<String, OsString>,
}

/// Variables of the XDG base directory specification, and what they are below
/// `HOME` where they are not set.
const XDG: [(&str, &str); 4] = [
    ("XDG_CONFIG_HOME", ".config"),
    ("XDG_CACHE_HOME", ".cache"),
    ("XDG_DATA_HOME", ".local/share"),
    ("XDG_STATE_HOME", ".local/state"),
];

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

    /// What a variable stands for in a document: `CWD` is the place's
    /// directory, whatever the environment says; `TMPDIR`, `USER` and the
    /// directories of XDG have their customary values where they are not set.
    pub fn variable(&self, name: &str) -> Option<OsString> {
        if name == "CWD" {
            return Some(self.directory.clone().into());
        }
        let set = self.variables.get(name).cloned();
        let below_home = |path: &str| Some(self.home()?.join(path).into());
        let customary = || match name {
            "TMPDIR" => Some("/tmp".into()),
            "USER" => self.variables.get("LOGNAME").cloned(),
            _ => XDG.iter().find(|(xdg, _)| *xdg == name).and_then(|(_, path)| below_home(path)),
        };
        // Empty is as good as not set to those who define these.
        set.clone().filter(|value| !value.is_empty()).or_else(customary).or(set)
    }

    /// The home directory, if there is one that is not the root directory.
    pub fn home(&self) -> Option<PathBuf> {
        let home: PathBuf = Path::new(self.variables.get("HOME")?).components().collect();
        (home.is_absolute() && home != Path::new("/")).then_some(home)
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
    fn variables_have_their_customary_values() {
        let place = |variables: &[(&str, &str)]| Place {
            sysroot: "/".into(),
            directory: "/work".into(),
            variables: variables
                .iter()
                .map(|(name, value)| ((*name).into(), value.into()))
                .collect(),
        };
        let here = place(&[("HOME", "/home/u"), ("LOGNAME", "u"), ("CWD", "/x"), ("TMPDIR", "")]);
        for (name, value) in [
            ("CWD", "/work"),
            ("TMPDIR", "/tmp"),
            ("USER", "u"),
            ("XDG_CONFIG_HOME", "/home/u/.config"),
            ("XDG_CACHE_HOME", "/home/u/.cache"),
            ("XDG_DATA_HOME", "/home/u/.local/share"),
            ("XDG_STATE_HOME", "/home/u/.local/state"),
        ] {
            assert_eq!(here.variable(name), Some(value.into()), "{name}");
        }
        assert_eq!(here.variable("XDG_RUNTIME_DIR"), None);
        let set = place(&[("USER", "v"), ("LOGNAME", "u"), ("XDG_CACHE_HOME", "/c")]);
        assert_eq!(set.variable("USER"), Some("v".into()));
        assert_eq!(set.variable("XDG_CACHE_HOME"), Some("/c".into()));
        assert_eq!(set.variable("XDG_CONFIG_HOME"), None);
    }

    #[test]
    fn the_root_directory_is_nobodys_home() {
        for (home, expected) in
            [("/home/u/", Some("/home/u")), ("/", None), ("", None), ("x", None)]
        {
            let variables = [("HOME".to_owned(), home.into())].into();
            let place = Place { sysroot: "/".into(), directory: "/".into(), variables };
            assert_eq!(place.home(), expected.map(PathBuf::from), "{home}");
        }
    }

    #[test]
    fn a_directory_of_a_sysroot_is_absolute() {
        assert!(Place::in_sysroot(Path::new("/usr"), Path::new("/")).is_ok());
        assert!(Place::in_sysroot(Path::new("/usr"), Path::new("lib")).is_err());
    }
}
