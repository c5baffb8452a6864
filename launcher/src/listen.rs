//! The sockets by which a command reaches a proxy: they listen in its network
//! namespace, and are accepted on outside.
//!
//! They are handed over before the command begins. Nobody inside holds them,
//! so nobody there can serve what the proxy should; when whoever took them
//! ends, connections fail.

use launcher_policy::namespaces::{Listener, MAX_LISTENERS};
use launcher_policy::{Call, Failure, Refusal, Stage};
use linux_raw_sys::general as uapi;
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::sockopt::socket_domain;
use rustix::net::{
    AddressFamily, Ipv4Addr, SocketAddrV4, SocketFlags, SocketType, bind, listen, socket_with,
};

use crate::report::failed;
use crate::{Launch, namespaces, sys};

const STAGE: Stage = Stage::Namespaces;

/// What is sent with the sockets.
const MESSAGE: &[u8] = b"listeners\n";

/// How many connections wait to be accepted.
const BACKLOG: i32 = 1024;

/// Whether the policy has such sockets.
pub fn is_wanted(launch: &Launch<'_>) -> bool {
    launch.policy.namespaces.is_some_and(|namespaces| !namespaces.listeners.is_empty())
}

/// Refuses a launch of which nobody takes the sockets, before it has any
/// effect.
///
/// # Errors
///
/// A refusal.
pub fn check(launch: &Launch<'_>) -> Result<(), Failure> {
    let refused = |why| Err(Failure::refused(STAGE, Call::ListenersFd, why));
    match launch.options.listeners.map(sys::inherited) {
        _ if !is_wanted(launch) => Ok(()),
        None => refused(Refusal::NoProxy),
        Some(socket) if socket_domain(socket) != Ok(AddressFamily::UNIX) => {
            refused(Refusal::NoSocket)
        }
        Some(_) => Ok(()),
    }
}

/// Makes the sockets in the new network namespace and hands them over, in the
/// order of the policy.
///
/// # Errors
///
/// The first call that failed.
pub fn apply(launch: &Launch<'_>) -> Result<(), Failure> {
    let namespaces = launch.policy.namespaces.as_ref().filter(|_| is_wanted(launch));
    let (Some(namespaces), Some(receiver)) = (namespaces, launch.options.listeners) else {
        return Ok(());
    };
    if namespaces::made(launch) & uapi::CLONE_NEWNET == 0 {
        // What is held for many launches has no network.
        return Ok(());
    }
    let receiver = sys::inherited(receiver);
    let mut sockets = [const { None }; MAX_LISTENERS];
    let mut passed = [receiver; MAX_LISTENERS];
    let mut count = 0;
    let places = sockets.iter_mut().zip(&mut passed).zip(namespaces.listeners.iter());
    for ((socket, place), listener) in places {
        let socket: &OwnedFd = socket.insert(bound(listener)?);
        *place = socket.as_fd();
        count += 1;
    }
    sys::send_with(receiver, MESSAGE, passed.get(..count).unwrap_or_default())
        .map(drop)
        .map_err(failed(STAGE, Call::ListenersFd))
}

fn bound(listener: Listener) -> Result<OwnedFd, Failure> {
    let kind = match listener.protocol.is_datagrams() {
        true => SocketType::DGRAM,
        false => SocketType::STREAM,
    };
    let socket = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)
        .map_err(failed(STAGE, Call::Socket))?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.port))
        .map_err(failed(STAGE, Call::Bind))?;
    if kind == SocketType::STREAM {
        listen(&socket, BACKLOG).map_err(failed(STAGE, Call::Listen))?;
    }
    Ok(socket)
}
