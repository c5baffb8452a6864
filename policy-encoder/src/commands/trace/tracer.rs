//! Who watches a command that runs under its policy.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::path::Path;

use launcher_supervisor::Answer;
use launcher_supervisor::watch::{Act, Address, Call, Does, Socket};
use linux_raw_sys::general as uapi;
use linux_raw_sys::ptrace::{SECCOMP_RET_ACTION_FULL, SECCOMP_RET_DATA, SECCOMP_RET_ERRNO};
use policy_encoder::Architecture;
use policy_encoder::explain::{Operation, Reason};
use policy_encoder::seccomp::constants;
use policy_encoder::seccomp::tables;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;
use rustix::net::SocketType;

use super::super::watched::{Watcher, data};
use super::judge::{Judge, Question, Stand, Why};

/// Something that was denied.
#[derive(Clone, Debug)]
pub(super) struct Denial {
    /// What the command asked.
    pub(super) question: Question,
    /// What that was denied by.
    pub(super) why: Why,
    /// The same in words.
    pub(super) because: String,
}

/// The watcher.
pub(super) struct Tracer {
    /// The policy on each of what it may stand on.
    judges: [Judge; 2],
    stand: Stand,
    asked: HashSet<Question>,
    denials: Vec<Denial>,
}

/// How many denials are remembered: a command that makes names up shall not fill
/// the memory.
const MOST: usize = 10_000;

/// Calls of which libc tries a newer one first, and goes on with an older.
const TRIED: [&str; 1] = ["clone3"];

impl Tracer {
    /// For a policy; `None` if the bytes are none.
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        let judge = |stand| Judge::new(bytes, stand);
        let judges = [judge(Stand::Asked)?, judge(Stand::WithoutNamespaces)?];
        let (asked, denials) = (HashSet::new(), Vec::new());
        Some(Self { judges, stand: Stand::Asked, asked, denials })
    }

    /// What was denied, in the order in which it was first, and what the command
    /// stood on.
    pub(super) fn denials(&self) -> (Vec<Denial>, Stand) {
        let used: HashSet<&Path> = self.denials.iter().filter_map(Denial::used).collect();
        // Who opens a file has often looked for it before.
        let is_new = |denial: &&Denial| !matches!(&denial.question, Question::Look(path) if used.contains(path.as_path()));
        (self.denials.iter().filter(is_new).cloned().collect(), self.stand)
    }

    /// The policy as it is applied.
    fn applied(&self) -> &Judge {
        let [asked, without] = &self.judges;
        match self.stand {
            Stand::Asked => asked,
            Stand::WithoutNamespaces => without,
        }
    }

    /// What the filter of the policy says to a call that it was asked about.
    fn refused(&mut self, call: &Call<'_>) -> Option<Answer> {
        let data = data(call);
        let value = self.applied().answer(&data);
        if value & SECCOMP_RET_ACTION_FULL != SECCOMP_RET_ERRNO {
            return None;
        }
        let errno = (value & SECCOMP_RET_DATA) as u16;
        if let Some(name) = call.name.filter(|name| !TRIED.contains(name)) {
            let question = Question::Call(name, registers(name, call.asked.arguments));
            self.deny(question, Why::Filter(errno));
        }
        Some(match errno {
            0 => Answer::Return(0),
            errno => Answer::Fail(Errno::from_raw_os_error(errno.into())),
        })
    }

    fn deny(&mut self, question: Question, why: Why) {
        if self.denials.len() == MOST || !self.asked.insert(question.clone()) {
            return;
        }
        let because = match &why {
            Why::Files(reason) => reason.to_string(),
            Why::Filter(errno) => {
                let known = tables::errnos().find(|(number, _)| number == errno);
                format!("the filter says {}", known.map_or("no", |(_, name)| name))
            }
            Why::Network => "the policy does not let it be reached".to_owned(),
        };
        self.denials.push(Denial { question, why, because });
    }

    /// Notes what the kernel is about to deny.
    fn note(&mut self, call: &Call<'_>, act: &Act) {
        let judge = self.applied();
        let mut found = Vec::new();
        for question in questions(act, judge) {
            if let Some(why) = judge.denies(&question)
                && is_of_the_policy(&question, &why, call)
            {
                found.push((question, why));
            }
        }
        found.into_iter().for_each(|(question, why)| self.deny(question, why));
    }
}

impl Watcher for Tracer {
    fn judge(&mut self, call: &Call<'_>) -> Answer {
        self.stand = Stand::of(call.listener);
        if let Some(answer) = self.refused(call) {
            return answer;
        }
        if let Some(act) = &call.act {
            self.note(call, act);
        }
        Answer::Continue
    }
}

/// The registers that tell a call from others of its name: addresses and the like
/// change each time.
fn registers(name: &str, [first, second, ..]: [u64; 6]) -> [u64; 6] {
    match name {
        "socket" | "socketpair" | "clone" | "unshare" | "personality" | "prctl" => {
            [first, if name.starts_with("socket") { second } else { 0 }, 0, 0, 0, 0]
        }
        "ioctl" | "memfd_create" => [0, second, 0, 0, 0, 0],
        _ => [0; 6],
    }
}

/// What the kernel is asked by a call.
fn questions(act: &Act, judge: &Judge) -> Vec<Question> {
    match act {
        Act::File { does, path, to } => files(*does, path, to.as_deref(), judge),
        Act::Socket { does, address, kind } => socket(*does, address, *kind).into_iter().collect(),
    }
}

fn files(does: Does, path: &Path, to: Option<&Path>, judge: &Judge) -> Vec<Question> {
    let ask = |operation| Question::File(operation, path.to_owned(), to.map(Path::to_owned));
    match does {
        Does::Look | Does::Enter => vec![Question::Look(path.to_owned())],
        Does::Open(flags) => opened(flags, path, judge),
        Does::Truncate => vec![ask(Operation::Truncate)],
        Does::Create => vec![ask(Operation::Create)],
        Does::Remove => vec![ask(Operation::Remove)],
        Does::Rename => vec![ask(Operation::Rename)],
        Does::Link => vec![ask(Operation::Link)],
        Does::Change => vec![ask(Operation::Write)],
        Does::Execute | Does::Map => vec![ask(Operation::Execute)],
    }
}

fn opened(flags: u32, path: &Path, judge: &Judge) -> Vec<Question> {
    let ask = |operation| Question::File(operation, path.to_owned(), None);
    if flags & uapi::O_PATH != 0 {
        return vec![Question::Look(path.to_owned())];
    }
    // A file without a name, in a directory.
    if flags & uapi::O_TMPFILE == uapi::O_TMPFILE {
        return vec![Question::File(Operation::Create, path.join("file"), None)];
    }
    // What is not in view is made, though there may be such a file outside.
    if flags & uapi::O_CREAT != 0 && !judge.has(path) {
        return vec![ask(Operation::Create)];
    }
    let mut asked = Vec::new();
    if flags & uapi::O_ACCMODE != uapi::O_WRONLY {
        asked.push(ask(Operation::Read));
    }
    if flags & uapi::O_ACCMODE != uapi::O_RDONLY {
        asked.push(ask(Operation::Write));
    }
    asked
}

fn socket(does: Socket, address: &Address, kind: Option<SocketType>) -> Option<Question> {
    let is_stream = kind == Some(SocketType::STREAM);
    match (does, address) {
        (Socket::Bind, Address::Ip(address)) => is_stream.then(|| Question::Bind(address.port())),
        (_, Address::Ip(address)) => {
            Some(Question::Connect(address.ip(), address.port(), is_stream))
        }
        (Socket::Connect | Socket::Send, Address::Path(path)) => Some(Question::Unix(path.clone())),
        _ => None,
    }
}

/// Whether it is the policy that denies: what is nowhere is not denied, and
/// neither is what its caller may not do without any policy.
fn is_of_the_policy(question: &Question, why: &Why, call: &Call<'_>) -> bool {
    let there = |path: &Path| fs::symlink_metadata(path).is_ok();
    let may = |path: &Path, access| accessat(CWD, path, access, AtFlags::EACCESS).is_ok();
    // What the command has made for itself it sees, be it on no disk of the host's.
    let is_missing = matches!(why, Why::Files(Reason::Missing(_)));
    let denied = |path: &Path| there(path) && !(is_missing && call.sees(path) == Some(true));
    // It is there for everybody, and leads to the terminal that one has.
    let is_terminal = |path: &Path| path == Path::new("/dev/tty") && File::open(path).is_err();
    match question {
        Question::File(_, path, _) if is_terminal(path) => false,
        Question::Look(path) | Question::Unix(path) => denied(path),
        Question::File(operation, path, to) => match operation {
            Operation::Read | Operation::List => denied(path) && may(path, Access::READ_OK),
            Operation::Execute => denied(path) && may(path, Access::EXEC_OK),
            Operation::Write | Operation::Truncate => denied(path) && may(path, Access::WRITE_OK),
            _ => {
                let names = [Some(path), to.as_ref()].into_iter().flatten();
                let mut directories = names.filter_map(|name| name.parent());
                (*operation == Operation::Create || denied(path))
                    && directories.all(|above| denied(above) && may(above, Access::WRITE_OK))
            }
        },
        Question::Call(..) | Question::Connect(..) | Question::Bind(_) => true,
    }
}

impl Denial {
    /// The path that more was asked of than whether it is there.
    fn used(&self) -> Option<&Path> {
        match &self.question {
            Question::File(_, path, _) => Some(path),
            _ => None,
        }
    }

    /// What was asked, in a word.
    pub(super) fn word(&self) -> &'static str {
        match &self.question {
            Question::File(operation, ..) => operation.word(),
            Question::Look(_) => "look at",
            Question::Call(..) => "call",
            Question::Connect(..) | Question::Unix(_) => "connect to",
            Question::Bind(_) => "bind",
        }
    }

    /// What it was asked of.
    pub(super) fn subject(&self) -> String {
        match &self.question {
            Question::File(_, path, Some(to)) => format!("{} to {}", path.display(), to.display()),
            Question::File(_, path, None) | Question::Look(path) | Question::Unix(path) => {
                path.display().to_string()
            }
            Question::Call(name, [first, second, ..]) => match *name {
                "socket" | "socketpair" => format!("{name} ({})", family(*first)),
                "ioctl" => format!("ioctl {second:#x}"),
                name => name.to_owned(),
            },
            Question::Connect(address, port, _) => format!("{address} port {port}"),
            Question::Bind(port) => format!("port {port}"),
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.word(), self.subject())
    }
}

/// The family of a socket by its name, `AF_*` of socket(2).
fn family(number: u64) -> String {
    let mut families = constants::names().filter(|name| name.starts_with("AF_"));
    let known = families.find(|name| constants::value(Architecture::NATIVE, name) == Some(number));
    known.map_or_else(|| format!("family {number}"), str::to_owned)
}
