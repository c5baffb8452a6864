//! The real binaries on the real kernel: one module per stage, and some for
//! what goes through all of them.

mod credentials;
mod enforce;
mod exec;
mod faults;
mod fds;
mod image;
mod import;
mod input;
mod landlock;
mod limits;
mod mounts;
mod namespaces;
mod order;
mod programs;
mod reaping;
mod seccomp;
mod session;
mod simulator;
mod status;
mod systems;
mod terminal;
