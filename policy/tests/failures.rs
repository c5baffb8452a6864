//! A failure keeps every part of it.

use launcher_policy::{Call, Failure, Refusal, Stage, Subject};

#[test]
fn a_system_calls_error_keeps_its_stage_call_and_number() {
    for stage in Stage::ALL {
        for &call in Call::ALL {
            for error in [1, 2, 133] {
                let failure = Failure::errno(stage, call, error);
                assert_eq!((failure.stage(), failure.call()), (stage, call));
                assert_eq!(i32::from(failure.error()), error);
                assert_eq!((failure.reason(), failure.subject()), (None, Subject::None));
            }
        }
    }
}

#[test]
fn a_reason_and_a_subject_leave_the_rest_as_it_is() {
    for &why in Refusal::ALL {
        for &subject in Subject::ALL {
            let failure = Failure::errno(Stage::Exec, Call::Write, 133).because(why).about(subject);
            assert_eq!((failure.stage(), failure.call()), (Stage::Exec, Call::Write));
            assert_eq!(failure.error(), 133);
            assert_eq!((failure.reason(), failure.subject()), (Some(why), subject));
        }
    }
}
