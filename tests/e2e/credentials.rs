//! Credentials: no capability is left, whoever called, and none comes back.

use harness::{Caller, Errno, IN_PLACE, Outcome, Sandbox, TempDir, needs_strace};

use crate::faults::inject;

/// One policy with all namespaces, one that works in place, one as root of
/// its own user namespace.
const POLICIES: [&str; 4] = ["", IN_PLACE, "process = { uid = 0, gid = 0 }", NO_USER_NAMESPACE];

const NO_USER_NAMESPACE: &str = "namespaces.user = false";

/// Whether this policy can be launched by this caller.
fn works(policy: &str, caller: Caller) -> bool {
    policy != NO_USER_NAMESPACE || caller.is_root()
}

#[test]
fn no_capability_is_left_and_no_new_privs_is_set() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        for policy in POLICIES.into_iter().filter(|policy| works(policy, caller)) {
            let caps = Sandbox::new(policy).caller(caller).probe("caps").value();
            let [effective, permitted, inheritable, bounding, ambient, no_new_privs, seccomp] =
                caps.split(' ').collect::<Vec<_>>()[..]
            else {
                panic!("{caps}")
            };
            let sets = [effective, permitted, inheritable, ambient];
            assert_eq!(sets, ["0"; 4], "{caller}, {policy}");
            assert_eq!((no_new_privs, seccomp), ("1", "2"), "{caller}, {policy}");
            // Without CAP_SETPCAP the set cannot be changed; no_new_privs
            // keeps anybody from gaining what it holds.
            if caller.is_root() || policy != IN_PLACE {
                assert_eq!(bounding, "0", "{caller}, {policy}");
            }
        }
        if caller.is_root() {
            let control = Sandbox::outside().probe("caps").value();
            assert!(!control.starts_with("0 0"), "{control}");
        }
    }
}

#[test]
fn a_capability_that_stays_in_the_bounding_set_is_a_refusal() {
    harness::needs_landlock!(6);
    needs_strace!();
    for caller in Caller::both() {
        // Nobody has no say over that set where it makes no user namespace.
        for policy in if caller.is_root() { &["", IN_PLACE][..] } else { &[""] } {
            let sandbox = Sandbox::new(policy).caller(caller);
            // The fifth of the calls that drop one each.
            let sandbox = inject(sandbox, "prctl:error=EPERM:when=5");
            let output = sandbox.run([sandbox.probe_path(), "say ran".into()]);
            assert_eq!((output.code(), output.stdout.len()), (125, 0), "{caller}: {output:?}");
            let failure = output.failure();
            let said = (&failure["stage"], &failure["call"], &failure["error"]);
            let expected = ["credentials", "prctl", "EPERM"].map(Into::into);
            assert_eq!(said, expected.each_ref().into(), "{caller}, {policy}");
        }
    }
}

#[test]
fn securebits_are_locked() {
    // NOROOT, NO_SETUID_FIXUP and NO_CAP_AMBIENT_RAISE with their locks, and
    // the lock of KEEP_CAPS.
    const LOCKED: u64 = 0b1110_1111;
    for caller in Caller::both() {
        let bits = Sandbox::new("").caller(caller).probe("securebits").value();
        assert_eq!(bits, LOCKED.to_string(), "{caller}");
        // PR_SET_SECUREBITS = 28.
        let outcome = Sandbox::new("").caller(caller).probe("syscall prctl 28 0");
        assert_eq!(outcome, Outcome::Errno(Errno::PERM), "{caller}");
    }
}

#[test]
fn capabilities_do_not_come_back() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        for policy in POLICIES.into_iter().filter(|policy| works(policy, caller)) {
            let policy = format!("{policy}\nseccomp.profile = \"unconfined\"");
            let sandbox = Sandbox::new(&policy).caller(caller);
            assert_eq!(sandbox.probe("raise-caps"), Outcome::Errno(Errno::PERM), "{caller}");
            // By exec as root: SECBIT_NOROOT stands against it.
            let probe = sandbox.probe_path();
            let caps = sandbox.probe(&format!("exec {probe} caps")).value();
            assert!(caps.starts_with("0 0 0 "), "{caller}, {policy}: {caps}");
        }
        if caller.is_root() {
            assert!(Sandbox::outside().probe("raise-caps").is_ok());
        }
    }
}

#[test]
fn a_set_user_id_program_gives_nothing() {
    harness::needs_landlock!(6);
    let dir = TempDir::new();
    if !rustix::process::geteuid().is_root() {
        harness::skip!("set_user_id", "only root makes such a program");
    }
    let program = dir.join("suid");
    let sandbox = Sandbox::outside();
    let probe = sandbox.binaries().probe();
    let made = std::process::Command::new("install")
        .args(["-m", "4755"])
        .args([&probe, &program])
        .status();
    assert!(made.is_ok_and(|status| status.success()));
    let program = program.display();
    let control = Sandbox::outside().as_nobody().probe(&format!("exec {program} ids")).value();
    assert_eq!(control, "65534 0 65534 65534", "a host that mounts its /tmp nosuid");
    let policy = format!("filesystem.execute = [{dir:?}]");
    let flags = Sandbox::new(&policy).as_nobody().probe(&format!("mount-flags {dir}"));
    assert_eq!(flags, Outcome::Ok("ro,nosuid,nodev".into()));
    let in_place = format!("filesystem.execute = [{dir:?}]{IN_PLACE}");
    for policy in [policy, in_place] {
        let ids = Sandbox::new(&policy).as_nobody().probe(&format!("exec {program} ids"));
        assert_eq!(ids, Outcome::Ok("65534 65534 65534 65534".into()), "{policy}");
    }
}

#[test]
fn ids_cannot_be_changed_inside() {
    for caller in Caller::both() {
        let sandbox = Sandbox::new("").caller(caller);
        // Only one id is mapped, so another is no id at all.
        assert_eq!(sandbox.probe("setuid 12345"), Outcome::Errno(Errno::INVAL), "{caller}");
        if caller.is_root() {
            let sandbox = Sandbox::new(NO_USER_NAMESPACE).caller(caller);
            assert_eq!(sandbox.probe("setuid 12345"), Outcome::Errno(Errno::PERM));
            assert!(Sandbox::outside().probe("setuid 12345").is_ok());
        }
    }
}

#[test]
fn ids_are_taken_without_a_user_namespace_by_root_alone() {
    let policy = "process = { uid = 12345, gid = 12346 }\nnamespaces.user = false";
    for caller in Caller::both() {
        let sandbox = Sandbox::new(policy).caller(caller);
        if caller.is_root() {
            let outcomes = sandbox.probes(&["ids", "groups"]);
            let ids = Outcome::Ok("12345 12345 12346 12346".into());
            assert_eq!(outcomes, [ids, Outcome::Ok(String::new())]);
        } else {
            let output = sandbox.run(["true"]);
            assert_eq!((output.code(), output.event_names()), (125, vec!["failure"]), "{caller}");
        }
    }
}

#[test]
fn a_read_only_bind_is_not_made_writable_again() {
    for caller in Caller::both() {
        for policy in POLICIES.into_iter().filter(|policy| works(policy, caller)) {
            if policy == IN_PLACE {
                continue;
            }
            let dir = TempDir::with_file("note", "kept");
            let policy =
                format!("{policy}\nseccomp.profile = \"unconfined\"\nfilesystem.read = [{dir:?}]");
            let outcomes = Sandbox::new(&policy).caller(caller).probes(&[
                &format!("remount-writable {dir}"),
                &format!("setattr-writable {dir}"),
                &format!("umount {dir}"),
                &format!("mount {dir}"),
                &format!("bind-over {dir} {dir}"),
                &format!("pivot-root {dir}"),
                &format!("chroot {dir}"),
                &format!("mknod {dir}/null"),
                &format!("open-for-write {dir}/note"),
            ]);
            let last = outcomes.len() - 1;
            for (place, outcome) in outcomes.into_iter().enumerate() {
                match outcome {
                    Outcome::Errno(Errno::PERM) if place < last => {}
                    Outcome::Errno(Errno::ROFS | Errno::ACCESS) if place + 1 >= last => {}
                    other => panic!("{caller}, {policy}: {place}: {other:?}"),
                }
            }
            assert_eq!(dir.read("note"), "kept");
        }
    }
}

#[test]
fn files_that_only_root_may_change_stay_closed_to_root() {
    if !rustix::process::geteuid().is_root() {
        harness::skip!("files_of_root", "the tests do not run as root");
    }
    // CAP_DAC_OVERRIDE is gone, too: a file of mode 0 is closed to its owner.
    let dir = TempDir::with_file("secret", "x");
    let path = dir.join("secret");
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    std::fs::set_permissions(&path, permissions).expect("the mode is set");
    let read = format!("open-for-read {dir}/secret");
    assert!(Sandbox::outside().probe(&read).is_ok());
    let policy = format!("filesystem.read = [{dir:?}]");
    assert_eq!(Sandbox::new(&policy).probe(&read), Outcome::Errno(Errno::ACCESS));
}
