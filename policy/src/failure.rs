//! The first call of a launch that failed.

use crate::Stage;

/// What ended a launch. No later stage ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    /// The stage in which it happened.
    pub stage: Stage,
    /// The system call, or the rule of the launcher, that refused.
    pub call: &'static str,
    /// Why.
    pub reason: Reason<'a>,
    /// The path concerned.
    pub path: Option<&'a [u8]>,
    /// What the reader can do about it.
    pub hint: Option<&'a str>,
}

/// Why a launch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason<'a> {
    /// The kernel's error number, errno(3).
    Errno(i32),
    /// The launcher's own refusal, in words.
    Refused(&'a str),
}

impl<'a> Failure<'a> {
    /// The launcher's own refusal.
    pub const fn refused(stage: Stage, call: &'static str, why: &'a str) -> Self {
        Self { stage, call, reason: Reason::Refused(why), path: None, hint: None }
    }

    /// A system call's error.
    pub const fn errno(stage: Stage, call: &'static str, errno: i32) -> Self {
        Self { stage, call, reason: Reason::Errno(errno), path: None, hint: None }
    }

    /// The same failure, with the path it is about.
    #[must_use]
    pub const fn at(mut self, path: &'a [u8]) -> Self {
        self.path = Some(path);
        self
    }

    /// The same failure, with a remedy.
    #[must_use]
    pub const fn hint(mut self, hint: &'a str) -> Self {
        self.hint = Some(hint);
        self
    }
}
