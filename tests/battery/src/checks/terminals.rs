//! The terminal that the caller sits at, which is standard error.

use super::row::*;

/// Why the terminal can be set.
const SETTINGS: &str = "who has a descriptor of a terminal may set it, as programs do that ask for \
     a password; a terminal that must not be touched is not handed over as a standard stream";

pub(super) const CHECKS: &[Check] = &[
    request("type-ahead", "types a command for the caller's shell", "CVE-2017-5226", |_| {
        control(number::TIOCSTI, b"\n")
    }),
    request(
        "type-ahead-high-bits",
        "types by a request with a bit that the kernel ignores",
        "CVE-2019-10063",
        |_| control(number::TIOCSTI | 1 << 32, b"\n"),
    ),
    request(
        "type-ahead-high-bits-all",
        "types by a request with all bits that the kernel ignores",
        "CVE-2019-10063",
        |_| control(number::TIOCSTI | 0xffff_ffff << 32, b"\n"),
    ),
    console("paste", "pastes into a virtual console", "CVE-2023-28100", 0),
    console("paste-high-bits", "pastes by a request with a high bit", "CVE-2023-28100", 1 << 32),
    Check {
        name: "terminal-by-name",
        tries: "opens the caller's terminal by its name",
        source: "CVE-2017-5226",
        control: Anybody,
        strict: Check::blocked(Mounts, ENOENT),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |world| {
            let name = world.ask("terminal")?;
            Ok(open(&name, O_RDWR | O_NOCTTY).map(drop)?)
        },
    },
    Check {
        name: "controlling-terminal",
        tries: "opens the controlling terminal",
        source: "tty(4)",
        control: Anybody,
        strict: Check::blocked(Mounts, ENOENT),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |_| Ok(open("/dev/tty", O_RDWR).map(drop)?),
    },
    Check {
        name: "terminal-reopened",
        tries: "opens the caller's terminal by the descriptor that it has of it",
        source: "CVE-2017-5226",
        control: Anybody,
        strict: Check::blocked(Landlock, EACCES),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |_| Ok(open("/proc/self/fd/2", O_RDWR | O_NOCTTY).map(drop)?),
    },
    Check {
        name: "terminal-settings",
        tries: "sets how the caller's terminal treats what is typed",
        source: "termios(3)",
        control: Anybody,
        strict: Check::allowed(SETTINGS),
        landlock: Check::allowed(SETTINGS),
        attack: |_| {
            // To what they are.
            let mut settings = [0_u8; 64];
            call(SYS_ioctl, [2, number::TCGETS, sys::at_mut(&mut settings)])?;
            Ok(call(SYS_ioctl, [2, number::TCSETS, sys::at(&settings)]).map(drop)?)
        },
    },
    Check {
        name: "hang-up",
        tries: "hangs up the terminal",
        source: "vhangup(2)",
        control: Root,
        strict: Check::blocked(Seccomp, EPERM),
        landlock: Check::blocked(Seccomp, EPERM),
        attack: |_| {
            // Of a session that has none there is nothing to hang up.
            call(SYS_setsid, [])?;
            Ok(call(SYS_vhangup, []).map(drop)?)
        },
    },
    Check {
        name: "terminal-stolen",
        tries: "takes the caller's terminal for a session of its own",
        source: "ioctl_tty(2)",
        control: Root,
        strict: Check::blocked(Credentials, EPERM),
        landlock: Check::blocked(Credentials, EPERM),
        attack: |_| {
            call(SYS_setsid, [])?;
            Ok(call(SYS_ioctl, [2, number::TIOCSCTTY, 1]).map(drop)?)
        },
    },
];

const fn request(
    name: &'static str,
    tries: &'static str,
    source: &'static str,
    attack: Attack,
) -> Check {
    Check {
        name,
        tries,
        source,
        control: Where("dev.tty.legacy_tiocsti"),
        strict: Check::blocked(Seccomp, EPERM),
        landlock: Check::blocked(Seccomp, EPERM),
        attack,
    }
}

const fn console(
    name: &'static str,
    tries: &'static str,
    source: &'static str,
    bits: u64,
) -> Check {
    Check {
        name,
        tries,
        source,
        control: RootWhere("virtual consoles"),
        strict: Check::blocked(Seccomp, EPERM),
        landlock: Check::blocked(Seccomp, EPERM),
        attack: if bits == 0 { |_| paste(0) } else { |_| paste(1 << 32) },
    }
}

fn control(request: u64, argument: &[u8]) -> Result<(), Refused> {
    Ok(call(SYS_ioctl, [2, request, sys::at(argument)]).map(drop)?)
}

/// Asks a console for the state of its shift key, by the request that pastes.
fn paste(bits: u64) -> Result<(), Refused> {
    const TIOCL_GETSHIFTSTATE: u8 = 6;
    let console = open("/dev/tty1", O_RDWR | O_NOCTTY).unwrap_or(2);
    let argument = [TIOCL_GETSHIFTSTATE, 0];
    Ok(call(SYS_ioctl, [console, number::TIOCLINUX | bits, sys::at(&argument)]).map(drop)?)
}
