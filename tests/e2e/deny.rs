//! What is denied: it is not seen, and no name of it leads there.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use harness::{Binaries, Caller, Errno, Handover, Outcome, Sandbox, TempDir, encode, with_probe};

use crate::mounts::own_mounts;
use rustix::fs::{CWD, RenameFlags, renameat_with};

#[test]
fn of_a_denied_directory_only_the_child_that_is_listed_is_in_view() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("srv/public/note", "shown").file("srv/private/key", "secret");
        let srv = dir.join("srv");
        let policy = format!(
            "filesystem = {{ read = [{dir:?}, {:?}], deny = [{srv:?}] }}",
            srv.join("public")
        );
        let lines = [
            format!("list {dir}/srv"),
            format!("read {dir}/srv/public/note"),
            format!("stat {dir}/srv/private"),
            format!("create {dir}/srv/new"),
            format!("mkdir {dir}/srv/private"),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(
            Sandbox::new(&policy).caller(caller).probes(&lines),
            [
                Outcome::Ok("public".into()),
                Outcome::Ok("shown".into()),
                Outcome::Errno(Errno::NOENT),
                Outcome::Errno(Errno::ROFS),
                Outcome::Errno(Errno::ROFS),
            ],
            "{caller}"
        );
        let control = Sandbox::outside().caller(caller).probe(lines[0]);
        assert_eq!(control, Outcome::Ok("private public".into()), "{caller}");
    }
}

#[test]
fn a_denied_directory_is_empty_and_takes_nothing() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("secret/key", "x");
        let policy =
            format!("filesystem = {{ write = [{dir:?}], deny = [{:?}] }}", dir.join("secret"));
        let lines = [
            format!("list {dir}/secret"),
            format!("create {dir}/secret/new"),
            format!("mkdir {dir}/secret/new"),
            format!("symlink x {dir}/secret/new"),
            format!("chmod {dir}/secret 777"),
            format!("create {dir}/new"),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let outcomes = Sandbox::new(&policy).caller(caller).probes(&lines);
        assert_eq!(outcomes[0], Outcome::Ok(String::new()), "{caller}");
        assert!(outcomes[5].is_ok(), "{caller}: {outcomes:?}");
        for outcome in &outcomes[1..5] {
            assert_eq!(*outcome, Outcome::Errno(Errno::ROFS), "{caller}: {outcomes:?}");
        }
        let control = Sandbox::outside().caller(caller).probe(lines[1]);
        assert!(control.is_ok(), "{caller}: {control:?}");
    }
}

/// Ways to give a file at `D/a/b/secret` another name, or to have its name.
const WAYS: [&str; 10] = [
    "rename D/a/b/secret D/a/b/public",
    "rename D/other D/a/b/secret",
    "rename D/a/b D/a/c",
    "rename D/a D/c",
    "rename D/dir D/a",
    "link D/a/b/secret D/public",
    "link D/other D/a/b/secret",
    "symlink D/other D/a/b/secret",
    "unlink D/a/b/secret",
    "rmdir D/a/b",
];

#[test]
fn a_denied_file_survives_renames_and_links() {
    for caller in Caller::both() {
        let dir =
            TempDir::with_file("a/b/secret", "secret").file("other", "other").directory("dir");
        let secret = dir.join("a/b/secret");
        let policy = format!("filesystem = {{ write = [{dir:?}], deny = [{secret:?}] }}");
        let lines = WAYS.map(|way| way.replace('D', &dir.to_string()));
        let read = format!("read {dir}/a/b/secret");
        let lines: Vec<&str> = lines.iter().map(String::as_str).chain([read.as_str()]).collect();
        let outcomes = Sandbox::new(&policy).caller(caller).probes(&lines);
        for (line, outcome) in lines.iter().zip(&outcomes) {
            // Nothing is read of an empty file, where permissions do not bind.
            let is_empty = *line == read && *outcome == Outcome::Ok(String::new());
            assert!(outcome.is_errno() || is_empty, "{caller}, {line}: {outcome:?}");
        }
        assert_eq!((dir.read("a/b/secret"), dir.read("other")), ("secret".into(), "other".into()));
        for place in [0, 3, 5] {
            let other = TempDir::with_file("a/b/secret", "secret");
            let line = WAYS[place].replace('D', &other.to_string());
            let control = Sandbox::outside().caller(caller).probe(&line);
            assert!(control.is_ok(), "{caller}, {line}: {control:?}");
        }
    }
}

#[test]
fn a_source_that_is_swapped_for_a_symlink_never_shows_what_is_denied() {
    const LAUNCHES: usize = 1_000;
    let dir = TempDir::with_file("data/note", "shown").file("hidden/note", "secret");
    let (data, link, hidden) = (dir.join("data"), dir.join("link"), dir.join("hidden"));
    symlink(&hidden, &link).expect("a symlink is made");
    let policy = format!(
        "filesystem = {{ read = [{{ path = {data:?}, at = \"/data\" }}], deny = [{hidden:?}] }}"
    );
    let binaries = Binaries::shared();
    let bytes = encode(&with_probe(&policy, &binaries.probe()));
    let stop = AtomicBool::new(false);
    let swaps = AtomicU32::new(0);
    let (mut shown, mut refused) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, &data, CWD, &link, RenameFlags::EXCHANGE).expect("a swap");
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        let sandbox = Sandbox::of_bytes(&bytes);
        let mut leak = None;
        for _ in 0..LAUNCHES {
            match sandbox.probe("read /data/note") {
                Outcome::Ok(text) if text == "shown" => shown += 1,
                Outcome::Silent(output) if output.code() == 125 => refused += 1,
                other => leak = Some(other),
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(leak, None, "after {shown} launches and {refused} refusals");
    });
    assert_eq!(shown + refused, LAUNCHES);
    assert!(swaps.into_inner() > 0);
    // The control: by its name alone the source does lead to the secret.
    renameat_with(CWD, &data, CWD, &link, RenameFlags::EXCHANGE).expect("a swap");
    let names = [data, link].map(|name| fs::read_to_string(name.join("note")).expect("a file"));
    assert!(names.contains(&"secret".to_owned()));
}

#[test]
fn a_bind_mount_of_the_host_is_no_second_path_to_what_is_denied_or_protected() {
    if !rustix::process::geteuid().is_root() {
        harness::skip!("bind_mount_of_the_host", "only root mounts");
    }
    for caller in Caller::both() {
        let dir = TempDir::with_file("data/secret/key", "secret")
            .file("data/note", "x")
            .file("project/.git/config", "kept")
            .directory("alias")
            .directory("repository");
        let script = format!(
            "mount --bind {dir}/data {dir}/alias && mount --bind {dir}/project/.git {dir}/repository \
             && exec \"$@\""
        );
        let policy =
            format!("filesystem = {{ read = [{dir:?}], deny = [{:?}] }}", dir.join("data/secret"),);
        let writable = format!("filesystem.write = [{dir:?}, {:?}]", dir.join("project"));
        let lines = [
            format!("list {dir}/alias/secret"),
            format!("read {dir}/alias/note"),
            format!("open-for-write {dir}/repository/config"),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let launch = |policy: &str| {
            let sandbox = Sandbox::new(policy).handover(Handover::EncoderRun);
            own_mounts(sandbox, &script, caller).probes(&lines)
        };
        let outcomes = launch(&policy);
        assert_eq!(outcomes[0], Outcome::Ok(String::new()), "{caller}");
        assert_eq!(outcomes[1], Outcome::Ok("x".into()), "{caller}");
        let outcomes = launch(&writable);
        assert_eq!(outcomes[0], Outcome::Ok("key".into()), "{caller}");
        assert_eq!(outcomes[2], Outcome::Errno(Errno::ROFS), "{caller}");
        let given_up = writable.replace(']', &format!(", {:?}]", dir.join("project/.git")));
        let outcomes = launch(&given_up);
        assert_eq!(outcomes[2], Outcome::Ok(String::new()), "{caller}");
    }
}

#[test]
fn a_process_outside_that_replaces_a_masked_file_lifts_the_mask() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("token", "old").file("new", "new\n");
        let token = dir.join("token");
        let policy =
            format!("filesystem = {{ root = \"minimal\", read = [{dir:?}], deny = [{token:?}] }}");
        let sandbox = Sandbox::new(&policy).caller(caller);
        let script = format!("cat {dir}/token 2>&1; echo hidden; read go; cat {dir}/token");
        let mut running = sandbox.start(["sh", "-c", &script]);
        let said = running.line();
        let masked = said == "hidden" || said.contains("Permission denied");
        assert!(masked, "{caller}: {said}");
        if said != "hidden" {
            assert_eq!(running.line(), "hidden", "{caller}");
        }
        // docs/threat-model.md says so: a mount covers a file, not a name.
        fs::rename(dir.join("new"), &token).expect("it is replaced");
        running.write("go\n");
        assert_eq!(running.line(), "new", "{caller}");
    }
}
