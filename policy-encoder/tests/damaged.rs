//! Every policy of this repository, cut at any byte or with any bit flipped, is
//! refused.

use std::fs;
use std::path::Path;

use launcher_policy::wire::decode;
use policy_encoder::diagnostic::Diagnostics;
use policy_encoder::{Architecture, Place, parse};

/// The bytes of a policy, where this host has all that it names.
fn encoded(path: &Path) -> Option<Vec<u8>> {
    let text = fs::read_to_string(path).expect("it is read");
    let (document, mut diagnostics): (_, Diagnostics) = parse::toml(&text);
    let place = Place::in_directory(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("it exists");
    policy_encoder::encode(&document, &place, Architecture::NATIVE, &mut diagnostics)
}

#[test]
fn every_example_and_preset_that_is_cut_or_has_a_bit_flipped_is_refused() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut damaged = 0;
    for directory in ["examples", "policy-encoder/presets"] {
        let entries = fs::read_dir(root.join(directory)).expect("it is listed");
        let paths = entries.map(|entry| entry.expect("it is listed").path());
        for path in paths.filter(|path| path.extension().is_some_and(|toml| toml == "toml")) {
            let Some(whole) = encoded(&path) else { continue };
            assert!(decode(&whole).is_ok(), "{path:?}");
            for length in 0..whole.len() {
                let (cut, _) = whole.split_at(length);
                assert!(decode(cut).is_err(), "{path:?}, {length} bytes");
            }
            let mut flipped = whole.clone();
            for bit in 0..8 * whole.len() {
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(decode(&flipped).is_err(), "{path:?}, bit {bit}");
                flipped[bit / 8] ^= 1 << (bit % 8);
            }
            damaged += 1;
        }
    }
    // Some name programs that not every host has.
    assert!(damaged >= 10, "only {damaged}");
}
