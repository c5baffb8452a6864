//! The programs under test, where every user may run them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::TempDir;

/// Copies of the programs under test. The directory goes with the last user.
pub struct Binaries {
    directory: TempDir,
}

impl Binaries {
    /// The copies that this process uses now, else new ones.
    ///
    /// # Panics
    ///
    /// If the programs have not been built.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Binaries>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let new = Arc::new(Self::copy());
            *shared = Arc::downgrade(&new);
            new
        })
    }

    /// The launcher.
    pub fn launcher(&self) -> PathBuf {
        self.directory.join("launcher")
    }

    /// The encoder.
    pub fn encoder(&self) -> PathBuf {
        self.directory.join("encode-policy")
    }

    /// The probe.
    pub fn probe(&self) -> PathBuf {
        self.directory.join("probe")
    }

    /// What makes single system calls fail, where it was built.
    pub fn fault(&self) -> PathBuf {
        self.directory.join("fault")
    }

    fn copy() -> Self {
        let dist = dist();
        let directory = TempDir::new();
        // By another program: were a file open for writing here while another
        // thread forks, executing it would be ETXTBSY.
        let status = Command::new("install")
            .args(["-m", "755", "-t"])
            .arg(directory.path())
            .args(["launcher", "encode-policy", "test/probe"].map(|name| dist.join(name)))
            // Of this architecture only.
            .args(Some(dist.join("test/fault")).filter(|path| path.exists()))
            .status()
            .expect("install(1) is there");
        assert!(status.success(), "run `make build probe` first, or set LAUNCHER_DIST");
        Self { directory }
    }
}

/// Where the programs were built.
pub fn dist() -> PathBuf {
    match std::env::var_os("LAUNCHER_DIST") {
        Some(dist) => dist.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist"),
    }
}
