//! What is wrong with a document, and where.

use std::ops::Range;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Nothing is encoded.
    Error,
    /// Legal, but probably not meant.
    Warning,
    /// As meant, with a limit that is good to know.
    Note,
}

/// One complaint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in a sentence without a full stop.
    pub message: String,
    /// Where, in bytes of the texts, see [`sources`](crate::sources); `None`
    /// where no place is to blame.
    pub span: Option<Range<usize>>,
    /// What can be done about it.
    pub help: Option<String>,
}

/// Everything found wrong with one document, in the order it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Adds an error at a place.
    pub fn error(&mut self, span: Range<usize>, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Severity::Error, Some(span), message.into())
    }

    /// Adds a warning at a place.
    pub fn warning(&mut self, span: Range<usize>, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Severity::Warning, Some(span), message.into())
    }

    /// Adds a note at a place.
    pub fn note(&mut self, span: Range<usize>, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Severity::Note, Some(span), message.into())
    }

    /// Adds an error of the document as a whole.
    pub fn error_anywhere(&mut self, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Severity::Error, None, message.into())
    }

    /// Adds a note of the document as a whole.
    pub fn note_anywhere(&mut self, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Severity::Note, None, message.into())
    }

    /// Adds one that was found elsewhere.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// Whether anything prevents encoding.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Whether anything is wrong, be it only a warning.
    pub fn has_complaints(&self) -> bool {
        self.list.iter().any(|diagnostic| diagnostic.severity != Severity::Note)
    }

    /// The same without what is only good to know.
    #[must_use]
    pub fn without_notes(mut self) -> Self {
        self.list.retain(|diagnostic| diagnostic.severity != Severity::Note);
        self
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// Puts those of another step behind these.
    pub fn append(&mut self, mut other: Self) {
        self.list.append(&mut other.list);
    }

    fn add(
        &mut self,
        severity: Severity,
        span: Option<Range<usize>>,
        message: String,
    ) -> &mut Diagnostic {
        // Values of documents built in code all stand at 0..0.
        let span = span.filter(|span| !span.is_empty());
        self.list.push_mut(Diagnostic { severity, message, span, help: None })
    }
}

impl Diagnostic {
    /// Adds a remedy.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }
}
