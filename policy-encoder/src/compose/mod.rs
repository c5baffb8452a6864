//! Documents made of documents: `extends` and `merge`.
//!
//! A document names presets and files that it builds on. Each is read with
//! what it extends itself, and all are merged into one document, whose values
//! keep their places in the text that they come from.
//!
//! ```
//! use policy_encoder::compose::{self, Input};
//! use policy_encoder::{Architecture, Place, encode};
//!
//! let place = Place::here()?;
//! let input = Input::of_text("example", "extends = ['strict']\nnetwork.access = 'loopback'");
//! let mut read = compose::read(input, &place);
//! let bytes = encode(&read.document, &place, Architecture::NATIVE, &mut read.diagnostics);
//! assert!(bytes.is_some(), "{:?}", read.diagnostics);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::diagnostic::Diagnostics;
use crate::document::{Document, Merge};
use crate::mounts::expand;
use crate::presets::Preset;
use crate::sources::Sources;
use crate::{Place, Spanned, parse, presets};

mod add;
mod input;
mod strictest;

pub use input::Input;

use input::{Format, Identity};

/// How many documents may extend each other in a row.
const MAX_DEPTH: usize = 16;

/// A document with all that it extends.
#[derive(Clone, Debug, Default)]
pub struct Composition {
    /// The document; it extends nothing any more.
    pub document: Document,
    /// The texts that it was read from.
    pub sources: Sources,
    /// What is wrong with them.
    pub diagnostics: Diagnostics,
}

/// Reads a document and what it extends.
///
/// The document holds all that could be read; it is meant to be encoded only
/// if the diagnostics hold no error.
pub fn read(input: Input, place: &Place) -> Composition {
    Reader::new(place).read(input, None)
}

/// Reads a document that extends `base` before all that it names itself: the
/// arguments of a command line over a file, for instance. Unless it says what
/// it is for, that is what `base` says.
pub fn read_over(base: Input, input: Input, place: &Place) -> Composition {
    Reader::new(place).read(base, Some(input))
}

/// Reads documents, each once.
struct Reader<'p> {
    place: &'p Place,
    sources: Sources,
    diagnostics: Diagnostics,
    /// What has been read, since many may extend the same.
    known: HashMap<Identity, Document>,
    /// The documents that extend what is being read, outermost first.
    open: Vec<(Identity, String)>,
}

/// Why an entry of `extends` leads nowhere.
struct Complaint {
    message: String,
    help: Option<String>,
}

impl<'p> Reader<'p> {
    fn new(place: &'p Place) -> Self {
        Self {
            place,
            sources: Sources::default(),
            diagnostics: Diagnostics::default(),
            known: HashMap::new(),
            open: Vec::new(),
        }
    }

    fn read(mut self, input: Input, over: Option<Input>) -> Composition {
        let mut document = self.document(input, Vec::new());
        if let Some(over) = over {
            let description = document.description.clone();
            document = self.document(over, vec![document]);
            document.description = document.description.or(description);
        }
        Composition { document, sources: self.sources, diagnostics: self.diagnostics }
    }

    /// One document and what it extends: `bases`, then what it names.
    fn document(&mut self, input: Input, mut bases: Vec<Document>) -> Document {
        let Input { name, text, format, directory, identity } = input;
        let start = self.sources.next_start();
        let (mut document, diagnostics) = match format {
            Format::Toml => parse::toml_at(&text, start),
            Format::Json => parse::json_at(&text, start),
        };
        self.sources.add(name.clone(), text);
        self.diagnostics.append(diagnostics);
        let extends = std::mem::take(&mut document.extends);
        let merge = document.merge.take();
        self.open.push((identity, name));
        for entry in &extends {
            bases.extend(self.base(entry, &directory));
        }
        self.open.pop();
        if let Some(merge) = &merge
            && extends.is_empty()
            && bases.is_empty()
        {
            self.diagnostics
                .warning(merge.span(), "there is nothing to merge with")
                .help("`extends` lists what the document builds on");
        }
        match merge {
            Some(merge) if *merge.get_ref() == Merge::Strictest => {
                strictest::merge(bases, document, &merge.span(), self.place, &mut self.diagnostics)
            }
            _ => add::merge(bases, document, self.place),
        }
    }

    /// What an entry of `extends` leads to. `None` after a complaint.
    fn base(&mut self, entry: &Spanned<String>, directory: &Path) -> Option<Document> {
        match self.find(entry.get_ref(), directory) {
            Ok(document) => Some(document),
            Err(complaint) => {
                let diagnostic = self.diagnostics.error(entry.span(), complaint.message);
                diagnostic.help = complaint.help;
                None
            }
        }
    }

    fn find(&mut self, entry: &str, directory: &Path) -> Result<Document, Complaint> {
        let target = self.target(entry, directory)?;
        let identity = target.identity();
        if let Some(known) = self.known.get(&identity) {
            return Ok(known.clone());
        }
        if let Some(first) = self.open.iter().position(|(open, _)| *open == identity) {
            let open = self.open.iter().skip(first).map(|(_, name)| name.clone());
            let chain: Vec<_> = open.chain([target.name()]).collect();
            let chain = chain.join(" -> ");
            return Err(format!("documents extend each other in a circle: {chain}").into());
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(format!("documents extend each other at most {MAX_DEPTH} deep").into());
        }
        let document = self.document(target.read()?, Vec::new());
        self.known.insert(identity, document.clone());
        Ok(document)
    }

    fn target(&self, entry: &str, directory: &Path) -> Result<Target, Complaint> {
        if is_file(entry) {
            return Ok(Target::File(directory.join(expand(entry, self.place)?)));
        }
        presets::find(entry).map(Target::Preset).ok_or_else(|| no_preset(entry, directory))
    }
}

/// What an entry of `extends` leads to.
enum Target {
    Preset(&'static Preset),
    File(PathBuf),
}

impl Target {
    fn identity(&self) -> Identity {
        match self {
            Self::Preset(preset) => Identity::Preset(preset.name),
            Self::File(path) => Identity::of_file(path),
        }
    }

    /// What it is called in complaints.
    fn name(&self) -> String {
        match self {
            Self::Preset(preset) => format!("preset {}", preset.name),
            Self::File(path) => path.display().to_string(),
        }
    }

    fn read(&self) -> Result<Input, String> {
        match self {
            Self::Preset(preset) => Ok(Input::of_preset(preset)),
            Self::File(path) => Input::of_file(path),
        }
    }
}

/// Whether an entry of `extends` is a file, not the name of a preset.
fn is_file(entry: &str) -> bool {
    let has_ending = [".toml", ".json"].iter().any(|ending| entry.ends_with(ending));
    entry.contains('/') || has_ending
}

fn no_preset(name: &str, directory: &Path) -> Complaint {
    let help = if let Some(nearest) = presets::nearest(name) {
        format!("did you mean {nearest:?}?")
    } else if !name.is_empty() && directory.join(name).exists() {
        format!("a file is written with its directory: \"./{name}\"")
    } else {
        let names: Vec<_> = presets::PRESETS.iter().map(|preset| preset.name).collect();
        format!("there are {}, and files, such as \"./base.toml\"", names.join(", "))
    };
    Complaint { message: format!("there is no preset {name:?}"), help: Some(help) }
}

impl<T: Into<String>> From<T> for Complaint {
    fn from(message: T) -> Self {
        Self { message: message.into(), help: None }
    }
}
