//! Bytes from one connection to another, in both directions.

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};

/// How much is read at once, in each direction.
const BUFFER: usize = 32 * 1024;

/// Relays until both sides have ended, or one has failed.
pub(crate) async fn relay<A, B>(inside: &mut A, outside: &mut B)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    // Both sides are closed then, which is how they learn of an error.
    let _ = copy_bidirectional_with_sizes(inside, outside, BUFFER, BUFFER).await;
}
