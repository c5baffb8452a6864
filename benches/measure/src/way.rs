//! Ways to start a program and wait for it.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};

use launcher_spawn::{Launcher, Sandbox};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use crate::stage::Stage;

/// One way.
#[derive(Debug)]
pub struct Way {
    /// What it is called.
    pub name: String,
    /// What is in force when the program runs.
    pub applies: String,
    /// Whether it is the launcher's.
    pub is_ours: bool,
    /// Added to the environment.
    pub variables: Vec<(String, String)>,
    /// Added to the arguments.
    pub arguments: Vec<String>,
    start: Start,
}

#[derive(Debug)]
enum Start {
    /// A command line, and what has to stay open for it.
    Command { argv: Vec<OsString>, _policy: Option<OwnedFd> },
    /// From within this process.
    Library { sandbox: Box<Sandbox>, job: OsString },
}

impl Way {
    /// By a command line.
    pub fn command(name: &str, applies: &str, argv: Vec<OsString>) -> Self {
        let start = Start::Command { argv, _policy: None };
        Self { is_ours: false, ..Self::of(name, applies, start) }
    }

    /// By the launcher, which takes the encoded policy from a sealed memfd.
    ///
    /// # Panics
    ///
    /// Where the text is no policy.
    pub fn launcher(name: &str, applies: &str, policy: &str, stage: &Stage) -> Self {
        let sandbox = Sandbox::from_toml(&stage.policy(policy)).expect("it is a policy");
        let policy = sealed(sandbox.policy().expect("it has one"));
        let fd = policy.as_raw_fd().to_string();
        let mut argv = vec![stage.launcher().into()];
        argv.extend(["--sealed", "--fd", &fd, "--"].map(OsString::from));
        argv.push(stage.job().into());
        Self::of(name, applies, Start::Command { argv, _policy: Some(policy) })
    }

    /// By the library.
    ///
    /// # Panics
    ///
    /// Where the text is no policy, or the sandbox cannot be prepared.
    pub fn library(name: &str, applies: &str, policy: &str, stage: &Stage) -> Self {
        Self::prepared(name, applies, policy, stage, |sandbox| sandbox)
    }

    /// By the library, with something that is made once for all.
    ///
    /// # Panics
    ///
    /// Where the text is no policy, or the sandbox cannot be prepared.
    pub fn prepared(
        name: &str,
        applies: &str,
        policy: &str,
        stage: &Stage,
        with: impl Fn(Sandbox) -> Sandbox,
    ) -> Self {
        let launcher = Launcher::from_path(stage.launcher()).expect("it is there");
        let sandbox = Sandbox::from_toml(&stage.policy(policy)).expect("it is a policy");
        let sandbox = with(sandbox.launcher(launcher)).prepare().expect("it can be prepared");
        let start = Start::Library { sandbox: Box::new(sandbox), job: stage.job().into() };
        Self::of(name, applies, start)
    }

    fn of(name: &str, applies: &str, start: Start) -> Self {
        let (name, applies) = (name.to_owned(), applies.to_owned());
        Self { name, applies, is_ours: true, variables: Vec::new(), arguments: Vec::new(), start }
    }

    /// Its command line, if it has one.
    pub fn argv(&self) -> Option<&[OsString]> {
        match &self.start {
            Start::Command { argv, .. } => Some(argv),
            Start::Library { .. } => None,
        }
    }

    /// Runs the program to its end.
    ///
    /// # Panics
    ///
    /// Where it fails.
    pub fn run(&self) {
        let variables = self.variables.iter().map(|(name, value)| (name, value));
        let status = match &self.start {
            Start::Command { argv, .. } => {
                // The standard library does so by posix_spawn(3), which is vfork and exec.
                let mut command = Command::new(&argv[0]);
                command.args(&argv[1..]).args(&self.arguments).envs(variables);
                command.status().expect("it starts")
            }
            Start::Library { sandbox, job } => {
                let mut command = sandbox.command(job);
                command.args(&self.arguments).envs(variables).status().expect("it starts")
            }
        };
        assert!(status.success(), "{}: {status}", self.name);
    }

    /// Why it does not work here, if it does not.
    ///
    /// # Errors
    ///
    /// In words, the program's own where it has some.
    pub fn tried(&self) -> Result<(), String> {
        let output = match &self.start {
            Start::Command { argv, .. } => {
                let mut command = Command::new(&argv[0]);
                command.args(&argv[1..]).stdin(Stdio::null()).output()
            }
            Start::Library { sandbox, job } => {
                sandbox.command(job).output().map_err(std::io::Error::other)
            }
        };
        let output = output.map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(()),
            false => {
                let words = String::from_utf8_lossy(&output.stderr);
                let line = words.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
                Err(format!("{}: {line}", output.status))
            }
        }
    }
}

/// A policy as `--sealed` wants it. Children inherit it.
fn sealed(policy: &[u8]) -> OwnedFd {
    let memfd = memfd_create(c"policy", MemfdFlags::ALLOW_SEALING).expect("there is memory");
    let mut file = File::from(memfd);
    file.write_all(policy).expect("there is memory");
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK)
        .expect("it can be sealed");
    file.into()
}
