//! Calls that a function is told of, and does not decide about.

use std::sync::{Arc, Mutex};

use harness::{Caller, IN_PLACE, Sandbox};
use launcher_supervisor::{Category, Firmness, Supervisor, SyscallEvent, Verdict};

use super::supervised;

/// Asks about memory from 1 MiB on, where a register says that, and about who is started.
const ASKS: &str = r#"
    [[seccomp.rule]]
    call = ["mmap"]
    args = [{ index = 1, op = "greater-equal", value = 0x100000 }]
    action = "notify"

    [[seccomp.rule]]
    call = ["mremap"]
    args = [{ index = 2, op = "greater-equal", value = 0x100000 }]
    action = "notify"

    [[seccomp.rule]]
    call = ["brk", "clone", "clone3", "fork", "vfork", "execve"]
    action = "notify"
"#;

/// What a supervisor that denies everything but programs is told while probes run.
fn told(
    policy: &str,
    caller: Caller,
    probes: &[&str],
    supervisor: impl Fn(Supervisor) -> Supervisor,
) -> (String, Vec<SyscallEvent>) {
    let events = Arc::<Mutex<Vec<SyscallEvent>>>::default();
    let tells = Arc::clone(&events);
    let sandbox = Sandbox::new(&format!("{policy}{ASKS}")).caller(caller);
    let output = supervised(sandbox, probes, |listener| {
        let tells = move |event: &SyscallEvent, _: &mut _| {
            tells.lock().expect("nobody panics").push(event.clone());
            if event.is_exec() { Verdict::Allow } else { Verdict::Deny }
        };
        supervisor(Supervisor::new(listener).policy_fn(tells))
    });
    let events = events.lock().expect("nobody panics").clone();
    (output.stdout_text(), events)
}

#[test]
fn memory_and_processes_are_told_of_and_go_on_whatever_is_said() {
    for caller in Caller::both() {
        for place in ["", IN_PLACE] {
            let probes = ["allocate 8388608", "allocate 2097152", "fork", "threads 1"];
            let (said, events) = told(place, caller, &probes, |it| it.memory_above(4 << 20));
            assert_eq!(said, "ok \nok \nok 1\nok 1\n", "{caller}, {place}");
            let of =
                |is: fn(&SyscallEvent) -> bool| events.iter().filter(|event| is(event)).count();
            let sizes: Vec<Option<u64>> = events
                .iter()
                .filter(|event| event.category == Category::Memory)
                .map(|event| event.size)
                .collect();
            assert_eq!(sizes, [Some(8 << 20)], "{caller}, {place}");
            assert_eq!(of(SyscallEvent::is_fork), 1, "{events:?}");
            let is_thread =
                |event: &SyscallEvent| event.name.starts_with("clone") && !event.is_fork();
            assert_eq!(of(is_thread), 1, "{events:?}");
            assert!(
                events.iter().all(|event| event.is_exec() || event.firmness == Firmness::Observed),
                "{events:?}"
            );
        }
    }
}

#[test]
fn the_size_of_a_heap_is_all_of_it() {
    // The answer to the first says where it ends.
    let (said, events) = told("", Caller::Root, &["grow-heap 4096 1048576"], |it| it);
    assert_eq!(said, "ok \n", "{events:?}");
    let sizes: Vec<u64> =
        events.iter().filter(|event| event.name == "brk").filter_map(|event| event.size).collect();
    let [.., first, second] = sizes.as_slice() else { panic!("{events:?}") };
    assert_eq!(second - first, 1_048_576);
    assert!(*first >= 4096 && *first < 1 << 20, "{sizes:?}");
}

#[test]
fn a_program_has_its_environment_if_that_is_asked_for() {
    for caller in Caller::both() {
        let policy = "process.env.set = { SECRET = 'kept' }\n";
        let of = |asks| {
            let (_, events) = told(policy, caller, &["pid"], |it| it.environment(asks));
            events.into_iter().find(SyscallEvent::is_exec).expect("there is one")
        };
        let (with, without) = (of(true), of(false));
        assert!(with.environment_contains("SECRET=kept"), "{with:?}");
        assert!(without.environment.is_none() && !without.environment_contains("SECRET"));
    }
}
