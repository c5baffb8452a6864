//! Lists of paths that have a name: what an entry such as `"@credentials"`
//! stands for, and what `root = "minimal"` and the host's network show.
//!
//! A final `*` stands for any name that begins so. What does not exist is
//! left out, and so is what lies below `~` where there is no home directory.

use std::path::{Path, PathBuf};

use super::host::Host;
use super::tree::Rights;
use crate::Place;

/// A list of paths with a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    /// As it stands in an entry.
    pub(super) name: &'static str,
    /// What its members have in common.
    pub(super) reason: &'static str,
    parts: &'static [Members],
}

/// Paths, and what `root = "minimal"` grants on each.
type Members = &'static [(&'static str, Rights)];

/// Every group.
pub(super) const GROUPS: [Group; 5] = [
    Group {
        name: "@credentials",
        reason: "keys, tokens and passwords that programs keep for their user, and what was typed",
        parts: &[KEYS, TOKENS, BROWSERS, HISTORIES],
    },
    Group {
        name: "@system",
        reason: "what `root = \"minimal\"` shows: programs, libraries, public settings",
        parts: SYSTEM,
    },
    Group {
        name: "@certificates",
        reason: "public certificates, and the settings of the libraries that check them",
        parts: &[CERTIFICATES],
    },
    Group {
        name: "@resolver",
        reason: "what resolver(5) and nsswitch.conf(5) read; the host's network comes with it",
        parts: &[RESOLVER],
    },
    Group {
        name: "@time-zone",
        reason: "which time zone this is, and what is known of all of them",
        parts: &[TIME_ZONE],
    },
];

/// What `root = "minimal"` shows: programs, libraries, and those files below
/// `/etc` that common programs need and everybody may know. Secrets
/// (`shadow`, `ssl/private`), what names this very host (`machine-id`,
/// `hostname`, `ssh`) and files in which people keep tokens (`npmrc`,
/// `gitconfig`, `environment`) are left out. Each line costs a mount where
/// the host has it and no line above covers it.
const SYSTEM: &[Members] = &[PROGRAMS, NAMES, TIME_ZONE, LANGUAGE, CERTIFICATES, LANGUAGES];

/// Programs, and what the dynamic linker and Debian's alternatives go
/// through.
const PROGRAMS: Members = &[
    ("/usr", Rights::EXECUTE),
    ("/bin", Rights::EXECUTE),
    ("/sbin", Rights::EXECUTE),
    ("/lib", Rights::EXECUTE),
    ("/lib32", Rights::EXECUTE),
    ("/lib64", Rights::EXECUTE),
    ("/libx32", Rights::EXECUTE),
    ("/etc/ld.so.cache", Rights::READ),
    ("/etc/ld.so.conf", Rights::READ),
    ("/etc/ld.so.conf.d", Rights::READ),
    ("/etc/ld-musl-x86_64.path", Rights::READ),
    ("/etc/ld-musl-aarch64.path", Rights::READ),
    ("/etc/alternatives", Rights::EXECUTE),
];

/// Names of users, groups, services; which sources they come from.
const NAMES: Members = &[
    ("/etc/passwd", Rights::READ),
    ("/etc/group", Rights::READ),
    ("/etc/nsswitch.conf", Rights::READ),
    ("/etc/protocols", Rights::READ),
    ("/etc/services", Rights::READ),
];

const TIME_ZONE: Members = &[
    ("/etc/localtime", Rights::READ),
    ("/etc/timezone", Rights::READ),
    ("/usr/share/zoneinfo", Rights::READ),
];

/// Language, terminals, which system this is.
const LANGUAGE: Members = &[
    ("/etc/locale.conf", Rights::READ),
    ("/etc/locale.alias", Rights::READ),
    ("/etc/inputrc", Rights::READ),
    ("/etc/os-release", Rights::READ),
    ("/etc/lsb-release", Rights::READ),
];

const CERTIFICATES: Members = &[
    ("/etc/ssl/certs", Rights::READ),
    ("/etc/ssl/cert.pem", Rights::READ),
    ("/etc/ssl/openssl.cnf", Rights::READ),
    ("/etc/ca-certificates/extracted", Rights::READ),
    ("/etc/pki/ca-trust/extracted", Rights::READ),
    ("/etc/pki/tls/certs", Rights::READ),
    ("/etc/pki/tls/cert.pem", Rights::READ),
    ("/etc/pki/tls/openssl.cnf", Rights::READ),
    ("/etc/crypto-policies", Rights::READ),
    ("/etc/gnutls", Rights::READ),
    // What the links in those directories lead to.
    ("/usr/share/ca-certificates", Rights::READ),
    ("/usr/local/share/ca-certificates", Rights::READ),
];

/// Shells and languages.
const LANGUAGES: Members = &[
    ("/etc/profile", Rights::READ),
    ("/etc/profile.d", Rights::READ),
    ("/etc/bash.bashrc", Rights::READ),
    ("/etc/bashrc", Rights::READ),
    ("/etc/python3*", Rights::READ),
    ("/etc/java-*", Rights::READ),
    ("/etc/perl", Rights::READ),
    ("/etc/fonts", Rights::READ),
    ("/etc/mime.types", Rights::READ),
];

const RESOLVER: Members = &[
    ("/etc/resolv.conf", Rights::READ),
    ("/etc/hosts", Rights::READ),
    ("/etc/host.conf", Rights::READ),
    ("/etc/nsswitch.conf", Rights::READ),
    ("/etc/gai.conf", Rights::READ),
    ("/etc/services", Rights::READ),
    ("/etc/protocols", Rights::READ),
    ("/etc/networks", Rights::READ),
];

/// Private keys, and stores of passwords.
const KEYS: Members = &[
    ("~/.ssh", Rights::READ),
    ("~/.gnupg", Rights::READ),
    ("~/.pki", Rights::READ),
    ("~/.password-store", Rights::READ),
    ("~/.local/share/keyrings", Rights::READ),
    ("~/.local/share/kwalletd", Rights::READ),
    ("~/.config/keepassxc", Rights::READ),
    ("~/.config/1Password", Rights::READ),
    ("~/.config/Bitwarden", Rights::READ),
    ("~/.config/age", Rights::READ),
    ("~/.config/sops", Rights::READ),
];

/// Tokens of clouds, registries and other services.
const TOKENS: Members = &[
    ("~/.netrc", Rights::READ),
    ("~/.authinfo", Rights::READ),
    ("~/.authinfo.gpg", Rights::READ),
    ("~/.git-credentials", Rights::READ),
    ("~/.config/git/credentials", Rights::READ),
    ("~/.config/gh", Rights::READ),
    ("~/.config/glab-cli", Rights::READ),
    ("~/.config/hub", Rights::READ),
    ("~/.aws", Rights::READ),
    ("~/.azure", Rights::READ),
    ("~/.config/gcloud", Rights::READ),
    ("~/.config/doctl", Rights::READ),
    ("~/.config/hcloud", Rights::READ),
    ("~/.oci", Rights::READ),
    ("~/.kube", Rights::READ),
    ("~/.docker/config.json", Rights::READ),
    ("~/.config/containers/auth.json", Rights::READ),
    ("~/.config/helm", Rights::READ),
    ("~/.terraform.d/credentials.tfrc.json", Rights::READ),
    ("~/.terraformrc", Rights::READ),
    ("~/.vault-token", Rights::READ),
    ("~/.config/op", Rights::READ),
    ("~/.config/rclone", Rights::READ),
    ("~/.s3cfg", Rights::READ),
    ("~/.boto", Rights::READ),
    ("~/.npmrc", Rights::READ),
    ("~/.yarnrc.yml", Rights::READ),
    ("~/.pypirc", Rights::READ),
    ("~/.config/pypoetry/auth.toml", Rights::READ),
    ("~/.cargo/credentials*", Rights::READ),
    ("~/.gem/credentials", Rights::READ),
    ("~/.config/composer/auth.json", Rights::READ),
    ("~/.m2/settings.xml", Rights::READ),
    ("~/.m2/settings-security.xml", Rights::READ),
    ("~/.gradle/gradle.properties", Rights::READ),
    ("~/.nuget/NuGet", Rights::READ),
    ("~/.huggingface", Rights::READ),
    ("~/.cache/huggingface/token", Rights::READ),
    ("~/.pgpass", Rights::READ),
    ("~/.my.cnf", Rights::READ),
    ("~/.mylogin.cnf", Rights::READ),
    ("~/.claude/.credentials.json", Rights::READ),
    ("~/.codex/auth.json", Rights::READ),
];

/// Profiles of browsers and mail programs: cookies and saved passwords.
const BROWSERS: Members = &[
    ("~/.mozilla", Rights::READ),
    ("~/.thunderbird", Rights::READ),
    ("~/.config/chromium", Rights::READ),
    ("~/.config/google-chrome*", Rights::READ),
    ("~/.config/BraveSoftware", Rights::READ),
    ("~/.config/microsoft-edge*", Rights::READ),
    ("~/.config/vivaldi*", Rights::READ),
    ("~/.config/opera*", Rights::READ),
    ("~/snap/firefox", Rights::READ),
    ("~/snap/chromium", Rights::READ),
    ("~/.var/app/org.mozilla.firefox", Rights::READ),
    ("~/.var/app/org.chromium.Chromium", Rights::READ),
    ("~/.var/app/com.google.Chrome", Rights::READ),
    ("~/.var/app/com.brave.Browser", Rights::READ),
];

/// What was typed, passwords in the wrong line among it.
const HISTORIES: Members = &[
    ("~/.bash_history", Rights::READ),
    ("~/.zsh_history", Rights::READ),
    ("~/.histfile", Rights::READ),
    ("~/.ash_history", Rights::READ),
    ("~/.ksh_history", Rights::READ),
    ("~/.sh_history", Rights::READ),
    ("~/.local/share/fish/fish_history", Rights::READ),
    ("~/.config/nushell/history.txt", Rights::READ),
    ("~/.python_history", Rights::READ),
    ("~/.node_repl_history", Rights::READ),
    ("~/.irb_history", Rights::READ),
    ("~/.psql_history", Rights::READ),
    ("~/.mysql_history", Rights::READ),
    ("~/.sqlite_history", Rights::READ),
    ("~/.rediscli_history", Rights::READ),
    ("~/.lesshst", Rights::READ),
    ("~/.viminfo", Rights::READ),
    ("~/.wget-hsts", Rights::READ),
];

/// Whether an entry means a group; a file of that name is `./@name`.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with('@')
}

/// The group of this name.
pub(super) fn find(name: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.name == name)
}

/// The paths that a group such as `@credentials` stands for, existing or not;
/// nothing for another name.
pub fn members(name: &str, place: &Place) -> Vec<PathBuf> {
    let host = Host::new(&place.sysroot);
    find(name).map_or_else(Vec::new, |group| group.paths(place, &host))
}

/// What `root = "minimal"` shows, and how.
pub(super) fn system(host: &Host) -> Vec<(PathBuf, Rights)> {
    granted(SYSTEM, host)
}

/// What the host's network shows, and how.
pub(super) fn resolver(host: &Host) -> Vec<(PathBuf, Rights)> {
    granted(&[RESOLVER], host)
}

fn granted(parts: &[Members], host: &Host) -> Vec<(PathBuf, Rights)> {
    let members = parts.iter().copied().flatten();
    members
        .flat_map(|&(path, rights)| {
            expand(Path::new(path), host).into_iter().map(move |path| (path, rights))
        })
        .collect()
}

impl Group {
    /// The paths of its members here, existing or not.
    pub(super) fn paths(&self, place: &Place, host: &Host) -> Vec<PathBuf> {
        let home = place.home();
        let members = self.parts.iter().copied().flatten();
        let path = |&(path, _): &(&str, Rights)| match path.strip_prefix("~/") {
            Some(below) => home.as_ref().map(|home| home.join(below)),
            None => Some(PathBuf::from(path)),
        };
        members.filter_map(path).flat_map(|path| expand(&path, host)).collect()
    }
}

/// The names that a final `*` stands for, in order.
fn expand(path: &Path, host: &Host) -> Vec<PathBuf> {
    let name = path.file_name().and_then(|name| name.to_str());
    let start = name.and_then(|name| name.strip_suffix('*'));
    let directory = path.parent().unwrap_or(Path::new("/"));
    match start {
        None => vec![path.to_owned()],
        Some(start) => {
            let mut names = host.list(directory);
            names.retain(|name| name.starts_with(start));
            names.sort_unstable();
            names.into_iter().map(|name| directory.join(name)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_has_a_name_a_reason_and_members() {
        for group in GROUPS {
            assert!(is_name(group.name), "{}", group.name);
            assert!(!group.reason.is_empty(), "{}", group.name);
            let members: Vec<_> = group.parts.iter().copied().flatten().collect();
            assert!(!members.is_empty());
            for (path, rights) in members {
                assert!(path.starts_with('/') || path.starts_with("~/"), "{path}");
                assert!(!rights.write, "{path}");
            }
        }
    }
}
