//! Where the text of a policy comes from.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use policy_encoder::compose::{self, Composition, Input};
use policy_encoder::diagnostic::{Diagnostic, Diagnostics};
use policy_encoder::document::{Document, ExactMount};
use policy_encoder::presets::Preset;
use policy_encoder::seccomp::Optimize;
use policy_encoder::sources::Sources;
use policy_encoder::{Architecture, Encoded, Place, encode_for, used_fds};

/// A place that a policy can be read from.
#[derive(Debug)]
pub(crate) enum Source {
    /// `-`
    StandardInput,
    /// A file.
    File(PathBuf),
    /// A built-in policy.
    Preset(&'static Preset),
    /// A text that is there already.
    Text(Input),
}

/// The text of a policy and of all that it extends, read.
#[derive(Debug)]
pub(crate) struct Text {
    composition: Composition,
}

impl Source {
    /// `-` is standard input; everything else is a file.
    pub(crate) fn of_argument(file: &Path) -> Self {
        match file.to_str() {
            Some("-") => Self::StandardInput,
            _ => Self::File(file.to_owned()),
        }
    }

    /// Reads the policy for a place, or says why it cannot be read at all.
    pub(crate) fn read(&self, place: &Place) -> Result<Text, String> {
        Ok(Text { composition: compose::read(self.input()?, place) })
    }

    /// The same with what `over` says over it.
    pub(crate) fn read_under(&self, over: Input, place: &Place) -> Result<Text, String> {
        Ok(Text { composition: compose::read_over(self.input()?, over, place) })
    }

    fn input(&self) -> Result<Input, String> {
        match self {
            Self::Preset(preset) => Ok(Input::of_preset(preset)),
            Self::Text(input) => Ok(input.clone()),
            Self::StandardInput => Input::of_reader("standard input", io::stdin()),
            Self::File(path) => Input::of_file(path),
        }
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
        let mut diagnostics = self.composition.diagnostics.clone();
        let mut found = Diagnostics::default();
        let document = &self.composition.document;
        let encoded = encode_for(document, place, architecture, optimize, &mut found);
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

    /// The document, which extends nothing any more.
    pub(crate) fn document(&self) -> &Document {
        &self.composition.document
    }

    /// What was found wrong when it was read.
    pub(crate) fn diagnostics(&self) -> &Diagnostics {
        &self.composition.diagnostics
    }

    /// The texts that it was read from.
    pub(crate) fn sources(&self) -> &Sources {
        &self.composition.sources
    }

    /// `file:line` of a place in the texts; nothing for what is not written.
    pub(crate) fn place_of(&self, span: &Range<usize>) -> Option<String> {
        self.sources().place_of(span)
    }

    /// Gives each overlay that names no place for its changes one: the paths
    /// of an upper layer and of the directory beside it.
    ///
    /// # Errors
    ///
    /// The first of `places`.
    pub(crate) fn place_overlays(
        &mut self,
        mut places: impl FnMut() -> Result<[PathBuf; 2], String>,
    ) -> Result<(), String> {
        for mount in &mut self.composition.document.filesystem.mount {
            if let ExactMount::Overlay { upper: upper @ None, work, .. } = mount.get_mut() {
                let [above, beside] = places()?;
                *upper = Some(as_written(&above)?);
                *work = Some(as_written(&beside)?);
            }
        }
        Ok(())
    }

    /// The descriptors whose numbers the policy names.
    pub(crate) fn used_fds(&self) -> BTreeSet<u32> {
        used_fds(self.document())
    }
}

/// A path as a document has it, where `$` begins a variable.
fn as_written(path: &Path) -> Result<String, String> {
    let text = path.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()))?;
    Ok(text.replace('$', "$$"))
}

/// Whether two complaints are about the same place.
fn overlap(a: &Diagnostic, b: &Diagnostic) -> bool {
    match (&a.span, &b.span) {
        (Some(a), Some(b)) => a.start < b.end && b.start < a.end,
        _ => false,
    }
}
