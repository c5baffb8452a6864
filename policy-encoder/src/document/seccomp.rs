//! `[seccomp]`: which system calls the command may make.

use std::fmt;

use schemars::JsonSchema;
use serde::de;
use serde::de::value::SeqAccessDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Spanned;
pub use crate::seccomp::tables::Abi;

/// `[seccomp]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Seccomp {
    /// `"default"`, `"strict"`, `"unconfined"` or the path of a file.
    pub profile: Option<Spanned<Profile>>,
    /// A file that takes the place of a profile: one of Docker's or of the
    /// OCI in JSON, or a filter in classic BPF.
    pub import: Option<Spanned<String>>,
    /// System calls and groups that are allowed although the profile denies
    /// them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Spanned<String>>,
    /// System calls and groups that are denied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<Spanned<String>>,
    /// What happens to what is denied, `"errno"` by default.
    pub action: Option<Spanned<Denial>>,
    /// Error number of what is denied, `"EPERM"` by default.
    pub errno: Option<Spanned<String>>,
    /// Tables of system calls that are open beside the architecture's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<Spanned<Abi>>,
    /// Rules about system calls and their arguments; the first that matches
    /// decides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rule: Vec<Spanned<CallRule>>,
}

/// `seccomp.profile`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// What ordinary programs call.
    Default,
    /// What interpreters, compilers and the tools of a shell call.
    Strict,
    /// All but what the other tables close.
    Unconfined,
    /// What the `[seccomp]` of this file says: a path with a slash, or one
    /// that ends in `.toml`.
    File(String),
}

/// `seccomp.action`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Denial {
    /// The call fails.
    Errno,
    /// The process ends.
    Kill,
    /// The call is made, and logged: nothing is denied.
    Log,
    /// The thread gets `SIGSYS`.
    Trap,
    /// A supervisor decides.
    Notify,
}

/// One of `[[seccomp.rule]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallRule {
    /// A system call or group, or a list of them.
    pub call: Spanned<Calls>,
    /// What must hold of the arguments: all of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Spanned<ArgumentRule>>,
    /// What happens then.
    pub action: Spanned<Verdict>,
    /// Error number of `action = "errno"`; default: `seccomp.errno`.
    pub errno: Option<Spanned<String>>,
}

/// `call` of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Calls {
    /// One name.
    One(String),
    /// Several names.
    Several(Vec<Spanned<String>>),
}

/// One of the `args` of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArgumentRule {
    /// Which argument, counted from 0.
    pub index: Spanned<u8>,
    /// How it is compared.
    pub op: Operator,
    /// What it is compared with.
    pub value: Option<Spanned<Number>>,
    /// What it is compared with, for `"one-of"`.
    pub values: Option<Spanned<Vec<Spanned<Number>>>>,
    /// The bits that are compared, for `"masked-equal"`.
    pub mask: Option<Spanned<Number>>,
    /// How many bits the kernel looks at, 32 or 64; known for each argument.
    pub width: Option<Spanned<u8>>,
}

/// `op` of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Operator {
    /// It is the value.
    Equal,
    /// It is not the value.
    NotEqual,
    /// It is less, without a sign.
    Less,
    /// It is the value or less.
    LessEqual,
    /// It is greater, without a sign.
    Greater,
    /// It is the value or greater.
    GreaterEqual,
    /// Its bits under the mask are the value.
    MaskedEqual,
    /// It is one of the values.
    OneOf,
}

/// A number, or constants of the kernel by name: `"CLONE_NEWUSER|CLONE_NEWNET"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Number {
    /// A number.
    Integer(i64),
    /// Names and numbers, joined by `|`.
    Text(String),
}

/// `action` of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The call is made.
    Allow,
    /// The call fails.
    Errno,
    /// The process ends.
    Kill,
    /// The call is made, and logged.
    Log,
    /// The thread gets `SIGSYS`.
    Trap,
    /// A supervisor decides.
    Notify,
}

impl From<Denial> for Verdict {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Errno => Self::Errno,
            Denial::Kill => Self::Kill,
            Denial::Log => Self::Log,
            Denial::Trap => Self::Trap,
            Denial::Notify => Self::Notify,
        }
    }
}

impl Profile {
    const WORDS: &[&str] = &["default", "strict", "unconfined"];
}

impl<'de> Deserialize<'de> for Profile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        Ok(match word.as_str() {
            "default" => Self::Default,
            "strict" => Self::Strict,
            "unconfined" => Self::Unconfined,
            path if path.contains('/') || path.ends_with(".toml") => Self::File(word),
            other => return Err(de::Error::unknown_variant(other, Self::WORDS)),
        })
    }
}

impl Serialize for Profile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Default => "default",
            Self::Strict => "strict",
            Self::Unconfined => "unconfined",
            Self::File(path) => path,
        })
    }
}

impl<'de> Deserialize<'de> for Calls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Calls;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the name of a system call or group, or an array of names")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Calls, E> {
                Ok(Calls::One(name.to_owned()))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<Calls, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Calls::Several)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Number;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a number, or names such as \"CLONE_NEWUSER|CLONE_NEWNET\"")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Number, E> {
                Ok(Number::Integer(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Number, E> {
                Ok(Number::Text(number.to_string()))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                Ok(Number::Text(text.to_owned()))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}
