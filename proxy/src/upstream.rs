//! Connections that another HTTP proxy makes, by its method CONNECT.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest answer to a CONNECT.
const MAX_ANSWER: usize = 16 * 1024;

/// A connection to `target`, which is `host:port`, by the proxy at the other end of
/// one.
///
/// # Errors
///
/// Why there is none.
pub(crate) async fn connect(mut stream: TcpStream, target: &str) -> io::Result<TcpStream> {
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let answer = head(&mut stream).await?;
    let line = answer.lines().next().unwrap_or_default();
    match line.split(' ').nth(1) {
        Some(status) if status.len() == 3 && status.starts_with('2') => Ok(stream),
        _ => Err(io::Error::other(format!("the proxy behind says {:?}", line.trim_end()))),
    }
}

/// What the proxy answers, and not a byte of what follows.
async fn head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_ANSWER {
            return Err(io::Error::other("the proxy behind says too much"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
