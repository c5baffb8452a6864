//! What the fuzz targets share.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::LazyLock;

use launcher_policy::Policy;
use launcher_policy::wire::{
    Architecture, DecodeError, HEADER, MAGIC, MAX_FRAME, VERSION, decode, encode,
};
use policy_encoder::Place;
use policy_encoder::diagnostic::Diagnostics;
use policy_encoder::document::Document;

/// A frame around any payload, as `wire::encode` would make it for a valid
/// one: no fuzzer guesses a checksum.
pub fn framed(payload: &[u8]) -> Vec<u8> {
    let mut frame = [MAGIC.as_slice(), &VERSION.to_le_bytes()].concat();
    frame.extend([Architecture::NATIVE as u8, 0]);
    frame.extend((payload.len() as u32).to_le_bytes());
    let checksum = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    frame.extend(checksum.checksum(&[frame.as_slice(), payload].concat()).to_le_bytes());
    frame.extend(payload);
    frame
}

/// The payload of a frame, be its header right or wrong.
pub fn payload(frame: &[u8]) -> &[u8] {
    frame.get(HEADER..).unwrap_or_default()
}

/// Decodes the frame; what decodes survives being encoded and decoded again,
/// and is the same then.
///
/// Not the same bytes: postcard reads numbers that are longer than they need
/// to be.
pub fn survives(frame: &[u8]) -> Result<Policy<'_>, DecodeError> {
    let policy = decode(frame)?;
    let mut buffer = vec![0; MAX_FRAME];
    let again = encode(&policy, Architecture::NATIVE, &mut buffer).expect("it was decoded");
    assert_eq!(decode(again), Ok(policy));
    Ok(policy)
}

/// Encodes a document. There are bytes if nothing is wrong with it and only
/// then, and they decode.
pub fn encoded(document: &Document, mut diagnostics: Diagnostics) -> Option<Vec<u8>> {
    let bytes = policy_encoder::encode(document, &PLACE, Architecture::NATIVE, &mut diagnostics);
    assert_eq!(bytes.is_none(), diagnostics.has_errors(), "{diagnostics:?}");
    if let Some(bytes) = &bytes {
        survives(bytes).expect("what was encoded decodes");
    }
    bytes
}

/// A small tree whose paths documents are judged in, with something of every
/// kind in it.
pub static PLACE: LazyLock<Place> = LazyLock::new(|| {
    let sysroot = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tree");
    make_tree(&sysroot).expect("the tree can be made");
    let variables = [("HOME", "/home/me"), ("CWD", "/work"), ("EMPTY", "")];
    Place {
        sysroot,
        directory: "/work".into(),
        variables: variables.map(|(name, value)| (name.to_owned(), value.into())).into(),
    }
});

fn make_tree(tree: &std::path::Path) -> std::io::Result<()> {
    for directory in
        ["usr/bin", "usr/lib", "etc/ssl", "home/me/.ssh", "tmp", "work/deep/er", "work/.git"]
    {
        fs::create_dir_all(tree.join(directory))?;
    }
    for file in ["etc/passwd", "usr/bin/sh", "work/note", "work/deep/note"] {
        fs::write(tree.join(file), "")?;
    }
    let links = [
        ("usr/bin", "bin"),
        ("/usr/lib", "lib"),
        ("loop", "loop"),
        ("nowhere", "work/dangling"),
        ("../../etc", "work/deep/up"),
    ];
    for (content, link) in links {
        let link = tree.join(link);
        if !link.is_symlink() {
            symlink(content, link)?;
        }
    }
    Ok(())
}
