//! A policy: from text, document or bytes to what the launcher reads.

use std::collections::BTreeSet;
use std::os::fd::RawFd;
use std::path::Path;

use launcher_policy::mounts::Source;
use launcher_policy::session::DieWithParent;
use launcher_policy::wire::{self, DecodeError, MAX_FRAME};
use launcher_supervisor::Category;
use policy_encoder::compose::{self, Composition, Input};
use policy_encoder::diagnostic::{Diagnostics, Severity};
use policy_encoder::document::Document;
use policy_encoder::sources::Sources;
use policy_encoder::{Architecture, Place, digest, encode};

use crate::{Error, supervised};

/// An encoded policy.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// What the launcher reads.
    pub(crate) bytes: Vec<u8>,
    /// The descriptors that it passes on or mounts, by their numbers.
    pub(crate) fds: BTreeSet<RawFd>,
    /// Whether its network leads to a proxy.
    pub(crate) has_proxy: bool,
    /// What it was encoded from, where it was.
    document: Option<Document>,
    is_detached: bool,
}

impl Encoded {
    /// A file, as `encode-policy FILE` reads it.
    pub(crate) fn from_file(path: &Path) -> Result<Self, Error> {
        let place = here()?;
        let input = Input::of_file(path).map_err(Error::policy)?;
        Self::of(compose::read(input, &place), &place)
    }

    /// Text in TOML or JSON.
    pub(crate) fn from_text(text: &str) -> Result<Self, Error> {
        let place = here()?;
        Self::of(compose::read(Input::of_text("policy", text), &place), &place)
    }

    /// A document that was built in code.
    pub(crate) fn from_document(document: &Document) -> Result<Self, Error> {
        let composition = Composition { document: document.clone(), ..Composition::default() };
        Self::of(composition, &here()?)
    }

    /// What was encoded before.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let policy = wire::decode(bytes)
            .map_err(|error| Error::policy(format!("not a policy: {}", error.refusal().name())))?;
        let kept = policy.fds.keep.iter().map(|keep| keep.fd);
        let mounts = policy.mounts.iter().flat_map(|mounts| mounts.mounts.iter());
        let mounted = mounts.filter_map(|mount| match mount.source {
            Source::Fd { fd } => Some(fd),
            _ => None,
        });
        let fds = kept.chain(mounted).filter_map(|fd| RawFd::try_from(fd).ok()).collect();
        Ok(Self {
            bytes: bytes.to_vec(),
            fds,
            has_proxy: policy.proxy.is_some(),
            document: None,
            is_detached: false,
        })
    }

    /// The same policy, but that commands outlive who started them.
    pub(crate) fn detached(&self) -> Result<Self, Error> {
        let wrong = |error: DecodeError| Error::policy(error.message());
        let mut policy = wire::decode(&self.bytes).map_err(wrong)?;
        policy.session.die_with_parent = DieWithParent::Never;
        let mut buffer = vec![0; MAX_FRAME];
        let bytes = wire::encode(&policy, Architecture::NATIVE, digest::sha256, &mut buffer);
        let detached = Self::from_bytes(bytes.map_err(wrong)?)?;
        Ok(Self { document: self.document.clone(), is_detached: true, ..detached })
    }

    /// The same policy, which asks a supervisor, if it does not already.
    pub(crate) fn asking(&self, about: Option<&[Category]>) -> Result<Self, Error> {
        let Some(document) = &self.document else { return Err(supervised::asks_nothing()) };
        let place = here()?;
        let text = supervised::rules(document, &self.bytes, about);
        let rules = compose::read(Input::of_text("rules", &text), &place).document.seccomp.rule;
        let mut document = document.clone();
        document.seccomp.rule.extend(rules);
        let asking = Self::of(Composition { document, ..Composition::default() }, &place)?;
        let asking = if self.is_detached { asking.detached()? } else { asking };
        if supervised::asks(&asking.bytes) { Ok(asking) } else { Err(supervised::asks_nothing()) }
    }

    fn of(mut read: Composition, place: &Place) -> Result<Self, Error> {
        let bytes = encode(&read.document, place, Architecture::NATIVE, &mut read.diagnostics);
        match bytes {
            Some(bytes) => {
                let document = Some(read.document);
                Self::from_bytes(&bytes).map(|encoded| Self { document, ..encoded })
            }
            None => Err(Error::policy(complaints(&read.diagnostics, &read.sources))),
        }
    }
}

fn here() -> Result<Place, Error> {
    Place::here().map_err(Error::io("cannot find the working directory"))
}

/// Every error, one a line.
fn complaints(diagnostics: &Diagnostics, sources: &Sources) -> String {
    let errors = diagnostics.iter().filter(|each| each.severity == Severity::Error);
    let lines = errors.map(|error| {
        let place = error.span.as_ref().and_then(|span| sources.place_of(span));
        let place = place.map(|place| format!("{place}: ")).unwrap_or_default();
        let help = error.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
        format!("{place}{}{help}", error.message)
    });
    lines.collect::<Vec<_>>().join("\n")
}
