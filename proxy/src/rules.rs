//! The policy's rules, beside the bytes that they are borrowed from.

use std::io;

use launcher_policy::namespaces::Listener;
use launcher_policy::proxy::Proxy;
use launcher_policy::wire;

self_cell::self_cell! {
    /// What is let through.
    pub(crate) struct Rules {
        owner: Vec<u8>,
        #[covariant]
        dependent: Proxy,
    }
}

impl Rules {
    /// Those of an encoded policy, and its sockets.
    ///
    /// # Errors
    ///
    /// Where it is no policy, or has no proxy.
    pub(crate) fn of(policy: Vec<u8>) -> io::Result<(Self, Vec<Listener>)> {
        let mut listeners = Vec::new();
        let rules = Self::try_new(policy, |bytes| {
            let policy = wire::decode(bytes).map_err(|error| io::Error::other(error.message()))?;
            listeners.extend(policy.namespaces.into_iter().flat_map(|all| all.listeners.iter()));
            policy.proxy.ok_or_else(|| io::Error::other("the policy has no proxy"))
        })?;
        Ok((rules, listeners))
    }

    pub(crate) fn get(&self) -> &Proxy<'_> {
        self.borrow_dependent()
    }
}
