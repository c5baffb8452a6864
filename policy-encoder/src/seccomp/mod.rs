//! The seccomp filter: `[seccomp]`, and what other tables ask of it.
//!
//! About each system call decide, in this order: `[[seccomp.rule]]`;
//! `seccomp.deny`; `seccomp.allow`; the profile, or what was imported in its
//! place. None of them opens what the other tables guarantee. Before all of them, a call of a table that is not
//! open kills the process, and a number without a name gets `ENOSYS`.

mod checks;
mod compile;
mod conditions;
pub mod constants;
pub mod export;
mod file;
pub mod groups;
mod implied;
pub mod import;
mod layer;
pub mod profile;
mod program;
pub mod reach;
pub mod rules;
pub(crate) mod shared;
pub mod simulate;
pub mod tables;
pub mod watched;
pub mod widths;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use launcher_policy::seccomp::{
    INSTRUCTION_SIZE, Instruction, LISTENER_FLAGS, MAX_INSTRUCTIONS, op, validate,
};
use launcher_policy::wire::Architecture;
use linux_raw_sys::general::{CLONE_NEWIPC, CLONE_NEWNET};
use linux_raw_sys::ptrace::{SECCOMP_RET_ACTION_FULL, SECCOMP_RET_USER_NOTIF};

pub use compile::compile;
pub use program::Optimize;

use crate::Place;
use crate::diagnostic::Diagnostics;
use crate::document::{Document, Mode};
use import::Imported;
use layer::Layer;
use rules::{Call, Data, Rules};
use tables::Abi;

/// What other tables of the document ask of the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The sockets of IPv4 and IPv6 that can be made.
    pub sockets: Sockets,
    /// Whether socket(2) makes UNIX sockets; socketpair(2) always does.
    pub unix: bool,
    /// Whether it makes them only beside a mount namespace.
    pub unix_needs_mounts: bool,
    /// Whether the death signal is what ends the command with its caller, so
    /// that the command must not clear it.
    pub pdeathsig_relied_on: bool,
    /// The namespaces of the launch: `CLONE_NEW*`.
    pub namespaces: u32,
    /// Whether the launch goes on where they cannot be made, with a filter of
    /// its own.
    pub falls_back: bool,
    /// Whether a supervisor makes the connections where there is no network
    /// namespace.
    pub supervised: bool,
    /// Whether the author has the command share the host's IPC namespace.
    pub shares_ipc: bool,
    /// Whether the command may write something somewhere and run it.
    pub writable_is_executable: bool,
}

impl Facts {
    /// Whether the command is to be kept from what it shares with the host
    /// for want of this namespace.
    fn shares(&self, namespace: u32) -> bool {
        let is_wish = self.shares_ipc && namespace == CLONE_NEWIPC;
        self.namespaces & namespace == 0 && !is_wish
    }

    /// The same launch where no namespace can be made.
    const fn without_namespaces(self) -> Self {
        // A network of its own is none without its namespace.
        let sockets = match (self.namespaces & CLONE_NEWNET, self.supervised) {
            (0, _) => self.sockets,
            (_, true) => Sockets::Supervised,
            (_, false) => Sockets::None,
        };
        let unix = self.unix && !self.unix_needs_mounts;
        Self { namespaces: 0, sockets, unix, ..self }
    }
}

/// The sockets of IPv4 and IPv6 that can be made. Those of other families,
/// but UNIX and `NETLINK_ROUTE`, never can: vsock ignores network namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// None.
    None,
    /// Those whose ports Landlock limits: TCP alone, and connect(2) as the
    /// only way to connect.
    Tcp {
        /// Whether UDP, which is not limited, is there as well.
        udp: bool,
    },
    /// TCP alone. A supervisor makes every connection, and nothing is served.
    Supervised,
    /// All but raw ones.
    Open,
}

impl Sockets {
    /// Whether connect(2) is the only way to connect.
    const fn are_plain(self) -> bool {
        matches!(self, Self::Tcp { .. } | Self::Supervised)
    }
}

/// A filter, compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// Instructions as the kernel takes them; valid.
    pub filter: Vec<u8>,
    /// The filter where the namespaces cannot be made; empty if that is the
    /// same, or if there is no launch then.
    pub without_namespaces: Vec<u8>,
    /// Flags of `SECCOMP_SET_MODE_FILTER`.
    pub flags: u32,
    /// Whether the filter closes `TIOCSTI` and `TIOCLINUX`.
    pub terminal_is_safe: bool,
    /// What would be closed for want of a namespace but for the author.
    pub opened: Vec<Opened>,
}

/// A system call that is closed where a namespace is shared, unless the author
/// opens it by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The namespace: one of `CLONE_NEW*`.
    pub namespace: u32,
    /// The system call.
    pub call: &'static str,
}

/// Compiles the filter of a document, or `None` if it has none
/// (`enforce.seccomp = "off"`) or if a diagnostic says what is wrong.
pub fn resolve(
    document: &Document,
    architecture: Architecture,
    facts: &Facts,
    place: &Place,
    optimize: Optimize,
    diagnostics: &mut Diagnostics,
) -> Option<Compiled> {
    let off = document.enforce.seccomp.as_ref().is_some_and(|mode| *mode.get_ref() == Mode::Off);
    if off {
        checks::keep_terminal(document, false, diagnostics);
        return None;
    }
    let mode = document.enforce.namespaces.as_ref().map(|mode| *mode.get_ref());
    let checks = checks::Checks { architecture, facts, is_required: mode == Some(Mode::Require) };
    let (layer, abis) = file::resolve(&document.seccomp, &checks, place, diagnostics);
    let rules = |facts: &Facts| rules(&layer, architecture, &abis, facts);
    let with = rules(facts);
    let terminal_is_safe = closes_terminal_input(&with);
    checks::keep_terminal(document, terminal_is_safe, diagnostics);
    let imported = layer.imported();
    let filter = bytes(&with, imported, optimize, diagnostics)?;
    if let Some(import) = &document.seccomp.import {
        checks.imported(import, &filter, diagnostics);
    }
    let without_namespaces = if facts.falls_back {
        bytes(&rules(&facts.without_namespaces()), imported, optimize, diagnostics)?
    } else {
        Vec::new()
    };
    if facts.falls_back && facts.supervised && asks(&filter) {
        let message = "\"notify\" asks a supervisor, and so does network.without_namespace";
        diagnostics
            .error_anywhere(message)
            .help("one command has one supervisor: leave one of them out");
    }
    let asks = [&filter, &without_namespaces].into_iter().any(|filter| asks(filter));
    if asks {
        checks.supervised(&filter, diagnostics);
    }
    let differs = without_namespaces != filter;
    Some(Compiled {
        filter,
        without_namespaces: if differs { without_namespaces } else { Vec::new() },
        flags: imported.map_or(0, Imported::flags) | if asks { LISTENER_FLAGS } else { 0 },
        terminal_is_safe,
        opened: shared::governed()
            .filter(|opened| layer.opens(opened.call, &facts.without_namespaces()))
            .collect(),
    })
}

/// Whether a filter may ask a supervisor.
fn asks(filter: &[u8]) -> bool {
    let (instructions, _) = filter.as_chunks::<INSTRUCTION_SIZE>();
    instructions.iter().map(|bytes| Instruction::from_bytes(*bytes)).any(|instruction| {
        let action = instruction.k & SECCOMP_RET_ACTION_FULL;
        instruction.code == op::RETURN && action == SECCOMP_RET_USER_NOTIF
    })
}

/// Compiles rules to a filter that the kernel accepts.
fn bytes(
    rules: &Rules,
    imported: Option<&Imported>,
    optimize: Optimize,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<u8>> {
    let mut instructions = compile(rules);
    if let Some(Imported::Filter(imported)) = imported {
        instructions = program::stack(&instructions, imported);
    }
    optimize.apply(&mut instructions);
    let count = instructions.len();
    if count > MAX_INSTRUCTIONS {
        let message =
            format!("the filter has {count} instructions, the kernel takes {MAX_INSTRUCTIONS}");
        let help = "every condition of seccomp.rule takes one or more for each call and table";
        diagnostics.error_anywhere(message).help(help);
        return None;
    }
    let filter: Vec<u8> = instructions.iter().flat_map(|each| each.to_bytes()).collect();
    match validate(&filter) {
        Ok(()) => Some(filter),
        Err(error) => {
            diagnostics.error_anywhere(error.refusal().name());
            None
        }
    }
}

/// Decides about every system call of the architecture, and of the tables
/// that are open beside its own.
fn rules(layer: &Layer, architecture: Architecture, abis: &BTreeSet<Abi>, facts: &Facts) -> Rules {
    let decide = |name| layer.call(name, facts);
    let calls = tables::calls(architecture).map(|(number, name)| (number, decide(name))).collect();
    let others = abis.iter().filter(|abi| abi.host() == architecture).map(|&abi| {
        let calls = abi.calls().into_iter();
        let calls: BTreeMap<u32, Call> = match abi {
            Abi::X32 => calls.map(|(number, name)| (number, decide(name))).collect(),
            Abi::I386 | Abi::Arm => {
                calls.map(|(number, name)| (number, decide(name).narrowed())).collect()
            }
        };
        (abi, calls)
    });
    Rules { architecture, calls, others: others.collect() }
}

/// Whether no request that types into a terminal passes, whatever the bits
/// that the kernel ignores.
fn closes_terminal_input(rules: &Rules) -> bool {
    let own = (tables::audit(rules.architecture), tables::number(rules.architecture, "ioctl"));
    let others = rules.others.keys().map(|abi| (abi.audit(), abi.number("ioctl")));
    let closed = |(architecture, number): (u32, Option<u32>), request| {
        let Some(number) = number else { return true };
        let arguments = [0, request, 0, 0, 0, 0];
        let data = Data { number, architecture, instruction_pointer: 0, arguments };
        !rules.decide(&data).may_be_made()
    };
    std::iter::once(own).chain(others).all(|table| {
        implied::TERMINAL_INPUT
            .iter()
            .map(|&request| u64::from(request))
            .all(|request| closed(table, request) && closed(table, request | !u64::from(u32::MAX)))
    })
}

/// Complains of an unknown name.
fn unknown(
    what: &str,
    name: &str,
    span: Range<usize>,
    meant: Option<&str>,
    diagnostics: &mut Diagnostics,
) {
    let diagnostic = diagnostics.error(span, format!("unknown {what} {name:?}"));
    if let Some(meant) = meant {
        diagnostic.help(format!("did you mean {meant:?}?"));
    }
}
