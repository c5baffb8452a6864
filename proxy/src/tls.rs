//! TLS of clients that know of no proxy: the first message says whom it is for,
//! which is judged, and passed on with the rest.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::accept::Place;
use crate::gate::Gate;
use crate::log::Way;
use crate::relay::relay;

/// How long a client may take to say whom it wants to reach.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The longest first message.
const MAX_HELLO: usize = 64 * 1024;

/// The alert for who may not: fatal, `access_denied` (RFC 8446).
const DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

/// Serves one client.
pub(crate) async fn serve(mut stream: TcpStream, port: u16, gate: &Arc<Gate>, _place: Place) {
    let Ok(Ok((host, hello))) = timeout(HANDSHAKE, hello(&mut stream)).await else { return };
    match gate.open(Way::Tls, &host, port).await {
        Ok(mut outside) => {
            if outside.write_all(&hello).await.is_ok() {
                relay(&mut stream, &mut outside).await;
            }
        }
        // Whoever does not take it learns of the end.
        Err(_) => drop(stream.write_all(&DENIED).await),
    }
}

/// The host that the client names, empty if it names none, and all that was
/// read.
async fn hello(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut acceptor = Acceptor::default();
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    while read.len() < MAX_HELLO {
        let count = stream.read(&mut buffer).await?;
        let mut part = buffer.get(..count).unwrap_or_default();
        if part.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read.extend_from_slice(part);
        while !part.is_empty() {
            acceptor.read_tls(&mut part)?;
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let hello = accepted.client_hello();
                    return Ok((hello.server_name().unwrap_or_default().to_owned(), read));
                }
                // It is no TLS, or names an address: nobody to be reached.
                Err(_) => return Ok((String::new(), read)),
            }
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}
