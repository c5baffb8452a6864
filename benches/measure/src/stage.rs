//! Where the programs lie while they are measured.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A directory that every user may read. It is in no temporary directory if it
/// need not be: many of the contenders hide these.
#[derive(Debug)]
pub struct Stage {
    path: PathBuf,
    /// It goes with who has made it.
    _directory: Option<TempDir>,
}

/// How many directories there are for a policy to grant.
const DIRECTORIES: usize = 8;

impl Stage {
    /// Copies the programs of `dist/`.
    ///
    /// # Panics
    ///
    /// Where they are not built, or cannot be copied.
    pub fn new() -> Self {
        let directory = ["/opt", "/var/tmp"].into_iter().find_map(|place| {
            let mut builder = tempfile::Builder::new();
            let builder = builder.prefix("measure-").permissions(Permissions::from_mode(0o755));
            builder.tempdir_in(place).ok()
        });
        let directory = directory.expect("/var/tmp can be written");
        let path = directory.path();
        let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist");
        for (from, to) in [("launcher", "launcher"), ("test/nothing", "nothing")] {
            let from = dist.join(from);
            fs::copy(&from, path.join(to))
                .unwrap_or_else(|error| panic!("{}: {error}; run make", from.display()));
        }
        let own = std::env::current_exe().expect("it is known");
        fs::copy(own, path.join("measure")).expect("it can be copied");
        for number in 1..=DIRECTORIES {
            fs::create_dir(path.join(number.to_string())).expect("the name is free");
        }
        Self { path: path.to_owned(), _directory: Some(directory) }
    }

    /// One that another process has made.
    pub fn of(path: PathBuf) -> Self {
        Self { path, _directory: None }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The launcher.
    pub fn launcher(&self) -> PathBuf {
        self.path.join("launcher")
    }

    /// The program that is run: static, and it does nothing.
    pub fn job(&self) -> PathBuf {
        self.path.join("nothing")
    }

    /// A policy with the paths of this place instead of `STAGE` and `JOB`.
    pub fn policy(&self, text: &str) -> String {
        let job = format!("{:?}", self.job());
        text.replace("JOB", &job).replace("STAGE", &self.path.display().to_string())
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}
