//! `process.env`, `process.argv0`, `process.cwd`.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use launcher_policy::exec::{Cwd, Keep, MAX_ENVIRONMENT};
use launcher_policy::{MAX_PATH, Text};

use crate::Place;
use crate::Spanned;
use crate::diagnostic::Diagnostics;
use crate::document::{Document, Tmp};
use crate::items::{Items, c_string};
use crate::mounts::expand;
use crate::namespaces;
use crate::network::proxy;

/// `PATH`, unless the caller's is kept or another is set.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Variables that always pass: without them programs speak the wrong language
/// or mistake the terminal.
const ALWAYS_KEPT: [&str; 2] = ["LANG", "TERM"];

/// The stage's part of the policy.
#[derive(Debug)]
pub(crate) struct Exec {
    argv0: Option<CString>,
    keep: Items,
    set: Items,
    cwd: Option<CString>,
}

impl Exec {
    pub(crate) fn wire(&self) -> launcher_policy::exec::Exec<'_> {
        let cwd = self.cwd.as_deref().and_then(launcher_policy::Path::new);
        launcher_policy::exec::Exec {
            argv0: self.argv0.as_deref().map(Text::new),
            keep: self.keep.list(),
            set: self.set.list(),
            cwd: cwd.map_or(Cwd::Launch, Cwd::Path),
        }
    }
}

/// Resolves how the command is run. `shows` says whether the view has a path.
pub(crate) fn resolve(
    document: &Document,
    place: &Place,
    shows: impl Fn(&Path) -> bool,
    diagnostics: &mut Diagnostics,
) -> Exec {
    let process = &document.process;
    let kept = kept(&process.env.keep, diagnostics);
    let mut set = set(&process.env.set, diagnostics);
    let is_given = |set: &BTreeMap<&str, CString>, name: &str| {
        set.contains_key(name) || kept.iter().any(|pattern| pattern.matches(name))
    };
    if !is_given(&set, "PATH") {
        set.extend(assignment("PATH", PATH.as_bytes()));
    }
    if !is_given(&set, "HOME") {
        let home = home(document, place, &shows);
        set.extend(assignment("HOME", home.as_os_str().as_bytes()));
    }
    // Those of the caller lead to where the command does not reach.
    for (name, value) in proxy::variables(document) {
        if !set.contains_key(name) {
            set.extend(assignment(name, value.as_bytes()));
        }
    }
    if set.len() > MAX_ENVIRONMENT {
        diagnostics.error_anywhere(format!("more than {MAX_ENVIRONMENT} variables are set"));
    }
    Exec {
        argv0: process.argv0.as_ref().and_then(|argv0| argument(argv0, diagnostics)),
        keep: Items::new(kept.iter().map(Pattern::wire)),
        set: Items::new(set.values().map(|assignment| Text::new(assignment))),
        cwd: process.cwd.as_ref().and_then(|cwd| directory(cwd, place, &shows, diagnostics)),
    }
}

/// Where the command's programs are looked for, if that is known before the
/// launch.
pub(crate) fn search_path(document: &Document) -> Option<&str> {
    let env = &document.process.env;
    match env.set.get("PATH") {
        Some(set) => Some(set.get_ref()),
        None => {
            let kept = kept(&env.keep, &mut Diagnostics::default());
            (!kept.iter().any(|pattern| pattern.matches("PATH"))).then_some(PATH)
        }
    }
}

/// The variables that a document passes on.
#[derive(Debug, PartialEq, Eq)]
enum Pattern {
    Name(CString),
    Prefix(CString),
}

impl Pattern {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Name(own) => own.as_bytes() == name.as_bytes(),
            Self::Prefix(prefix) => name.as_bytes().starts_with(prefix.as_bytes()),
        }
    }

    fn wire(&self) -> Keep<'_> {
        match self {
            Self::Name(name) => Keep::Name(Text::new(name)),
            Self::Prefix(prefix) => Keep::Prefix(Text::new(prefix)),
        }
    }
}

fn kept(written: &[Spanned<String>], diagnostics: &mut Diagnostics) -> Vec<Pattern> {
    let always = ALWAYS_KEPT.iter().filter_map(|name| c_string(*name)).map(Pattern::Name);
    let mut patterns: Vec<_> = always.collect();
    for glob in written {
        match pattern(glob.get_ref()) {
            Ok(pattern) if patterns.contains(&pattern) => {}
            Ok(pattern) => patterns.push(pattern),
            Err(complaint) => {
                diagnostics.error(glob.span(), complaint);
            }
        }
    }
    patterns
}

/// `NAME`, `PREFIX*` or `*`.
fn pattern(glob: &str) -> Result<Pattern, String> {
    let (text, is_prefix) = match glob.strip_suffix('*') {
        Some(prefix) => (prefix, true),
        None => (glob, false),
    };
    if text.contains(['*', '?', '[']) {
        return Err(format!("{glob:?} is not a name, nor the beginning of one and a final *"));
    }
    if !is_prefix || !text.is_empty() {
        check_name(text)?;
    }
    let text = c_string(text).ok_or("a variable's name holds no NUL")?;
    Ok(if is_prefix { Pattern::Prefix(text) } else { Pattern::Name(text) })
}

fn check_name(name: &str) -> Result<(), String> {
    match name {
        "" => Err("a variable's name cannot be empty".into()),
        _ if name.contains('=') => Err(format!("a variable's name holds no =: {name:?}")),
        _ if name.contains('\0') => Err("a variable's name holds no NUL".into()),
        _ => Ok(()),
    }
}

/// The variables that a document sets, each as `NAME=value`.
fn set<'d>(
    written: &'d BTreeMap<String, Spanned<String>>,
    diagnostics: &mut Diagnostics,
) -> BTreeMap<&'d str, CString> {
    let mut set = BTreeMap::new();
    for (name, value) in written {
        if let Err(complaint) = check_name(name) {
            diagnostics.error(value.span(), complaint);
        } else if value.get_ref().contains('\0') {
            diagnostics.error(value.span(), format!("the value of {name} holds no NUL"));
        } else {
            set.extend(assignment(name, value.get_ref().as_bytes()));
        }
    }
    set
}

fn assignment<'n>(name: &'n str, value: &[u8]) -> Option<(&'n str, CString)> {
    let bytes = [name.as_bytes(), b"=", value].concat();
    c_string(bytes).map(|assignment| (name, assignment))
}

/// A directory that exists inside: the caller's own, `/tmp` if it is private,
/// or `/`.
fn home(document: &Document, place: &Place, shows: impl Fn(&Path) -> bool) -> PathBuf {
    let own = place.variables.get("HOME").map(PathBuf::from);
    let own = own.filter(|own| place.sysroot.join(own.strip_prefix("/").unwrap_or(own)).is_dir());
    let tmp = match document.filesystem.tmp.as_ref().map(|tmp| *tmp.get_ref()) {
        // Without mounts it is the host's.
        None | Some(Tmp::Private) if !namespaces::is_off(document) => Some(PathBuf::from("/tmp")),
        _ => None,
    };
    [own, tmp]
        .into_iter()
        .flatten()
        .find(|directory| directory.is_absolute() && shows(directory))
        .unwrap_or_else(|| PathBuf::from("/"))
}

fn argument(written: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<CString> {
    let argument = c_string(written.get_ref().as_str());
    if argument.is_none() {
        diagnostics.error(written.span(), "argv0 holds no NUL");
    }
    argument
}

/// The working directory, absolute inside.
fn directory(
    written: &Spanned<String>,
    place: &Place,
    shows: impl Fn(&Path) -> bool,
    diagnostics: &mut Diagnostics,
) -> Option<CString> {
    let path = match expand(written.get_ref(), place) {
        Ok(path) => place.directory.join(path).components().collect::<PathBuf>(),
        Err(complaint) => {
            diagnostics.error(written.span(), complaint);
            return None;
        }
    };
    if path.components().any(|component| component == Component::ParentDir) {
        diagnostics.error(written.span(), format!("{path:?} has `..` in it: cwd cannot"));
        return None;
    }
    if !shows(&path) {
        diagnostics
            .error(written.span(), format!("{path:?} is not visible inside"))
            .help("list it, or a directory that contains it, under [filesystem]");
    }
    let path = c_string(path.as_os_str().as_bytes());
    let is_path = |path: &CStr| launcher_policy::Path::new(path).is_some();
    if !path.as_deref().is_some_and(is_path) {
        diagnostics.error(written.span(), format!("cwd is longer than {MAX_PATH} bytes"));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{document, messages};

    fn resolved(text: &str, visible: &[&str]) -> (Exec, Vec<String>) {
        let place = Place {
            sysroot: "/".into(),
            directory: "/workspace".into(),
            variables: [("HOME".to_owned(), "/usr".into())].into(),
        };
        let mut diagnostics = Diagnostics::default();
        let shows = |path: &Path| visible.iter().any(|prefix| path.starts_with(prefix));
        let exec = resolve(&document(text), &place, shows, &mut diagnostics);
        (exec, messages(&diagnostics))
    }

    fn environment(text: &str, visible: &[&str]) -> Vec<String> {
        let (exec, complaints) = resolved(text, visible);
        assert!(complaints.is_empty(), "{complaints:?}");
        let set = exec.wire().set;
        set.iter().map(|text| String::from_utf8_lossy(text.to_bytes()).into_owned()).collect()
    }

    #[test]
    fn path_and_home_are_set_unless_they_are_kept() {
        assert_eq!(environment("", &["/tmp"]), ["HOME=/tmp", &format!("PATH={PATH}")]);
        assert!(environment("process.env.keep = ['PATH', 'HO*']", &[]).is_empty());
        assert!(environment("process.env.keep = ['*']", &[]).is_empty());
        assert_eq!(
            environment("process.env.set = { PATH = '/x', HOME = '/y', CI = '1' }", &[]),
            ["CI=1", "HOME=/y", "PATH=/x"]
        );
    }

    #[test]
    fn programs_find_the_proxy_by_variables() {
        let proxied = |env: &str| {
            let network = "network = { access = 'proxy', allow = ['*'], proxy.http = 8080 }";
            environment(&format!("{network}\nprocess.env = {{ {env} }}"), &["/tmp"])
        };
        let http = "http://127.0.0.1:8080";
        for env in ["", "keep = ['*']"] {
            let set = proxied(env);
            for name in ["HTTP_PROXY", "https_proxy", "ALL_PROXY"] {
                assert!(set.contains(&format!("{name}={http}")), "{set:?}");
            }
            assert!(set.contains(&"NO_PROXY=localhost,127.0.0.1,::1".to_owned()), "{set:?}");
        }
        let own = proxied("set = { NO_PROXY = '' }");
        assert!(own.contains(&"NO_PROXY=".to_owned()), "{own:?}");
        assert!(!environment("", &["/tmp"]).iter().any(|each| each.contains("PROXY")));
    }

    #[test]
    fn home_exists_inside() {
        let home = |text, visible: &[&str]| environment(text, visible).swap_remove(0);
        assert_eq!(home("", &["/usr", "/tmp"]), "HOME=/usr");
        assert_eq!(home("", &["/tmp"]), "HOME=/tmp");
        assert_eq!(home("filesystem.tmp = 'host'", &["/tmp"]), "HOME=/");
        assert_eq!(home("", &[]), "HOME=/");
    }

    #[test]
    fn language_and_terminal_are_kept_beside_what_is_listed() {
        let (exec, _) = resolved("process.env.keep = ['LC_*', 'TERM', 'X']", &[]);
        let kept: Vec<_> = exec.wire().keep.iter().collect();
        assert_eq!(
            kept,
            [
                Keep::Name(Text::new(c"LANG")),
                Keep::Name(Text::new(c"TERM")),
                Keep::Prefix(Text::new(c"LC_")),
                Keep::Name(Text::new(c"X")),
            ]
        );
    }

    #[test]
    fn names_that_no_environment_holds_are_refused() {
        for (text, complaint) in [
            ("keep = ['A*B']", "\"A*B\" is not a name, nor the beginning of one and a final *"),
            ("keep = ['A?']", "\"A?\" is not a name, nor the beginning of one and a final *"),
            ("keep = ['A=B']", "a variable's name holds no =: \"A=B\""),
            ("keep = ['']", "a variable's name cannot be empty"),
            ("set = { 'A=B' = '1' }", "a variable's name holds no =: \"A=B\""),
            ("set = { \"A\\u0000\" = '1' }", "a variable's name holds no NUL"),
            ("set = { A = \"\\u0000\" }", "the value of A holds no NUL"),
        ] {
            assert_eq!(resolved(&format!("process.env = {{ {text} }}"), &[]).1, [complaint]);
        }
    }

    #[test]
    fn a_working_directory_that_is_asked_for_must_be_visible() {
        let (exec, complaints) = resolved("process.cwd = 'sub'", &["/workspace"]);
        assert!(complaints.is_empty(), "{complaints:?}");
        assert_eq!(
            exec.wire().cwd,
            Cwd::Path(launcher_policy::Path::new(c"/workspace/sub").expect("a path"))
        );
        assert_eq!(resolved("process.cwd = '/srv'", &[]).1, ["\"/srv\" is not visible inside"]);
        assert_eq!(resolved("process.cwd = '..'", &["/"]).1.len(), 1);
        assert_eq!(resolved("", &[]).0.wire().cwd, Cwd::Launch);
    }
}
