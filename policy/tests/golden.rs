//! Committed bytes keep decoding, and policies keep encoding to them.
//!
//! A change that alters these bytes is a new version of the format: it gets
//! its own `wire::VERSION` and a directory of its own beside the others. While a
//! version is still in the making, its files are written anew by
//!
//!     WRITE_GOLDEN=1 cargo test -p launcher-policy --test golden

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use launcher_policy::Policy;
use launcher_policy::wire::{self, Architecture, DecodeError, MAX_FRAME, VERSION};
use sha2::{Digest, Sha256};

mod policies;

#[test]
// The committed frames are for this architecture, and another refuses them.
#[cfg(target_arch = "x86_64")]
fn committed_bytes_decode_to_the_policies_they_were_made_from() {
    for (name, policy) in policies::all() {
        let bytes = committed(name);
        assert_eq!(wire::decode(&bytes), Ok(policy), "{name}");
    }
}

#[test]
fn policies_encode_to_the_committed_bytes() {
    for (name, policy) in policies::all() {
        if std::env::var_os("WRITE_GOLDEN").is_some() {
            fs::write(file(name), encoded(&policy)).expect("the file can be written");
        }
        assert_eq!(encoded(&policy), committed(name), "{name}");
    }
}

#[test]
// The committed frames are for this architecture, and another refuses them.
#[cfg(target_arch = "x86_64")]
fn committed_bytes_of_an_older_version_are_refused_as_such() {
    for version in 1..VERSION {
        let files = fs::read_dir(of_version(version)).expect("the directory is committed");
        for file in files {
            let file = file.expect("it can be read").path();
            let bytes = fs::read(&file).expect("it can be read");
            assert_eq!(wire::decode(&bytes), Err(DecodeError::Version), "{}", file.display());
        }
    }
}

#[test]
fn what_fuzzing_begins_with_is_of_this_version() {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/decode");
    for file in fs::read_dir(corpus).expect("the directory is committed") {
        let file = file.expect("it can be read").path();
        let bytes = fs::read(&file).expect("it can be read");
        assert_ne!(wire::decode(&bytes), Err(DecodeError::Version), "{}", file.display());
    }
}

#[test]
fn a_frame_carries_the_digest_of_its_payload() {
    for (name, policy) in policies::all() {
        let frame = encoded(&policy);
        assert_eq!(*wire::digest(&frame), sha256(wire::payload(&frame)), "{name}");
    }
}

#[test]
fn every_committed_file_has_its_policy() {
    let names: BTreeSet<_> = policies::all().iter().map(|(name, _)| file(name)).collect();
    let files: BTreeSet<_> = fs::read_dir(directory())
        .expect("the directory is committed")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    assert_eq!(files, names);
}

fn encoded(policy: &Policy<'_>) -> Vec<u8> {
    let mut buffer = vec![0; MAX_FRAME];
    wire::encode(policy, Architecture::X86_64, sha256, &mut buffer)
        .expect("a valid policy")
        .to_vec()
}

fn sha256(payload: &[u8]) -> wire::Digest {
    Sha256::digest(payload).into()
}

fn committed(name: &str) -> Vec<u8> {
    let file = file(name);
    fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn file(name: &str) -> PathBuf {
    directory().join(name).with_extension("bin")
}

fn directory() -> PathBuf {
    of_version(VERSION)
}

fn of_version(version: u16) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(format!("v{version}"))
}
