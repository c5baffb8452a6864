//! What a policy is called in receipts.

use launcher_policy::wire::{self, Digest};
use sha2::Digest as _;

/// SHA-256 of a payload, as [`wire::encode`] takes it.
pub fn sha256(payload: &[u8]) -> Digest {
    sha2::Sha256::digest(payload).into()
}

/// Whether a frame carries the digest of what is in it. The launcher does not
/// ask: it copies what there is.
pub fn is_right(frame: &[u8]) -> bool {
    *wire::digest(frame) == sha256(wire::payload(frame))
}
