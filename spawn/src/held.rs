//! What is made once for all commands of a sandbox, and held by processes of
//! the launcher: a template of the view, network namespaces, the server that
//! starts them.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use launcher::sys;
use launcher_policy::wire;
use linux_raw_sys::general::SIGKILL;
use linux_raw_sys::landlock::LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET;
use policy_encoder::receipt::Event;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    recvmsg, socketpair,
};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::Error;
use crate::server::Server;
use crate::start::{Process, Program, Start};
use crate::strings::Strings;

/// Where the network namespaces of commands come from, under a policy that
/// gives each command one of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Each launch makes its own, which is what takes longest in it.
    #[default]
    Fresh,
    /// Each launch takes one that was made before, in the background, and that
    /// nobody was in. The commands share nothing.
    Pooled,
    /// All commands are in one. They see the names and counts of each other's
    /// sockets in `/proc/net`, and, where the policy has a loopback interface,
    /// reach each other over it. Landlock closes abstract UNIX sockets between
    /// them; where it does not, this is an error.
    Shared,
}

/// What of it a sandbox wants.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) template: bool,
    pub(crate) network: Network,
    pub(crate) server: bool,
}

/// What of it there is.
#[derive(Debug, Default)]
pub(crate) struct Held {
    template: Option<Template>,
    networks: Networks,
    server: Option<Server>,
}

#[derive(Debug)]
struct Template {
    /// A pidfd of the process whose namespaces the template is.
    pidfd: OwnedFd,
    /// Its parent: it ends with this.
    _holder: Holder,
}

#[derive(Debug, Default)]
enum Networks {
    #[default]
    Fresh,
    Pool(Holder),
    One(OwnedFd),
}

/// What one command joins, by the launcher's options.
#[derive(Default)]
pub(crate) struct Joined<'a> {
    template: Option<BorrowedFd<'a>>,
    network: Option<BorrowedFd<'a>>,
    /// Open until the command is in it.
    pooled: Option<OwnedFd>,
}

/// How the launcher is run, and a descriptor put onto a number that no policy
/// hands anything over under.
pub(crate) struct Surroundings<'a> {
    pub(crate) program: BorrowedFd<'a>,
    pub(crate) memfd: BorrowedFd<'a>,
    pub(crate) ruleset: Option<BorrowedFd<'a>>,
    pub(crate) apart: &'a dyn Fn(OwnedFd) -> rustix::io::Result<OwnedFd>,
}

impl Held {
    /// Makes what is wanted for a policy.
    pub(crate) fn make(
        wanted: Wanted,
        policy: &[u8],
        around: &Surroundings<'_>,
    ) -> Result<Self, Error> {
        if wanted.network == Network::Shared {
            check_abstract_sockets(policy)?;
        }
        let template = wanted.template.then(|| -> Result<_, Error> {
            let holder = Holder::start("--hold-template", &[], around)?;
            Ok(Template { pidfd: holder.take(around.apart)?, _holder: holder })
        });
        let template = template.transpose()?;
        let user = template.as_ref().map(|template| ("--template-fd", template.pidfd.as_fd()));
        let makers = || Holder::start("--hold-networks", user.as_slice(), around);
        let networks = match wanted.network {
            Network::Fresh => Networks::Fresh,
            Network::Pooled => Networks::Pool(makers()?),
            Network::Shared => Networks::One(makers()?.take(around.apart)?),
        };
        let mut held = Self { template, networks, server: None };
        if wanted.server {
            held.server = Some(held.serve(around)?);
        }
        Ok(held)
    }

    /// Starts the server, whose launches join what does not differ between them.
    fn serve(&self, around: &Surroundings<'_>) -> Result<Server, Error> {
        let template = self.template.as_ref().map(|template| template.pidfd.as_fd());
        let network = match &self.networks {
            Networks::One(network) => Some(network.as_fd()),
            Networks::Fresh | Networks::Pool(_) => None,
        };
        let given = [
            ("--template-fd", template),
            ("--netns-fd", network),
            ("--ruleset-fd", around.ruleset),
        ];
        let given: Vec<_> = given.into_iter().filter_map(|(name, fd)| Some((name, fd?))).collect();
        Holder::start("--serve", &given, around).map(Server::new)
    }

    /// The server, if commands are started by one.
    pub(crate) fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// What the next command joins.
    pub(crate) fn next(
        &self,
        apart: &dyn Fn(OwnedFd) -> rustix::io::Result<OwnedFd>,
    ) -> Result<Joined<'_>, Error> {
        let template = self.template.as_ref().map(|template| template.pidfd.as_fd());
        let (network, pooled) = match &self.networks {
            Networks::Fresh => (None, None),
            Networks::Pool(maker) => (None, Some(maker.take(apart)?)),
            Networks::One(network) => (Some(network.as_fd()), None),
        };
        Ok(Joined { template, network, pooled })
    }
}

impl Joined<'_> {
    /// The network namespace that is this command's alone.
    pub(crate) fn pooled(&self) -> Option<RawFd> {
        self.pooled.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// The options that say so.
    pub(crate) fn options(&self) -> impl Iterator<Item = (&'static str, RawFd)> {
        let network = self.network.or(self.pooled.as_ref().map(AsFd::as_fd));
        let all = [("--template-fd", self.template), ("--netns-fd", network)];
        all.into_iter().filter_map(|(option, fd)| Some((option, fd?.as_raw_fd())))
    }
}

/// Refuses where commands in one network namespace could reach each other by
/// names that are in no directory.
fn check_abstract_sockets(policy: &[u8]) -> Result<(), Error> {
    let policy = wire::decode(policy).map_err(|error| Error::policy(error.refusal().name()))?;
    let abi = launcher::landlock::abi(None).unwrap_or(0);
    let handled = policy.landlock.iter().flat_map(|all| all.handled.iter().take(abi as usize));
    let scoped = handled.last().map_or(0, |handled| handled.scoped);
    if scoped & LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET == 0 {
        return Err(Error::policy(
            "commands that share a network namespace could reach each other's abstract UNIX \
             sockets here: it takes Landlock ABI 6, Linux 6.12; Network::Pooled shares nothing",
        ));
    }
    Ok(())
}

/// A process of the launcher that holds something until this goes.
#[derive(Debug)]
pub(crate) struct Holder {
    process: Process,
    /// Over which it hands out what it holds.
    socket: OwnedFd,
}

impl Holder {
    /// Starts one, which returns when it has something to hand out.
    fn start(
        what: &str,
        given: &[(&'static str, BorrowedFd<'_>)],
        around: &Surroundings<'_>,
    ) -> Result<Self, Error> {
        let no_descriptor = || Error::io("cannot talk to the launcher");
        let kind = SocketType::SEQPACKET;
        let (socket, inside) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
            .map_err(no_descriptor())?;
        let (errors, errors_inside) = pipe_with(PipeFlags::CLOEXEC).map_err(no_descriptor())?;
        let inside = (around.apart)(inside).map_err(no_descriptor())?;
        let errors_inside = (around.apart)(errors_inside).map_err(no_descriptor())?;
        let own = [
            ("--fd", around.memfd.as_raw_fd()),
            ("--error-fd", errors_inside.as_raw_fd()),
            (what, inside.as_raw_fd()),
        ];
        let own: Vec<(&str, RawFd)> =
            own.into_iter().chain(given.iter().map(|(name, fd)| (*name, fd.as_raw_fd()))).collect();
        let options = own.iter().map(|(option, number)| format!("{option}={number}"));
        let argv = ["launcher".to_owned(), "--sealed".to_owned()].into_iter().chain(options);
        let argv: Vec<CString> =
            argv.map(CString::new).collect::<Result<_, _>>().map_err(Error::io("no arguments"))?;
        let argv = Strings::new(argv.iter().map(CString::as_c_str));
        let kept: Vec<RawFd> = own.iter().map(|(_, number)| *number).collect();
        let start = Start::of(Program::Launcher(around.program), argv.as_c(), &kept);
        let process = start.run().map_err(Error::io("cannot run the launcher"))?;
        drop((inside, errors_inside));
        let holder = Self { process, socket };
        answer(errors)?;
        Ok(holder)
    }

    /// Where it is spoken to.
    pub(crate) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// The next thing that it hands out.
    fn take(
        &self,
        apart: &dyn Fn(OwnedFd) -> rustix::io::Result<OwnedFd>,
    ) -> Result<OwnedFd, Error> {
        let wrong = |error: io::Error| Error::io("cannot take what was prepared")(error);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; 16];
        loop {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            match recvmsg(&self.socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(wrong(error.into())),
            }
        }
        let mut fds = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        let fd = fds.next().and_then(|mut fds| fds.next());
        // The end of the other side comes without one.
        let fd = fd.ok_or_else(|| wrong(io::Error::other("its holder has ended")))?;
        apart(fd).map_err(|error| wrong(error.into()))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Not by the socket alone: a copy of this process may have it open.
        let _ = sys::pidfd_send_signal(&self.process.pidfd, SIGKILL);
        crate::child::reap(&self.process);
    }
}

/// Waits until the launcher has nothing more to say of its start.
///
/// # Errors
///
/// What it says, which is why it failed.
pub(crate) fn answer(errors: OwnedFd) -> Result<(), Error> {
    let unread = || Error::io("cannot read the launcher's answer");
    let mut answer = String::new();
    File::from(errors).read_to_string(&mut answer).map_err(unread())?;
    if answer.is_empty() {
        return Ok(());
    }
    match serde_json::from_str(&answer) {
        Ok(Event::Failure(failure)) => Err(Error::launch(failure)),
        Ok(_) => Err(unread()(io::Error::other(answer))),
        Err(error) => Err(unread()(io::Error::from(error))),
    }
}
