//! Words that belong to the variants of an enum.

/// Defines an enum without fields whose every variant has a text, and
/// `name`, which returns it.
///
/// The texts stand in one string, because a table of pointers to them would
/// be longer than they are.
#[macro_export]
macro_rules! words {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident { $($(#[$about:meta])* $variant:ident $text:literal)* }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$about])* #[doc = concat!("`", $text, "`")] $variant,)*
        }

        impl $name {
            /// Every variant, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its text.
            pub fn name(self) -> &'static str {
                $crate::words::line(concat!($($text, "\n"),*), self as u8)
            }
        }
    };
}

/// The line of this number, counted from 0; empty behind the last one.
pub fn line(text: &'static str, number: u8) -> &'static str {
    part(text, b'\n', number)
}

/// The first word of a line.
pub fn first(line: &'static str) -> &'static str {
    part(line, b' ', 0)
}

// By hand: what `str::split` does is three times the code.
#[inline(never)]
fn part(text: &'static str, separator: u8, mut number: u8) -> &'static str {
    let (mut start, mut end) = (0, 0);
    for &byte in text.as_bytes() {
        if byte == separator {
            if number == 0 {
                break;
            }
            number -= 1;
            start = end + 1;
        }
        end += 1;
    }
    text.get(start..end).unwrap_or_default()
}
