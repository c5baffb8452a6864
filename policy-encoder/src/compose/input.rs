//! A text that is yet to be read as a document, and where it comes from.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::presets::Preset;

/// The longest text that is read, in bytes: far past any policy that fits
/// the frame, and an end for a file that has none.
const MAX_TEXT: usize = 16 << 20;

/// The text of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// What it is called in complaints.
    pub name: String,
    /// The text.
    pub text: String,
    /// The language that it is written in.
    pub(super) format: Format,
    /// The directory that the files it extends are looked for in; the current
    /// one if empty.
    pub(super) directory: PathBuf,
    /// What is not read within itself.
    pub(super) identity: Identity,
}

/// The language of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Toml,
    Json,
}

/// What makes two texts the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Identity {
    /// A preset, by its name.
    Preset(&'static str),
    /// A file, by its real path.
    File(PathBuf),
    /// A text that no other can extend.
    None,
}

impl Input {
    /// A text without a file: JSON if it begins with the brace of an object,
    /// which no document of TOML does, else TOML. Files that it extends are
    /// looked for in the current directory.
    pub fn of_text(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let format = if text.trim_start().starts_with('{') { Format::Json } else { Format::Toml };
        let (name, directory, identity) = (name.into(), PathBuf::new(), Identity::None);
        Self { name, text, format, directory, identity }
    }

    /// The text of a preset.
    pub fn of_preset(preset: &'static Preset) -> Self {
        let identity = Identity::Preset(preset.name);
        Self { identity, ..Self::of_text(format!("preset {}", preset.name), preset.text) }
    }

    /// The text of a file: TOML or JSON by its ending, else by how it begins.
    /// Files that it extends are looked for in its directory.
    ///
    /// # Errors
    ///
    /// Why it cannot be read, in a sentence that names the file.
    pub fn of_file(path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| cannot_read(&name, &error))?;
        let input = Self::of_reader(&name, file)?;
        let format = match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => Format::Json,
            Some("toml") => Format::Toml,
            _ => input.format,
        };
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        let identity = Identity::of_file(path);
        Ok(Self { format, directory, identity, ..input })
    }

    /// The text that a reader gives, as with [`Input::of_text`].
    ///
    /// # Errors
    ///
    /// Why it cannot be read, in a sentence that names it.
    pub fn of_reader(name: &str, reader: impl Read) -> Result<Self, String> {
        let mut bytes = Vec::new();
        reader
            .take(MAX_TEXT as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| cannot_read(name, &error))?;
        if bytes.len() > MAX_TEXT {
            return Err(format!("{name} is longer than any policy ({} MiB)", MAX_TEXT >> 20));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let good = error.utf8_error().valid_up_to();
            let before = error.as_bytes().iter().take(good);
            let line = before.filter(|&&byte| byte == b'\n').count() + 1;
            format!("{name} is not text: line {line} is not UTF-8")
        })?;
        Ok(Self::of_text(name, text))
    }
}

impl Identity {
    /// A pipe, such as /dev/stdin, has no real path; it stays what it is.
    pub(super) fn of_file(path: &Path) -> Self {
        Self::File(path.canonicalize().unwrap_or_else(|_| path.to_owned()))
    }
}

fn cannot_read(name: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("there is no file {name}"),
        io::ErrorKind::IsADirectory => format!("{name} is a directory, not a policy"),
        _ => format!("cannot read {name}: {error}"),
    }
}
