//! Where the bytes go.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Whether standard output is a terminal, which bytes only confuse.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Writes the bytes to standard output.
pub(crate) fn print(bytes: &[u8]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(bytes)?;
    output.flush()
}

/// Writes to standard error.
pub(crate) fn complain(bytes: &[u8]) -> io::Result<()> {
    io::stderr().lock().write_all(bytes)
}

/// Whether a file could be put here, as far as its directory says.
pub(crate) fn can_be_put(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    Ok(rustix::fs::access(directory, rustix::fs::Access::WRITE_OK)?)
}

/// Puts the bytes into a file, so that a reader sees the old file or the new
/// one and never a part. A pipe or a device is written to and stays.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = match path.metadata() {
        // What a symlink points to is replaced, not the symlink.
        Ok(metadata) if metadata.is_file() => path.canonicalize()?,
        Ok(_) => return write_to(path, bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    let (temporary, mut file) = create_beside(&path)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, &path));
    if written.is_err() {
        // The error that is reported is the first one.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_to(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    if file.is_terminal() {
        return Err(io::Error::other("the encoded policy is not for a terminal"));
    }
    file.write_all(bytes)
}

/// A new file in the same directory, where a rename is possible.
fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    for attempt in 0..100 {
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}-{attempt}.tmp", std::process::id()));
        let temporary = path.with_file_name(temporary);
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}
