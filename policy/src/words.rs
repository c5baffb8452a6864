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
    part(text, '\n', number)
}

/// The first word of a line.
pub fn first(line: &'static str) -> &'static str {
    part(line, ' ', 0)
}

// As a set of one character: to search for one alone is more code.
#[inline(never)]
fn part(text: &'static str, separator: char, number: u8) -> &'static str {
    text.split([separator]).nth(number.into()).unwrap_or_default()
}
