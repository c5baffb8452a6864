//! The real binaries on the real kernel: one module per stage, and some for
//! what goes through all of them.

mod fds;
mod input;
