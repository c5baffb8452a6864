//! Why something did not work.

use std::fmt;
use std::io;

use policy_encoder::receipt::Failure;

/// Why a sandbox could not be made, or a command not be run in it.
#[derive(Debug)]
pub struct Error(Box<Kind>);

#[derive(Debug)]
enum Kind {
    /// The policy is wrong.
    Policy(String),
    /// The launcher refused, or failed.
    Launch(Failure),
    /// Something else that this crate did.
    Io { doing: String, error: io::Error },
    /// Something that a caller did.
    Other(io::Error),
}

impl Error {
    /// What is wrong with a policy, one complaint a line.
    pub(crate) fn policy(complaints: impl Into<String>) -> Self {
        Self(Box::new(Kind::Policy(complaints.into())))
    }

    pub(crate) fn launch(failure: Failure) -> Self {
        Self(Box::new(Kind::Launch(failure)))
    }

    /// An error of the system, and what was tried: "cannot ...".
    pub(crate) fn io<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> Self {
        |error| Self(Box::new(Kind::Io { doing: doing.into(), error: error.into() }))
    }

    /// What the launcher says of its failure: stage, call, error, path, hint.
    /// `None` where it did not come to that.
    pub fn failure(&self) -> Option<&Failure> {
        match &*self.0 {
            Kind::Launch(failure) => Some(failure),
            Kind::Policy(_) | Kind::Io { .. } | Kind::Other(_) => None,
        }
    }

    /// The stage of the launch that failed.
    pub fn stage(&self) -> Option<&str> {
        self.failure().map(|failure| failure.stage.as_str())
    }

    /// The system call that failed, or the part of the launcher that refused.
    pub fn call(&self) -> Option<&str> {
        self.failure().map(|failure| failure.call.as_str())
    }

    /// The path or word that the failure is about.
    pub fn path(&self) -> Option<&str> {
        self.failure()?.path.as_deref()
    }

    /// The kernel's error number, errno(3).
    pub fn raw_os_error(&self) -> Option<i32> {
        match &*self.0 {
            Kind::Launch(failure) => failure.errno,
            Kind::Io { error, .. } | Kind::Other(error) => error.raw_os_error(),
            Kind::Policy(_) => None,
        }
    }

    /// Whether it is the policy that is wrong.
    pub fn is_policy(&self) -> bool {
        matches!(*self.0, Kind::Policy(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Policy(complaints) => f.write_str(complaints),
            Kind::Io { doing, error } => write!(f, "{doing}: {error}"),
            Kind::Other(error) => error.fmt(f),
            Kind::Launch(failure) => {
                write!(f, "{}: {}", failure.stage, failure.call)?;
                if let Some(path) = &failure.path {
                    write!(f, " {path:?}")?;
                }
                let error =
                    failure.errno.map(|errno| io::Error::from_raw_os_error(errno).to_string());
                let guarantee = failure.guarantee.as_ref().map(|name| match &failure.why {
                    Some(why) => format!("what is lost is {name:?}: {why}"),
                    None => format!("what is lost is {name:?}"),
                });
                let reasons = [error, failure.refused.clone(), failure.hint.clone(), guarantee];
                let reasons: Vec<String> = reasons.into_iter().flatten().collect();
                write!(f, ": {}", reasons.join("; "))
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.0 {
            Kind::Io { error, .. } => Some(error),
            Kind::Other(error) => error.source(),
            Kind::Policy(_) | Kind::Launch(_) => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.raw_os_error() {
            Some(errno) => Self::from_raw_os_error(errno).kind(),
            None if error.is_policy() => io::ErrorKind::InvalidInput,
            None => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// So that what an embedder does beside can fail by the same type.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(error) => Self(Box::new(Kind::Other(error))),
        }
    }
}
