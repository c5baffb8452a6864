//! Who listens in an arena, and what is shared there.

use std::fs::{self, File, Permissions};
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

use crate::sys::{self, number};
use crate::world::{ABSTRACT, BASE, IPC_KEY, QUEUE, SECRET, SHARED_MEMORY, TCP_PORT, UDP_PORT};

/// Servers; they listen as long as this is there.
pub(super) struct Host {
    _tcp: TcpListener,
    pub(super) udp: UdpSocket,
    _abstract: UnixListener,
    _unix: [UnixListener; 2],
    pub(super) datagrams: UnixDatagram,
    /// Somebody reads the FIFOs.
    _fifos: [File; 2],
}

impl Host {
    pub(super) fn new() -> io::Result<Self> {
        bring_up_loopback()?;
        share()?;
        let name = SocketAddr::from_abstract_name(ABSTRACT)?;
        let paths = ["secret", "data"].map(|place| format!("{BASE}/{place}/socket"));
        let [secret, data] = paths.map(|path| {
            UnixListener::bind(&path).and_then(|socket| open_to_all(&path).map(|()| socket))
        });
        let datagrams = UnixDatagram::bind(format!("{BASE}/data/datagrams"))?;
        datagrams.set_nonblocking(true)?;
        open_to_all(&format!("{BASE}/data/datagrams"))?;
        let open = |fifo| File::options().read(true).write(true).open(format!("{BASE}/{fifo}"));
        let udp = UdpSocket::bind(("127.0.0.1", UDP_PORT))?;
        udp.set_nonblocking(true)?;
        Ok(Self {
            _tcp: TcpListener::bind(("127.0.0.1", TCP_PORT))?,
            udp,
            _abstract: UnixListener::bind_addr(&name)?,
            _unix: [secret?, data?],
            datagrams,
            _fifos: [open("data/fifo")?, open("project/fixed/fifo")?],
        })
    }
}

/// A network namespace starts with its loopback interface down.
fn bring_up_loopback() -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // struct ifreq: a name of 16 bytes, then the flags.
    let mut request = [0_u8; 40];
    request[..2].copy_from_slice(b"lo");
    request[16] = (libc::IFF_UP | libc::IFF_RUNNING) as u8;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket) as u64;
    sys::call(libc::SYS_ioctl, [fd, number::SIOCSIFFLAGS, sys::at(&request)]).map(drop)
}

/// IPC objects that every user may use.
fn share() -> io::Result<()> {
    let mode = libc::IPC_CREAT as u64 | 0o666;
    sys::call(libc::SYS_shmget, [IPC_KEY, 4096, mode])?;
    sys::call(libc::SYS_semget, [IPC_KEY, 1, mode])?;
    sys::call(libc::SYS_msgget, [IPC_KEY, mode])?;
    let name = sys::text(QUEUE);
    let flags = (libc::O_CREAT | libc::O_RDWR) as u64;
    // The mode mask would close it.
    sys::call(libc::SYS_umask, [0])?;
    sys::call(libc::SYS_mq_open, [name.as_ptr() as u64, flags, 0o666, 0])?;
    fs::write(SHARED_MEMORY, SECRET)?;
    open_to_all(SHARED_MEMORY)
}

fn open_to_all(path: &str) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o666))
}
