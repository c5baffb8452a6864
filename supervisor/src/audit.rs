//! The audit log: a line of JSON for each event.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::io::Errno;
use rustix::process::Pid;
use serde::Serialize;

use crate::worker::Worker;
use crate::{Category, Firmness, Protocol, SyscallEvent, Verdict};

/// Writes on a thread of its own: what it writes to may hang.
pub(crate) struct Audit(Worker<Vec<u8>, io::Result<()>>);

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    /// Seconds since the epoch.
    time: f64,
    #[serde(flatten)]
    event: Event<'a>,
    verdict: &'static str,
    /// What it failed with, if it was denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<i32>,
    /// How long it took to decide.
    microseconds: u128,
}

/// An event as JSON.
#[derive(Serialize)]
pub(crate) struct Event<'a> {
    call: &'static str,
    category: &'static str,
    firmness: &'static str,
    pid: i32,
    tid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<i32>,
    #[serde(skip_serializing_if = "str::is_empty")]
    path: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    second: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<(u64, u64)>,
    flags: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    argv: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<Vec<Cow<'a, str>>>,
    denied: bool,
}

impl<'a> Event<'a> {
    pub(crate) fn of(event: &'a SyscallEvent) -> Self {
        let number = |pid: Pid| pid.as_raw_nonzero().get();
        Self {
            call: event.name,
            category: match event.category {
                Category::File => "file",
                Category::Memory => "memory",
                Category::Network => "network",
                Category::Process => "process",
            },
            firmness: match event.firmness {
                Firmness::Firm => "firm",
                Firmness::BestEffort => "best effort",
                Firmness::Observed => "observed",
            },
            pid: number(event.pid),
            tid: number(event.tid),
            parent: event.parent.map(number),
            path: event.path.to_string_lossy(),
            second: event.second.as_ref().map(|path| path.to_string_lossy()),
            identity: event.identity,
            flags: event.flags,
            host: event.host,
            port: event.port,
            protocol: event.protocol.map(|protocol| match protocol {
                Protocol::Tcp => "tcp".to_owned(),
                Protocol::Udp => "udp".to_owned(),
                Protocol::Other(number) => number.to_string(),
            }),
            size: event.size,
            argv: texts(&event.argv),
            environment: event.environment.as_deref().map(texts),
            denied: event.denied,
        }
    }
}

fn texts(of: &[OsString]) -> Vec<Cow<'_, str>> {
    of.iter().map(|text| text.to_string_lossy()).collect()
}

impl Audit {
    pub(crate) fn start(
        mut writer: impl Write + Send + 'static,
        timeout: Duration,
    ) -> io::Result<Self> {
        let write = move |line: Vec<u8>| writer.write_all(&line).and_then(|()| writer.flush());
        Worker::start("audit", timeout, write).map(Self)
    }

    /// Writes a line; the error with which the call fails if that cannot be done.
    pub(crate) fn record(
        &mut self,
        event: &SyscallEvent,
        verdict: Verdict,
        took: Duration,
    ) -> Result<(), Errno> {
        let (word, errno) = match verdict {
            Verdict::Allow => ("allow", None),
            Verdict::Audit => ("audit", None),
            Verdict::Deny => ("deny", Some(Errno::PERM)),
            Verdict::DenyWith(error) => ("deny", Some(error)),
            Verdict::Kill => ("kill", None),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = Line {
            time: now.as_secs_f64(),
            event: Event::of(event),
            verdict: word,
            errno: errno.map(Errno::raw_os_error),
            microseconds: took.as_micros(),
        };
        let mut line = serde_json::to_vec(&line).map_err(|_| Errno::PERM)?;
        line.push(b'\n');
        match self.0.ask(line) {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => Err(Errno::PERM),
        }
    }
}
