//! A filter as the kernel takes it: an array of `struct sock_filter`.

use launcher_policy::seccomp::{
    FilterError, INSTRUCTION_SIZE, Instruction, MAX_INSTRUCTIONS, validate,
};

/// Reads a filter, as `seccomp_export_bpf` of libseccomp writes it and
/// bubblewrap takes it.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Instruction>, String> {
    validate(bytes).map_err(reason)?;
    let (instructions, _) = bytes.as_chunks::<INSTRUCTION_SIZE>();
    Ok(instructions.iter().copied().map(Instruction::from_bytes).collect())
}

fn reason(error: FilterError) -> String {
    match error {
        FilterError::Size => format!(
            "a filter has 1 to {MAX_INSTRUCTIONS} instructions of {INSTRUCTION_SIZE} bytes each, \
             and JSON begins with a brace"
        ),
        FilterError::Operation(at) => {
            format!("instruction {at} is none that a filter may have, or uses scratch memory")
        }
        FilterError::Jump(at) => format!("instruction {at} jumps behind the last one"),
        FilterError::Load(at) => {
            format!("instruction {at} loads from outside of struct seccomp_data")
        }
        FilterError::Operand(at) => {
            format!("instruction {at} divides by zero or shifts too far")
        }
        FilterError::NoReturn => "its last instruction does not return".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_the_kernel_takes_is_read_as_it_is() {
        let bytes = [0x20, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0xff, 0x7f];
        let instructions = parse(&bytes).expect("a valid filter");
        let again: Vec<u8> = instructions.iter().flat_map(|each| each.to_bytes()).collect();
        assert_eq!(again, bytes);
    }

    #[test]
    fn what_the_kernel_would_refuse_is_named() {
        for (bytes, part) in [
            (&b"no filter"[..], "instructions of 8 bytes"),
            (&[0xff, 0xff, 0, 0, 0, 0, 0, 0], "instruction 0 is none"),
            (&[0x20, 0, 0, 0, 0, 0, 0, 0], "does not return"),
            (&[5, 0, 0, 0, 9, 0, 0, 0], "instruction 0 jumps"),
            (&[0x20, 0, 0, 0, 64, 0, 0, 0], "instruction 0 loads"),
            (&[0x34, 0, 0, 0, 0, 0, 0, 0], "divides"),
        ] {
            let reason = parse(bytes).expect_err("no filter");
            assert!(reason.contains(part), "{reason}");
        }
    }
}
