//! The home directory: hidden, private, or the host's.

use harness::{Caller, Errno, Handover, Outcome, Sandbox, TempDir};

/// A launch by `encode-policy run`, whose environment says where home is.
fn at_home(policy: &str, home: &str, caller: Caller) -> Sandbox {
    Sandbox::new(policy).handover(Handover::EncoderRun).caller(caller).env("HOME", home)
}

#[test]
fn a_host_root_shows_no_home_directory() {
    for caller in Caller::both() {
        // Any directory will do that every host has and that is not empty.
        let home = "/usr/share";
        let lines = [&format!("list {home}")[..], "create /usr/share/new", "list /usr/lib", "env"];
        let outcomes = at_home("filesystem.root = \"host\"", home, caller).probes(&lines);
        assert_eq!(outcomes[0], Outcome::Ok(String::new()), "{caller}");
        assert_eq!(outcomes[1], Outcome::Errno(Errno::ROFS), "{caller}");
        assert!(outcomes[2].clone().value().len() > 1, "{caller}");
        assert!(outcomes[3].clone().value().contains("HOME=/usr/share"), "{caller}");
        let shown = "filesystem = { root = \"host\", home = \"host\" }";
        assert!(at_home(shown, home, caller).probe(lines[0]).value().len() > 1, "{caller}");
        let listed = "filesystem = { root = \"host\", read = [\"~\"] }";
        assert!(at_home(listed, home, caller).probe(lines[0]).value().len() > 1, "{caller}");
    }
}

#[test]
fn a_private_home_directory_is_empty_and_gone_afterwards() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("home/.ssh/id", "key").file("home/project/note", "x");
        let home = dir.join("home").to_string_lossy().into_owned();
        for root in ["empty", "minimal", "host"] {
            let policy = format!(
                "filesystem = {{ root = {root:?}, home = \"private\", write = [\"~/project\"] }}"
            );
            let lines = [
                format!("list {home}"),
                format!("stat {home}"),
                format!("create {home}/new"),
                format!("mkdir {home}/.cache"),
                format!("read {home}/project/note"),
                format!("open-for-write {home}/project/note"),
                "env".to_owned(),
            ];
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let outcomes = at_home(&policy, &home, caller).probes(&lines);
            assert_eq!(outcomes[0], Outcome::Ok("project".into()), "{caller}, {root}");
            let mode = outcomes[1].clone().value();
            assert!(mode.contains("700"), "{caller}, {root}: {mode}");
            for outcome in &outcomes[2..6] {
                assert!(outcome.is_ok(), "{caller}, {root}: {outcomes:?}");
            }
            let home = format!("HOME={home}");
            assert!(outcomes[6].clone().value().contains(&home), "{caller}, {root}");
        }
        assert!(!dir.has("home/new") && !dir.has("home/.cache"), "{caller}");
    }
}

#[test]
fn a_hidden_home_directory_is_hidden_from_what_contains_it() {
    for caller in Caller::both() {
        let dir =
            TempDir::with_file("home/.ssh/id", "key").file("home/src/note", "x").file("a", "");
        let home = dir.join("home").to_string_lossy().into_owned();
        let policy = format!("filesystem = {{ home = \"hidden\", write = [{dir:?}, \"~/src\"] }}");
        let outcomes = at_home(&policy, &home, caller).probes(&[
            &format!("list {home}"),
            &format!("create {home}/new"),
            &format!("rename {home} {dir}/moved"),
            &format!("create {home}/src/new"),
        ]);
        assert_eq!(
            outcomes,
            [
                Outcome::Ok("src".into()),
                Outcome::Errno(Errno::ROFS),
                Outcome::Errno(Errno::BUSY),
                Outcome::Ok(String::new()),
            ],
            "{caller}"
        );
    }
}

#[test]
fn credentials_are_hidden_by_their_group() {
    for caller in Caller::both() {
        let dir = TempDir::with_file(".ssh/id", "key").file(".netrc", "key").file(".profile", "x");
        let home = dir.to_string();
        let policy = "filesystem = { read = [\"~\"], deny = [\"@credentials\"] }";
        let lines = [
            format!("list {home}/.ssh"),
            format!("read {home}/.netrc"),
            format!("read {home}/.profile"),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let outcomes = at_home(policy, &home, caller).probes(&lines);
        assert_eq!(outcomes[0], Outcome::Ok(String::new()), "{caller}");
        let netrc = &outcomes[1];
        assert!(netrc.is_errno() || *netrc == Outcome::Ok(String::new()), "{caller}: {netrc:?}");
        assert_eq!(outcomes[2], Outcome::Ok("x".into()), "{caller}");
        let control = Sandbox::outside().caller(caller).probe(lines[1]);
        assert_eq!(control, Outcome::Ok("key".into()), "{caller}");
    }
}
