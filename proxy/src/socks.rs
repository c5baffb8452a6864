//! SOCKS 5, RFC 1928: connections over TCP, without authentication.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::accept::Place;
use crate::gate::{Gate, Kind};
use crate::log::Way;
use crate::relay::relay;

/// The version of the protocol.
const VERSION: u8 = 5;

/// How long a client may take to say what it wants.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The reply's codes.
#[derive(Clone, Copy)]
enum Reply {
    Succeeded = 0,
    NotAllowed = 2,
    HostUnreachable = 4,
    ConnectionRefused = 5,
    CommandNotSupported = 7,
    AddressNotSupported = 8,
}

/// Serves one client.
pub(crate) async fn serve(mut stream: TcpStream, gate: &Arc<Gate>, _place: Place) {
    let Ok(Ok(asked)) = timeout(HANDSHAKE, request(&mut stream)).await else { return };
    let (host, port) = match asked {
        Ok(target) => target,
        Err(reply) => return drop(answer(&mut stream, reply).await),
    };
    let opened = gate.open(Way::Socks, &host, port).await;
    let reply = match &opened {
        Ok(_) => Reply::Succeeded,
        Err(refused) => match refused.kind {
            Kind::Policy => Reply::NotAllowed,
            Kind::Name => Reply::HostUnreachable,
            Kind::Host => Reply::ConnectionRefused,
        },
    };
    let answered = answer(&mut stream, reply).await;
    if let (Ok(mut outside), Ok(())) = (opened, answered) {
        relay(&mut stream, &mut outside).await;
    }
}

/// What a client asks for, or why it cannot have it.
async fn request(stream: &mut TcpStream) -> io::Result<Result<(String, u16), Reply>> {
    let [version, methods] = read(stream).await?;
    let mut offered = vec![0; methods.into()];
    stream.read_exact(&mut offered).await?;
    // Whoever reaches this socket is the command.
    let is_open = version == VERSION && offered.contains(&0);
    stream.write_all(&[VERSION, if is_open { 0 } else { 0xff }]).await?;
    if !is_open {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let [version, command, _, kind] = read(stream).await?;
    if version != VERSION {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let host = match kind {
        1 => IpAddr::from(Ipv4Addr::from(read::<4>(stream).await?)).to_string(),
        4 => IpAddr::from(Ipv6Addr::from(read::<16>(stream).await?)).to_string(),
        3 => {
            let [length] = read(stream).await?;
            let mut name = vec![0; length.into()];
            stream.read_exact(&mut name).await?;
            String::from_utf8_lossy(&name).into_owned()
        }
        _ => return Ok(Err(Reply::AddressNotSupported)),
    };
    let port = stream.read_u16().await?;
    // Neither BIND nor UDP ASSOCIATE.
    Ok(if command == 1 { Ok((host, port)) } else { Err(Reply::CommandNotSupported) })
}

async fn read<const N: usize>(stream: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// The address in it, of the proxy's own end, is nobody's business.
async fn answer(stream: &mut TcpStream, reply: Reply) -> io::Result<()> {
    stream.write_all(&[VERSION, reply as u8, 0, 1, 0, 0, 0, 0, 0, 0]).await
}
