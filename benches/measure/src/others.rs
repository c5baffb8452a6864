//! Other programs that put a command into a sandbox, as people call them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::way::Way;

/// How a program is called, with `JOB` for what it runs and `STAGE` for the
/// directory that this is in.
struct Other {
    name: &'static str,
    applies: &'static str,
    call: &'static [&'static str],
}

const OTHERS: &[Other] = &[
    Other { name: "setpriv", applies: "no_new_privs", call: &["setpriv", "--no-new-privs", "JOB"] },
    Other {
        name: "unshare, 7 namespaces, /proc",
        applies: "namespaces",
        call: &[
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "--pid",
            "--fork",
            "--net",
            "--ipc",
            "--uts",
            "--cgroup",
            "--mount-proc",
            "JOB",
        ],
    },
    Other {
        name: "bwrap --ro-bind / /",
        applies: "mount namespace, read-only tree",
        call: &["bwrap", "--ro-bind", "/", "/", "JOB"],
    },
    Other {
        name: "bwrap --unshare-all, proc, dev, tmpfs",
        applies: "namespaces, own view",
        call: &[
            "bwrap",
            "--ro-bind",
            "/",
            "/",
            "--unshare-all",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "--tmpfs",
            "/tmp",
            "JOB",
        ],
    },
    Other {
        name: "firejail --noprofile",
        applies: "mount and PID namespace",
        call: &["firejail", "--quiet", "--noprofile", "JOB"],
    },
    Other {
        name: "minijail0",
        applies: "namespaces but the network's, /proc",
        call: &["minijail0", "-v", "-p", "-r", "-l", "-N", "-U", "-m", "-M", "JOB"],
    },
    Other {
        name: "nsjail",
        applies: "namespaces, read-only tree, /proc",
        call: &["nsjail", "--mode", "o", "--quiet", "--chroot", "/", "--", "JOB"],
    },
    Other {
        name: "hakoniwa",
        applies: "namespaces, read-only tree, /proc",
        call: &["hakoniwa", "run", "--unshare-all", "-b", "STAGE:STAGE", "--", "JOB"],
    },
    Other {
        name: "sandlock",
        applies: "Landlock, seccomp",
        call: &["sandlock", "run", "--fs-read", "/", "--", "JOB"],
    },
    Other {
        name: "zerobox",
        applies: "by bubblewrap: namespaces, seccomp",
        call: &["zerobox", "--", "JOB"],
    },
];

/// Those that are on `PATH`, and the names of those that are not.
pub fn found(job: &Path) -> (Vec<Way>, Vec<&'static str>) {
    let (mut ways, mut missing) = (Vec::new(), Vec::new());
    for other in OTHERS {
        let stage = job.parent().unwrap_or(job).display().to_string();
        let words = other.call.iter().map(|word| match *word {
            "JOB" => job.into(),
            word => OsString::from(word.replace("STAGE", &stage)),
        });
        match on_path(other.call[0]) {
            Some(_) => ways.push(Way::command(other.name, other.applies, words.collect())),
            None => missing.push(other.call[0]),
        }
    }
    (ways, missing)
}

/// Where a program is.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|place| place.join(program)).find(|program| program.is_file())
}
