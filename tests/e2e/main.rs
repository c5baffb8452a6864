//! The real binaries on the real kernel: one module per stage, and some for
//! what goes through all of them.

mod battery;
mod cgroup;
mod containers;
mod credentials;
mod deny;
mod enforce;
mod exec;
mod explain;
mod faults;
mod fds;
mod glob;
mod guarantees;
mod home;
mod host;
mod hostile;
mod image;
mod import;
mod input;
mod install;
mod isolation;
mod kernel;
mod kills;
mod landlock;
mod limits;
mod model;
mod mounts;
mod namespaces;
mod nested;
mod order;
mod overlay;
mod prepared;
mod presets;
mod programs;
mod protect;
mod reaping;
mod receipt;
mod seccomp;
mod session;
mod simulator;
mod spawn;
mod status;
#[cfg(target_arch = "x86_64")]
mod sweep;
mod systems;
mod terminal;
