//! Decoding never panics, whatever the bytes; what decodes survives being
//! encoded and decoded again.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    let _ = fuzz::survives(frame);
    let _ = fuzz::survives(&fuzz::framed(fuzz::payload(frame)));
});
