//! Calls on sockets, made in a command's place.
//!
//! Neither an address nor a number of a descriptor is race-free: another thread
//! may change the one and point the other at something else. So the address is
//! read once, the socket itself is taken, both are judged, and it is this socket
//! that is connected to this address, by a thread that is confined as the command.

use std::net::SocketAddr;

use rustix::io::{Errno, Result};

use crate::address::{Address, destination};
use crate::memory::Memory;
use crate::message::{self, Message, address_at};
use crate::running::{Effect, Outcome, Running};
use crate::socket::{Progress, Sending, Socket};
use crate::target::Target;
use crate::waiting::{Waiting, Work};
use crate::{Category, Notification, SyscallEvent};

/// How many messages one call sends.
const MESSAGES: u64 = 1024;

/// `MSG_DONTWAIT`
const DONTWAIT: u32 = rustix::net::SendFlags::DONTWAIT.bits();

/// What has become of one message of many.
enum Sent {
    Whole,
    Part,
    /// That is found out by and by, or it is told how much was sent.
    Later(Effect),
}

impl Running {
    pub(crate) fn connect(
        &mut self,
        asked: &Notification,
        target: &Target,
        named: [u64; 3],
    ) -> Outcome {
        let (socket, address) = self.named(target, named)?;
        let to = match address {
            Address::Ip(to) => destination(to),
            Address::Unspecified => {
                self.check(asked)?;
                return socket.disconnect(self.confined()?).map(|()| Effect::Return(0));
            }
            Address::Other => return Err(Errno::AFNOSUPPORT),
        };
        self.judge(asked, target, about("connect", target, &socket, to)?, &[])?;
        self.perform(asked, &socket, Work::Connect(self.redirected(to)))
    }

    /// Where what was allowed goes.
    fn redirected(&self, mut to: SocketAddr) -> SocketAddr {
        let is_meant =
            |from: &SocketAddr| from.port() == to.port() && from.ip() == to.ip().to_canonical();
        if let Some((_, port)) = self.redirects.iter().find(|(from, _)| is_meant(from)) {
            to.set_port(*port);
        }
        to
    }

    pub(crate) fn bind(
        &mut self,
        asked: &Notification,
        target: &Target,
        named: [u64; 3],
    ) -> Outcome {
        let (socket, address) = self.named(target, named)?;
        let Address::Ip(to) = address else { return Err(Errno::AFNOSUPPORT) };
        self.judge(asked, target, about("bind", target, &socket, to)?, &[])?;
        socket.bind(to, self.confined()?).map(|()| Effect::Return(0))
    }

    pub(crate) fn send_to(
        &mut self,
        asked: &Notification,
        target: &Target,
        number: u64,
        message: [u64; 4],
        flags: u32,
    ) -> Outcome {
        let message = Message::plain(target, message)?;
        let socket = self.socket(target, number)?;
        let sending = self.sending(asked, target, "sendto", &socket, message, flags)?;
        self.perform(asked, &socket, Work::Send(sending))
    }

    pub(crate) fn send_message(
        &mut self,
        asked: &Notification,
        target: &Target,
        [number, header, flags]: [u64; 3],
    ) -> Outcome {
        let message = Message::read(target, header)?;
        let socket = self.socket(target, number)?;
        let sending = self.sending(asked, target, "sendmsg", &socket, message, flags as u32)?;
        self.perform(asked, &socket, Work::Send(sending))
    }

    /// Each is judged by itself. Only the first is waited for, what has become of
    /// one that fails is told only where it is the first, and one of which a part
    /// was sent is the last, as the kernel does: a stream must have no gaps.
    pub(crate) fn send_messages(
        &mut self,
        asked: &Notification,
        target: &Target,
        [number, headers, count, flags]: [u64; 4],
    ) -> Outcome {
        let socket = self.socket(target, number)?;
        let count = u64::from(count as u32).min(MESSAGES);
        for place in 0..count {
            let header = headers.wrapping_add(place * message::ENTRY);
            let flags = if place == 0 { flags as u32 } else { flags as u32 | DONTWAIT };
            match self.send_one(asked, target, &socket, header, flags) {
                Ok(Sent::Whole) => {}
                Ok(Sent::Part) => return Ok(Effect::Return(place as i64 + 1)),
                Ok(Sent::Later(effect)) => return Ok(effect),
                Err(_) if place > 0 => return Ok(Effect::Return(place as i64)),
                Err(error) => return Err(error),
            }
        }
        Ok(Effect::Return(count as i64))
    }

    fn send_one(
        &mut self,
        asked: &Notification,
        target: &Target,
        socket: &Socket,
        header: u64,
        flags: u32,
    ) -> Result<Sent> {
        let message = Message::read(target, header)?;
        let length = message.length;
        // Opened before it is known to be the memory of who waits.
        let memory = Memory::of(target)?;
        let sending = self.sending(asked, target, "sendmmsg", socket, message, flags)?;
        let sent = header.wrapping_add(message::SENT);
        let mut work = Work::SendOne(sending, memory, sent);
        Ok(match work.go_on(socket, self.confined()?)? {
            Progress::Done(_) if work.sent() == length => Sent::Whole,
            Progress::Done(_) => Sent::Part,
            Progress::Waits => Sent::Later(self.later(asked, socket, work)?),
        })
    }

    /// Something that may be sent. To where a socket is connected is not asked
    /// about again: write(2) does the same.
    fn sending(
        &mut self,
        asked: &Notification,
        target: &Target,
        name: &'static str,
        socket: &Socket,
        message: Message,
        flags: u32,
    ) -> Result<Sending> {
        if message.has_control {
            return Err(Errno::OPNOTSUPP);
        }
        if message.is_cut() && !socket.is_stream() {
            return Err(Errno::MSGSIZE);
        }
        let to = match message.to {
            None => {
                socket.check_connected()?;
                self.check(asked)?;
                None
            }
            Some(address) => {
                socket.check_named()?;
                let Address::Ip(to) = address else { return Err(Errno::AFNOSUPPORT) };
                let to = destination(to);
                let event = about(name, target, socket, to)?;
                let event = SyscallEvent { size: Some(message.length), flags, ..event };
                self.judge(asked, target, event, &[])?;
                Some(to)
            }
        };
        Sending::new(socket, to, message.bytes, flags)
    }

    /// A socket, and the address that is read for it, once.
    fn named(
        &mut self,
        target: &Target,
        [number, address, length]: [u64; 3],
    ) -> Result<(Socket, Address)> {
        let address = address_at(target, address, length)?;
        let socket = self.socket(target, number)?;
        socket.check_named()?;
        Ok((socket, address))
    }

    /// The socket that a number means, where somebody may act for its thread.
    fn socket(&mut self, target: &Target, number: u64) -> Result<Socket> {
        self.confine(target)?;
        Socket::take(target, number)
    }

    /// Does what was judged, now or by and by.
    fn perform(&mut self, asked: &Notification, socket: &Socket, mut work: Work) -> Outcome {
        match work.go_on(socket, self.confined()?)? {
            Progress::Done(value) => Ok(Effect::Return(value)),
            Progress::Waits => self.later(asked, socket, work),
        }
    }

    fn later(&mut self, asked: &Notification, socket: &Socket, work: Work) -> Outcome {
        let (socket, deadline) = (socket.clone(), socket.deadline()?);
        self.wait_for(Waiting { id: asked.id, socket, deadline, work })
    }
}

fn about(
    name: &'static str,
    target: &Target,
    socket: &Socket,
    to: SocketAddr,
) -> Result<SyscallEvent> {
    Ok(SyscallEvent {
        host: Some(to.ip().to_canonical()),
        port: Some(to.port()),
        protocol: Some(socket.protocol()?),
        ..SyscallEvent::new(name, Category::Network, target)
    })
}
