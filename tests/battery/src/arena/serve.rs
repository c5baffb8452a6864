//! What an attack can ask of whoever is outside.
//!
//! - `terminal`: the path of the caller's terminal.
//! - `pending N`: whether the process outside got the signal N.
//! - `nice N`: whether that is how nice the process outside is.
//! - `exists PATH`: whether the host has it.
//! - `udp`, `datagram`: whether somebody got one since.
//! - `mount`, `unmount`: mounts a file system on `data/later` and on
//!   `writable/later`, and takes both away again.
//! - `move`, `back`: moves `writable/moved` to `secret`, and back.
//! - `hand over PATH`: answers with a descriptor of it.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::files::{mount, unmount};
use super::host::Host;
use super::terminal::Line;
use crate::sys;
use crate::world::{BASE, SECRET, VICTIM};

/// Where a file system is mounted while an attack runs.
const LATER: [&str; 2] = ["data/later", "writable/later"];

/// Answers requests until nobody is left to make any.
pub(super) fn serve(line: &Line, host: &Host, socket: &OwnedFd) -> io::Result<()> {
    let fd = socket.as_raw_fd() as u64;
    let mut buffer = [0_u8; 512];
    loop {
        let length = sys::call(libc::SYS_read, [fd, sys::at_mut(&mut buffer), 512]);
        let request = match length {
            Ok(0) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ECONNRESET) => return Ok(()),
            length => String::from_utf8_lossy(&buffer[..length? as usize]).into_owned(),
        };
        if let Some(path) = request.strip_prefix("hand over ") {
            let file = fs::File::open(path)?;
            hand_over(fd, file.as_raw_fd())?;
            continue;
        }
        let text = answer(line, host, &request).unwrap_or_else(|error| error.to_string());
        sys::call(libc::SYS_write, [fd, text.as_ptr() as u64, text.len() as u64])?;
    }
}

fn answer(line: &Line, host: &Host, request: &str) -> io::Result<String> {
    let moved = [format!("{BASE}/writable/moved"), format!("{BASE}/secret/moved")];
    let truth = match request.split_once(' ').unwrap_or((request, "")) {
        ("terminal", _) => return Ok(line.name.clone()),
        ("pending", signal) => is_pending(signal)?,
        // getpriority(2) answers 20 less the value.
        ("nice", value) => {
            let priority = sys::call(libc::SYS_getpriority, [0, VICTIM])?;
            (20 - priority as i64).to_string() == value
        }
        ("exists", path) => fs::symlink_metadata(path).is_ok(),
        ("udp", _) => host.udp.recv(&mut [0; 16]).is_ok(),
        ("datagram", _) => host.datagrams.recv(&mut [0; 16]).is_ok(),
        ("mount", _) => {
            for place in LATER {
                mount("later", &format!("{BASE}/{place}"), "tmpfs", 0, "mode=777")?;
                fs::write(format!("{BASE}/{place}/file"), SECRET)?;
            }
            true
        }
        ("unmount", _) => {
            LATER.iter().try_for_each(|place| unmount(&format!("{BASE}/{place}")))?;
            true
        }
        ("move", _) => fs::rename(&moved[0], &moved[1]).is_ok(),
        ("back", _) => fs::rename(&moved[1], &moved[0]).is_ok(),
        _ => return Err(io::Error::from_raw_os_error(libc::EINVAL)),
    };
    Ok(if truth { "yes" } else { "no" }.to_owned())
}

/// Whether the process outside has been sent a signal.
fn is_pending(signal: &str) -> io::Result<bool> {
    let status = fs::read_to_string(format!("/proc/{VICTIM}/status"))?;
    let signal: u32 = signal.parse().map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let sets = status.lines().filter_map(|line| {
        let set = line.strip_prefix("ShdPnd:").or_else(|| line.strip_prefix("SigPnd:"))?;
        u64::from_str_radix(set.trim(), 16).ok()
    });
    Ok(sets.fold(0, |all, set| all | set) >> (signal - 1) & 1 == 1)
}

/// Sends a descriptor with one byte.
fn hand_over(socket: u64, fd: i32) -> io::Result<()> {
    // struct cmsghdr: length, level and type; then the descriptor.
    let kind = u64::from(libc::SOL_SOCKET as u32) | (libc::SCM_RIGHTS as u64) << 32;
    let control = [20_u64, kind, fd as u64];
    let byte = [sys::at(b"."), 1];
    // struct msghdr: name, its length, buffers, their number, control, its
    // length, flags.
    let message = [0, 0, sys::at(&byte), 1, sys::at(&control), 24, 0];
    sys::call(libc::SYS_sendmsg, [socket, sys::at(&message), 0]).map(drop)
}
