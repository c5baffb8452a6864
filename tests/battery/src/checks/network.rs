//! The network, sockets and what else processes share.

use super::row::*;
use crate::world::{ABSTRACT, IPC_KEY, QUEUE, TCP_PORT, UDP_PORT};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};

/// Why a socket in a granted directory is reached.
const PATHS: &str = "before Landlock ABI 9 (Linux 7.1) only network.unix = \"none\" closes a UNIX \
     socket whose directory is in view";

pub(super) const CHECKS: &[Check] = &[
    socket("tcp", "makes a TCP socket", Anybody, |_| make(AF_INET, SOCK_STREAM, 0)),
    socket("tcp-6", "makes a TCP socket of IPv6", Where("IPv6"), |_| {
        make(AF_INET6, SOCK_STREAM, 0)
    }),
    socket("udp", "makes a UDP socket", Anybody, |_| make(AF_INET, SOCK_DGRAM, 0)),
    socket("raw", "makes a raw socket", Root, |_| make(AF_INET, SOCK_RAW, IPPROTO_ICMP)),
    socket("mptcp", "makes a socket of multipath TCP", Where("multipath TCP"), |_| {
        make(AF_INET, SOCK_STREAM, IPPROTO_MPTCP)
    }),
    socket("packets", "makes a socket for whole packets", Root, |_| make(AF_PACKET, SOCK_RAW, 0)),
    socket("netlink", "makes a socket to configure the network", Anybody, |_| {
        make(AF_NETLINK, SOCK_RAW, 0)
    }),
    socket("netlink-audit", "makes a socket to the audit log", Where("the audit log"), |_| {
        make(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT)
    }),
    socket("vsock", "makes a socket to the host of a virtual machine", Where("vsock"), |_| {
        make(AF_VSOCK, SOCK_STREAM, 0)
    }),
    socket("express-data", "makes a socket past the network stack", RootWhere("AF_XDP"), |_| {
        make(AF_XDP, SOCK_RAW, 0)
    }),
    socket("kernel-crypto", "makes a socket to the kernel's ciphers", Where("AF_ALG"), |_| {
        make(AF_ALG, SOCK_SEQPACKET, 0)
    }),
    socket("high-family", "makes a socket by a family with a high bit", Anybody, |_| {
        Ok(call(SYS_socket, [AF_INET as u64 | 1 << 32, SOCK_STREAM as u64, 0]).map(drop)?)
    }),
    socket("tcp-connect", "connects to a server of the host", Anybody, |_| {
        Ok(std::net::TcpStream::connect(("127.0.0.1", TCP_PORT)).map(drop)?)
    }),
    socket("tcp-fast-open", "connects by sending, as TCP fast open does", Anybody, |_| {
        let socket = call(SYS_socket, [AF_INET as u64, SOCK_STREAM as u64, 0])?;
        let address = loopback(TCP_PORT);
        let flags = MSG_FASTOPEN as u64;
        let data = b"x".as_ptr() as u64;
        Ok(call(SYS_sendto, [socket, data, 1, flags, sys::at(&address), 16]).map(drop)?)
    }),
    socket("tcp-listen", "listens without being bound to a port", Anybody, |_| {
        let socket = call(SYS_socket, [AF_INET as u64, SOCK_STREAM as u64, 0])?;
        Ok(call(SYS_listen, [socket, 1]).map(drop)?)
    }),
    socket("udp-send", "sends a datagram to the host", Anybody, |world| {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
        socket.send_to(b"x", ("127.0.0.1", UDP_PORT))?;
        noticed(world.is("udp")?)
    }),
    Check {
        name: "connections",
        tries: "reads which ports of the host are listened at",
        source: "proc(5)",
        control: Anybody,
        strict: Check::ineffective(NetNamespace),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |_| {
            let all = fs::read_to_string("/proc/net/tcp")?;
            noticed(all.contains(&format!(":{TCP_PORT:04X} ")))
        },
    },
    Check {
        name: "abstract-socket",
        tries: "connects to an abstract UNIX socket of the host",
        source: "CVE-2020-15257",
        control: Anybody,
        strict: Check::blocked(NetNamespace, ECONNREFUSED),
        landlock: Check::blocked(Seccomp, EAFNOSUPPORT),
        attack: |_| {
            let address = SocketAddr::from_abstract_name(ABSTRACT)?;
            Ok(UnixStream::connect_addr(&address).map(drop)?)
        },
    },
    Check {
        name: "hidden-socket",
        tries: "connects to a UNIX socket in a hidden directory",
        source: "CVE-2020-15257",
        control: Anybody,
        strict: Check::blocked(Mounts, ENOENT),
        landlock: Check::blocked(Seccomp, EAFNOSUPPORT),
        attack: |world| Ok(UnixStream::connect(world.secret("socket")).map(drop)?),
    },
    Check {
        name: "data-socket",
        tries: "connects to a UNIX socket in a directory that it may read",
        source: "unix(7)",
        control: Anybody,
        strict: Check::depends(PATHS),
        landlock: Check::blocked(Seccomp, EAFNOSUPPORT),
        attack: |world| Ok(UnixStream::connect(world.data("socket")).map(drop)?),
    },
    Check {
        name: "data-datagrams",
        tries: "sends a datagram to a UNIX socket in a directory that it may read",
        source: "unix(7)",
        control: Anybody,
        strict: Check::depends(PATHS),
        landlock: Check::blocked(Seccomp, ESOCKTNOSUPPORT),
        attack: |world| {
            // One of a pair can send to any path.
            let (own, _other) = UnixDatagram::pair()?;
            own.send_to(b"x", world.data("datagrams"))?;
            noticed(world.is("datagram")?)
        },
    },
    ipc("shared-memory", "finds shared memory of the host", "shmget(2)", |_| {
        Ok(call(SYS_shmget, [IPC_KEY, 0, 0]).map(drop)?)
    }),
    ipc("semaphores", "finds semaphores of the host", "semget(2)", |_| {
        Ok(call(SYS_semget, [IPC_KEY, 0, 0]).map(drop)?)
    }),
    ipc("messages", "finds a message queue of the host", "msgget(2)", |_| {
        Ok(call(SYS_msgget, [IPC_KEY, 0]).map(drop)?)
    }),
    ipc("posix-messages", "opens a POSIX message queue of the host", "mq_open(3)", |_| {
        let name = sys::text(QUEUE);
        Ok(call(SYS_mq_open, [name.as_ptr() as u64, O_RDONLY as u64, 0, 0]).map(drop)?)
    }),
    ipc("keyring", "asks for the keyring of the user", "CVE-2016-0728", |_| {
        // KEYCTL_GET_KEYRING_ID of KEY_SPEC_USER_KEYRING, which is made.
        Ok(call(SYS_keyctl, [0, -4_i64 as u64, 1]).map(drop)?)
    }),
    ipc("add-key", "adds a key", "CVE-2016-0728", |_| {
        let [kind, name] = [c"user", c"battery"].map(|text| text.as_ptr() as u64);
        // To the keyring of this process.
        Ok(call(SYS_add_key, [kind, name, sys::at(b"x"), 1, -2_i64 as u64]).map(drop)?)
    }),
    ipc("request-key", "has a program of the host make a key", "CVE-2016-0728", |_| {
        let [kind, name] = [c"user", c"battery"].map(|text| text.as_ptr() as u64);
        reached(call(SYS_request_key, [kind, name, 0, 0]), &[ENOKEY])
    }),
];

const fn socket(
    name: &'static str,
    tries: &'static str,
    control: crate::check::Control,
    attack: Attack,
) -> Check {
    Check {
        name,
        tries,
        source: "socket(2)",
        control,
        strict: Check::blocked(Seccomp, EAFNOSUPPORT),
        landlock: Check::blocked(Seccomp, EAFNOSUPPORT),
        attack,
    }
}

const fn ipc(
    name: &'static str,
    tries: &'static str,
    source: &'static str,
    attack: Attack,
) -> Check {
    Check {
        name,
        tries,
        source,
        control: Anybody,
        strict: Check::blocked(Seccomp, EPERM),
        landlock: Check::blocked(Seccomp, EPERM),
        attack,
    }
}

fn make(family: c_int, kind: c_int, protocol: c_int) -> Result<(), Refused> {
    Ok(call(SYS_socket, [family as u64, kind as u64, protocol as u64]).map(drop)?)
}

/// `struct sockaddr_in` of 127.0.0.1.
fn loopback(port: u16) -> [u8; 16] {
    let mut address = [0; 16];
    address[0] = AF_INET as u8;
    address[2..4].copy_from_slice(&port.to_be_bytes());
    address[4..8].copy_from_slice(&[127, 0, 0, 1]);
    address
}
