//! Where the text of a policy comes from.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use policy_encoder::diagnostic::{Diagnostic, Diagnostics};
use policy_encoder::document::Document;
use policy_encoder::presets::Preset;
use policy_encoder::seccomp::Optimize;
use policy_encoder::{Architecture, Encoded, Place, encode_for, parse, used_fds};

/// The longest text that is read, in bytes: far past any policy that fits
/// the frame, and an end for a file that has none.
const MAX_TEXT: usize = 16 << 20;

/// A place that a policy can be read from.
#[derive(Debug)]
pub(crate) enum Source {
    /// `-`
    StandardInput,
    /// A file.
    File(PathBuf),
    /// A built-in policy.
    Preset(&'static Preset),
}

/// The text of a policy, parsed.
#[derive(Debug)]
pub(crate) struct Text {
    /// What the text is called in complaints.
    pub(crate) name: String,
    /// The text.
    pub(crate) text: String,
    document: Document,
    diagnostics: Diagnostics,
}

impl Source {
    /// `-` is standard input; everything else is a file.
    pub(crate) fn of_argument(file: &Path) -> Self {
        match file.to_str() {
            Some("-") => Self::StandardInput,
            _ => Self::File(file.to_owned()),
        }
    }

    /// Reads and parses the policy, or says why it cannot be read at all.
    pub(crate) fn read(&self) -> Result<Text, String> {
        let name = self.name();
        let text = match self {
            Self::Preset(preset) => preset.text.to_owned(),
            Self::StandardInput => read_all(io::stdin(), &name)?,
            Self::File(path) => {
                let file = File::open(path).map_err(|error| cannot_read(&name, &error))?;
                read_all(file, &name)?
            }
        };
        let (document, diagnostics) =
            if self.is_json(&text) { parse::json(&text) } else { parse::toml(&text) };
        Ok(Text { name, text, document, diagnostics })
    }

    fn name(&self) -> String {
        match self {
            Self::StandardInput => "standard input".to_owned(),
            Self::File(path) => path.display().to_string(),
            Self::Preset(preset) => format!("preset {}", preset.name),
        }
    }

    /// By the file's name where it says so; else by the brace that begins an
    /// object of JSON and never a document of TOML.
    fn is_json(&self, text: &str) -> bool {
        let extension = match self {
            Self::File(path) => path.extension(),
            Self::StandardInput | Self::Preset(_) => None,
        };
        match extension.and_then(|extension| extension.to_str()) {
            Some("json") => true,
            Some("toml") => false,
            _ => text.trim_start().starts_with('{'),
        }
    }
}

fn read_all(from: impl Read, name: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    from.take(MAX_TEXT as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| cannot_read(name, &error))?;
    if bytes.len() > MAX_TEXT {
        return Err(format!("{name} is longer than any policy ({} MiB)", MAX_TEXT >> 20));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(good).filter(|&&byte| byte == b'\n').count() + 1;
        format!("{name} is not text: line {line} is not UTF-8")
    })
}

fn cannot_read(name: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("there is no file {name}"),
        io::ErrorKind::IsADirectory => format!("{name} is a directory, not a policy"),
        _ => format!("cannot read {name}: {error}"),
    }
}

impl Text {
    /// Encodes the policy. `None` if the diagnostics hold an error.
    pub(crate) fn compile(
        &self,
        place: &Place,
        architecture: Architecture,
        optimize: Optimize,
    ) -> (Option<Encoded>, Diagnostics) {
        let mut diagnostics = self.diagnostics.clone();
        let mut found = Diagnostics::default();
        let encoded = encode_for(&self.document, place, architecture, optimize, &mut found);
        // What could not be parsed is missing from the document, and that
        // something is missing there would be said again.
        let encoded = encoded.filter(|_| !diagnostics.has_errors());
        let said: Vec<_> = diagnostics.iter().cloned().collect();
        for diagnostic in found.iter() {
            if !said.iter().any(|earlier| overlap(earlier, diagnostic)) {
                diagnostics.push(diagnostic.clone());
            }
        }
        (encoded, diagnostics)
    }

    /// The descriptors whose numbers the policy names.
    pub(crate) fn used_fds(&self) -> BTreeSet<u32> {
        used_fds(&self.document)
    }
}

/// Whether two complaints are about the same place.
fn overlap(a: &Diagnostic, b: &Diagnostic) -> bool {
    match (&a.span, &b.span) {
        (Some(a), Some(b)) => a.start < b.end && b.start < a.end,
        _ => false,
    }
}
