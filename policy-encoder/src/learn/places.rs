//! Which entry of a policy a path would be granted by: directories that belong
//! together rather than single files, and never what holds everything.

use std::path::{Component, Path, PathBuf};

use crate::{Place, mounts};

/// Directories that hold what belongs to many: no entry is for one of these.
const WIDE: [&str; 23] = [
    "/",
    "/boot",
    "/dev",
    "/dev/shm",
    "/etc",
    "/home",
    "/media",
    "/mnt",
    "/nix",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/run/user",
    "/srv",
    "/sys",
    "/tmp",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/spool",
    "/var/tmp",
];

/// Programs and libraries of the system: what `root = "minimal"` shows as a whole.
const SYSTEM: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// Directories in a home that hold those of many programs, and how many names
/// below them one program has.
const SHARED: [(&str, usize); 6] = [
    (".cache", 1),
    (".config", 1),
    (".local", 1),
    (".local/lib", 1),
    (".local/share", 1),
    (".local/state", 1),
];

/// How many directories beside each other become the one that they are in.
const MANY: usize = 4;

/// What is known of the host and of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The home directory.
    pub home: Option<PathBuf>,
    /// The directory that the command was started in.
    pub directory: PathBuf,
    /// Directories for temporary files.
    pub temporary: Vec<PathBuf>,
    /// Files and directories of keys, tokens and passwords.
    pub credentials: Vec<PathBuf>,
    /// What a policy shows of the system without naming it.
    pub shown: Vec<PathBuf>,
}

/// What is done with a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// It is a directory.
    pub directory: bool,
    /// It is read, or only looked at.
    pub read: bool,
    /// It is changed.
    pub write: bool,
    /// It is made, removed or renamed, which is a change of its directory.
    pub name: bool,
    /// It is run, or mapped as code.
    pub execute: bool,
}

impl Need {
    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            directory: self.directory || other.directory,
            read: self.read || other.read,
            write: self.write || other.write,
            name: self.name || other.name,
            execute: self.execute || other.execute,
        }
    }

    /// Whether something is changed.
    pub const fn changes(self) -> bool {
        self.write || self.name
    }
}

impl Surroundings {
    /// Those of a place.
    pub fn of(place: &Place) -> Self {
        let mut temporary: Vec<PathBuf> = ["/tmp", "/var/tmp", "/dev/shm"].map(Into::into).into();
        temporary.extend(place.variable("TMPDIR").map(PathBuf::from).filter(|it| it.is_absolute()));
        Self {
            home: place.home(),
            directory: place.directory.clone(),
            temporary,
            credentials: mounts::members("@credentials", place),
            shown: mounts::members("@system", place),
        }
    }

    /// The project: where the command was started, unless that holds everything.
    pub fn project(&self) -> Option<&Path> {
        let is_temporary = self.temporary.contains(&self.directory);
        let is_system = SYSTEM.iter().any(|system| self.directory.starts_with(system));
        let is_one = !self.is_wide(&self.directory) && !is_temporary && !is_system;
        is_one.then_some(&self.directory)
    }

    /// Whether a path is part of the system's programs and libraries.
    pub fn is_system(&self, path: &Path) -> bool {
        SYSTEM.iter().any(|system| path.starts_with(system))
    }

    /// Whether a policy shows a path without naming it.
    pub fn is_shown(&self, path: &Path) -> bool {
        self.is_system(path) || self.shown.iter().any(|shown| path.starts_with(shown))
    }

    /// Whether a path is in a home directory, but for the project.
    pub fn is_home(&self, path: &Path) -> bool {
        let in_project = self.project().is_some_and(|project| path.starts_with(project));
        let own = self.home.as_deref();
        let homes = own.into_iter().chain([Path::new("/home"), Path::new("/root")]);
        !in_project && homes.into_iter().any(|home| path.starts_with(home))
    }

    /// Whether a path is in a directory for temporary files, but for the project
    /// and the home directory.
    pub fn is_temporary(&self, path: &Path) -> bool {
        let in_project = self.project().is_some_and(|project| path.starts_with(project));
        !in_project && self.temporary_of(path).is_some()
    }

    /// The directory for temporary files that a path is in; a home directory that
    /// is in one is none.
    fn temporary_of(&self, path: &Path) -> Option<&Path> {
        let home = self.home.as_ref().filter(|home| path.starts_with(home));
        let holds = |temporary: &&PathBuf| {
            path.starts_with(temporary) && !home.is_some_and(|home| home.starts_with(temporary))
        };
        self.temporary.iter().find(holds).map(PathBuf::as_path)
    }

    /// Whether a path holds keys, tokens or passwords.
    pub fn is_credential(&self, path: &Path) -> bool {
        const NAMES: [&str; 9] = [
            ".env",
            ".netrc",
            "credentials",
            "credentials.json",
            "credentials.toml",
            "id_ed25519",
            "id_rsa",
            "shadow",
            "token",
        ];
        if self.credentials.iter().any(|credential| path.starts_with(credential)) {
            return true;
        }
        let in_project = self.project().is_some_and(|project| path.starts_with(project));
        let name = path.file_name().and_then(|name| name.to_str());
        !in_project
            && !self.is_system(path)
            && name.is_some_and(|name| NAMES.contains(&name) || name.ends_with(".key"))
    }

    /// Whether an entry for this directory would grant what belongs to others.
    pub fn is_wide(&self, path: &Path) -> bool {
        let home = self.home.as_deref();
        WIDE.iter().any(|wide| path == Path::new(wide))
            || home.is_some_and(|home| home.starts_with(path))
            // The home of somebody else.
            || path.parent() == Some(Path::new("/home"))
            || self
                .below_home(path)
                .is_some_and(|below| SHARED.iter().any(|(shared, _)| below == Path::new(shared)))
            || self.temporary.iter().any(|temporary| temporary.starts_with(path))
    }

    fn below_home<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        path.strip_prefix(self.home.as_ref()?).ok()
    }

    /// The file or directory that an entry would be for; `None` where only what
    /// holds everything would do.
    pub fn place(&self, path: &Path, need: Need) -> Option<PathBuf> {
        let found = self.whole(path, need).unwrap_or_else(|| nearest(path, need));
        // A name is made in a directory, which the entry has to hold.
        let found = if need.name && found == path { parent(path) } else { found };
        if !self.is_wide(&found) {
            return Some(found);
        }
        (!need.name && !self.is_wide(path)).then(|| path.to_owned())
    }

    /// The directory that is granted as a whole for what is in it.
    fn whole(&self, path: &Path, need: Need) -> Option<PathBuf> {
        if let Some(project) = self.project().filter(|project| path.starts_with(project)) {
            return Some(project.to_owned());
        }
        if let Some(rest) = self.below_home(path) {
            let home = self.home.as_ref()?;
            let is_hidden = rest.to_str().is_some_and(|rest| rest.starts_with('.'));
            let shared = SHARED.iter().filter(|(shared, _)| rest.starts_with(shared));
            let (shared, names) = shared.max_by_key(|(shared, _)| shared.len()).unwrap_or(&("", 1));
            return is_hidden.then(|| below(&home.join(shared), path, *names)).flatten();
        }
        if let Some(system) = SYSTEM.iter().find(|system| path.starts_with(system)) {
            // Nobody means to grant changes of the whole system.
            return (!need.changes()).then(|| system.into());
        }
        let depth = [("/etc", 1), ("/opt", 1), ("/srv", 1), ("/var", 2), ("/run", 1), ("/nix", 2)];
        if let Some((top, names)) = depth.into_iter().find(|(top, _)| path.starts_with(top)) {
            return below(Path::new(top), path, names);
        }
        if path.starts_with("/dev") {
            return Some(path.to_owned());
        }
        path.starts_with("/sys").then(|| below(Path::new("/sys"), path, 3)).flatten()
    }

    /// Puts directories beside each other together where they are many.
    pub(super) fn together(&self, mut places: Vec<PathBuf>) -> Vec<PathBuf> {
        places.sort();
        places.dedup();
        loop {
            let many = places.iter().map(|place| parent(place)).find(|above| {
                let beside = places.iter().filter(|place| parent(place) == *above);
                !self.is_wide(above) && depth(above) > 1 && beside.count() >= MANY
            });
            let Some(above) = many else { return places };
            places.retain(|place| !place.starts_with(&above));
            places.push(above);
            places.sort();
        }
    }
}

/// The directory of a path, itself if it is one.
fn nearest(path: &Path, need: Need) -> PathBuf {
    if need.directory && !need.name { path.to_owned() } else { parent(path) }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).to_owned()
}

fn depth(path: &Path) -> usize {
    path.components().filter(|part| matches!(part, Component::Normal(_))).count()
}

/// A path of so many names below a directory that it is in.
fn below(directory: &Path, path: &Path, names: usize) -> Option<PathBuf> {
    let rest = path.strip_prefix(directory).ok()?;
    let mut found = directory.to_owned();
    found.extend(rest.components().take(names));
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MAKE, READ};
    use super::*;

    const LIST: Need = Need { directory: true, ..READ };
    const WRITE: Need = Need { write: true, ..READ };

    fn surroundings(directory: &str) -> Surroundings {
        Surroundings {
            home: Some("/home/me".into()),
            directory: directory.into(),
            temporary: vec!["/tmp".into(), "/var/tmp".into()],
            credentials: vec!["/home/me/.ssh".into()],
            shown: Vec::new(),
        }
    }

    fn place(path: &str, need: Need) -> Option<String> {
        let place = surroundings("/home/me/src/app").place(Path::new(path), need);
        place.map(|place| place.display().to_string())
    }

    #[test]
    fn what_belongs_together_is_granted_as_a_whole() {
        let cases = [
            ("/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr"),
            ("/lib64/ld-linux-x86-64.so.2", "/lib64"),
            ("/etc/ssl/certs/ca.pem", "/etc/ssl"),
            ("/etc/hosts", "/etc/hosts"),
            ("/home/me/src/app/src/main.rs", "/home/me/src/app"),
            ("/home/me/.cargo/registry/index/x", "/home/me/.cargo"),
            ("/home/me/.config/git/config", "/home/me/.config/git"),
            ("/home/me/.local/share/app/x/y", "/home/me/.local/share/app"),
            ("/home/me/.local/bin/tool", "/home/me/.local/bin"),
            ("/home/me/.gitconfig", "/home/me/.gitconfig"),
            ("/home/me/music/a/b.ogg", "/home/me/music/a"),
            ("/home/other/x", "/home/other/x"),
            ("/home/other/music/x", "/home/other/music"),
            ("/opt/tool/lib/x.so", "/opt/tool"),
            ("/var/lib/app/db", "/var/lib/app"),
            ("/tmp/given/file", "/tmp/given"),
            ("/data/sets/one/x", "/data/sets/one"),
            ("/file", "/file"),
            ("/sys/devices/system/cpu/online", "/sys/devices/system/cpu"),
            ("/dev/kvm", "/dev/kvm"),
        ];
        for (path, expected) in cases {
            assert_eq!(place(path, READ).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn no_entry_is_for_what_holds_everything() {
        for path in ["/", "/home", "/home/me", "/home/me/.config", "/etc", "/tmp", "/var"] {
            assert_eq!(place(path, LIST), None, "{path}");
        }
        // A name is made in its directory.
        for path in ["/home/me/new", "/new", "/etc/new", "/home/me/.config/new"] {
            assert_eq!(place(path, MAKE), None, "{path}");
        }
        assert_eq!(place("/home/me/.bashrc", WRITE).as_deref(), Some("/home/me/.bashrc"));
    }

    #[test]
    fn a_name_is_made_in_a_directory() {
        let cases = [
            ("/home/me/src/app/x", "/home/me/src/app"),
            ("/home/me/music/x", "/home/me/music"),
            ("/home/me/.cache/app/x", "/home/me/.cache/app"),
            ("/usr/lib/python3/x.pyc", "/usr/lib/python3"),
            ("/etc/app/x", "/etc/app"),
        ];
        for (path, expected) in cases {
            assert_eq!(place(path, MAKE).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn where_the_command_was_started_is_the_project_unless_that_is_everything() {
        for directory in ["/", "/home/me", "/tmp", "/usr/lib", "/home"] {
            assert_eq!(surroundings(directory).project(), None, "{directory}");
        }
        for directory in ["/home/me/src/app", "/tmp/app", "/srv/app"] {
            let surroundings = surroundings(directory);
            assert_eq!(surroundings.project(), Some(Path::new(directory)));
            let inside = Path::new(directory).join("src/x");
            assert_eq!(surroundings.place(&inside, MAKE), Some(directory.into()));
            assert!(!surroundings.is_home(&inside) && !surroundings.is_temporary(&inside));
        }
    }

    #[test]
    fn a_home_among_temporary_files_is_a_home_all_the_same() {
        let surroundings =
            Surroundings { home: Some("/tmp/me".into()), ..surroundings("/srv/app") };
        let tool = Path::new("/tmp/me/.tool/x");
        assert_eq!(surroundings.place(tool, READ), Some("/tmp/me/.tool".into()));
        assert!(surroundings.is_home(tool) && !surroundings.is_temporary(tool));
        assert!(surroundings.is_temporary(Path::new("/tmp/other")));
    }

    #[test]
    fn many_directories_become_the_one_that_they_are_in() {
        let surroundings = surroundings("/srv/app");
        let places = |names: &[&str]| {
            let places = names.iter().map(PathBuf::from).collect();
            let together = surroundings.together(places);
            together.iter().map(|place| place.display().to_string()).collect::<Vec<_>>()
        };
        let data = ["/data/x/a", "/data/x/b", "/data/x/c", "/data/x/d", "/data/x/d/e"];
        assert_eq!(places(&data), ["/data/x"]);
        assert_eq!(places(&data[..3]), data[..3]);
        let home = ["/home/me/a", "/home/me/b", "/home/me/c", "/home/me/d", "/home/me/e"];
        assert_eq!(places(&home), home);
        let top = ["/data/a", "/data/b", "/data/c", "/data/d"];
        assert_eq!(places(&top), top);
    }

    #[test]
    fn keys_and_tokens_are_told_from_what_is_called_like_them() {
        let surroundings = surroundings("/home/me/src/app");
        for path in ["/home/me/.ssh/config", "/srv/x/.netrc", "/data/tls/server.key", "/etc/shadow"]
        {
            assert!(surroundings.is_credential(Path::new(path)), "{path}");
        }
        for path in ["/usr/lib/python3/token", "/home/me/src/app/.env", "/home/me/.sshrc"] {
            assert!(!surroundings.is_credential(Path::new(path)), "{path}");
        }
    }
}
