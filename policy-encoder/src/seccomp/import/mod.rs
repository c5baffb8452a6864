//! `seccomp.import`: a filter that was written for others, in the place of
//! the profile.
//!
//! It decides where a profile would: after `seccomp.deny`, what the other
//! tables guarantee and `seccomp.allow`. What this project closes for reasons
//! of its own - another architecture, x32, numbers without a name, clone3,
//! io_uring, terminal input, what a missing namespace would have kept - stays
//! closed, so an import is never more open than what was imported.

mod cbpf;
mod oci;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use launcher_policy::seccomp::Instruction;
use launcher_policy::wire::Architecture;

use super::rules::{Action, Call};
use crate::diagnostic::Diagnostics;
use crate::{Place, Spanned, mounts};

pub use oci::Profile;

/// The longest file that is read, in bytes: far past any profile.
const MAX_FILE: u64 = 1 << 20;

/// What was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// Rules by name.
    Profile(Profile),
    /// A filter, which decides about all that the rules before it let through.
    Filter(Vec<Instruction>),
}

impl Imported {
    /// Reads the file that the document names, for an architecture. `None` if
    /// a diagnostic says what is wrong.
    pub(crate) fn read(
        path: &Spanned<String>,
        place: &Place,
        architecture: Architecture,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let read = locate(path.get_ref(), place).and_then(|file| {
            let bytes = content(&file).map_err(|error| cannot_read(&file, &error))?;
            Self::parse(&bytes, architecture)
                .map_err(|reason| format!("{} cannot be imported: {reason}", file.display()))
        });
        match read {
            Ok(imported) => Some(imported),
            Err(reason) => {
                diagnostics.error(path.span(), reason);
                None
            }
        }
    }

    /// Reads JSON, which begins with a brace, or else a filter's instructions.
    ///
    /// # Errors
    ///
    /// What cannot be carried over.
    pub fn parse(bytes: &[u8], architecture: Architecture) -> Result<Self, String> {
        match bytes.trim_ascii_start().first() {
            Some(b'{') => Profile::parse(bytes, architecture).map(Self::Profile),
            _ => cbpf::parse(bytes).map(Self::Filter),
        }
    }

    /// What was imported decides about a system call, for all it knows;
    /// `opened` says whether a group that is allowed has the call.
    pub(super) fn call(&self, name: &str, opened: bool) -> Call {
        match self {
            Self::Profile(_) if opened => Call::always(Action::Allow),
            Self::Profile(profile) => profile.call(name),
            Self::Filter(_) => Call::always(Action::Allow),
        }
    }

    /// Flags of `SECCOMP_SET_MODE_FILTER` that were asked for.
    pub(super) const fn flags(&self) -> u32 {
        match self {
            Self::Profile(profile) => profile.flags,
            Self::Filter(_) => 0,
        }
    }
}

/// Where a file is: on this host, since that is where it was written, even if
/// the policy is made for an image.
fn locate(path: &str, place: &Place) -> Result<PathBuf, String> {
    let path = mounts::expand(path, place)?;
    match place.sysroot == Path::new("/") {
        true => Ok(place.directory.join(path)),
        false => Ok(path),
    }
}

fn content(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_FILE {
        true => Err(io::Error::other(format!("it is longer than {MAX_FILE} bytes"))),
        false => Ok(bytes),
    }
}

fn cannot_read(file: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("there is no file {}", file.display()),
        _ => format!("cannot read {}: {error}", file.display()),
    }
}

/// Orders actions as the kernel does: less lets less through.
const fn severity(action: Action) -> u8 {
    match action {
        Action::KillProcess => 0,
        Action::Trap => 1,
        Action::Errno(_) => 2,
        Action::Notify => 3,
        Action::Log => 4,
        Action::Allow => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_first_character() {
        let json = b" \n{ \"defaultAction\": \"SCMP_ACT_ALLOW\" }";
        assert!(matches!(Imported::parse(json, Architecture::X86_64), Ok(Imported::Profile(_))));
        let ret = [6, 0, 0, 0, 0, 0, 0xff, 0x7f];
        assert!(matches!(Imported::parse(&ret, Architecture::X86_64), Ok(Imported::Filter(_))));
        assert!(Imported::parse(b"", Architecture::X86_64).is_err());
    }
}
