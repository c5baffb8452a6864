//! Reading a document never panics, whatever the text; complaints point into
//! it; and there are bytes if nothing is wrong with it, and only then.
#![no_main]

use libfuzzer_sys::fuzz_target;
use policy_encoder::diagnostic::Diagnostics;
use policy_encoder::parse;

fuzz_target!(|text: &str| {
    let is_json = text.trim_start().starts_with('{');
    let (document, diagnostics) = if is_json { parse::json(text) } else { parse::toml(text) };
    assert_points_into(text, &diagnostics);
    fuzz::encoded(&document, diagnostics);
});

/// What is to be underlined is a part of the text that can be cut out.
fn assert_points_into(text: &str, diagnostics: &Diagnostics) {
    for diagnostic in diagnostics.iter() {
        assert!(!diagnostic.message.is_empty());
        if let Some(span) = &diagnostic.span {
            assert!(text.get(span.clone()).is_some(), "{diagnostic:?} in {text:?}");
        }
    }
}
