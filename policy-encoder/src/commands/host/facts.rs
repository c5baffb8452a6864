//! What `launcher --probe-host` says, read.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::run;

/// The version of the answer that is understood.
const VERSION: u32 = 1;

/// One host, as it is for whoever asks.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Facts {
    version: u32,
    /// The kernel's release.
    pub(super) kernel: String,
    pub(super) machine: String,
    pub(super) uid: u32,
    /// The launcher's process id; 1 where nobody else reaps.
    pub(super) process: u32,
    /// Effective capabilities; bit n is capability n.
    pub(super) capabilities: u64,
    pub(super) no_new_privs: u32,
    /// 2 under a filter.
    pub(super) seccomp_mode: u32,
    /// 0 where there is no Landlock.
    pub(crate) landlock_abi: u32,
    pub(super) landlock_errata: u32,
    /// Everything that was tried, and the error that came.
    #[serde(flatten)]
    tried: BTreeMap<String, Option<Error>>,
}

/// An error by its name, or by its number where it has none.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum Error {
    Name(String),
    Number(u16),
}

impl Facts {
    /// Asks the launcher.
    ///
    /// # Errors
    ///
    /// Why it cannot be run, or is not understood.
    pub(crate) fn ask(launcher: Option<&Path>) -> Result<Self, String> {
        let launcher = run::launcher(launcher)?;
        let name = launcher.display();
        let output = Command::new(&launcher)
            .arg("--probe-host")
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("cannot run {name}: {error}"))?;
        if !output.status.success() {
            return Err(format!(
                "{name} could not find out what this host gives: {}",
                output.status
            ));
        }
        Self::parse(&output.stdout)
            .map_err(|error| format!("{name} says of this host what cannot be read: {error}"))
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let facts: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        match facts.version {
            VERSION => Ok(facts),
            other => Err(format!("its version is {other}, not {VERSION}")),
        }
    }

    /// Why something that was tried is not given; `None` where it is, or where
    /// what it rests on is not.
    pub(crate) fn error(&self, tried: &str) -> Option<&Error> {
        self.tried.get(tried)?.as_ref()
    }

    /// Whether something was tried and is given.
    pub(crate) fn gives(&self, tried: &str) -> bool {
        matches!(self.tried.get(tried), Some(None))
    }

    /// The first of these that is not given.
    pub(crate) fn first_error<'t>(
        &self,
        tried: impl IntoIterator<Item = &'t str>,
    ) -> Option<(&'t str, &Error)> {
        tried.into_iter().find_map(|each| Some((each, self.error(each)?)))
    }
}

impl Error {
    /// Whether it is one of these names.
    pub(crate) fn is_one_of(&self, names: &[&str]) -> bool {
        matches!(self, Self::Name(name) if names.contains(&name.as_str()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Number(number) => write!(formatter, "errno {number}"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A host that gives everything but this, with Landlock of this ABI.
    pub(crate) fn host(abi: u32, errors: &[(&str, &str)]) -> Facts {
        let mut facts = Facts::parse(
            br#"{"version":1,"kernel":"6.18.0","machine":"x86_64","uid":1000,"process":2,
                "capabilities":0,"no_new_privs":0,"seccomp_mode":0,"landlock_abi":7,
                "landlock_errata":0,"newuser":null,"newns":null,"newpid":null,"newnet":null,
                "newipc":null,"newuts":null,"newcgroup":null,"newtime":null,"together":null,
                "without_user":"EPERM","maps":null,"private":null,"tmpfs":null,"proc":null,
                "devpts":null,"overlay":null,"loopback":null,"landlock":null,"filter":null}"#,
        )
        .expect("it is understood");
        facts.landlock_abi = abi;
        for (tried, error) in errors {
            facts.tried.insert((*tried).to_owned(), Some(Error::Name((*error).to_owned())));
        }
        facts
    }

    #[test]
    fn a_number_stands_where_an_error_has_no_name() {
        let text = host(7, &[]);
        let text =
            serde_json::to_string(&text).expect("JSON").replace("\"newns\":null", "\"newns\":133");
        let facts = Facts::parse(text.as_bytes()).expect("it is understood");
        assert_eq!(facts.error("newns"), Some(&Error::Number(133)));
        assert!(facts.gives("newpid") && !facts.gives("newns"));
    }

    #[test]
    fn another_version_is_not_guessed_at() {
        let text = serde_json::to_string(&host(7, &[])).expect("JSON");
        let error = Facts::parse(text.replace("\"version\":1", "\"version\":2").as_bytes());
        assert_eq!(error.err().as_deref(), Some("its version is 2, not 1"));
    }
}
