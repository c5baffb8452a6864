//! A draft as the text of a policy, for a person to read.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use toml::Value;

use super::draft::{Draft, Peer};
use super::entries::Entry;
use super::places::Surroundings;
use crate::mounts::minimal_devices;

impl Draft {
    /// The policy, with a comment wherever a person should decide.
    pub fn to_toml(&self, around: &Surroundings) -> String {
        let mut text = String::new();
        let command = self.command.first().map_or("a command", String::as_str);
        let name = Path::new(command).file_name().and_then(|name| name.to_str());
        let description = format!("What {} did when it was watched", name.unwrap_or(command));
        line(&mut text, &format!("description = {}", quoted(&printable(&description))));
        line(&mut text, "");
        line(
            &mut text,
            "# Read it before you rely on it: everything that was done is granted, and",
        );
        line(
            &mut text,
            "# what another run would do is not. Lines with `review` are for you to decide.",
        );
        self.filesystem(&mut text, around);
        self.network(&mut text);
        self.process(&mut text);
        self.seccomp(&mut text);
        text
    }

    fn filesystem(&self, text: &mut String, around: &Surroundings) {
        line(text, "\n[filesystem]");
        line(text, "# Programs, libraries and public settings of the system.");
        line(text, "root = \"minimal\"");
        for key in ["execute", "read", "write"] {
            let lines: Vec<String> = (self.entries.iter())
                .filter(|entry| is_in(entry, key))
                .map(|entry| {
                    let review =
                        entry.review.map(|review| format!(" # review: {}", review.words()));
                    format!("{},{}", path(&entry.path, around), review.unwrap_or_default())
                })
                .collect();
            list(text, key, &lines);
        }
        let mut denied = vec!["\"@credentials\",".to_owned()];
        denied.extend(self.denied.iter().map(|credential| {
            let why = "# review: the command used it; grant it by moving it to `read`";
            format!("{}, {why}", path(credential, around))
        }));
        list(text, "deny", &denied);
        let links =
            self.links.iter().filter_map(|(link, content)| link_line(link, content, around));
        list(text, "mount", &links.collect::<Vec<_>>());
        if !self.devices.is_empty() {
            comment(text, &format!("review: beside the usual ones, {}", self.devices.join(", ")));
            let names = minimal_devices().into_iter().chain(self.devices.iter().cloned());
            line(text, &format!("dev = {}", Value::from(names.collect::<Vec<_>>())));
        }
        for (left, need) in &self.left {
            let did = if need.changes() { "changed" } else { "listed or read" };
            let path = path(left, around);
            let why = "as that would take all that is beside it";
            comment(text, &format!("review: {did}, and not granted, {why}: {path}"));
        }
    }

    fn network(&self, text: &mut String) {
        if self.connected.is_empty() && self.bound.is_empty() && self.unix.is_empty() {
            return;
        }
        line(text, "\n[network]");
        let peers = |peers: &[Peer]| {
            let words = |peer: &Peer| {
                let kind = if peer.datagram { "udp" } else { "tcp" };
                format!("{} ({kind})", peer.address)
            };
            peers.iter().map(words).collect::<Vec<_>>().join(", ")
        };
        if self.is_loopback() && !(self.connected.is_empty() && self.bound.is_empty()) {
            line(text, "access = \"loopback\"");
        } else if !(self.connected.is_empty() && self.bound.is_empty()) {
            line(text, "# Ports can be limited, hosts cannot.");
            for (did, list) in [("connected to", &self.connected), ("bound", &self.bound)] {
                if !list.is_empty() {
                    comment(text, &format!("{did}: {}", peers(list)));
                }
            }
            line(text, "access = \"host\"");
            line(text, &format!("connect_tcp = {}", ports(&self.connected)));
            line(text, &format!("bind_tcp = {}", ports(&self.bound)));
            if self.connected.iter().chain(&self.bound).any(|peer| peer.datagram) {
                line(text, "udp = true");
            }
        }
        if !self.unix.is_empty() {
            line(text, "# review: services of others, which do what they are asked outside");
            let paths: Vec<Value> =
                self.unix.iter().map(|path| Value::from(escaped(path))).collect();
            line(text, &format!("unix = {}", Value::from(paths)));
        }
    }

    fn process(&self, text: &mut String) {
        if self.kept.is_empty() && self.dropped.is_empty() {
            return;
        }
        line(text, "\n[process]");
        if !self.dropped.is_empty() {
            let names = self.dropped.join(", ");
            comment(text, &format!("review: set, and not passed on: {names}"));
        }
        if !self.kept.is_empty() {
            line(text, &format!("env.keep = {}", Value::from(self.kept.clone())));
        }
    }

    fn seccomp(&self, text: &mut String) {
        if !self.calls.is_empty() {
            line(text, "\n[seccomp]");
            line(text, "# review: called, and closed by the default profile");
            line(text, &format!("allow = {}", Value::from(self.calls.clone())));
        }
    }
}

fn line(text: &mut String, line: &str) {
    // Writing to memory does not fail.
    let _ = writeln!(text, "{line}");
}

/// A comment, which ends with its line whatever names are in it.
fn comment(text: &mut String, words: &str) {
    line(text, &format!("# {}", printable(words)));
}

fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// Whether a list has an entry: the others include reading.
fn is_in(entry: &Entry, key: &str) -> bool {
    match key {
        "execute" => entry.rights.execute,
        "write" => entry.rights.write,
        _ => !entry.rights.execute && !entry.rights.write,
    }
}

/// A list of one line for each entry; nothing for an empty one.
fn list(text: &mut String, key: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    line(text, &format!("{key} = ["));
    lines.iter().for_each(|each| line(text, &format!("    {each}")));
    line(text, "]");
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A path as an entry has it.
fn path(path: &Path, around: &Surroundings) -> String {
    match written(path, around) {
        // What no editor shows is written by its bytes, too.
        None => format!("{{ bytes = \"{}\" }}", hex::encode(path.as_os_str().as_bytes())),
        // In a list of what is denied it would be a pattern.
        Some(text) if text.contains(['*', '?', '[']) => format!("{{ path = {} }}", quoted(&text)),
        Some(text) => quoted(&text),
    }
}

/// A symbolic link, unless it is one that no text says.
fn link_line(link: &Path, content: &Path, around: &Surroundings) -> Option<String> {
    let (target, content) = (quoted(&written(link, around)?), quoted(shown(content)?));
    Some(format!("{{ type = \"symlink\", target = {target}, content = {content} }},"))
}

/// A path from the home directory on, where it is there.
fn written(path: &Path, around: &Surroundings) -> Option<String> {
    let text = shown(path)?;
    let home = around.home.as_ref().and_then(|home| path.strip_prefix(home).ok());
    Some(match home.and_then(Path::to_str).filter(|below| !below.is_empty()) {
        Some(below) => format!("~/{}", below.replace('$', "$$")),
        None => text.replace('$', "$$"),
    })
}

/// A path that is text.
fn shown(path: &Path) -> Option<&str> {
    path.to_str().filter(|text| !text.contains(char::is_control))
}

fn escaped(path: &Path) -> String {
    path.display().to_string().replace('$', "$$")
}

/// The ports of streams, each once.
fn ports(peers: &[Peer]) -> Value {
    let streams = peers.iter().filter(|peer| !peer.datagram);
    let mut ports: Vec<i64> = streams.map(|peer| peer.address.port().into()).collect();
    ports.sort_unstable();
    ports.dedup();
    Value::from(ports)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::draft::{Observed, Variable};
    use super::super::places::Need;
    use super::super::testing::{MAKE, READ, RUN, around};
    use super::*;

    fn seen(files: &[(&str, Need)]) -> Observed {
        let files = files.iter().map(|(path, need)| (PathBuf::from(path), *need)).collect();
        Observed { command: vec!["/usr/bin/tool".into()], files, ..Observed::default() }
    }

    fn text(seen: &Observed) -> String {
        let text = Draft::new(seen, &around()).to_toml(&around());
        let (_, diagnostics) = crate::parse::toml(&text);
        assert!(!diagnostics.has_errors(), "{text}\n{diagnostics:?}");
        text
    }

    #[test]
    fn a_policy_is_written_as_a_person_would() {
        let mut seen = seen(&[
            ("/usr/bin/tool", RUN),
            ("/etc/passwd", READ),
            ("/home/me/app/in", READ),
            ("/home/me/app/out", MAKE),
            ("/home/me/.cargo/bin/rustc", RUN),
            ("/home/me/.gitconfig", READ),
            ("/home/me/.ssh/id_ed25519", READ),
            ("/home/me/history", MAKE),
            ("/opt/data/a$b/x", READ),
            ("/tmp/mine/x", MAKE),
            ("/dev/null", READ),
            ("/dev/kvm", READ),
            ("/proc/self/status", READ),
        ]);
        seen.made.insert("/tmp/mine".into());
        seen.connected
            .insert(Peer { address: "10.0.0.1:443".parse().expect("an address"), datagram: false });
        seen.calls.insert("ptrace".into());
        let variable =
            |name: &str, value: &str| Variable { name: name.into(), value: value.into() };
        seen.environment = vec![
            variable("PATH", "/home/me/.cargo/bin:/usr/bin"),
            variable("CARGO_HOME", "/home/me/.cargo"),
            variable("API_TOKEN", "secret"),
            variable("LC_ALL", "C"),
            variable("OTHER", "/nowhere"),
        ];
        let expected = r#"description = "What tool did when it was watched"

# Read it before you rely on it: everything that was done is granted, and
# what another run would do is not. Lines with `review` are for you to decide.

[filesystem]
# Programs, libraries and public settings of the system.
root = "minimal"
execute = [
    "~/.cargo", # review: in a home directory
]
read = [
    "~/.gitconfig", # review: in a home directory
    "/opt/data",
]
write = [
    "~/app",
]
deny = [
    "@credentials",
    "~/.ssh/id_ed25519", # review: the command used it; grant it by moving it to `read`
]
# review: beside the usual ones, kvm
dev = ["null", "zero", "full", "random", "urandom", "pts", "ptmx", "fd", "stdin", "stdout", "stderr", "shm", "kvm"]
# review: changed, and not granted, as that would take all that is beside it: "~/history"

[network]
# Ports can be limited, hosts cannot.
# connected to: 10.0.0.1:443 (tcp)
access = "host"
connect_tcp = [443]
bind_tcp = []

[process]
# review: set, and not passed on: API_TOKEN
env.keep = ["CARGO_HOME", "LC_ALL", "PATH"]

[seccomp]
# review: called, and closed by the default profile
allow = ["ptrace"]
"#;
        assert_eq!(text(&seen), expected);
        assert_eq!(Draft::new(&seen, &around()).reviews(), 7);
    }

    #[test]
    fn a_command_that_needs_nothing_has_a_policy_of_nothing() {
        let text = text(&seen(&[("/usr/bin/tool", RUN), ("/home/me", READ)]));
        assert!(!text.contains("read = [") && !text.contains("[network]"), "{text}");
    }

    #[test]
    fn who_talks_to_itself_has_a_loopback_of_its_own() {
        let mut seen = seen(&[]);
        let peer =
            |address: &str| Peer { address: address.parse().expect("an address"), datagram: false };
        seen.connected.insert(peer("127.0.0.1:4000"));
        assert!(text(&seen).contains("access = \"host\""));
        seen.bound.insert(peer("127.0.0.1:0"));
        assert!(text(&seen).contains("access = \"loopback\""));
    }

    #[test]
    fn links_are_shown_and_grant_nothing() {
        let mut seen = seen(&[("/opt/tool/bin/tool", RUN), ("/data/set/x", READ)]);
        seen.links.insert("/home/me/tools".into(), "/opt/tool".into());
        seen.links.insert("/data/set/link".into(), "x".into());
        let text = text(&seen);
        let link = r#"{ type = "symlink", target = "~/tools", content = "/opt/tool" },"#;
        assert!(text.contains(link), "{text}");
        assert!(!text.contains("set/link"), "{text}");
    }

    #[test]
    fn a_link_to_what_holds_everything_grants_nothing_of_it() {
        let mut seen = seen(&[("/run/app/x.pid", MAKE), ("/home/me/app/x", MAKE)]);
        seen.links.insert("/var/run".into(), "/run".into());
        seen.links.insert("/work".into(), "/home/me".into());
        let draft = Draft::new(&seen, &around());
        let granted: Vec<_> = draft.entries.iter().map(|entry| entry.path.as_path()).collect();
        assert_eq!(granted, [Path::new("/home/me/app"), Path::new("/run/app")]);
        let text = text(&seen);
        for link in ["/var/run", "/work"] {
            let lines: Vec<_> = text.lines().filter(|line| line.contains(link)).collect();
            assert!(matches!(lines[..], [line] if line.contains("symlink")), "{text}");
        }
    }

    #[test]
    fn no_name_says_anything_of_its_own() {
        let evil = "x\nseccomp.profile = 'unconfined'\n#";
        let mut seen = seen(&[("/dev/null", READ)]);
        seen.command = vec![evil.to_owned()];
        for (directory, need) in [("/home/me", MAKE), ("/data/a", READ), ("/dev", READ)] {
            seen.files.insert(Path::new(directory).join(evil), need);
        }
        seen.files.insert(Path::new("/home/me/.ssh").join(evil), READ);
        seen.unix.insert(Path::new("/run").join(evil));
        seen.environment = vec![Variable { name: format!("TOKEN{evil}"), value: "x".into() }];
        let text = text(&seen);
        let document: toml::Table = text.parse().expect("it is TOML");
        assert!(!document.contains_key("seccomp"), "{text}");
        let process = document.get("process").and_then(Value::as_table);
        assert!(process.is_none_or(|table| !table.contains_key("seccomp")), "{text}");
        let network = document["network"].as_table().expect("it is a table");
        assert_eq!(network.keys().collect::<Vec<_>>(), ["unix"]);
    }

    #[test]
    fn names_that_are_no_text_or_look_like_patterns_stay_what_they_are() {
        let mut seen = seen(&[("/data/a*/x", READ)]);
        let name = std::ffi::OsStr::from_bytes(b"/data/\xff/x");
        seen.files.insert(name.into(), READ);
        let text = text(&seen);
        assert!(text.contains("{ path = \"/data/a*\" },"), "{text}");
        assert!(text.contains("{ bytes = \"2f646174612fff\" },"), "{text}");
    }
}
