//! `encode-policy host`: what this host gives, and what can be done about the
//! rest.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};
use clap::Args;
use serde_json::json;

use self::facts::Facts;
use self::why::Host;
use super::explain::write_json;
use crate::cli::{Done, WRONG};
use crate::render::say;
use crate::{output, run};

mod facts;
mod judge;
mod verdict;
mod why;

pub(crate) use verdict::{Question, say_verdict};

const HEADING: Style = Style::new().bold();
const CLOSED: Style = AnsiColor::Red.on_default();

#[derive(Args)]
pub(crate) struct Arguments {
    /// The launcher [default: beside this program, else on PATH]
    #[arg(long, value_name = "FILE")]
    launcher: Option<PathBuf>,
    /// Write JSON, for programs
    #[arg(long, conflicts_with = "apparmor")]
    json: bool,
    /// Write an AppArmor profile that lets the launcher make user namespaces,
    /// instead of looking at the host
    #[arg(long)]
    apparmor: bool,
}

/// What belongs together in the table: a heading, and what was tried with what
/// it is for.
const TABLE: [(&str, &[(&str, &str)]); 4] = [
    (
        "namespaces",
        &[
            ("newuser", "user"),
            ("newns", "mount"),
            ("newpid", "PID"),
            ("newnet", "network"),
            ("newipc", "IPC"),
            ("newuts", "host name"),
            ("newcgroup", "cgroup"),
            ("newtime", "time"),
            ("together", "all but time together"),
            ("without_user", "these without a user namespace"),
        ],
    ),
    (
        "in them",
        &[
            ("maps", "mapping one's own ids"),
            ("private", "changing mounts"),
            ("tmpfs", "tmpfs"),
            ("proc", "a fresh /proc"),
            ("devpts", "terminals of its own"),
            ("overlay", "overlays"),
            ("loopback", "loopback"),
        ],
    ),
    (
        "layers",
        &[
            ("landlock", "Landlock"),
            ("filter", "seccomp filters"),
            ("listener", "a listener for them"),
            ("wait_killable", "waiting for it, killable"),
            ("kill_process", "ending the whole process"),
        ],
    ),
    (
        "system calls",
        &[
            ("clone3", "clone3"),
            ("openat2", "openat2"),
            ("open_tree", "open_tree"),
            ("mount_setattr", "mount_setattr"),
            ("noexec_seal", "memfds that never execute"),
        ],
    ),
];

/// Shows what the host gives, or writes the profile.
pub(crate) fn main(arguments: &Arguments) -> Done {
    let launcher = arguments.launcher.as_deref();
    let wrong = |complaint: String| {
        say(&complaint);
        WRONG
    };
    let written = if arguments.apparmor {
        let profile = run::launcher(launcher).and_then(|path| profile(&path)).map_err(wrong)?;
        output::print(profile.as_bytes())
    } else {
        let facts = Facts::ask(launcher).map_err(wrong)?;
        match arguments.json {
            true => write_json(&as_json(&facts)),
            false => write(&facts),
        }
    };
    written.map_err(|error| wrong(format!("cannot write standard output: {error}")))
}

fn as_json(facts: &Facts) -> serde_json::Value {
    let host = Host::here(facts);
    let closed = tried().filter_map(|(tried, _)| {
        let why = host.why(tried)?;
        let error = facts.error(tried);
        Some(json!({ "what": tried, "error": error, "reason": why.reason, "remedy": why.remedy }))
    });
    let closed: Vec<_> = closed.collect();
    json!({ "version": 1, "rung": rung(facts), "facts": facts, "closed": closed })
}

fn tried() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.iter().flat_map(|(_, lines)| lines.iter().copied())
}

/// The rung of a policy that asks for everything and requires nothing.
fn rung(facts: &Facts) -> &'static str {
    let all = ["newuser", "together", "maps", "private", "tmpfs"];
    match (all.iter().all(|tried| facts.gives(tried)), facts.gives("landlock")) {
        (true, _) => "namespaces",
        (false, true) => "landlock",
        (false, false) => "seccomp",
    }
}

fn write(facts: &Facts) -> io::Result<()> {
    let host = Host::here(facts);
    let mut output = anstream::AutoStream::auto(io::stdout().lock());
    let mut heading =
        |output: &mut dyn Write, name: &str| writeln!(output, "{HEADING}{name}{HEADING:#}");
    heading(&mut output, "host")?;
    writeln!(output, "  Linux {} on {}, user {}", facts.kernel, facts.machine, facts.uid)?;
    for line in caller(facts) {
        writeln!(output, "  {line}")?;
    }
    writeln!(output, "  rung of a policy that asks for everything: {}", rung(facts))?;
    for (name, lines) in TABLE {
        heading(&mut output, name)?;
        for &(tried, what) in lines {
            match (facts.error(tried), facts.gives(tried)) {
                (Some(error), _) => {
                    writeln!(output, "  {CLOSED}no{CLOSED:#}   {what}: {error}")?;
                }
                (None, true) if tried == "landlock" => {
                    let (abi, errata) = (facts.landlock_abi, facts.landlock_errata);
                    writeln!(output, "  yes  {what}: ABI {abi}, errata {errata:#x}")?;
                }
                (None, true) => writeln!(output, "  yes  {what}")?,
                (None, false) => writeln!(output, "  -    {what}: not tried")?,
            }
        }
    }
    let mut said = Vec::new();
    for (tried, _) in tried() {
        let Some(why) = host.why(tried).filter(|why| !said.contains(why)) else { continue };
        if said.is_empty() {
            heading(&mut output, "why, and what helps")?;
        }
        writeln!(output, "  {}\n    {}", why.reason, why.remedy)?;
        said.push(why);
    }
    output.flush()
}

/// What is special about the caller.
fn caller(facts: &Facts) -> Vec<String> {
    /// `CAP_SYS_ADMIN`, capabilities(7).
    const SYS_ADMIN: u64 = 1 << 21;
    let has_admin = facts.capabilities & SYS_ADMIN != 0;
    [
        (facts.capabilities != 0).then(|| {
            let admin = if has_admin { "with" } else { "without" };
            format!("capabilities {:#x}, {admin} CAP_SYS_ADMIN", facts.capabilities)
        }),
        (facts.process == 1).then(|| "the launcher is PID 1 here".to_owned()),
        (facts.no_new_privs != 0).then(|| "no_new_privs is set already".to_owned()),
        (facts.seccomp_mode != 0).then(|| "under a seccomp filter already".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// An AppArmor profile that confines nothing and allows user namespaces.
fn profile(launcher: &Path) -> Result<String, String> {
    let launcher = launcher
        .canonicalize()
        .map_err(|error| format!("cannot find {}: {error}", launcher.display()))?;
    // A profile is attached by a pattern, and has its own quotes.
    let path = launcher
        .to_str()
        .filter(|path| path.chars().all(|each| each.is_alphanumeric() || "/._-+@ ".contains(each)));
    let path = path.ok_or_else(|| {
        format!(
            "an AppArmor profile is attached by a pattern, which {} would be",
            launcher.display()
        )
    })?;
    Ok(format!(
        "# Lets the launcher make user namespaces where\n\
         # kernel.apparmor_restrict_unprivileged_userns is 1. As root:\n\
         #\n\
         #     encode-policy host --apparmor > /etc/apparmor.d/sandbox-launcher\n\
         #     apparmor_parser -r /etc/apparmor.d/sandbox-launcher\n\
         #\n\
         abi <abi/4.0>,\n\
         include <tunables/global>\n\
         \n\
         profile sandbox-launcher \"{path}\" flags=(unconfined) {{\n\
         \x20 userns,\n\
         \n\
         \x20 include if exists <local/sandbox-launcher>\n\
         }}\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::facts::tests::host;
    use super::*;

    #[test]
    fn the_rung_is_the_first_that_is_given_whole() {
        assert_eq!(rung(&host(7, &[])), "namespaces");
        assert_eq!(rung(&host(7, &[("private", "EPERM")])), "landlock");
        assert_eq!(rung(&host(0, &[("newuser", "EPERM"), ("landlock", "ENOSYS")])), "seccomp");
    }

    #[test]
    fn a_profile_is_for_the_path_of_the_launcher() {
        let profile = profile(Path::new("/proc/self/exe")).expect("a profile");
        let own = std::env::current_exe().expect("a path");
        assert!(profile.contains(&format!("profile sandbox-launcher \"{}\"", own.display())));
        assert!(profile.contains("  userns,\n"));
    }
}
