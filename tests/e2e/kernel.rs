//! What is said on a kernel that is too old for any launch, or for some.

use harness::{Caller, IN_PLACE, Outcome, Output, Sandbox, needs_strace, skip};

use crate::faults::inject;

/// That nothing ran, and why.
#[track_caller]
fn assert_too_old(output: &Output, call: &str, hint: &str) {
    assert_eq!((output.code(), output.stdout_text()), (125, String::new()), "{output:?}");
    let failure = output.failure();
    assert_eq!((&failure["call"], &failure["hint"]), (&call.into(), &hint.into()), "{output:?}");
    assert!(output.stderr_text().ends_with(&format!("; {hint}\n")), "{output:?}");
}

#[test]
fn a_kernel_that_is_too_old_refuses_every_launch_and_says_so() {
    // CLOSE_RANGE_CLOEXEC, which no launch does without.
    if Sandbox::outside().probe("syscall close_range 3 4294967295 4").is_ok() {
        skip!("old_kernel", "this kernel is new enough");
    }
    for caller in Caller::both() {
        for policy in ["", IN_PLACE, "filesystem.root = \"host\""] {
            let sandbox = Sandbox::new(policy).caller(caller);
            let output = sandbox.run([sandbox.probe_path(), "say ran".into()]);
            assert_too_old(&output, "close_range", "this needs Linux 5.11 or newer");
        }
        let control = Sandbox::outside().caller(caller).probe("say ran");
        assert_eq!(control, Outcome::Ok("ran".into()), "{caller}");
    }
}

#[test]
fn a_call_that_an_older_kernel_lacks_is_named_with_the_version_that_has_it() {
    harness::needs_namespaces!();
    needs_strace!();
    let older = [
        ("close_range", "EINVAL", "this needs Linux 5.11 or newer"),
        ("mount_setattr", "ENOSYS", "this needs Linux 5.12 or newer"),
    ];
    for caller in Caller::both() {
        for (call, error, hint) in older {
            let sandbox = Sandbox::new("filesystem.root = \"host\"").caller(caller);
            let sandbox = inject(sandbox, &format!("{call}:error={error}:when=1"));
            let output = sandbox.run([sandbox.probe_path(), "say ran".into()]);
            assert_too_old(&output, call, hint);
        }
        let sandbox = Sandbox::new("filesystem.root = \"host\"").caller(caller);
        assert_eq!(sandbox.probe("say ran"), Outcome::Ok("ran".into()), "{caller}");
    }
}
