//! Does nothing, so that the cost of a launch is all there is to measure.
#![no_main]
#![allow(unsafe_code, reason = "the entry point")]

use std::ffi::{c_char, c_int};

/// What musl's start code calls. The start code of `std` takes longer than all
/// that is measured here.
#[unsafe(no_mangle)]
extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    0
}
