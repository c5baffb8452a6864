//! Policies whose filter tells a watcher what is called: for `trace`, which
//! decides as the policy does, and for `learn`, which refuses nothing.

use launcher_policy::enforce::{Enforce, Mode};
use launcher_policy::exec::Exec;
use launcher_policy::limits::Limits;
use launcher_policy::seccomp::{LISTENER_FLAGS, Seccomp};
use launcher_policy::wire::{self, Architecture, DecodeError, MAX_FRAME};
use launcher_policy::{List, Policy};

use crate::digest;
use crate::seccomp::watched::{Refusals, Unwatchable, open, watched};

/// A policy that decides as another one and has a watcher told.
///
/// # Errors
///
/// Why that cannot be.
pub fn tracing(
    policy: &Policy<'_>,
    architecture: Architecture,
    calls: &[&str],
) -> Result<Vec<u8>, Unwatchable> {
    let open = open();
    let plain = policy.seccomp.unwrap_or(Seccomp {
        filter: &open,
        without_namespaces: &[],
        flags: 0,
        terminal_is_safe: false,
    });
    if plain.asks() {
        return Err(Unwatchable::Asks);
    }
    let made = |filter: &[u8]| watched(filter, architecture, calls, Refusals::Errors);
    let filter = made(plain.filter)?;
    let without = match plain.without_namespaces {
        [] => Vec::new(),
        filter => made(filter)?,
    };
    let flags = plain.flags | LISTENER_FLAGS;
    let seccomp = Seccomp { filter: &filter, without_namespaces: &without, flags, ..plain };
    frame(&Policy { seccomp: Some(seccomp), ..*policy }, architecture)
}

/// A policy that confines nothing, with the filter of another one to be told
/// which calls that would refuse.
///
/// # Errors
///
/// Why that cannot be.
pub fn learning(
    policy: &Policy<'_>,
    architecture: Architecture,
    calls: &[&str],
) -> Result<Vec<u8>, Unwatchable> {
    let open = open();
    let plain = policy.seccomp.map_or(open.as_slice(), |seccomp| seccomp.filter);
    let filter = watched(plain, architecture, calls, Refusals::All)?;
    let seccomp = Seccomp {
        filter: &filter,
        without_namespaces: &[],
        flags: LISTENER_FLAGS,
        terminal_is_safe: policy.seccomp.is_some_and(|seccomp| seccomp.terminal_is_safe),
    };
    let enforce = Enforce {
        namespaces: Mode::Off,
        landlock: Mode::Off,
        limits: Mode::Prefer,
        guarantees: List::EMPTY,
        offers: List::EMPTY,
    };
    let learning = Policy {
        enforce,
        namespaces: None,
        mounts: None,
        limits: Limits::default(),
        landlock: None,
        seccomp: Some(seccomp),
        exec: Exec { cwd: launcher_policy::exec::Cwd::Launch, ..policy.exec },
        ..*policy
    };
    frame(&learning, architecture)
}

fn frame(policy: &Policy<'_>, architecture: Architecture) -> Result<Vec<u8>, Unwatchable> {
    let mut buffer = vec![0; MAX_FRAME];
    let frame = wire::encode(policy, architecture, digest::sha256, &mut buffer);
    frame.map(<[u8]>::to_vec).map_err(|error| match error {
        DecodeError::Filter(error) => Unwatchable::Invalid(error),
        _ => Unwatchable::Long,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Diagnostics;
    use crate::tests::document;
    use crate::{Place, encode};

    const NATIVE: Architecture = Architecture::NATIVE;

    fn bytes(text: &str) -> Vec<u8> {
        let place = Place { sysroot: "/".into(), directory: "/usr".into(), variables: [].into() };
        let mut diagnostics = Diagnostics::default();
        let bytes = encode(&document(text), &place, NATIVE, &mut diagnostics);
        bytes.unwrap_or_else(|| panic!("{diagnostics:?}"))
    }

    #[test]
    fn a_policy_that_is_traced_is_the_same_but_for_what_it_tells() {
        let policies = [
            "filesystem.root = 'minimal'\nlimits.memory = '1G'",
            "filesystem.root = 'minimal'\nenforce = { seccomp = 'off', waive = ['udp'] }",
            "filesystem = { root = 'minimal', tmp = 'none', proc = false }\n\
             network.unix = 'host'\nenforce.waive = ['execute']",
        ];
        for text in policies {
            let plain = bytes(text);
            let plain = wire::decode(&plain).expect("it decodes");
            let traced = tracing(&plain, NATIVE, &["openat"]).expect("it can be traced");
            let traced = wire::decode(&traced).expect("it decodes");
            assert!(traced.seccomp.is_some_and(|seccomp| seccomp.asks()));
            assert_eq!(Policy { seccomp: None, ..traced }, Policy { seccomp: None, ..plain });
        }
    }

    #[test]
    fn a_policy_that_asks_a_supervisor_is_not_traced() {
        let asks = bytes("seccomp.rule = [{ call = 'getppid', action = 'notify' }]");
        let asks = wire::decode(&asks).expect("it decodes");
        assert_eq!(tracing(&asks, NATIVE, &["openat"]), Err(Unwatchable::Asks));
    }

    #[test]
    fn who_is_learnt_from_is_confined_by_nothing() {
        let plain = bytes("filesystem.root = 'minimal'\nlimits.memory = '1G'");
        let plain = wire::decode(&plain).expect("it decodes");
        let learning = learning(&plain, NATIVE, &["openat"]).expect("it can be watched");
        let learning = wire::decode(&learning).expect("it decodes");
        assert!(learning.namespaces.is_none() && learning.landlock.is_none());
        assert!(learning.mounts.is_none() && learning.enforce.guarantees.is_empty());
        assert_eq!(learning.limits, Limits::default());
    }
}
