//! Text to [`Document`], with every problem of the text found in one run.
//!
//! TOML and JSON become the same tree, in which everything knows its place.
//! serde stops at the first thing it does not like; that is reported, cut out
//! of the tree, and the rest is read again.

use std::ops::Range;

use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::diagnostic::Diagnostics;
use crate::document::Document;

/// The most problems reported in one text; whoever has more has another
/// kind of file in hand.
const MAX_PROBLEMS: usize = 200;

/// Reads a document written in TOML.
///
/// The document holds all that could be read; it is meant to be encoded only
/// if the diagnostics hold no error, and if it extends no other: what a
/// document extends is read by [`compose`](crate::compose).
pub fn toml(text: &str) -> (Document, Diagnostics) {
    toml_at(text, 0)
}

/// The same, for a text whose first byte has the number `offset`.
pub(crate) fn toml_at(text: &str, offset: usize) -> (Document, Diagnostics) {
    let mut problems = Problems::new(text, offset);
    let (tree, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        problems.syntax(error.span().unwrap_or_default(), error.message());
    }
    let document = read(tree, &mut problems);
    (document, problems.into_diagnostics())
}

/// Reads a document written in JSON: the same tables, keys and values.
/// `null` is the absence of a value.
///
/// The document holds all that could be read, as with [`toml()`].
pub fn json(text: &str) -> (Document, Diagnostics) {
    json_at(text, 0)
}

/// The same, for a text whose first byte has the number `offset`.
pub(crate) fn json_at(text: &str, offset: usize) -> (Document, Diagnostics) {
    let mut problems = Problems::new(text, offset);
    let document = match json_tree(text, &mut problems) {
        Some(tree) => read(tree, &mut problems),
        None => Document::default(),
    };
    (document, problems.into_diagnostics())
}

/// Reads the tree, cutting out what has no meaning.
fn read(tree: Spanned<DeTable<'_>>, problems: &mut Problems<'_>) -> Document {
    let offset = problems.offset;
    let mut tree = if offset == 0 { tree } else { shifted(tree, offset, shifted_table) };
    loop {
        let error = match Document::deserialize(toml::Deserializer::from(tree.clone())) {
            Ok(document) => return document,
            Err(error) => error,
        };
        let span = error.span().unwrap_or(offset..offset);
        let (message, help) = in_words(error.message());
        let in_text = span.start.saturating_sub(offset)..span.end.saturating_sub(offset);
        problems.meaning(in_text, message, help);
        if problems.list.len() >= MAX_PROBLEMS || !cut_from_table(tree.get_mut(), &span) {
            return Document::default();
        }
    }
}

/// The same with every span moved by `offset` bytes: its own, and by `inside`
/// those in it.
fn shifted<T>(node: Spanned<T>, offset: usize, inside: fn(T, usize) -> T) -> Spanned<T> {
    let span = node.span();
    let moved = span.start + offset..span.end + offset;
    Spanned::new(moved, inside(node.into_inner(), offset))
}

fn shifted_table(table: DeTable<'_>, offset: usize) -> DeTable<'_> {
    let shifted =
        |(key, value)| (shifted(key, offset, |key, _| key), shifted(value, offset, shifted_value));
    table.into_iter().map(shifted).collect()
}

fn shifted_value(value: DeValue<'_>, offset: usize) -> DeValue<'_> {
    match value {
        DeValue::Table(table) => DeValue::Table(shifted_table(table, offset)),
        DeValue::Array(array) => DeValue::Array(
            array.into_iter().map(|item| shifted(item, offset, shifted_value)).collect(),
        ),
        other => other,
    }
}

/// Removes the key or value at `span`; `false` if there is none.
fn cut_from_table(table: &mut DeTable<'_>, span: &Range<usize>) -> bool {
    let found = table
        .iter()
        .find(|(key, value)| key.span() == *span || value.span() == *span)
        .map(|(key, _)| key.get_ref().to_string());
    match found {
        Some(key) => table.remove(key.as_str()).is_some(),
        None => table.iter_mut().any(|(_, value)| cut_from_value(value.get_mut(), span)),
    }
}

fn cut_from_value(value: &mut DeValue<'_>, span: &Range<usize>) -> bool {
    match value {
        DeValue::Table(table) => cut_from_table(table, span),
        DeValue::Array(array) => match array.iter().position(|item| item.span() == *span) {
            Some(found) => {
                let items = std::mem::replace(array, DeArray::new()).into_iter().enumerate();
                *array = items.filter(|&(i, _)| i != found).map(|(_, item)| item).collect();
                true
            }
            None => array.iter_mut().any(|item| cut_from_value(item.get_mut(), span)),
        },
        _ => false,
    }
}

/// What is wrong with one text.
struct Problems<'t> {
    text: &'t str,
    /// The number of the text's first byte. Until they become diagnostics,
    /// problems count from the beginning of the text.
    offset: usize,
    list: Vec<Problem>,
    /// Lines that are not TOML or JSON: what they mean is not asked.
    broken: Vec<Range<usize>>,
}

struct Problem {
    span: Range<usize>,
    message: String,
    help: Option<String>,
}

impl<'t> Problems<'t> {
    fn new(text: &'t str, offset: usize) -> Self {
        Self { text, offset, list: Vec::new(), broken: Vec::new() }
    }

    /// Adds a place where the text is not TOML or JSON. The parser stumbles
    /// on after an error, so only the first of a line means anything.
    fn syntax(&mut self, span: Range<usize>, message: &str) {
        let is_known = self.broken.last().is_some_and(|line| line.contains(&span.start));
        if is_known || self.list.len() >= MAX_PROBLEMS {
            return;
        }
        let span = self.visible(span);
        self.broken.push(self.line(span.start));
        let message = if message.contains("recursion") { "nested too deeply" } else { message };
        let help = self.unquoted(&span).map(|word| format!("text stands in quotes: \"{word}\""));
        self.list.push(Problem { span, message: message.to_owned(), help });
    }

    /// Adds a place where the text has no meaning as a policy.
    fn meaning(&mut self, span: Range<usize>, message: String, help: Option<String>) {
        let span = self.visible(span);
        if !self.broken.iter().any(|line| line.contains(&span.start)) {
            self.list.push(Problem { span, message, help });
        }
    }

    /// A word that was written as a value without its quotes.
    fn unquoted(&self, span: &Range<usize>) -> Option<&'t str> {
        let before = self.text.get(..span.start)?.trim_end();
        let word = self.text.get(span.clone())?;
        let is_value = before.ends_with(['=', '[', ',', ':']);
        let is_word = word.starts_with(|first: char| first.is_ascii_alphabetic());
        (is_value && is_word && !word.contains('\n')).then_some(word)
    }

    /// The line around a place, with its end.
    fn line(&self, place: usize) -> Range<usize> {
        let bytes = self.text.as_bytes();
        let is_newline = |&byte: &u8| byte == b'\n';
        let (before, after) = bytes.split_at(place.min(bytes.len()));
        let start = before.iter().rposition(is_newline).map_or(0, |newline| newline + 1);
        let end = after.iter().position(is_newline).unwrap_or(after.len());
        start..before.len() + end + 1
    }

    /// A span that can be underlined: not empty, as the end of the text is.
    fn visible(&self, span: Range<usize>) -> Range<usize> {
        if !span.is_empty() {
            return span;
        }
        let last = self.text.len().saturating_sub(1);
        let start = self.text.floor_char_boundary(span.start.min(last));
        let length = self.text.get(start..).and_then(|rest| rest.chars().next());
        start..start + length.map_or(0, char::len_utf8)
    }

    /// In the order of the text.
    fn into_diagnostics(mut self) -> Diagnostics {
        self.list.sort_by_key(|problem| problem.span.start);
        let mut diagnostics = Diagnostics::default();
        let is_full = self.list.len() >= MAX_PROBLEMS;
        for problem in self.list {
            let span = problem.span.start + self.offset..problem.span.end + self.offset;
            let diagnostic = diagnostics.error(span, problem.message);
            diagnostic.help = problem.help;
        }
        if is_full {
            diagnostics.error_anywhere("there is more wrong than is shown here");
        }
        diagnostics
    }
}

/// Says what serde says as a person would, with a remedy where there is one.
fn in_words(message: &str) -> (String, Option<String>) {
    // serde puts the names it speaks of between backticks.
    let mut names = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field") {
        let name = names.next().unwrap_or_default();
        return (format!("unknown key {name:?}"), suggestion(name, names, "the keys here are"));
    }
    if message.starts_with("unknown variant") {
        let name = names.next().unwrap_or_default();
        return (format!("unknown word {name:?}"), suggestion(name, names, "it can be"));
    }
    if let Some(name) = message.strip_prefix("missing field `") {
        return (format!("the key \"{}\" is missing", name.trim_end_matches('`')), None);
    }
    if message == "wanted string or table" {
        return ("expected a word in quotes".to_owned(), None);
    }
    for kind in ["invalid type: ", "invalid value: ", "invalid length "] {
        if let Some((found, expected)) =
            message.strip_prefix(kind).and_then(|rest| rest.split_once(", expected "))
        {
            return (format!("expected {}, found {}", thing(expected), found_thing(found)), None);
        }
    }
    (message.to_owned(), None)
}

/// "did you mean", or all that it can be.
fn suggestion<'n>(
    name: &str,
    names: impl Iterator<Item = &'n str>,
    introduction: &str,
) -> Option<String> {
    let names: Vec<_> = names.collect();
    if let Some(nearest) = nearest(name, names.iter().copied()) {
        return Some(format!("did you mean {nearest:?}?"));
    }
    let list = names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    (!list.is_empty()).then(|| format!("{introduction} {list}"))
}

/// The name that was probably meant, if any is close enough.
pub(crate) fn nearest<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    names
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|&(likeness, _)| likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// What serde expects, in words for a reader of TOML.
fn thing(expected: &str) -> &str {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "u128" => "a whole number from 0",
        "i8" => "a whole number from -128 to 127",
        "i16" => "a whole number from -32768 to 32767",
        "i64" => "a whole number",
        "a boolean" => "true or false",
        "a string" => "text in quotes",
        "a sequence" => "an array",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}

/// What serde found, in words for a reader of TOML.
fn found_thing(found: &str) -> String {
    match found {
        "map" => "a table".to_owned(),
        "sequence" => "an array".to_owned(),
        // `integer `5``, `boolean `true``, `floating point `1.5``: the value
        // says what it is.
        other => match other.split('`').nth(1) {
            Some(value) => value.to_owned(),
            None => other.to_owned(),
        },
    }
}

/// Parses JSON into the tree that TOML is parsed into.
fn json_tree<'t>(text: &'t str, problems: &mut Problems<'_>) -> Option<Spanned<DeTable<'t>>> {
    let strict = jsonc_parser::ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let parsed = match jsonc_parser::parse_to_ast(text, &Default::default(), &strict) {
        Ok(parsed) => parsed,
        Err(error) => {
            let range = error.range();
            problems.syntax(range.start..range.end, &sentence(&error.kind().to_string()));
            return None;
        }
    };
    match parsed.value {
        Some(ast::Value::Object(object)) => {
            let span = span(&object);
            Some(Spanned::new(span, json_table(object, problems)))
        }
        Some(other) => {
            problems.syntax(span(&other), "expected an object in braces");
            None
        }
        None => {
            problems.syntax(0..0, "expected an object in braces, found nothing");
            None
        }
    }
}

fn json_table<'t>(object: ast::Object<'t>, problems: &mut Problems<'_>) -> DeTable<'t> {
    let mut table = DeTable::new();
    for property in object.properties {
        let (name, name_span) = match property.name {
            ast::ObjectPropName::String(name) => (name.value, name.range),
            ast::ObjectPropName::Word(name) => (name.value.into(), name.range),
        };
        let name_span = name_span.start..name_span.end;
        if table.contains_key(name.as_ref()) {
            problems.meaning(name_span, format!("the key {name:?} stands here twice"), None);
        } else if let Some(value) = json_value(property.value, problems) {
            table.insert(Spanned::new(name_span, name), value);
        }
    }
    table
}

/// A value, unless it is `null` or cannot be expressed.
fn json_value<'t>(
    value: ast::Value<'t>,
    problems: &mut Problems<'_>,
) -> Option<Spanned<DeValue<'t>>> {
    let span = span(&value);
    let value = match value {
        ast::Value::NullKeyword(_) => return None,
        ast::Value::StringLit(text) => DeValue::String(text.value),
        ast::Value::BooleanLit(boolean) => DeValue::Boolean(boolean.value),
        ast::Value::Object(object) => DeValue::Table(json_table(object, problems)),
        ast::Value::Array(array) => DeValue::Array(
            array.elements.into_iter().filter_map(|item| json_value(item, problems)).collect(),
        ),
        // A number of JSON is a number of TOML as well.
        ast::Value::NumberLit(number) => match DeValue::parse(number.value) {
            Ok(number) => number.into_inner(),
            Err(_) => {
                problems.meaning(span, format!("{} is not a number", number.value), None);
                return None;
            }
        },
    };
    Some(Spanned::new(span, value))
}

fn span(node: &impl Ranged) -> Range<usize> {
    let range = node.range();
    range.start..range.end
}

/// Begins a message as ours begin, in lower case.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    characters
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each complaint with the text it points at.
    fn complaints(text: &str, (_, diagnostics): (Document, Diagnostics)) -> Vec<String> {
        diagnostics
            .iter()
            .map(|diagnostic| {
                let place = diagnostic.span.clone().map_or("nowhere", |span| &text[span]);
                let help = diagnostic.help.as_deref().unwrap_or_default();
                format!("{place} | {} | {help}", diagnostic.message)
            })
            .collect()
    }

    #[test]
    fn every_wrong_key_and_value_is_met_in_one_run() {
        let text = r#"
            [filesystem]
            rea = ["/usr"]
            read = [5, { path = "/etc", mising = "skip" }]
            [network]
            access = "hots"
            connect_tcp = [70000]
            [limits]
            memory = "lots"
            wall_time = 10
        "#;
        assert_eq!(
            complaints(text, toml(text)),
            [
                "rea | unknown key \"rea\" | did you mean \"read\"?",
                "5 | expected a path in quotes or a table such as { path = \"/etc\" }, found 5 | ",
                "mising | unknown key \"mising\" | did you mean \"missing\"?",
                "\"hots\" | unknown word \"hots\" | did you mean \"host\"?",
                "70000 | expected a whole number from 0 to 65535, found 70000 | ",
                "\"lots\" | \"lots\" is not a size; a size is a number and K, M, G or T, \
                 such as \"512M\" | ",
                "10 | expected a time with its unit in quotes, such as \"10s\" or \"1m 30s\", \
                 found 10 | ",
            ]
        );
    }

    #[test]
    fn what_can_be_read_beside_an_error_is_read() {
        let (document, _) = toml("[network]\naccess = \"host\"\nudp = 5\n");
        assert_eq!(
            document.network.access.map(crate::Spanned::into_inner),
            Some(crate::document::Access::Host)
        );
        assert!(document.network.udp.is_none());
    }

    #[test]
    fn a_line_that_is_no_toml_does_not_hide_a_wrong_key_elsewhere() {
        let text = "[network]\naccess = none\nudq = true\n";
        assert_eq!(
            complaints(text, toml(text)),
            [
                "none | invalid float, expected `nan` | text stands in quotes: \"none\"",
                "udq | unknown key \"udq\" | did you mean \"udp\"?"
            ]
        );
    }

    #[test]
    fn an_unclosed_string_at_the_end_is_pointed_at() {
        let text = "description = \"x";
        assert_eq!(complaints(text, toml(text)).len(), 1);
    }

    #[test]
    fn an_exact_mount_is_complained_of_at_its_own_keys() {
        let text = "[[filesystem.mount]]\ntype = \"bind\"\ntarget = \"/x\"\nsorce = \"/y\"\n";
        assert_eq!(
            complaints(text, toml(text)),
            [
                "[[filesystem.mount]] | the key \"source\" is missing | ",
                "sorce | unknown key \"sorce\" | did you mean \"source\"?",
            ]
        );
        let text = "[[filesystem.mount]]\ntype = \"proc\"\ntarget = \"/p\"\nsize = 5\n";
        assert_eq!(
            complaints(text, toml(text)),
            ["[[filesystem.mount]] | the key \"size\" has no meaning for a mount of this type | "]
        );
    }

    #[test]
    fn nesting_without_end_is_one_complaint() {
        let arrays = format!("description = {}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(complaints(&arrays, toml(&arrays)), ["[ | nested too deeply | "]);
        let header = format!("[{}]", vec!["a"; 10_000].join("."));
        assert_eq!(complaints(&header, toml(&header)), ["[ | nested too deeply | "]);
        let objects = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
        assert_eq!(complaints(&objects, json(&objects)).len(), 1);
    }

    #[test]
    fn a_line_of_a_megabyte_is_one_complaint() {
        for text in
            ["z".repeat(1 << 20), format!("x = \"{}", "y".repeat(1 << 20)), "]".repeat(1 << 20)]
        {
            assert_eq!(complaints(&text, toml(&text)).len(), 1);
        }
    }

    #[test]
    fn complaints_without_end_are_cut_short() {
        let text: String = (0..10_000).map(|number| format!("key{number} = 1\n")).collect();
        assert_eq!(complaints(&text, toml(&text)).len(), MAX_PROBLEMS + 1);
    }

    #[test]
    fn json_says_what_toml_says() {
        let text = r#"{ "network": { "access": "host", "udp": null, "connect_tcp": [443] },
            "limits": { "memory": "1K", "rlimit": { "nofile": [1, 2] } } }"#;
        let (document, diagnostics) = json(text);
        assert!(!diagnostics.has_errors(), "{diagnostics:?}");
        let toml = "[network]\naccess = \"host\"\nconnect_tcp = [443]\n\
                    [limits]\nmemory = 1024\nrlimit.nofile = [1, 2]\n";
        let same = super::toml(toml).0;
        assert_eq!(::toml::to_string(&document), ::toml::to_string(&same));
    }

    #[test]
    fn json_is_complained_of_in_place() {
        let text = "{ \"network\": { \"acess\": \"none\", \"udp\": 1, \"udp\": true } }";
        assert_eq!(
            complaints(text, json(text)),
            [
                "\"acess\" | unknown key \"acess\" | did you mean \"access\"?",
                "1 | expected true or false, found 1 | ",
                "\"udp\" | the key \"udp\" stands here twice | ",
            ]
        );
        for (text, complaint) in [
            ("", "nowhere | expected an object in braces, found nothing | "),
            ("[]", "[] | expected an object in braces | "),
            ("{ \"a\": [1,] }", ", | trailing commas are not allowed | "),
        ] {
            assert_eq!(complaints(text, json(text)), [complaint]);
        }
    }

    #[test]
    fn a_document_survives_being_written_and_read() {
        let text = r#"
            [filesystem]
            read = ["/usr", { path = "/etc", missing = "skip" }]
            dev = ["null"]
            [[filesystem.mount]]
            type = "tmpfs"
            target = "/x"
            size = "1M"
            [network]
            unix = "none"
            [process]
            keep_fds = [5, { fd = 6, directory = true }]
            die_with_parent = false
            [limits]
            cpu_time = "1m 30s"
            rlimit = { core = "unlimited", nofile = [1, 2] }
        "#;
        let (document, diagnostics) = toml(text);
        assert!(!diagnostics.has_errors(), "{diagnostics:?}");
        let written = ::toml::to_string(&document).expect("a document can be written");
        let (again, diagnostics) = toml(&written);
        assert!(!diagnostics.has_errors(), "{diagnostics:?}");
        assert_eq!(::toml::to_string(&again).as_deref(), Ok(written.as_str()));
    }
}
