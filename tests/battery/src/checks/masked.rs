//! What is denied or protected inside what is granted.

use super::row::*;
use std::os::unix::fs::symlink;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "masked-read",
        tries: "reads a file that is denied in a directory that is granted",
        source: "CVE-2019-16884",
        control: Anybody,
        strict: Check::blocked(Mounts, EACCES),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |world| Ok(open(&world.project("masked"), O_RDONLY).map(drop)?),
    },
    Check {
        name: "masked-by-link",
        tries: "reads a denied file by a symlink that was there before the launch",
        source: "CVE-2025-31133",
        control: Anybody,
        strict: Check::blocked(Mounts, EACCES),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |world| Ok(open(&world.project(".git/link"), O_RDONLY).map(drop)?),
    },
    Check {
        name: "masked-hard-link",
        tries: "gives a denied file another name",
        source: "CVE-2019-16884",
        control: Anybody,
        strict: Check::blocked(Mounts, EXDEV),
        landlock: Check::blocked(Landlock, EXDEV),
        attack: |world| {
            fs::hard_link(world.project("masked"), world.writable("linked"))?;
            Ok(fs::remove_file(world.writable("linked"))?)
        },
    },
    Check {
        name: "masked-by-proc",
        tries: "reads a denied file below the root of its own process",
        source: "CVE-2019-16884",
        control: Anybody,
        strict: Check::blocked(Mounts, EACCES),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |world| {
            Ok(open(&format!("/proc/self/root{}", world.project("masked")), O_RDONLY).map(drop)?)
        },
    },
    Check {
        name: "masked-raced",
        tries: "reads a denied file through a symlink that changes its target meanwhile",
        source: "CVE-2021-30465, CVE-2025-31133",
        control: Anybody,
        strict: Check::ineffective(Mounts),
        landlock: Check::ineffective(Landlock),
        attack: race,
    },
    Check {
        name: "masked-removed",
        tries: "removes the name of a denied file, to uncover it",
        source: "CVE-2025-52565",
        control: Anybody,
        strict: Check::blocked(Mounts, EBUSY),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |world| {
            let name = world.project("masked");
            fs::remove_file(&name)?;
            Ok(fs::write(name, SECRET)?)
        },
    },
    Check {
        name: "masked-moved",
        tries: "moves a denied file to another name",
        source: "CVE-2025-52565",
        control: Anybody,
        strict: Check::blocked(Mounts, EBUSY),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |world| there_and_back(&world.project("masked"), &world.project("seen")),
    },
    Check {
        name: "masked-replaced",
        tries: "puts another file in the place of a denied one",
        source: "CVE-2025-52565",
        control: Anybody,
        strict: Check::blocked(Mounts, EBUSY),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |world| {
            // RENAME_EXCHANGE
            let [one, other] = ["masked", "plain"].map(|name| sys::text(&world.project(name)));
            let (one, other) = (one.as_ptr() as u64, other.as_ptr() as u64);
            let exchange = [sys::CWD, one, sys::CWD, other, 2];
            call(SYS_renameat2, exchange)?;
            Ok(call(SYS_renameat2, exchange).map(drop)?)
        },
    },
    Check {
        name: "masked-parent-moved",
        tries: "moves the directory around a denied file, to uncover it",
        source: "CVE-2019-16884",
        control: Anybody,
        strict: Check::blocked(Mounts, EBUSY),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |world| {
            fs::rename(world.project("around"), world.project("seen"))?;
            let answer = open(&world.project("seen/masked"), O_RDONLY);
            fs::rename(world.project("seen"), world.project("around"))?;
            Ok(answer.map(drop)?)
        },
    },
    Check {
        name: "hidden-directory-read",
        tries: "reads a file in a directory that is denied",
        source: "CVE-2019-16884",
        control: Anybody,
        strict: Check::blocked(Mounts, ENOENT),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |world| Ok(open(&world.project("hidden/file"), O_RDONLY).map(drop)?),
    },
    Check {
        name: "hidden-directory-write",
        tries: "makes a file in a directory that is denied",
        source: "CVE-2019-16884",
        control: Anybody,
        strict: Check::blocked(Mounts, EROFS),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |world| make_and_remove(&world.project("hidden/new")),
    },
    Check {
        name: "protected-write",
        tries: "changes the configuration of git, which runs commands later",
        source: "CVE-2024-32002",
        control: Anybody,
        strict: Check::blocked(Mounts, EROFS),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |world| Ok(open(&world.project(".git/config"), O_WRONLY).map(drop)?),
    },
    Check {
        name: "protected-hook",
        tries: "makes a hook of git",
        source: "CVE-2024-32002",
        control: Anybody,
        strict: Check::blocked(Mounts, EROFS),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |world| make_and_remove(&world.project(".git/hooks/pre-commit")),
    },
    Check {
        name: "protected-moved",
        tries: "moves the directory of git, to put another in its place",
        source: "CVE-2024-32002",
        control: Anybody,
        strict: Check::blocked(Mounts, EBUSY),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |world| there_and_back(&world.project(".git"), &world.project("git")),
    },
];

fn there_and_back(from: &str, to: &str) -> Result<(), Refused> {
    fs::rename(from, to)?;
    Ok(fs::rename(to, from)?)
}

fn make_and_remove(path: &str) -> Result<(), Refused> {
    open(path, O_WRONLY | O_CREAT | O_EXCL)?;
    Ok(fs::remove_file(path)?)
}

/// A symlink leads to a file and to a denied one in turn.
fn race(world: &World) -> Result<(), Refused> {
    let [link, next] = ["race", "race-next"].map(|name| world.writable(name));
    let [shown, masked] = ["file", "masked"].map(|name| world.project(name));
    fs::write(&shown, "shown")?;
    let Some(child) = sys::fork()? else {
        loop {
            for target in [&shown, &masked] {
                let swapped = symlink(target, &next).and_then(|()| fs::rename(&next, &link));
                if swapped.is_err() {
                    sys::exit(1);
                }
            }
        }
    };
    // As often as it takes to have met both.
    let (mut seen, mut met, mut refused) = (false, 0, 0);
    while !seen && (met < 300 || refused < 300) {
        match fs::read(&link) {
            Ok(content) if content == SECRET.as_bytes() => seen = true,
            Ok(_) => met += 1,
            Err(error) if error.raw_os_error() == Some(EACCES) => refused += 1,
            Err(_) => {}
        }
    }
    sys::kill(child, SIGKILL)?;
    sys::wait(child)?;
    let _ = fs::remove_file(&next);
    fs::remove_file(&link)?;
    fs::write(&shown, SECRET)?;
    noticed(seen)
}
