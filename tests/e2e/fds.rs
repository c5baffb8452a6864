//! Descriptors: only what the policy names reaches the command.

use harness::{Caller, Outcome, Sandbox};

#[test]
fn no_descriptor_above_two_reaches_the_command() {
    for caller in Caller::both() {
        let file = std::fs::File::open("/dev/null").expect("it opens");
        let fds = |sandbox: Sandbox| {
            let file = file.try_clone().expect("dup");
            sandbox.caller(caller).pass(file, 7).probe("fds")
        };
        assert_eq!(fds(Sandbox::new("")), Outcome::Ok("0 1 2".into()), "{caller}");
        assert_eq!(fds(Sandbox::outside()), Outcome::Ok("0 1 2 7 199".into()), "{caller}");
    }
}
