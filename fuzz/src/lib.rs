//! What the fuzz targets share.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::LazyLock;

use launcher_policy::Policy;
use launcher_policy::seccomp::{INSTRUCTION_SIZE, MAX_INSTRUCTIONS, validate};
use launcher_policy::wire::{
    Architecture, DecodeError, HEADER, MAGIC, MAX_FRAME, VERSION, decode, encode,
};
use policy_encoder::diagnostic::Diagnostics;
use policy_encoder::document::Document;
use policy_encoder::seccomp::rules::{Comparison, Data, Rules};
use policy_encoder::seccomp::simulate::Simulator;
use policy_encoder::seccomp::{compile, tables};
use policy_encoder::{Place, digest};

/// A frame around any payload, as `wire::encode` would make it for a valid
/// one: no fuzzer guesses a checksum.
pub fn framed(payload: &[u8]) -> Vec<u8> {
    let mut frame = [MAGIC.as_slice(), &VERSION.to_le_bytes()].concat();
    frame.extend([Architecture::NATIVE as u8, 0]);
    frame.extend((payload.len() as u32).to_le_bytes());
    frame.extend(digest::sha256(payload));
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
    let again =
        encode(&policy, Architecture::NATIVE, digest::sha256, &mut buffer).expect("it was decoded");
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

/// Compiles rules. Unless they are too long, the kernel accepts the filter,
/// and it decides as the rules do: about these arguments, and about each value
/// that the rules speak of as every argument.
pub fn agrees(rules: &Rules, arguments: [u64; 6]) {
    let filter: Vec<u8> = compile(rules).iter().flat_map(|each| each.to_bytes()).collect();
    if filter.len() > MAX_INSTRUCTIONS * INSTRUCTION_SIZE {
        return;
    }
    assert_eq!(validate(&filter), Ok(()));
    let simulator = Simulator::new(&filter).expect("it was validated");
    let architecture = tables::audit(rules.architecture);
    let same = |number, architecture, arguments| {
        let data = Data { number, architecture, instruction_pointer: 0, arguments };
        let expected = rules.decide(&data).value();
        assert_eq!(
            simulator.run(&data).value,
            expected,
            "{data:x?} {:?}",
            rules.calls.get(&number)
        );
    };
    for (&number, call) in &rules.calls {
        same(number, architecture, arguments);
        same(number.wrapping_add(1), architecture, arguments);
        same(number, architecture ^ 1, arguments);
        let comparisons = call.rules.iter().flat_map(|rule| &rule.conditions);
        for value in comparisons.flat_map(|condition| values(&condition.comparison)) {
            for near in [value.wrapping_sub(1), value, value.wrapping_add(1)] {
                same(number, architecture, [near; 6]);
                same(number, architecture, [near ^ 1 << 32; 6]);
            }
        }
    }
}

fn values(comparison: &Comparison) -> Vec<u64> {
    match *comparison {
        Comparison::Equal(value)
        | Comparison::NotEqual(value)
        | Comparison::Less(value)
        | Comparison::LessOrEqual(value)
        | Comparison::Greater(value)
        | Comparison::GreaterOrEqual(value) => vec![value],
        Comparison::MaskedEqual { mask, value } => vec![mask, value, value | !mask],
        Comparison::OneOf(ref values) => values.clone(),
    }
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
