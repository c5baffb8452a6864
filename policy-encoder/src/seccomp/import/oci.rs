//! Profiles in JSON: of the OCI runtime specification, and what Docker and
//! podman write, who add conditions on capabilities, architecture and kernel.
//!
//! Several conditions of one rule must all hold; of several rules for one
//! call any may match, and where rules with different actions do, the one
//! that lets less through decides.

use std::collections::BTreeMap;

use launcher_policy::seccomp::FILTER_FLAGS;
use launcher_policy::wire::Architecture;
use linux_raw_sys::errno::EPERM;
use linux_raw_sys::ptrace as uapi;
use serde::Deserialize;

use super::super::rules::{Action, Argument, Call, Comparison, Condition, Rule, Width};
use super::super::tables;
use super::severity;
use crate::parse::nearest;

/// The oldest kernel that a policy is made for: what asks for this one or an
/// older one is there.
const OLDEST_KERNEL: (u32, u32) = (5, 12);

/// The largest error number: `MAX_ERRNO` of linux/err.h.
const MAX_ERRNO: u32 = 4095;

/// Names that libseccomp knows and no table of system calls has: private to
/// 32-bit ARM, or branches of socketcall(2) and ipc(2).
const PSEUDO_CALLS: [&str; 5] = ["breakpoint", "cacheflush", "set_tls", "usr26", "usr32"];

/// The architectures that libseccomp knows, without `SCMP_ARCH_`.
const ARCHITECTURES: [&str; 23] = [
    "AARCH64",
    "ARM",
    "LOONGARCH64",
    "M68K",
    "MIPS",
    "MIPS64",
    "MIPS64N32",
    "MIPSEL",
    "MIPSEL64",
    "MIPSEL64N32",
    "PARISC",
    "PARISC64",
    "PPC",
    "PPC64",
    "PPC64LE",
    "RISCV64",
    "S390",
    "S390X",
    "SH",
    "SHEB",
    "X32",
    "X86",
    "X86_64",
];

/// A profile for one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    default: Action,
    calls: BTreeMap<String, Call>,
    pub(super) flags: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    default_action: String,
    default_errno_ret: Option<u32>,
    default_errno: Option<String>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<SubArchitectures>>,
    flags: Option<Vec<String>>,
    listener_path: Option<String>,
    listener_metadata: Option<String>,
    syscalls: Option<Vec<Block>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SubArchitectures {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

/// One entry of `syscalls`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Block {
    name: Option<String>,
    names: Option<Vec<String>>,
    action: String,
    errno_ret: Option<u32>,
    errno: Option<String>,
    args: Option<Vec<Arg>>,
    /// For people.
    #[serde(rename = "comment")]
    _comment: Option<String>,
    includes: Option<Filter>,
    excludes: Option<Filter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Arg {
    index: u32,
    value: u64,
    value_two: Option<u64>,
    op: String,
}

/// Where an entry of `syscalls` applies.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Filter {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    ///
    /// What is no profile, or cannot be carried over.
    pub fn parse(json: &[u8], architecture: Architecture) -> Result<Self, String> {
        let written: Written = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        check_architectures(&written)?;
        if written.listener_path.is_some() || written.listener_metadata.is_some() {
            return Err("listenerPath needs a supervisor, which a launch does not have".to_owned());
        }
        let errno = errno(written.default_errno.as_deref(), written.default_errno_ret)?;
        let default = action(&written.default_action, errno)?;
        let mut rules: BTreeMap<String, Vec<Rule>> = BTreeMap::new();
        for block in written.syscalls.iter().flatten() {
            let names = block.names()?;
            let of_block = |reason| match names.first() {
                Some(name) => format!("{reason} (in the rule of {name})"),
                None => reason,
            };
            let rule = block.rule().map_err(of_block)?;
            let applies = block.applies(architecture).map_err(of_block)?;
            for &name in &names {
                check_name(name, architecture)?;
                if applies {
                    rules.entry(name.to_owned()).or_default().push(rule.clone());
                }
            }
        }
        let calls = rules.into_iter().map(|(name, rules)| (name, call(rules, default))).collect();
        Ok(Self { default, calls, flags: flags(written.flags.as_deref().unwrap_or_default())? })
    }

    /// What the profile decides about a system call.
    #[must_use]
    pub fn call(&self, name: &str) -> Call {
        self.calls.get(name).cloned().unwrap_or(Call::always(self.default))
    }
}

impl Block {
    fn names(&self) -> Result<Vec<&str>, String> {
        match (&self.name, &self.names) {
            (Some(_), Some(names)) if !names.is_empty() => {
                Err("a rule has either \"name\" or \"names\"".to_owned())
            }
            (Some(name), _) => Ok(vec![name]),
            (None, names) => Ok(names.iter().flatten().map(String::as_str).collect()),
        }
    }

    fn rule(&self) -> Result<Rule, String> {
        let action = action(&self.action, errno(self.errno.as_deref(), self.errno_ret)?)?;
        let args = self.args.as_deref().unwrap_or_default();
        for (at, arg) in args.iter().enumerate() {
            // Runtimes take either for enough, against what the specification
            // says of several.
            if args.iter().take(at).any(|earlier| earlier.index == arg.index) {
                return Err(format!(
                    "two conditions on argument {} in one rule mean different things to different \
                     runtimes; write a rule for each",
                    arg.index
                ));
            }
        }
        let conditions = args.iter().map(Arg::condition).collect::<Result<_, _>>()?;
        Ok(Rule { conditions, action })
    }

    /// Whether the rule is for this launch: the launcher drops every
    /// capability.
    fn applies(&self, architecture: Architecture) -> Result<bool, String> {
        let nothing = Filter::default();
        let (includes, excludes) = (
            self.includes.as_ref().unwrap_or(&nothing),
            self.excludes.as_ref().unwrap_or(&nothing),
        );
        let included = includes.min_kernel()? != Some(false)
            && includes.caps.as_ref().is_none_or(Vec::is_empty)
            && includes.names(architecture) != Some(false);
        let excluded =
            excludes.min_kernel()? == Some(true) || excludes.names(architecture) == Some(true);
        Ok(included && !excluded)
    }
}

impl Filter {
    /// Whether the architecture is among those named, if any are.
    fn names(&self, architecture: Architecture) -> Option<bool> {
        let name = match architecture {
            Architecture::X86_64 => "amd64",
            Architecture::Aarch64 => "arm64",
            Architecture::Riscv64 => "riscv64",
        };
        let arches = self.arches.as_ref().filter(|arches| !arches.is_empty())?;
        Some(arches.iter().any(|each| each == name))
    }

    /// Whether every kernel is that new, if it is asked for.
    fn min_kernel(&self) -> Result<Option<bool>, String> {
        let Some(text) = self.min_kernel.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let version = text.split_once('.').and_then(|(kernel, major)| {
            Some((kernel.parse::<u32>().ok()?, major.parse::<u32>().ok()?))
        });
        let Some(version) = version else {
            return Err(format!("minKernel {text:?} is no version such as \"4.8\""));
        };
        if version > OLDEST_KERNEL {
            return Err(format!(
                "minKernel {text} cannot be carried over: one filter serves every kernel from \
                 {}.{} on",
                OLDEST_KERNEL.0, OLDEST_KERNEL.1
            ));
        }
        Ok(Some(true))
    }
}

impl Arg {
    fn condition(&self) -> Result<Condition, String> {
        let argument = usize::try_from(self.index).ok().and_then(|at| Argument::ALL.get(at));
        let argument =
            *argument.ok_or_else(|| format!("there is no argument {}, only 0 to 5", self.index))?;
        let value = self.value;
        let comparison = match self.op.as_str() {
            "SCMP_CMP_EQ" => Comparison::Equal(value),
            "SCMP_CMP_NE" => Comparison::NotEqual(value),
            "SCMP_CMP_LT" => Comparison::Less(value),
            "SCMP_CMP_LE" => Comparison::LessOrEqual(value),
            "SCMP_CMP_GT" => Comparison::Greater(value),
            "SCMP_CMP_GE" => Comparison::GreaterOrEqual(value),
            // libseccomp forgets the bits of the value that the mask lacks.
            "SCMP_CMP_MASKED_EQ" => {
                Comparison::MaskedEqual { mask: value, value: self.value_two.unwrap_or(0) & value }
            }
            other => return Err(format!("unknown op {other:?}")),
        };
        Ok(Condition { argument, width: Width::Bits64, comparison })
    }
}

/// What several rules come to: the stricter are asked first.
fn call(mut rules: Vec<Rule>, default: Action) -> Call {
    rules.sort_by_key(|rule| severity(rule.action));
    let unconditional = rules.iter().position(|rule| rule.conditions.is_empty());
    let otherwise = match unconditional {
        Some(at) => rules.drain(at..).next().map_or(default, |rule| rule.action),
        None => default,
    };
    Call { rules, otherwise }
}

fn action(name: &str, errno: u16) -> Result<Action, String> {
    match name {
        "SCMP_ACT_ALLOW" => Ok(Action::Allow),
        "SCMP_ACT_ERRNO" => Ok(Action::Errno(errno)),
        // The end of one thread leaves a process in no state to go on.
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" | "SCMP_ACT_KILL_PROCESS" => {
            Ok(Action::KillProcess)
        }
        "SCMP_ACT_TRAP" => Ok(Action::Trap),
        "SCMP_ACT_LOG" => Ok(Action::Log),
        "SCMP_ACT_TRACE" => {
            Err("SCMP_ACT_TRACE needs a tracer, which a launch does not have".into())
        }
        "SCMP_ACT_NOTIFY" => {
            Err("SCMP_ACT_NOTIFY needs a supervisor, which a launch does not have".into())
        }
        other => Err(format!("unknown action {other:?}")),
    }
}

/// The error number of `SCMP_ACT_ERRNO`; a name counts before a number, as it
/// does for podman.
fn errno(name: Option<&str>, number: Option<u32>) -> Result<u16, String> {
    match (name.filter(|name| !name.is_empty()), number) {
        (Some(name), _) => {
            tables::errno(name).ok_or_else(|| format!("unknown error number {name:?}"))
        }
        (None, Some(number)) if number > MAX_ERRNO => {
            Err(format!("error number {number} is larger than any ({MAX_ERRNO})"))
        }
        (None, number) => Ok(number.unwrap_or(EPERM) as u16),
    }
}

/// Refuses architectures that nobody knows. Those that somebody does are not
/// opened by an import.
fn check_architectures(written: &Written) -> Result<(), String> {
    let sub = written.arch_map.iter().flatten().flat_map(|each| {
        std::iter::once(&each.architecture).chain(each.sub_architectures.iter().flatten())
    });
    for name in written.architectures.iter().flatten().chain(sub) {
        let known =
            name.strip_prefix("SCMP_ARCH_").is_some_and(|name| ARCHITECTURES.contains(&name));
        if !known {
            return Err(format!("unknown architecture {name:?}"));
        }
    }
    Ok(())
}

fn check_name(name: &str, architecture: Architecture) -> Result<(), String> {
    if tables::exists(name) || PSEUDO_CALLS.contains(&name) {
        return Ok(());
    }
    let names = tables::calls(architecture).map(|(_, name)| name);
    let meant = nearest(&name.to_lowercase(), names);
    let meant = meant.map(|meant| format!("; did you mean {meant:?}?")).unwrap_or_default();
    Err(format!("no architecture has a system call {name:?}{meant}"))
}

fn flags(names: &[String]) -> Result<u32, String> {
    let mut flags = 0;
    for name in names {
        match name.as_str() {
            "SECCOMP_FILTER_FLAG_LOG" => flags |= uapi::SECCOMP_FILTER_FLAG_LOG,
            // The launcher has one thread when it installs the filter.
            "SECCOMP_FILTER_FLAG_TSYNC" => {}
            other => return Err(format!("flag {other:?} cannot be carried over")),
        }
    }
    debug_assert_eq!(flags & !FILTER_FLAGS, 0, "a policy can carry them");
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    const X86_64: Architecture = Architecture::X86_64;

    fn parse(json: &str) -> Result<Profile, String> {
        Profile::parse(json.as_bytes(), X86_64)
    }

    /// A profile that denies all but what these rules say.
    fn with(syscalls: &str) -> Result<Profile, String> {
        parse(&format!(r#"{{ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{syscalls}] }}"#))
    }

    fn decide(profile: &Profile, name: &str, arguments: &[u64]) -> Action {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        profile.call(name).decide(&all)
    }

    #[test]
    fn every_action_has_its_meaning_or_is_refused_by_name() {
        for (name, action) in [
            ("SCMP_ACT_ALLOW", Action::Allow),
            ("SCMP_ACT_ERRNO", Action::Errno(1)),
            ("SCMP_ACT_KILL", Action::KillProcess),
            ("SCMP_ACT_KILL_THREAD", Action::KillProcess),
            ("SCMP_ACT_KILL_PROCESS", Action::KillProcess),
            ("SCMP_ACT_TRAP", Action::Trap),
            ("SCMP_ACT_LOG", Action::Log),
        ] {
            let profile = parse(&format!(r#"{{ "defaultAction": "{name}" }}"#));
            assert_eq!(profile.map(|profile| profile.default), Ok(action));
        }
        for name in ["SCMP_ACT_TRACE", "SCMP_ACT_NOTIFY", "SCMP_ACT_ALOW", ""] {
            let json = format!(r#"{{ "names": ["read"], "action": "{name}" }}"#);
            let reason = with(&json).expect_err("it cannot be carried over");
            assert!(reason.contains(name) && reason.contains("read"), "{reason}");
        }
    }

    #[test]
    fn error_numbers_come_by_number_and_by_name() {
        let profile = parse(
            r#"{ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [
                { "names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22 },
                { "names": ["write"], "action": "SCMP_ACT_ERRNO", "errno": "EDOM", "errnoRet": 1 },
                { "name": "open", "action": "SCMP_ACT_ERRNO" }
            ] }"#,
        )
        .expect("a profile");
        assert_eq!(decide(&profile, "close", &[]), Action::Errno(38));
        assert_eq!(decide(&profile, "read", &[]), Action::Errno(22));
        assert_eq!(decide(&profile, "write", &[]), Action::Errno(33));
        assert_eq!(decide(&profile, "open", &[]), Action::Errno(1));
        for errno in [r#""errnoRet": 4096"#, r#""errno": "EWHAT""#] {
            let json = format!(r#"{{ "names": ["read"], "action": "SCMP_ACT_ERRNO", {errno} }}"#);
            assert!(with(&json).is_err(), "{errno}");
        }
    }

    #[test]
    fn every_comparison_is_of_the_whole_argument() {
        let upper = 1 << 32;
        for (op, two, holds, fails) in [
            ("EQ", 0, [5, 5], [4, upper | 5]),
            ("NE", 0, [4, upper | 5], [5, 5]),
            ("LT", 0, [4, 0], [5, upper]),
            ("LE", 0, [5, 0], [6, upper]),
            ("GT", 0, [6, upper], [5, 0]),
            ("GE", 0, [5, upper], [4, 0]),
            ("MASKED_EQ", 4, [4, upper | 6], [5, 0]),
            // Bits that the mask lacks.
            ("MASKED_EQ", 0xf4, [4, upper | 6], [5, 0]),
        ] {
            let json = format!(
                r#"{{ "names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [
                    {{ "index": 1, "value": 5, "valueTwo": {two}, "op": "SCMP_CMP_{op}" }}
                ] }}"#
            );
            let profile = with(&json).expect("a profile");
            for value in holds {
                assert_eq!(decide(&profile, "read", &[0, value]), Action::Allow, "{op} {value:#x}");
            }
            for value in fails {
                assert_eq!(
                    decide(&profile, "read", &[0, value]),
                    Action::Errno(1),
                    "{op} {value:#x}"
                );
            }
        }
    }

    #[test]
    fn conditions_of_a_rule_must_all_hold_and_rules_need_not() {
        let profile = with(
            r#"{ "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [
                    { "index": 0, "value": 1, "op": "SCMP_CMP_EQ" },
                    { "index": 1, "value": 2, "op": "SCMP_CMP_EQ" } ] },
               { "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [
                    { "index": 0, "value": 9, "op": "SCMP_CMP_EQ" } ] }"#,
        )
        .expect("a profile");
        for (arguments, action) in [
            ([1, 2], Action::Allow),
            ([9, 0], Action::Allow),
            ([1, 3], Action::Errno(1)),
            ([2, 2], Action::Errno(1)),
        ] {
            assert_eq!(decide(&profile, "socket", &arguments), action, "{arguments:?}");
        }
    }

    #[test]
    fn of_rules_that_contradict_each_other_the_stricter_decides() {
        let conditional = |action: &str| {
            format!(
                r#"{{ "names": ["read"], "action": "SCMP_ACT_{action}", "args": [
                    {{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }} ] }}"#
            )
        };
        let always =
            |action: &str| format!(r#"{{ "names": ["read"], "action": "SCMP_ACT_{action}" }}"#);
        for rules in
            [[conditional("KILL"), always("ALLOW")], [always("ALLOW"), conditional("KILL")]]
        {
            let profile = with(&rules.join(",")).expect("a profile");
            assert_eq!(decide(&profile, "read", &[1]), Action::KillProcess);
            assert_eq!(decide(&profile, "read", &[2]), Action::Allow);
        }
        let rules = [always("ERRNO"), conditional("ALLOW")];
        let profile = with(&rules.join(",")).expect("a profile");
        assert_eq!(decide(&profile, "read", &[1]), Action::Errno(1));
    }

    #[test]
    fn rules_for_capabilities_are_not_for_who_has_none() {
        let rule = |filter: &str| {
            let json = format!(r#"{{ "names": ["read"], "action": "SCMP_ACT_ALLOW", {filter} }}"#);
            decide(&with(&json).expect("a profile"), "read", &[]) == Action::Allow
        };
        assert!(!rule(r#""includes": { "caps": ["CAP_SYS_ADMIN"] }"#));
        assert!(rule(r#""excludes": { "caps": ["CAP_SYS_ADMIN"] }"#));
        assert!(rule(r#""includes": { "arches": ["arm64", "amd64"] }"#));
        assert!(!rule(r#""includes": { "arches": ["arm64"] }"#));
        assert!(!rule(r#""excludes": { "arches": ["amd64"] }"#));
        assert!(rule(r#""excludes": { "arches": ["arm64"] }"#));
        assert!(rule(r#""includes": { "minKernel": "4.8" }, "excludes": {}"#));
        assert!(!rule(r#""excludes": { "minKernel": "4.8" }"#));
        assert!(rule(r#""includes": { "caps": [], "arches": null }, "args": null"#));
    }

    #[test]
    fn what_cannot_be_carried_over_is_named() {
        let args = |args: &str| {
            format!(
                r#"{{ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
                    {{ "names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{args}] }} ] }}"#
            )
        };
        let twice = r#"{ "index": 0, "value": 1, "op": "SCMP_CMP_GE" },
                       { "index": 0, "value": 5, "op": "SCMP_CMP_LE" }"#;
        for (json, part) in [
            (args(r#"{ "index": 0, "value": 1, "op": "SCMP_CMP_ODD" }"#), "\"SCMP_CMP_ODD\""),
            (args(r#"{ "index": 6, "value": 1, "op": "SCMP_CMP_EQ" }"#), "argument 6"),
            (args(twice), "a rule for each"),
            (args(r#"{ "index": 0, "value": -1, "op": "SCMP_CMP_EQ" }"#), "line 2"),
            (r#"{ "syscalls": [] }"#.into(), "defaultAction"),
            ("{".into(), "line 1"),
            (
                r#"{ "defaultAction": "SCMP_ACT_KILL", "defaultAktion": 1 }"#.into(),
                "defaultAktion",
            ),
            (
                r#"{ "defaultAction": "SCMP_ACT_KILL", "architectures": ["SCMP_ARCH_Z80"] }"#.into(),
                "SCMP_ARCH_Z80",
            ),
            (
                r#"{ "defaultAction": "SCMP_ACT_KILL",
                     "archMap": [{ "architecture": "SCMP_ARCH_X86_64",
                                   "subArchitectures": ["X86"] }] }"#
                    .into(),
                "\"X86\"",
            ),
            (
                r#"{ "defaultAction": "SCMP_ACT_KILL", "flags": ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"] }"#
                    .into(),
                "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
            ),
            (
                r#"{ "defaultAction": "SCMP_ACT_KILL", "listenerPath": "/run/x" }"#.into(),
                "listenerPath",
            ),
            (
                r#"{ "defaultAction": "SCMP_ACT_KILL", "syscalls": [
                    { "names": ["opennat"], "action": "SCMP_ACT_ALLOW" } ] }"#
                    .into(),
                "did you mean \"openat\"?",
            ),
            (
                r#"{ "defaultAction": "SCMP_ACT_KILL", "syscalls": [
                    { "names": ["read"], "action": "SCMP_ACT_ALLOW",
                      "includes": { "minKernel": "6.2" } } ] }"#
                    .into(),
                "minKernel 6.2",
            ),
            (
                r#"{ "defaultAction": "SCMP_ACT_KILL", "syscalls": [
                    { "name": "read", "names": ["write"], "action": "SCMP_ACT_ALLOW" } ] }"#
                    .into(),
                "either",
            ),
        ] {
            let reason = parse(&json).expect_err(part);
            assert!(reason.contains(part), "{part} is missing from: {reason}");
        }
    }

    #[test]
    fn flags_are_carried_over() {
        let flags = |flags: &str| {
            let json = format!(r#"{{ "defaultAction": "SCMP_ACT_KILL", "flags": [{flags}] }}"#);
            parse(&json).map(|profile| profile.flags)
        };
        assert_eq!(flags(""), Ok(0));
        assert_eq!(
            flags(r#""SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG""#),
            Ok(uapi::SECCOMP_FILTER_FLAG_LOG)
        );
    }
}
