//! Patterns: they cover what there is when the policy is encoded.

use std::fs;

use harness::{Binaries, Caller, Outcome, Sandbox, TempDir, encode, with_probe};

#[test]
fn what_matches_is_hidden_and_what_appears_later_is_not() {
    for caller in Caller::both() {
        let dir =
            TempDir::with_file("a/b/.env", "secret").file(".env", "secret").file("a/note", "x");
        let policy = format!("filesystem = {{ write = [{dir:?}], deny = [\"**/.env\"] }}");
        let binaries = Binaries::shared();
        let bytes = encode(&with_probe(&policy, &binaries.probe()));
        let dir = dir.file("a/.env", "later");
        let lines = [
            format!("read {dir}/.env"),
            format!("read {dir}/a/b/.env"),
            format!("rename {dir}/a {dir}/moved"),
            format!("unlink {dir}/.env"),
            format!("read {dir}/a/note"),
            format!("read {dir}/a/.env"),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let outcomes = Sandbox::of_bytes(&bytes).caller(caller).probes(&lines);
        for outcome in &outcomes[..4] {
            let is_empty = *outcome == Outcome::Ok(String::new());
            assert!(outcome.is_errno() || is_empty, "{caller}: {outcomes:?}");
        }
        assert!(outcomes[2].is_errno() && outcomes[3].is_errno(), "{caller}: {outcomes:?}");
        assert_eq!(
            outcomes[4..],
            [Outcome::Ok("x".into()), Outcome::Ok("later".into())],
            "{caller}"
        );
        let control = Sandbox::outside().caller(caller).probe(lines[0]);
        assert_eq!(control, Outcome::Ok("secret".into()), "{caller}");
    }
}

#[test]
fn what_matches_is_protected() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("a/OWNERS", "kept").file("a/note", "x");
        let policy = format!("filesystem = {{ write = [{dir:?}], protect = [\"**/OWNERS\"] }}");
        let outcomes = Sandbox::new(&policy).caller(caller).probes(&[
            &format!("open-for-write {dir}/a/OWNERS"),
            &format!("unlink {dir}/a/OWNERS"),
            &format!("read {dir}/a/OWNERS"),
            &format!("open-for-write {dir}/a/note"),
        ]);
        assert!(outcomes[0].is_errno() && outcomes[1].is_errno(), "{caller}: {outcomes:?}");
        assert!(outcomes[2].is_ok() && outcomes[3].is_ok(), "{caller}: {outcomes:?}");
        assert_eq!(fs::read_to_string(dir.join("a/OWNERS")).expect("it is there"), "kept");
    }
}
