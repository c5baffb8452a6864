//! Accepting connections, as many as there may be at once.

use std::sync::Arc;
use std::time::Duration;

use launcher_policy::namespaces::{Listener, Protocol};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::gate::Gate;
use crate::{http, socks, tls};

/// How many connections are served at once; others wait to be accepted.
const MAX_CONNECTIONS: usize = 1000;

/// How long nothing is accepted after that failed, as without descriptors left.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// One of the connections that there may be. It is held for as long as any
/// part of the connection is served.
pub(crate) type Place = Arc<OwnedSemaphorePermit>;

/// What all listeners share.
pub(crate) fn limit() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MAX_CONNECTIONS))
}

/// Accepts for as long as the runtime is there.
pub(crate) async fn run(
    listener: TcpListener,
    asked: Listener,
    gate: Arc<Gate>,
    limit: Arc<Semaphore>,
) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // One that waits for a place keeps those behind it in the kernel's queue.
        // Nobody closes the semaphore.
        let Ok(place) = Arc::clone(&limit).acquire_owned().await else { return };
        tokio::spawn(serve(stream, asked, Arc::clone(&gate), Arc::new(place)));
    }
}

async fn serve(stream: TcpStream, asked: Listener, gate: Arc<Gate>, place: Place) {
    // Without it small answers wait for an acknowledgement; where it cannot be
    // set the connection is slower, and the same.
    let _ = stream.set_nodelay(true);
    match asked.protocol {
        protocol @ (Protocol::Http | Protocol::Web) => {
            http::serve(stream, protocol, gate, place).await;
        }
        Protocol::Tls => tls::serve(stream, asked.port, &gate, place).await,
        // It has no connections.
        Protocol::Dns => {}
        Protocol::Socks => socks::serve(stream, &gate, place).await,
    }
}
