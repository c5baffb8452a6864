//! Compiles sandbox policies from TOML to the bytes that the launcher reads.
//!
//! A [`Document`](document::Document) is the policy as a person writes it, or
//! as a program builds it. [`parse`] reads one from text; [`encode()`] resolves
//! it - names become numbers, paths become real, rules become a filter - for
//! one [`Place`] and one [`Architecture`]. Whatever is wrong is collected in
//! [`Diagnostics`](diagnostic::Diagnostics); nothing stops at the first error.
//!
//! ```
//! use policy_encoder::diagnostic::Diagnostics;
//! use policy_encoder::{Architecture, Place, encode, parse};
//!
//! let (document, mut diagnostics) = parse::toml("filesystem.root = 'host'");
//! let place = Place::here()?;
//! let bytes = encode(&document, &place, Architecture::NATIVE, &mut diagnostics);
//! assert!(bytes.is_some(), "{diagnostics:?}");
//! # Ok::<(), std::io::Error>(())
//! ```
#![forbid(unsafe_code)]

pub mod compare;
pub mod compose;
mod credentials;
pub mod diagnostic;
pub mod digest;
pub mod document;
mod encode;
mod enforce;
mod exec;
pub mod explain;
mod fds;
pub mod handover;
mod items;
mod landlock;
pub mod learn;
mod limits;
pub mod mounts;
mod namespaces;
mod network;
pub mod parse;
mod place;
pub mod portability;
pub mod presets;
pub mod receipt;
mod schema;
pub mod seccomp;
mod session;
pub mod sources;
mod spanned;
pub mod watched;

pub use encode::{Encoded, encode, encode_for};
pub use fds::used as used_fds;
pub use launcher_policy::wire::Architecture;
pub use network::proxy::address as proxy_address;
pub use place::Place;
pub use schema::schema;
pub use spanned::Spanned;

#[cfg(test)]
mod tests {
    use crate::diagnostic::Diagnostics;
    use crate::document::Document;

    /// A document that is known to be well written.
    pub(crate) fn document(text: &str) -> Document {
        let (document, diagnostics) = crate::parse::toml(text);
        assert!(!diagnostics.has_errors(), "{text}: {diagnostics:?}");
        document
    }

    /// What the diagnostics say.
    pub(crate) fn messages(diagnostics: &Diagnostics) -> Vec<String> {
        diagnostics.iter().map(|diagnostic| diagnostic.message.clone()).collect()
    }
}
