//! `merge = "strictest"`: what every one of the parts grants.

use std::ops::Range;

use crate::Place;
use crate::diagnostic::Diagnostics;
use crate::document::Document;

/// Merges the parts; each is refused until all keys are intersected.
pub(super) fn merge(
    bases: Vec<Document>,
    own: Document,
    at: &Range<usize>,
    _place: &Place,
    diagnostics: &mut Diagnostics,
) -> Document {
    if !bases.is_empty() {
        diagnostics.error(at.clone(), "the strictest of several documents cannot be told");
    }
    own
}
