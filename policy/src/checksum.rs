//! CRC-32 (ISO-HDLC), four bits at a time.
//!
//! A table of sixteen words: the customary 256 would be a kilobyte of the
//! launcher.

/// The generator, its bits reversed.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// What four bits come to.
const TABLE: [u32; 16] = {
    let mut table = [0; 16];
    let mut place = 0;
    while place < table.len() {
        let mut word = place as u32;
        let mut bit = 0;
        while bit < 4 {
            word = if word & 1 == 1 { word >> 1 ^ POLYNOMIAL } else { word >> 1 };
            bit += 1;
        }
        table[place] = word;
        place += 1;
    }
    table
};

/// The checksum of these bytes, one part after the other.
pub(crate) fn checksum(parts: [&[u8]; 2]) -> u32 {
    let step = |sum: u32| sum >> 4 ^ TABLE[sum as usize % TABLE.len()];
    let mut sum = u32::MAX;
    for part in parts {
        for &byte in part {
            sum = step(step(sum ^ u32::from(byte)));
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_checksum_that_others_know_by_this_name() {
        let known = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
        let bytes: [u8; 512] = core::array::from_fn(|place| (place * 7) as u8);
        for length in 0..bytes.len() {
            let (part, _) = bytes.split_at(length);
            let (one, other) = part.split_at(length / 3);
            assert_eq!(checksum([one, other]), known.checksum(part), "{length}");
        }
    }
}
