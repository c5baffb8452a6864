//! Text that is put together in memory of a fixed size.

use core::ffi::CStr;

use heapless::{Vec, VecView};

/// At most `N` bytes of text. What does not fit is cut off at the end, and
/// nothing fits behind what was cut.
#[derive(Default)]
pub struct Text<const N: usize> {
    bytes: Vec<u8, N>,
}

impl<const N: usize> Text<N> {
    /// No text, all zeroes.
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Adds bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        append(&mut self.bytes, bytes);
        self
    }

    /// Adds words.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// Adds a number in decimal.
    pub fn number(&mut self, number: u64) -> &mut Self {
        digits(&mut self.bytes, number, 10);
        self
    }

    /// Adds a number in decimal that may be negative.
    pub fn signed(&mut self, number: i64) -> &mut Self {
        if number < 0 {
            self.text("-");
        }
        self.number(number.unsigned_abs())
    }

    /// Adds a number in octal.
    pub fn octal(&mut self, number: u16) -> &mut Self {
        digits(&mut self.bytes, number.into(), 8);
        self
    }

    /// The same text, whatever its size.
    pub fn view(&mut self) -> &mut VecView<u8> {
        &mut self.bytes
    }

    /// What there is.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether all of it did not fit, or just did.
    pub fn is_full(&self) -> bool {
        self.bytes.is_full()
    }

    /// What there is with a NUL behind it; `None` where something was cut off.
    pub fn c_str(&mut self) -> Option<&CStr> {
        self.bytes.push(0).ok()?;
        CStr::from_bytes_until_nul(&self.bytes).ok()
    }
}

// Once for texts of every size:

/// Adds as much as there is room for.
#[inline(never)]
pub fn append(text: &mut VecView<u8>, bytes: &[u8]) {
    let room = text.capacity() - text.len();
    // What is full stays full.
    let _ = text.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
}

/// Adds a number.
pub fn digits(text: &mut VecView<u8>, number: u64, base: u64) {
    if number >= base {
        digits(text, number / base, base);
    }
    append(text, &[b'0' + (number % base) as u8]);
}
