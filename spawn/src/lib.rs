//! Runs commands in sandboxes, with an interface like that of
//! [`std::process`].
//!
//! A [`Sandbox`] is a policy, encoded once. A [`Command`] runs a program in
//! it; what that costs beyond plain vfork and exec is what the kernel takes
//! for the layers themselves.
//!
//! ```no_run
//! use launcher_spawn::{Sandbox, Stdio};
//!
//! let sandbox = Sandbox::from_file("policy.toml")?.prepare()?;
//! let mut child = sandbox.command("cc").arg("-c").arg("a.c").stdout(Stdio::piped()).spawn()?;
//! assert!(child.wait()?.success());
//! # Ok::<(), launcher_spawn::Error>(())
//! ```
//!
//! [`CommandExt`] puts a [`std::process::Command`] into a sandbox. A [`Layer`]
//! is a part of one, for a process that confines itself: Landlock, the filter,
//! or one's own. `docs/embedding.md` has more.

mod child;
mod command;
mod error;
mod held;
mod in_place;
mod launcher;
mod layer;
mod layers;
mod policy;
mod sandbox;
mod server;
mod start;
mod std_command;
mod stdio;
mod strings;
mod supervised;

pub use child::Child;
pub use command::Command;
pub use error::Error;
pub use held::Network;
pub use launcher::Launcher;
pub use launcher_supervisor as supervisor;
pub use layer::{Apply, Layer};
pub use policy_encoder::document::Document;
pub use policy_encoder::receipt::{self, Failure, Receipt};
pub use sandbox::Sandbox;
pub use std_command::{CommandExt, Launches};
pub use stdio::Stdio;
