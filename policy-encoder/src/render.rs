//! Diagnostics for a person at a terminal.

use std::borrow::Cow;
use std::env;
use std::io::{self, IsTerminal, Write};

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use policy_encoder::diagnostic::{Diagnostic, Diagnostics, Severity};
use policy_encoder::sources::{Location, Sources};

/// The longest sentence that is printed whole, in characters: a path of the
/// usual kind fits in.
const MAX_SENTENCE: usize = 600;

/// Writes what is wrong with a policy to standard error, each complaint in
/// the text that it is about, in their order; what has no place comes last.
pub(crate) fn render(sources: &Sources, diagnostics: &Diagnostics) {
    let renderer = renderer();
    let mut list: Vec<_> = diagnostics.iter().collect();
    list.sort_by_key(|diagnostic| diagnostic.span.as_ref().map_or(usize::MAX, |span| span.start));
    for diagnostic in list {
        print(&renderer.render(&[report(sources, diagnostic)]));
    }
}

/// Writes one sentence to standard error.
pub(crate) fn say(message: &str) {
    let message = Group::with_title(Level::ERROR.primary_title(message));
    print(&renderer().render(&[message]));
}

fn report<'a>(sources: &'a Sources, diagnostic: &'a Diagnostic) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let title = Group::with_title(level.primary_title(shortened(&diagnostic.message)));
    let located = diagnostic.span.as_ref().and_then(|span| sources.locate(span));
    let placed = match (located, sources.iter().next()) {
        (Some(Location { source, range }), _) => title.element(
            Snippet::source(&source.text)
                .path(&source.name)
                .annotation(AnnotationKind::Primary.span(range)),
        ),
        (None, Some(first)) => title.element(Origin::path(&first.name)),
        (None, None) => title,
    };
    match &diagnostic.help {
        Some(help) => placed.element(Level::HELP.message(shortened(help))),
        None => placed,
    }
}

/// A sentence without the middle of the long text that it quotes.
fn shortened(sentence: &str) -> Cow<'_, str> {
    let start = sentence.char_indices().nth(MAX_SENTENCE / 2).map(|(index, _)| index);
    let end = sentence.char_indices().nth_back(MAX_SENTENCE / 2).map(|(index, _)| index);
    match (start, end) {
        (Some(start), Some(end)) if start < end => {
            let (start, end) = (sentence.get(..start), sentence.get(end..));
            format!("{}...{}", start.unwrap_or_default(), end.unwrap_or_default()).into()
        }
        _ => sentence.into(),
    }
}

/// Coloured on a terminal that wants colours: <https://no-color.org>.
fn renderer() -> Renderer {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    match io::stderr().is_terminal() && !is_set("NO_COLOR") && !is_dumb {
        true => Renderer::styled(),
        false => Renderer::plain(),
    }
}

fn print(text: &str) {
    // Nothing is left to do where standard error cannot be written.
    let _ = writeln!(io::stderr(), "{text}\n");
}
