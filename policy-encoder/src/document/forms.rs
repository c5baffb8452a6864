//! Values that may be written in more than one form, read by hand: what
//! serde makes of them by itself says nothing about the form that was meant.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, IntoDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    Amount, Dev, DieWithParent, Duration, Entry, EntryTable, ExactMount, KeepFd, KeepFdTable,
    Missing, Rlimit, Size, Unix, Verb,
};

/// What stands for a limit that is none.
const UNLIMITED: &str = "unlimited";

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Entry;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a path in quotes or a table such as { path = \"/etc\" }")
            }

            fn visit_str<E: de::Error>(self, path: &str) -> Result<Entry, E> {
                Ok(Entry::Path(path.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
                EntryTable::deserialize(MapAccessDeserializer::new(map)).map(Entry::Table)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for KeepFd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = KeepFd;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(
                    "a descriptor number or a table such as { fd = 5, directory = true }",
                )
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<KeepFd, E> {
                u32::try_from(number)
                    .map(KeepFd::Number)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<KeepFd, A::Error> {
                KeepFdTable::deserialize(MapAccessDeserializer::new(map)).map(KeepFd::Table)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for Dev {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match word_or_list(deserializer, "\"minimal\", \"none\" or an array of device names")? {
            WordOrList::Word(set) => Ok(Self::Named(set)),
            WordOrList::List(names) => Ok(Self::List(names)),
        }
    }
}

impl<'de> Deserialize<'de> for Unix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "\"inside\", \"host\", \"none\" or an array of socket paths";
        match word_or_list(deserializer, expected)? {
            WordOrList::Word(set) => Ok(Self::Named(set)),
            WordOrList::List(paths) => Ok(Self::Paths(paths)),
        }
    }
}

/// A word out of a set, or strings.
enum WordOrList<W> {
    Word(W),
    List(Vec<String>),
}

/// Reads one of the words of `W`, or an array of strings.
fn word_or_list<'de, D, W>(
    deserializer: D,
    expected: &'static str,
) -> Result<WordOrList<W>, D::Error>
where
    D: Deserializer<'de>,
    W: Deserialize<'de>,
{
    struct Visitor<W>(&'static str, PhantomData<W>);

    impl<'de, W: Deserialize<'de>> de::Visitor<'de> for Visitor<W> {
        type Value = WordOrList<W>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str(self.0)
        }

        fn visit_str<E: de::Error>(self, word: &str) -> Result<Self::Value, E> {
            W::deserialize(word.into_deserializer()).map(WordOrList::Word)
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(list)).map(WordOrList::List)
        }
    }

    deserializer.deserialize_any(Visitor(expected, PhantomData))
}

impl<'de> Deserialize<'de> for DieWithParent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = DieWithParent;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("\"process\", \"thread\" or false")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<DieWithParent, E> {
                match value {
                    false => Ok(DieWithParent::Never),
                    true => Err(E::invalid_value(de::Unexpected::Bool(true), &self)),
                }
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<DieWithParent, E> {
                match word {
                    "process" => Ok(DieWithParent::Process),
                    "thread" => Ok(DieWithParent::Thread),
                    other => Err(E::unknown_variant(other, &["process", "thread"])),
                }
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for DieWithParent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Process => serializer.serialize_str("process"),
            Self::Thread => serializer.serialize_str("thread"),
            Self::Never => serializer.serialize_bool(false),
        }
    }
}

impl<'de> Deserialize<'de> for Rlimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Rlimit;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter
                    .write_str("a limit such as 256, \"64M\" or \"unlimited\", or [soft, hard]")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Rlimit, E> {
                amount(number).map(Rlimit::Both)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Rlimit, E> {
                Ok(Rlimit::Both(Amount(number)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Rlimit, E> {
                amount_in_words(text).map(Rlimit::Both)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Rlimit, A::Error> {
                let soft = list.next_element::<Amount>()?;
                let hard = list.next_element::<Amount>()?;
                match (soft, hard, list.next_element::<de::IgnoredAny>()?) {
                    (Some(soft), Some(hard), None) => Ok(Rlimit::Pair(soft, hard)),
                    _ => Err(de::Error::custom("expected two limits, [soft, hard]")),
                }
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Amount;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a limit such as 256, \"64M\" or \"unlimited\"")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Amount, E> {
                amount(number)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Amount, E> {
                Ok(Amount(number))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
                amount_in_words(text)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

fn amount<E: de::Error>(number: i64) -> Result<Amount, E> {
    u64::try_from(number)
        .map(Amount)
        .map_err(|_| E::custom(format_args!("{number} is below zero; no limit is \"{UNLIMITED}\"")))
}

fn amount_in_words<E: de::Error>(text: &str) -> Result<Amount, E> {
    match text {
        UNLIMITED => Ok(Amount(u64::MAX)),
        text => size(text).map(Amount),
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            u64::MAX => serializer.serialize_str(UNLIMITED),
            // A count, more likely than not.
            number if number < 1 << 20 => serializer.serialize_u64(number),
            number => serializer.serialize_str(&size_in_words(number)),
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Size;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a size in bytes such as 4096 or \"512M\"")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Size, E> {
                u64::try_from(number)
                    .map(Size)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Size, E> {
                Ok(Size(number))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                size(text).map(Size)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// Reads `"512M"`: a number and a binary multiple.
fn size<E: de::Error>(text: &str) -> Result<u64, E> {
    parse_size::Config::new().with_binary().parse_size(text).map_err(|error| match error {
        parse_size::Error::PosOverflow => E::custom(format_args!("{text:?} is too large")),
        _ => E::custom(format_args!(
            "{text:?} is not a size; a size is a number and K, M, G or T, such as \"512M\""
        )),
    })
}

/// The largest of the multiples that says it without a fraction.
fn size_in_words(size: u64) -> String {
    let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
    let unit = units.into_iter().find(|(bits, _)| size != 0 && size.trailing_zeros() >= *bits);
    match unit {
        Some((bits, unit)) => format!("{}{unit}", size >> bits),
        None => size.to_string(),
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&size_in_words(self.0))
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Duration;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a time with its unit in quotes, such as \"10s\" or \"1m 30s\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
                humantime::parse_duration(text).map(Duration).map_err(|error| {
                    E::custom(format_args!(
                        "{text:?} is not a time such as \"10s\" or \"1m 30s\": {error}"
                    ))
                })
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

/// `[[filesystem.mount]]` with the keys of every type, so that a wrong key is
/// met at its own place in the text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExactMountTable {
    r#type: MountType,
    target: Option<String>,
    source: Option<String>,
    access: Option<Vec<Verb>>,
    missing: Option<Missing>,
    size: Option<Size>,
    mode: Option<u16>,
    content: Option<String>,
    data: Option<String>,
    lower: Option<String>,
    upper: Option<String>,
    work: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum MountType {
    Bind,
    Tmpfs,
    Proc,
    Symlink,
    Directory,
    File,
    Overlay,
}

impl TryFrom<ExactMountTable> for ExactMount {
    type Error = String;

    fn try_from(mut table: ExactMountTable) -> Result<Self, String> {
        let target = needed(&mut table.target, "target")?;
        let mount = match table.r#type {
            MountType::Bind => Self::Bind {
                target,
                source: needed(&mut table.source, "source")?,
                access: table.access.take().unwrap_or_default(),
                missing: table.missing.take(),
            },
            MountType::Tmpfs => Self::Tmpfs {
                target,
                size: table.size.take(),
                mode: table.mode.take(),
                access: table.access.take().unwrap_or_default(),
            },
            MountType::Proc => Self::Proc { target },
            MountType::Symlink => {
                Self::Symlink { target, content: needed(&mut table.content, "content")? }
            }
            MountType::Directory => Self::Directory { target, mode: table.mode.take() },
            MountType::File => Self::File {
                target,
                data: needed(&mut table.data, "data")?,
                mode: table.mode.take(),
            },
            MountType::Overlay if table.upper.is_some() != table.work.is_some() => {
                return Err("an overlay has both `upper` and `work`, or neither".to_owned());
            }
            MountType::Overlay => Self::Overlay {
                target,
                lower: table.lower.take(),
                upper: table.upper.take(),
                work: table.work.take(),
            },
        };
        match table.first_left() {
            None => Ok(mount),
            Some(key) => Err(format!("the key {key:?} has no meaning for a mount of this type")),
        }
    }
}

impl ExactMountTable {
    /// A key that the mount's type has not taken.
    fn first_left(&self) -> Option<&'static str> {
        [
            ("source", self.source.is_some()),
            ("access", self.access.is_some()),
            ("missing", self.missing.is_some()),
            ("size", self.size.is_some()),
            ("mode", self.mode.is_some()),
            ("content", self.content.is_some()),
            ("data", self.data.is_some()),
            ("lower", self.lower.is_some()),
            ("upper", self.upper.is_some()),
            ("work", self.work.is_some()),
        ]
        .into_iter()
        .find_map(|(key, left)| left.then_some(key))
    }
}

fn needed(value: &mut Option<String>, key: &str) -> Result<String, String> {
    value.take().ok_or_else(|| format!("the key {key:?} is missing"))
}
