//! Code that is run though no policy lets it.

use super::hidden::{run, run_descriptor};
use super::row::*;
use std::process::Command;

/// Why a file that can be read can be run where there are no mounts.
const WAIVED: &str = "the policy waives it: without a noexec mount, what can be read can be mapped \
     and run by its loader";

/// Why an interpreter runs what it reads.
const SCRIPTS: &str = "what an interpreter reads is data to the kernel";

/// Why memory can be run.
const MEMORY: &str = "what a process writes into its own memory is no file, and compilers at run \
     time need it";

/// Where nothing is executable but what the policy lists.
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

pub(super) const CHECKS: &[Check] = &[
    closed("run-data", "runs a program that it may only read", |world| run(&world.data("program"))),
    closed("run-own", "runs a program that it wrote", |world| {
        let copy = world.writable("program");
        copy_program(&world.bin("battery"), &copy)?;
        let answer = run(&copy);
        fs::remove_file(copy)?;
        answer
    }),
    closed("run-temporary", "runs a program that it wrote to /tmp", |world| {
        let copy = format!("/tmp/battery-{}", std::process::id());
        copy_program(&world.bin("battery"), &copy)?;
        let answer = run(&copy);
        fs::remove_file(copy)?;
        answer
    }),
    closed("run-descriptor", "runs a program that it may read by a descriptor", |world| {
        run_descriptor(open(&world.data("program"), O_RDONLY)?)
    }),
    closed("run-path-descriptor", "runs a program by an O_PATH descriptor", |world| {
        run_descriptor(open(&world.data("program"), O_PATH)?)
    }),
    closed("run-by-proc", "runs a program by the name that /proc has for it", |world| {
        let program = open(&world.data("program"), O_RDONLY)?;
        run(&format!("/proc/self/fd/{program}"))
    }),
    closed("run-script", "runs a script that it may only read", |world| run(&world.data("script"))),
    Check {
        strict: Check::ineffective(Mounts),
        landlock: Check::allowed(WAIVED),
        control: Where("a dynamic loader"),
        ..closed("run-by-loader", "has the dynamic loader run a program it may only read", |w| {
            let loaded = Command::new(LOADER).arg(w.data("dynamic")).status()?;
            noticed(loaded.success())
        })
    },
    Check {
        strict: Check::blocked(Mounts, EPERM),
        landlock: Check::allowed(WAIVED),
        ..closed("map-executable", "maps a file that it may only read to run it", |world| {
            let file = open(&world.data("program"), O_RDONLY)?;
            Ok(sys::map(4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file).map(drop)?)
        })
    },
    Check {
        strict: Check::blocked(Mounts, EACCES),
        landlock: Check::allowed(WAIVED),
        ..closed("protect-executable", "makes what it mapped to read executable", |world| {
            let file = open(&world.data("program"), O_RDONLY)?;
            let place = sys::map(4096, PROT_READ, MAP_PRIVATE, file)?;
            let protection = (PROT_READ | PROT_EXEC) as u64;
            Ok(call(SYS_mprotect, [place, 4096, protection]).map(drop)?)
        })
    },
    Check {
        strict: Check::blocked(Mounts, EPERM),
        landlock: Check::allowed(WAIVED),
        ..closed("map-own-executable", "maps a file that it wrote to run it", |world| {
            let copy = world.writable("mapped");
            copy_program(&world.bin("battery"), &copy)?;
            let file = open(&copy, O_RDONLY)?;
            let answer = sys::map(4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file);
            fs::remove_file(copy)?;
            Ok(answer.map(drop)?)
        })
    },
    memory("run-in-memory", "runs a program in a file in memory", |world| {
        let memory = call(SYS_memfd_create, [c"battery".as_ptr() as u64, 0])?;
        let content = fs::read(world.bin("battery"))?;
        let mut file = fs::File::from(sys::owned(memory));
        io::Write::write_all(&mut file, &content)?;
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        // A file that is open for writing is not run.
        let reader = open(&path, O_RDONLY);
        let program = reader.unwrap_or(memory);
        std::mem::forget(file);
        if program != memory {
            call(SYS_close, [memory])?;
        }
        run_descriptor(program)
    }),
    memory("executable-in-memory", "makes a file in memory that can be run", |_| {
        // MFD_EXEC
        Ok(call(SYS_memfd_create, [c"battery".as_ptr() as u64, 0x10]).map(drop)?)
    }),
    memory("secret-memory", "makes memory that the kernel itself does not see", |_| {
        Ok(call(SYS_memfd_secret, [0]).map(drop)?)
    }),
    Check {
        name: "script-read",
        tries: "has a shell read a script that it may not run",
        source: "design",
        control: Anybody,
        strict: Check::allowed(SCRIPTS),
        landlock: Check::allowed(SCRIPTS),
        attack: |world| {
            let status = Command::new("/bin/sh").arg(world.data("script")).status()?;
            noticed(status.code() == Some(42))
        },
    },
    Check {
        name: "own-code",
        tries: "makes memory that can be both written and run",
        source: "mmap(2)",
        control: Anybody,
        strict: Check::allowed(MEMORY),
        landlock: Check::allowed(MEMORY),
        attack: |_| {
            let protection = PROT_READ | PROT_WRITE | PROT_EXEC;
            let flags = MAP_PRIVATE | MAP_ANONYMOUS;
            Ok(sys::map(4096, protection, flags, u64::MAX).map(drop)?)
        },
    },
];

const fn closed(name: &'static str, tries: &'static str, attack: Attack) -> Check {
    Check {
        name,
        tries,
        source: "noexec",
        control: Anybody,
        strict: Check::blocked(Mounts, EACCES),
        landlock: Check::blocked(Landlock, EACCES),
        attack,
    }
}

const fn memory(name: &'static str, tries: &'static str, attack: Attack) -> Check {
    Check {
        name,
        tries,
        source: "memfd_create(2)",
        control: Anybody,
        strict: Check::blocked(Seccomp, EPERM),
        landlock: Check::blocked(Seccomp, EPERM),
        attack,
    }
}

/// A copy that has its mode from the beginning: to change one may be closed.
fn copy_program(from: &str, to: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::File::options();
    let mut copy = options.write(true).create_new(true).mode(0o755).open(to)?;
    io::copy(&mut fs::File::open(from)?, &mut copy).map(drop)
}
