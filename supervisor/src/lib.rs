//! Decides about system calls of a command while it runs: seccomp_unotify(2).
//!
//! A policy with `action = "notify"` has the kernel ask about some calls. Who is
//! asked holds the filter's [`Listener`], which the launcher sends before the
//! command begins. A [`Supervisor`] asks a function about each of them; what it
//! can decide, and how firmly, is in `docs/supervisor.md`.

mod address;
#[cfg(test)]
mod alone;
mod attributes;
mod audit;
mod calls;
mod changes;
mod confined;
mod context;
mod decision;
mod event;
mod files;
mod handover;
mod limits;
mod lineage;
mod listener;
mod looks;
mod memory;
mod message;
mod namespace;
mod network;
mod notifications;
mod objects;
mod paths;
mod remote;
mod rules;
mod running;
mod socket;
mod supervisor;
mod sys;
mod target;
mod tree;
mod waiting;
pub mod watch;
mod worker;

pub use calls::SUPERVISED;
pub use context::{PolicyContext, Restricted};
pub use decision::Verdict;
pub use event::{Category, Firmness, Protocol, SyscallEvent};
pub use handover::Handover;
pub use limits::{Hosts, Limits};
pub use listener::{Answer, Listener, Notification};
pub use supervisor::Supervisor;
