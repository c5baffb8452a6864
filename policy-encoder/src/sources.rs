//! The texts that a document was read from.
//!
//! A document may extend others, so that its values stand in several texts.
//! Each text has a range of its own in one numbering of bytes, which the
//! spans of [`Spanned`](crate::Spanned) and
//! [`Diagnostic`](crate::diagnostic::Diagnostic) count in.

use std::ops::Range;

/// Every text of one document, the document's own first.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    list: Vec<Source>,
}

/// One text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What it is called in complaints: a file's path, for instance.
    pub name: String,
    /// The text.
    pub text: String,
    /// Where its first byte is in the numbering of all texts.
    start: usize,
}

/// A place in one of the texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location<'s> {
    /// The text.
    pub source: &'s Source,
    /// Where in it, in bytes from its own beginning.
    pub range: Range<usize>,
}

impl Sources {
    /// A document of one text.
    pub fn of_text(name: impl Into<String>, text: impl Into<String>) -> Self {
        let mut sources = Self::default();
        sources.add(name, text);
        sources
    }

    /// The number that the first byte of the next text has.
    pub fn next_start(&self) -> usize {
        // One byte lies between two texts, so that the end of one is not the
        // beginning of the next.
        self.list.last().map_or(0, |last| last.end() + 1)
    }

    /// Adds a text; its first byte has the number that is returned.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> usize {
        let start = self.next_start();
        self.list.push(Source { name: name.into(), text: text.into(), start });
        start
    }

    /// All of them, in the order of their bytes.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.list.iter()
    }

    /// The text that a span lies in, and where.
    pub fn locate(&self, span: &Range<usize>) -> Option<Location<'_>> {
        let source = self.list.iter().rfind(|source| source.start <= span.start)?;
        let range = span.start - source.start..span.end.checked_sub(source.start)?;
        source.text.get(range.clone()).map(|_| Location { source, range })
    }

    /// The text and the line that a span begins at, as `name:line`; `None`
    /// for what was made by a program.
    pub fn place_of(&self, span: &Range<usize>) -> Option<String> {
        if span.is_empty() {
            return None;
        }
        let Location { source, range } = self.locate(span)?;
        let before = source.text.get(..range.start)?;
        let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
        Some(format!("{}:{line}", source.name))
    }
}

impl Source {
    fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_lies_in_one_text() {
        let mut sources = Sources::of_text("one", "abc");
        let two = sources.add("two", "def\nghi");
        let located = |span| {
            let location: Location<'_> = sources.locate(&span)?;
            Some((location.source.name.as_str(), &location.source.text[location.range]))
        };
        assert_eq!(located(1..3), Some(("one", "bc")));
        assert_eq!(located(two..two + 3), Some(("two", "def")));
        assert_eq!(located(1..two + 1), None);
        assert_eq!(located(two + 5..two + 9), None);
        assert_eq!(sources.place_of(&(0..1)).as_deref(), Some("one:1"));
        assert_eq!(sources.place_of(&(two + 4..two + 5)).as_deref(), Some("two:2"));
    }

    #[test]
    fn what_a_program_made_has_no_place() {
        assert_eq!(Sources::of_text("one", "abc").place_of(&(0..0)), None);
        assert_eq!(Sources::default().locate(&(0..1)), None);
    }
}
