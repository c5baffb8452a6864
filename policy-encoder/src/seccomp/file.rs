//! A `[seccomp]` to a layer, and the file that it names for a profile.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};

use super::checks::{self, Checks};
use super::import::Imported;
use super::layer::{self, Below, Denied, Layer, LayerRule, Names};
use super::rules::Action;
use super::tables::Abi;
use super::{conditions, groups, profile, tables, unknown};
use crate::diagnostic::{Diagnostics, Severity};
use crate::document::{CallRule, Denial, Document, Profile, Seccomp};
use crate::mounts::expand;
use crate::parse::{self, nearest};
use crate::{Place, Spanned};

/// The longest profile that is read, in bytes.
const MAX_TEXT: u64 = 1 << 20;

/// A table of the document, or of the file that it names for a profile.
struct Written<'w> {
    seccomp: &'w Seccomp,
    /// The text of the file.
    file: Option<&'w File>,
}

/// A file that is named for a profile.
struct File {
    /// Where it is named.
    named: Spanned<String>,
    text: String,
    document: Document,
}

/// Looks everything up: what the author says, and which tables of system
/// calls are open. The diagnostics say what has no meaning.
pub(super) fn resolve(
    seccomp: &Seccomp,
    checks: &Checks<'_>,
    place: &Place,
    diagnostics: &mut Diagnostics,
) -> (Layer, BTreeSet<Abi>) {
    let file = match seccomp.profile.as_ref().map(|profile| (profile.span(), profile.get_ref())) {
        Some((span, Profile::File(path))) => {
            File::read(Spanned::new(span, path.clone()), place, diagnostics)
        }
        _ => None,
    };
    let own = Written { seccomp, file: None };
    let below =
        file.as_ref().map(|file| Written { seccomp: &file.document.seccomp, file: Some(file) });
    let both = || std::iter::once(&own).chain(&below);
    // The document has the last word, wherever something ends denied.
    let denial = both().find_map(|written| written.seccomp.action.as_ref());
    let errno = both().find_map(|written| written.errno(diagnostics));
    let denied = Denied::of(denial.map_or(Denial::Errno, |denial| *denial.get_ref()), errno);
    let abis = both().flat_map(|written| &written.seccomp.architectures);
    let abis = abis.map(|abi| *abi.get_ref()).collect();
    let below = match &below {
        Some(written) => {
            let below = written.below(checks, place, diagnostics);
            Below::Layer(Box::new(written.layer(below, denied, checks, diagnostics)))
        }
        None => own.below(checks, place, diagnostics),
    };
    if file.is_some() && seccomp.import.is_some() {
        one_too_many(seccomp, diagnostics);
    }
    (own.layer(below, denied, checks, diagnostics), abis)
}

impl Written<'_> {
    /// What the table means, on top of what it builds on.
    fn layer(
        &self,
        below: Below,
        denied: Denied,
        checks: &Checks<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Layer {
        self.located(diagnostics, |diagnostics| {
            let seccomp = self.seccomp;
            let rules = seccomp.rule.iter();
            let layer = Layer {
                rules: rules
                    .map(|rule| self::rule(rule.get_ref(), denied, checks, diagnostics))
                    .collect(),
                deny: Names::written(&seccomp.deny),
                allow: Names::written(&seccomp.allow),
                below,
                denied,
            };
            checks.table(seccomp, &layer, diagnostics);
            layer
        })
    }

    /// What it builds on, beside a file.
    fn below(&self, checks: &Checks<'_>, place: &Place, diagnostics: &mut Diagnostics) -> Below {
        let profile = Below::Profile(self.own_profile(diagnostics));
        let Some(import) = &self.seccomp.import else { return profile };
        self.located(diagnostics, |diagnostics| {
            if self.seccomp.profile.is_some() {
                one_too_many(self.seccomp, diagnostics);
            }
            let imported = Imported::read(import, place, checks.architecture, diagnostics);
            imported.map_or(profile, Below::Import)
        })
    }

    /// The profile of ours that it builds on.
    fn own_profile(&self, diagnostics: &mut Diagnostics) -> profile::Profile {
        let Some(written) = &self.seccomp.profile else { return profile::Profile::Default };
        match (written.get_ref(), self.file) {
            (Profile::Strict, _) => profile::Profile::Strict,
            (Profile::Unconfined, _) => profile::Profile::Unconfined,
            (Profile::Default, _) | (Profile::File(_), None) => profile::Profile::Default,
            (Profile::File(_), Some(_)) => self.located(diagnostics, |diagnostics| {
                let message = "a file that is a profile cannot name another one";
                let help = "it can build on \"default\", \"strict\" or \"unconfined\"";
                diagnostics.error(written.span(), message).help(help);
                profile::Profile::Default
            }),
        }
    }

    /// `seccomp.errno`, if it is one.
    fn errno(&self, diagnostics: &mut Diagnostics) -> Option<u16> {
        let name = self.seccomp.errno.as_ref()?;
        self.located(diagnostics, |diagnostics| errno(name, diagnostics))
    }

    /// Has something say what is wrong with the table, where that stands.
    fn located<T>(
        &self,
        diagnostics: &mut Diagnostics,
        judge: impl FnOnce(&mut Diagnostics) -> T,
    ) -> T {
        match self.file {
            None => judge(diagnostics),
            Some(file) => {
                let mut found = Diagnostics::default();
                let judged = judge(&mut found);
                file.report(&found, diagnostics);
                judged
            }
        }
    }
}

/// Refuses two things that want the same place.
fn one_too_many(seccomp: &Seccomp, diagnostics: &mut Diagnostics) {
    if let Some(profile) = &seccomp.profile {
        let message = "what is imported takes the place of a profile: there cannot be both";
        diagnostics.error(profile.span(), message);
    }
}

/// What one of `[[seccomp.rule]]` means.
fn rule(
    written: &CallRule,
    denied: Denied,
    checks: &Checks<'_>,
    diagnostics: &mut Diagnostics,
) -> LayerRule {
    let names = checks::names(&written.call);
    let calls: Vec<&str> = names
        .iter()
        .flat_map(|name| match groups::calls(name.get_ref()) {
            Some(group) => group.iter().copied().collect(),
            None => vec![name.get_ref().as_str()],
        })
        .collect();
    let own = written.errno.as_ref().and_then(|name| errno(name, diagnostics));
    let tests = written
        .args
        .iter()
        .filter_map(|test| conditions::resolve(test, &calls, checks.architecture, diagnostics))
        .collect();
    LayerRule {
        calls: Names::written(&names),
        tests,
        action: layer::action(*written.action.get_ref(), own.map_or(denied.errno, Action::Errno)),
    }
}

/// The number of an error.
fn errno(name: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<u16> {
    let number = tables::errno(name.get_ref());
    if number.is_none() {
        let names = tables::errnos().map(|(_, name)| name);
        let meant = nearest(&name.get_ref().to_uppercase(), names);
        unknown("error number", name.get_ref(), name.span(), meant, diagnostics);
    }
    number
}

impl File {
    /// Reads a file, on this machine; `None` if a diagnostic says why not.
    fn read(named: Spanned<String>, place: &Place, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = match expand(named.get_ref(), place) {
            Ok(path) if place.sysroot.as_os_str() == "/" => text(&place.directory.join(path)),
            // The directory is one of the image.
            Ok(path) => text(&path),
            Err(reason) => Err(io::Error::other(reason)),
        };
        let text = match text {
            Ok(text) => text,
            Err(error) => {
                let message = format!("the profile {} cannot be read: {error}", named.get_ref());
                diagnostics.error(named.span(), message);
                return None;
            }
        };
        let (document, mut found) = parse::toml(&text);
        // What could not be read was said.
        let tables = toml::from_str::<toml::Table>(&text).unwrap_or_default();
        let others =
            tables.keys().filter(|key| !["seccomp", "description"].contains(&key.as_str()));
        for key in others {
            found.error_anywhere(format!("a profile has a [seccomp] alone, and no {key:?}"));
        }
        let file = Self { named, text, document };
        file.report(&found, diagnostics);
        Some(file)
    }

    /// Says of the document what was found in the file.
    fn report(&self, found: &Diagnostics, diagnostics: &mut Diagnostics) {
        for diagnostic in found.iter() {
            let name = self.named.get_ref();
            let message = match &diagnostic.span {
                Some(span) => {
                    let before = self.text.get(..span.start).unwrap_or_default();
                    let line = before.matches('\n').count() + 1;
                    let column = before.chars().rev().take_while(|&each| each != '\n').count() + 1;
                    format!("{name}:{line}:{column}: {}", diagnostic.message)
                }
                None => format!("{name}: {}", diagnostic.message),
            };
            let said = match diagnostic.severity {
                Severity::Error => diagnostics.error(self.named.span(), message),
                Severity::Warning => diagnostics.warning(self.named.span(), message),
                Severity::Note => diagnostics.note(self.named.span(), message),
            };
            said.help = diagnostic.help.clone();
        }
    }
}

/// The text of a regular file.
fn text(path: &std::path::Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut text = String::new();
    let read = fs::File::open(path)?.take(MAX_TEXT + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_TEXT {
        return Err(io::Error::other("it is longer than any profile"));
    }
    Ok(text)
}
