//! One `[seccomp]` table, with its names looked up and its numbers known.
//!
//! A layer decides by its rules, then `deny`, then `allow`, and leaves the
//! rest to what lies below: a file that is its profile, which is a layer, or
//! a profile of ours, with what the other tables of the document close.

use std::collections::HashSet;

use linux_raw_sys::errno::EPERM;

use super::import::Imported;
use super::rules::{Action, Call, Rule};
use super::{Facts, conditions, groups, implied, profile};
use crate::Spanned;
use crate::document::{Denial, Verdict};
use conditions::Test;

/// What the author says of system calls.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) rules: Vec<LayerRule>,
    pub(super) deny: Names,
    pub(super) allow: Names,
    pub(super) below: Below,
    pub(super) denied: Denied,
}

/// What decides where a layer says nothing.
#[derive(Debug)]
pub(super) enum Below {
    /// One of our profiles.
    Profile(profile::Profile),
    /// What was imported in the place of a profile.
    Import(Imported),
    /// The file that is named for a profile.
    Layer(Box<Layer>),
}

/// What happens to what is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Denied {
    /// By the author or a profile.
    pub(super) chosen: Action,
    /// By another table, which a log entry does not satisfy.
    pub(super) guaranteed: Action,
    /// By a rule that says no error number of its own.
    pub(super) errno: Action,
}

/// One of `[[seccomp.rule]]`.
#[derive(Debug)]
pub(super) struct LayerRule {
    pub(super) calls: Names,
    pub(super) tests: Vec<Test>,
    pub(super) action: Action,
}

/// A list of system calls and groups.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: HashSet<String>,
    groups: Vec<&'static HashSet<&'static str>>,
}

impl Names {
    /// Those of a list that exist; groups that do not are left out.
    pub(super) fn of<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut all = Self::default();
        for name in names {
            all.groups.extend(groups::calls(name));
            all.names.insert(name.to_owned());
        }
        all
    }

    /// Those of a list of the document.
    pub(super) fn written(list: &[Spanned<String>]) -> Self {
        Self::of(list.iter().map(|name| name.get_ref().as_str()))
    }

    /// Whether it has this call, by itself or in a group.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names(name) || self.groups.iter().any(|group| group.contains(name))
    }

    /// Whether it has this call, or group, by itself.
    pub(super) fn names(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}

impl Denied {
    /// What the words of the document mean.
    pub(super) fn of(denial: Denial, errno: Option<u16>) -> Self {
        let errno = Action::Errno(errno.unwrap_or(EPERM as u16));
        let chosen = action(denial.into(), errno);
        let guaranteed = if chosen.may_be_made() { errno } else { chosen };
        Self { chosen, guaranteed, errno }
    }
}

/// What a word of the document means.
pub(super) const fn action(verdict: Verdict, errno: Action) -> Action {
    match verdict {
        Verdict::Allow => Action::Allow,
        Verdict::Errno => errno,
        Verdict::Kill => Action::KillProcess,
        Verdict::Log => Action::Log,
        Verdict::Trap => Action::Trap,
        Verdict::Notify => Action::Notify,
    }
}

impl Layer {
    /// Decides about one system call, under what the other tables guarantee.
    pub(super) fn call(&self, name: &str, facts: &Facts) -> Call {
        let call = self.decide(name, facts, false);
        match implied::guarantee(name, facts, self.denied.guaranteed) {
            Some(guarantee) => call.within(&guarantee.call),
            None => call,
        }
    }

    /// The same without those; `opened` says whether a group that is allowed
    /// above has the call.
    fn decide(&self, name: &str, facts: &Facts, opened: bool) -> Call {
        let mut rules: Vec<Rule> = Vec::new();
        for rule in self.rules.iter().filter(|rule| rule.applies(name, facts)) {
            if rule.tests.is_empty() {
                return Call { rules, otherwise: rule.action };
            }
            let conditions = rule.tests.iter().map(|test| test.condition(name)).collect();
            rules.push(Rule { conditions, action: rule.action });
        }
        let rest = self.rest(name, facts, opened);
        rules.extend(rest.rules);
        Call { rules, otherwise: rest.otherwise }
    }

    /// What is decided where no rule matches.
    fn rest(&self, name: &str, facts: &Facts, opened: bool) -> Call {
        let denied = self.denied;
        if self.deny.has(name) {
            return profile::closed(name, denied.chosen);
        }
        if self.allow.names(name) {
            return Call::always(Action::Allow);
        }
        let opened = opened || self.allow.has(name);
        let call = match &self.below {
            Below::Layer(layer) => return layer.decide(name, facts, opened),
            Below::Profile(own) => profile::call(*own, name, opened, denied.chosen),
            // Whatever was imported says of clone(2)'s flags would be passed.
            Below::Import(_) if name == "clone3" => profile::closed(name, denied.chosen),
            Below::Import(imported) => imported.call(name, opened),
        };
        match implied::call(name, facts, denied.guaranteed) {
            Some(closure) => call.within(&closure),
            None => call,
        }
    }

    /// Whether the author opens a system call by its name, under some
    /// condition at least.
    pub(super) fn opens(&self, name: &str, facts: &Facts) -> bool {
        let rule = |rule: &LayerRule| rule.action.may_be_made() && rule.applies(name, facts);
        let is_below = || match &self.below {
            Below::Layer(layer) => layer.opens(name, facts),
            Below::Profile(_) | Below::Import(_) => false,
        };
        self.rules.iter().any(rule)
            || !self.deny.has(name) && (self.allow.names(name) || is_below())
    }

    /// What was imported, by this layer or below.
    pub(super) fn imported(&self) -> Option<&Imported> {
        match &self.below {
            Below::Layer(layer) => layer.imported(),
            Below::Import(imported) => Some(imported),
            Below::Profile(_) => None,
        }
    }
}

impl LayerRule {
    /// Whether the rule is about a system call. What is open only to those
    /// who name it is not opened by a group.
    fn applies(&self, name: &str, facts: &Facts) -> bool {
        self.calls.names(name)
            || self.calls.has(name)
                && !(self.action.may_be_made() && is_opened_by_name_only(name, facts))
    }
}

/// Whether a system call opens, or opens altogether, only to those who name
/// it: those that profiles judge by their arguments, and those that another
/// table closes.
pub(super) fn is_opened_by_name_only(name: &str, facts: &Facts) -> bool {
    profile::is_judged(name) || implied::call(name, facts, Action::KillProcess).is_some()
}
