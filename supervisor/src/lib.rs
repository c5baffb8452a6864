//! Decides about system calls of a command while it runs: seccomp_unotify(2).
//!
//! A policy with `action = "notify"` has the kernel ask about some calls. Who is
//! asked holds the filter's [`Listener`], which the launcher sends before the
//! command begins.

mod handover;
mod listener;

pub use handover::Handover;
pub use listener::{Answer, Listener, Notification};
