//! What is wrong with a `[seccomp]`, and what is legal but probably not meant.

use launcher_policy::wire::Architecture;
use linux_raw_sys::general::CLONE_NEWNET;

use super::import::Imported;
use super::layer::{self, Below, Layer, LayerRule};
use super::reach::Reach;
use super::rules::{Action, Condition};
use super::simulate::Simulator;
use super::{Facts, Sockets, groups, implied, tables, unknown};
use crate::Spanned;
use crate::diagnostic::Diagnostics;
use crate::document::{Calls, Denial, Document, Seccomp, Terminal, Verdict};
use crate::parse::nearest;

/// System calls that cannot be denied, and what would fail without them: the
/// filter is installed before the command is run and before a failure to run
/// it is reported.
pub(super) const REQUIRED: [(&str, &str); 5] = [
    ("execve", "the launcher could not run the command"),
    ("write", "the launcher could not report that it failed"),
    ("exit_group", "neither the launcher nor the command could end"),
    ("exit", "no thread could end"),
    ("rt_sigreturn", "no program could go on after a signal"),
];

/// A system call that may fail, but must not end the process: by it the
/// launcher asks whether somebody reads what it reports.
pub(super) const ASKED: (&str, &str) =
    ("ppoll", "the launcher would be killed before it has reported that it failed");

/// System calls that a filter with a supervisor can neither deny nor ask about,
/// whatever their arguments: the launcher makes them when the filter is in force
/// and the supervisor has not heard of it.
pub(super) const HANDED_OVER_BY: [(&str, &str); 2] = [
    ("write", "the launcher tells by it that there is something to supervise"),
    ("wait4", "the launcher waits by it until the supervisor was told"),
];

/// What is known beside the table itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checks<'f> {
    pub(super) architecture: Architecture,
    pub(super) facts: &'f Facts,
    /// Whether there is no launch without the namespaces.
    pub(super) is_required: bool,
}

impl Checks<'_> {
    /// Judges a table and what was made of it.
    pub(super) fn table(&self, seccomp: &Seccomp, layer: &Layer, diagnostics: &mut Diagnostics) {
        for name in seccomp.deny.iter().chain(&seccomp.allow) {
            self.name(name, diagnostics);
        }
        let denial = seccomp.action.as_ref();
        let ends =
            denial.is_some_and(|denial| matches!(denial.get_ref(), Denial::Kill | Denial::Trap));
        for name in &seccomp.deny {
            required(name, ends, diagnostics);
        }
        for name in &seccomp.allow {
            self.allowed(name, layer, diagnostics);
        }
        for (written, rule) in seccomp.rule.iter().zip(&layer.rules) {
            let written = written.get_ref();
            // What could not be read is not judged for what is missing.
            let is_whole = rule.tests.len() == written.args.len();
            for name in names(&written.call) {
                self.name(&name, diagnostics);
                if is_whole {
                    self.rule(&name, rule, diagnostics);
                }
            }
            let errno = written.errno.as_ref();
            if let Some(errno) = errno.filter(|_| *written.action.get_ref() != Verdict::Errno) {
                let message = "\"errno\" has no meaning for this \"action\"";
                diagnostics.error(errno.span(), message);
            }
        }
    }

    /// Refuses an import under which the launcher could not do its last steps.
    pub(super) fn imported(
        &self,
        import: &Spanned<String>,
        filter: &[u8],
        diagnostics: &mut Diagnostics,
    ) {
        // The filter was validated.
        let Ok(filter) = Simulator::new(filter) else { return };
        let reach = |name| {
            let number = tables::number(self.architecture, name)?;
            Some(Reach::of(&filter, tables::audit(self.architecture), number))
        };
        for (name, why) in REQUIRED {
            if reach(name).is_some_and(|reach| !reach.may_allow()) {
                let message = format!("what is imported denies {name}: {why}");
                diagnostics.error(import.span(), message);
            }
        }
        let (name, why) = ASKED;
        if reach(name).is_some_and(|reach| !reach.may_go_on()) {
            let message = format!("what is imported kills whoever calls {name}: {why}");
            diagnostics.error(import.span(), message);
        }
    }

    /// Refuses a filter that asks a supervisor, but would keep the launcher from
    /// telling it.
    pub(super) fn supervised(&self, filter: &[u8], diagnostics: &mut Diagnostics) {
        // The filter was validated.
        let Ok(filter) = Simulator::new(filter) else { return };
        for (name, why) in HANDED_OVER_BY {
            let number = tables::number(self.architecture, name);
            let reach = |number| Reach::of(&filter, tables::audit(self.architecture), number);
            if number.is_some_and(|number| !reach(number).always_allows()) {
                let message = format!("with \"notify\" {name} must be open: {why}");
                diagnostics.error_anywhere(message);
            }
        }
    }

    /// Refuses names that no architecture has. A name that only another one
    /// has is none to complain of: one policy serves many.
    fn name(&self, name: &Spanned<String>, diagnostics: &mut Diagnostics) {
        let written = name.get_ref().as_str();
        if written.starts_with('@') {
            if groups::calls(written).is_none() {
                let names = groups::GROUPS.iter().map(|group| group.name);
                let meant = nearest(&written.to_lowercase(), names);
                unknown("group", written, name.span(), meant, diagnostics);
            }
        } else if !tables::exists(written) {
            let names = tables::calls(self.architecture).map(|(_, name)| name);
            let meant = nearest(&written.to_lowercase(), names);
            unknown("system call", written, name.span(), meant, diagnostics);
        }
    }

    /// Says where `seccomp.allow` does not do what it seems to, or more.
    fn allowed(&self, name: &Spanned<String>, layer: &Layer, diagnostics: &mut Diagnostics) {
        let written = name.get_ref().as_str();
        if layer.deny.has(written) {
            let message = format!("{written} is both allowed and denied; it is denied");
            diagnostics.warning(name.span(), message);
            return;
        }
        let guarantee = implied::guarantee(written, self.facts, Action::KillProcess);
        match guarantee.filter(|guarantee| !guarantee.call.otherwise.is_allowed()) {
            Some(guarantee) => {
                let message = format!("allowing {written} opens nothing: {} decides", guarantee.by);
                diagnostics.warning(name.span(), message);
            }
            None => self.way_around(name, diagnostics),
        }
        let decides = matches!(layer.below, Below::Import(Imported::Filter(_)));
        if decides
            && !layer::is_opened_by_name_only(written, self.facts)
            && written != "clone3"
            && implied::guarantee(written, self.facts, Action::KillProcess).is_none()
        {
            let message = format!("allowing {written} opens nothing: the imported filter decides");
            diagnostics.warning(name.span(), message);
        }
    }

    /// Judges a rule about one of the names it is written with.
    fn rule(&self, name: &Spanned<String>, rule: &LayerRule, diagnostics: &mut Diagnostics) {
        let written = name.get_ref().as_str();
        if !rule.action.may_be_made() {
            let ends = matches!(rule.action, Action::KillProcess | Action::Trap);
            required(name, ends, diagnostics);
            return;
        }
        self.way_around(name, diagnostics);
        let guarantee = implied::guarantee(written, self.facts, Action::KillProcess);
        let conditions: Vec<_> = rule.tests.iter().map(|test| test.condition(written)).collect();
        let refused = guarantee.filter(|guarantee| {
            samples(&conditions).any(|sample| !guarantee.call.decide(&sample).may_be_made())
        });
        if let Some(guarantee) = refused {
            let message = format!(
                "what this rule allows of {written} is not all open: {} decides",
                guarantee.by
            );
            diagnostics.warning(name.span(), message);
        }
    }

    /// Whether sockets are of every family, be there namespaces or not.
    fn is_open_everywhere(&self) -> bool {
        let without = self.facts.falls_back.then(|| self.facts.without_namespaces());
        [Some(*self.facts), without]
            .into_iter()
            .flatten()
            .all(|facts| facts.sockets == Sockets::Open)
    }

    /// A ring is a way around everything that the filter says of sockets, so
    /// what the policy says of them must be kept by a namespace alone; and
    /// socketcall(2) makes sockets of families that no namespace keeps.
    fn way_around(&self, name: &Spanned<String>, diagnostics: &mut Diagnostics) {
        let written = name.get_ref().as_str();
        let facts = self.facts;
        let is_open = implied::opens_every_family(facts);
        let namespaced = facts.namespaces & CLONE_NEWNET != 0;
        if written == "socketcall" && is_open
            || implied::IO_URING.contains(&written)
                && facts.unix
                && (self.is_open_everywhere() || namespaced && self.is_required)
        {
            let message = format!("{written} opens sockets of every family, among them vsock");
            diagnostics.warning(name.span(), message);
        } else if implied::IO_URING.contains(&written) {
            let message = format!("{written} cannot be allowed while [network] limits sockets");
            let diagnostic = diagnostics.error(name.span(), message);
            if facts.unix && namespaced {
                let help = "enforce.namespaces = \"require\" makes sure of the network namespace";
                diagnostic.help(help);
            } else {
                diagnostic.help("io_uring makes sockets that no filter sees (IORING_OP_SOCKET)");
            }
        }
    }
}

/// Refuses a filter under which the launcher could not do its last steps.
fn required(name: &Spanned<String>, ends: bool, diagnostics: &mut Diagnostics) {
    let written = name.get_ref();
    let names = layer::Names::of([written.as_str()]);
    let asked = ends.then_some(&ASKED);
    if let Some((call, why)) = REQUIRED.iter().chain(asked).find(|(call, _)| names.has(call)) {
        let message = match call == written {
            true => format!("{call} cannot be denied: {why}"),
            false => format!("{written} cannot be denied, it has {call}: {why}"),
        };
        let diagnostic = diagnostics.error(name.span(), message);
        if *call == ASKED.0 {
            diagnostic.help("it can be denied by an error number: action = \"errno\"");
        }
    }
}

/// The names that a rule is written with, and where.
pub(super) fn names(calls: &Spanned<Calls>) -> Vec<Spanned<String>> {
    match calls.get_ref() {
        Calls::One(name) => vec![Spanned::new(calls.span(), name.clone())],
        Calls::Several(names) => names.clone(),
    }
}

/// Arguments under which the conditions hold, as far as a few tries find any.
fn samples(conditions: &[Condition]) -> impl Iterator<Item = [u64; 6]> {
    let tried = conditions.iter().flat_map(|condition| {
        condition
            .comparison
            .values()
            .flat_map(|value| [value, value.wrapping_add(1), value.wrapping_sub(1), 0])
            .map(move |value| (condition.argument, value))
    });
    // Each value in its place, among the first of the other conditions.
    let mut first = [0; 6];
    for condition in conditions {
        if let Some(value) = condition.comparison.values().next() {
            first[condition.argument as usize] = value;
        }
    }
    std::iter::once(first)
        .chain(tried.map(move |(argument, value)| {
            let mut arguments = first;
            arguments[argument as usize] = value;
            arguments
        }))
        .filter(move |arguments| conditions.iter().all(|condition| condition.holds(arguments)))
}

/// Refuses to keep the caller's terminal where its input is open to the
/// command.
pub(super) fn keep_terminal(document: &Document, is_safe: bool, diagnostics: &mut Diagnostics) {
    let terminal = document.process.terminal.as_ref();
    let Some(keep) = terminal.filter(|terminal| *terminal.get_ref() == Terminal::Keep) else {
        return;
    };
    if !is_safe {
        let message = "the terminal cannot be kept: nothing closes TIOCSTI and TIOCLINUX";
        let help = "the filter does, unless enforce.seccomp is \"off\"";
        diagnostics.error(keep.span(), message).help(help);
    }
}
