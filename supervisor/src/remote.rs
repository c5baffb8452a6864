//! A policy function in another process: events and answers as lines of JSON.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::io::Errno;
use serde::Deserialize;

use crate::audit::Event;
use crate::{PolicyContext, SyscallEvent, Verdict};

/// As long as an answer may be.
const MAX: u64 = 64 * 1024;

/// The largest error number: `MAX_ERRNO` of linux/err.h.
const MAX_ERRNO: i32 = 4095;

/// Who decides, until it makes a mistake.
pub(crate) struct Remote(Option<BufReader<UnixStream>>);

/// What it says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    verdict: Word,
    errno: Option<i32>,
    grant_network: Option<Vec<IpAddr>>,
    restrict_network: Option<Vec<IpAddr>>,
    restrict_pid_network: Option<Vec<IpAddr>>,
    restrict_max_memory: Option<u64>,
    restrict_max_processes: Option<u64>,
    #[serde(default)]
    deny_path: Vec<PathBuf>,
    #[serde(default)]
    allow_path: Vec<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    Allow,
    Audit,
    Deny,
    Kill,
}

impl Remote {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self(Some(BufReader::new(stream)))
    }

    /// What it says about an event. Whoever has made a mistake is not asked again.
    pub(crate) fn about(&mut self, event: &SyscallEvent, context: &mut PolicyContext) -> Verdict {
        let verdict = self.0.as_mut().and_then(|stream| ask(stream, event, context));
        if verdict.is_none() {
            self.0 = None;
        }
        verdict.unwrap_or(Verdict::Deny)
    }
}

fn ask(
    stream: &mut BufReader<UnixStream>,
    event: &SyscallEvent,
    context: &mut PolicyContext,
) -> Option<Verdict> {
    let mut line = serde_json::to_vec(&Event::of(event)).ok()?;
    line.push(b'\n');
    stream.get_mut().write_all(&line).ok()?;
    let mut answer = String::new();
    stream.by_ref().take(MAX).read_line(&mut answer).ok()?;
    // Of what has no end nothing is believed.
    let said: Said = serde_json::from_str(answer.strip_suffix('\n')?).ok()?;
    said.carry_out(event, context)
}

impl Said {
    fn carry_out(self, event: &SyscallEvent, context: &mut PolicyContext) -> Option<Verdict> {
        let verdict = match (self.verdict, self.errno) {
            (Word::Deny, None) => Verdict::Deny,
            (Word::Deny, Some(errno @ 1..=MAX_ERRNO)) => {
                Verdict::DenyWith(Errno::from_raw_os_error(errno))
            }
            (Word::Allow, None) => Verdict::Allow,
            (Word::Audit, None) => Verdict::Audit,
            (Word::Kill, None) => Verdict::Kill,
            _ => return None,
        };
        if let Some(hosts) = self.restrict_network {
            context.restrict_network(&hosts);
        }
        if let Some(hosts) = self.restrict_pid_network {
            context.restrict_pid_network(event.pid, &hosts);
        }
        if let Some(bytes) = self.restrict_max_memory {
            context.restrict_max_memory(bytes);
        }
        if let Some(count) = self.restrict_max_processes {
            context.restrict_max_processes(count);
        }
        self.deny_path.iter().for_each(|path| context.deny_path(path));
        self.allow_path.iter().for_each(|path| context.allow_path(path));
        // What cannot be granted is a mistake.
        self.grant_network.map_or(Ok(Vec::new()), |hosts| context.grant_network(&hosts)).ok()?;
        Some(verdict)
    }
}
