//! Files that no policy speaks of.

use super::row::*;

/// Why their existence can be asked for where there is no mount namespace.
const EXISTS: &str = "Landlock keeps what files hold and not that they exist: their metadata, and \
     what changes in their directories, can be asked for";

pub(super) const CHECKS: &[Check] = &[
    hidden("hidden-read", "reads a hidden file", |world| {
        Ok(open(&world.secret("file"), O_RDONLY).map(drop)?)
    }),
    hidden("hidden-write", "opens a hidden file to write", |world| {
        Ok(open(&world.secret("file"), O_WRONLY).map(drop)?)
    }),
    hidden("hidden-list", "lists a hidden directory", |world| {
        Ok(fs::read_dir(world.secret("")).map(drop)?)
    }),
    hidden("hidden-run", "runs a hidden program", |world| run(&world.secret("program"))),
    hidden("hidden-truncate", "cuts a hidden file short", |world| {
        let path = sys::text(&world.secret("other"));
        Ok(call(SYS_truncate, [path.as_ptr() as u64, 0]).map(drop)?)
    }),
    hidden("hidden-create", "makes a file in a hidden directory", |world| {
        open(&world.secret("new"), O_WRONLY | O_CREAT | O_EXCL)?;
        Ok(fs::remove_file(world.secret("new"))?)
    }),
    hidden("hidden-remove", "removes a hidden directory", |world| {
        fs::remove_dir(world.secret("directory"))?;
        Ok(fs::create_dir(world.secret("directory"))?)
    }),
    hidden("hidden-by-link", "reads a hidden file by a symlink to it", |world| {
        Ok(open(&world.writable("link"), O_RDONLY).map(drop)?)
    }),
    Check {
        landlock: Check::blocked(Landlock, EXDEV),
        ..hidden("hidden-hard-link", "gives a hidden file a name that may be read", |world| {
            fs::hard_link(world.secret("file"), world.writable("linked"))?;
            Ok(fs::remove_file(world.writable("linked"))?)
        })
    },
    Check {
        landlock: Check::blocked(Landlock, EACCES),
        ..hidden("hidden-moved", "moves a hidden file to where it may be read", |world| {
            fs::rename(world.secret("other"), world.writable("taken"))?;
            Ok(fs::rename(world.writable("taken"), world.secret("other"))?)
        })
    },
    changed("hidden-mode", "changes the mode of a hidden file", |world| {
        let path = sys::text(&world.secret("file"));
        Ok(call(SYS_fchmodat, [sys::CWD, path.as_ptr() as u64, 0o644]).map(drop)?)
    }),
    changed("hidden-attribute", "sets an attribute of a hidden file", |world| {
        set_attribute(&world.secret("file"))
    }),
    Check {
        landlock: Check::blocked(Landlock, EACCES),
        ..hidden("path-descriptor-run", "runs a hidden program by an O_PATH descriptor", |world| {
            let program = open(&world.secret("program"), O_PATH)?;
            run_descriptor(program)
        })
    },
    Check {
        landlock: Check::blocked(Landlock, EACCES),
        ..hidden("path-descriptor-read", "opens a hidden file by an O_PATH descriptor", |world| {
            let file = open(&world.secret("file"), O_PATH)?;
            Ok(open(&format!("/proc/self/fd/{file}"), O_RDONLY).map(drop)?)
        })
    },
    Check {
        landlock: Check::blocked(Landlock, EXDEV),
        ..hidden("path-descriptor-link", "links a hidden file by an O_PATH descriptor", |world| {
            let file = open(&world.secret("file"), O_PATH)?;
            let name = sys::text(&world.writable("linked"));
            let (empty, flags) = (c"".as_ptr() as u64, AT_EMPTY_PATH as u64);
            call(SYS_linkat, [file, empty, sys::CWD, name.as_ptr() as u64, flags])?;
            Ok(fs::remove_file(world.writable("linked"))?)
        })
    },
    Check {
        landlock: Check::blocked(Seccomp, EPERM),
        ..hidden("path-descriptor-mode", "changes a mode by an O_PATH descriptor", |world| {
            let file = open(&world.secret("file"), O_PATH)?;
            let empty = c"".as_ptr() as u64;
            const SYS_FCHMODAT2: c_long = 452;
            Ok(call(SYS_FCHMODAT2, [file, empty, 0o644, AT_EMPTY_PATH as u64]).map(drop)?)
        })
    },
    known("hidden-stat", "asks for the size and times of a hidden file", |world| {
        Ok(fs::metadata(world.secret("file")).map(drop)?)
    }),
    known("hidden-watch", "watches the names that change in a hidden directory", |world| {
        let watches = call(SYS_inotify_init1, [0])?;
        let path = sys::text(&world.secret(""));
        let all = u64::from(IN_CREATE);
        Ok(call(SYS_inotify_add_watch, [watches, path.as_ptr() as u64, all]).map(drop)?)
    }),
    known("hidden-directory", "makes a hidden directory its own", |world| {
        let path = sys::text(&world.secret(""));
        Ok(call(SYS_chdir, [path.as_ptr() as u64]).map(drop)?)
    }),
    Check {
        name: "passwords",
        tries: "reads the passwords of the host",
        source: "design",
        control: Root,
        strict: Check::blocked(Mounts, ENOENT),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |_| Ok(open("/etc/shadow", O_RDONLY).map(drop)?),
    },
    Check {
        control: Root,
        ..hidden("home-directory", "lists the home directory of root", |_| {
            Ok(fs::read_dir("/root").map(drop)?)
        })
    },
    hidden("host-state", "lists what programs of the host keep", |_| {
        Ok(fs::read_dir("/var/lib").map(drop)?)
    }),
    Check {
        name: "host-temporary",
        tries: "makes a file in the /tmp of the host",
        source: "design",
        control: Anybody,
        strict: Check::ineffective(Mounts),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |world| {
            let name = format!("/tmp/battery-{}", std::process::id());
            open(&name, O_WRONLY | O_CREAT | O_EXCL)?;
            let seen = world.is(&format!("exists {name}"))?;
            fs::remove_file(name)?;
            noticed(seen)
        },
    },
    Check {
        name: "host-shared-memory",
        tries: "reads a file in the shared memory of the host",
        source: "shm_overview(7)",
        control: Anybody,
        strict: Check::blocked(Mounts, ENOENT),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |_| Ok(open(crate::world::SHARED_MEMORY, O_RDONLY).map(drop)?),
    },
];

const fn hidden(name: &'static str, tries: &'static str, attack: Attack) -> Check {
    Check {
        name,
        tries,
        source: "design",
        control: Anybody,
        strict: Check::blocked(Mounts, ENOENT),
        landlock: Check::blocked(Landlock, EACCES),
        attack,
    }
}

/// What Landlock does not know, and so the filter closes.
const fn changed(name: &'static str, tries: &'static str, attack: Attack) -> Check {
    Check {
        source: "landlock(7)",
        landlock: Check::blocked(Seccomp, EPERM),
        ..hidden(name, tries, attack)
    }
}

const fn known(name: &'static str, tries: &'static str, attack: Attack) -> Check {
    Check { source: "landlock(7)", landlock: Check::allowed(EXISTS), ..hidden(name, tries, attack) }
}

pub(super) fn set_attribute(path: &str) -> Result<(), Refused> {
    let path = sys::text(path);
    let (name, value) = (c"user.battery".as_ptr() as u64, c"x".as_ptr() as u64);
    Ok(call(SYS_setxattr, [path.as_ptr() as u64, name, value, 1, 0]).map(drop)?)
}

/// Runs a program that ends at once.
pub(super) fn run(program: &str) -> Result<(), Refused> {
    Ok(std::process::Command::new(program).arg("identity").status().map(drop)?)
}

/// Runs what a descriptor leads to.
pub(super) fn run_descriptor(program: u64) -> Result<(), Refused> {
    let arguments = [c"battery".as_ptr() as u64, c"identity".as_ptr() as u64, 0];
    let (empty, none) = (c"".as_ptr() as u64, [0_u64]);
    let (flags, arguments) = (AT_EMPTY_PATH as u64, sys::at(&arguments));
    // Only an error comes back, so that it takes a child and a pipe.
    let (answer, writer) = io::pipe()?;
    let Some(child) = sys::fork()? else {
        let run = call(SYS_execveat, [program, empty, arguments, sys::at(&none), flags]);
        let errno = run.err().and_then(|error| error.raw_os_error()).unwrap_or(EIO);
        let said = io::Write::write_all(&mut &writer, &errno.to_ne_bytes());
        sys::exit(i32::from(said.is_err()));
    };
    drop(writer);
    let mut errno = [0; 4];
    let failed = io::Read::read_exact(&mut &answer, &mut errno).is_ok();
    sys::wait(child)?;
    if failed { Err(Refused::Errno(i32::from_ne_bytes(errno))) } else { Ok(()) }
}
