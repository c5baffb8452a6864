//! Diagnostics for a person at a terminal.

use std::env;
use std::io::{self, IsTerminal, Write};

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use policy_encoder::diagnostic::{Diagnostic, Diagnostics, Severity};

use crate::source::Text;

/// Writes what is wrong with a text to standard error, in the order of the
/// text; what has no place comes last.
pub(crate) fn render(text: &Text, diagnostics: &Diagnostics) {
    let renderer = renderer();
    let mut list: Vec<_> = diagnostics.iter().collect();
    list.sort_by_key(|diagnostic| diagnostic.span.as_ref().map_or(usize::MAX, |span| span.start));
    for diagnostic in list {
        print(&renderer.render(&[report(text, diagnostic)]));
    }
}

/// Writes one sentence to standard error.
pub(crate) fn say(message: &str) {
    let message = Group::with_title(Level::ERROR.primary_title(message));
    print(&renderer().render(&[message]));
}

fn report<'a>(text: &'a Text, diagnostic: &'a Diagnostic) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let title = Group::with_title(level.primary_title(&diagnostic.message));
    let placed = match &diagnostic.span {
        Some(span) => title.element(
            Snippet::source(&text.text)
                .path(&text.name)
                .annotation(AnnotationKind::Primary.span(span.clone())),
        ),
        None => title.element(Origin::path(&text.name)),
    };
    match &diagnostic.help {
        Some(help) => placed.element(Level::HELP.message(help)),
        None => placed,
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
