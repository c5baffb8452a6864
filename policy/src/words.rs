//! Words that belong to the variants of an enum.

/// Defines an enum without fields whose every variant has a text, and
/// `name`, which returns it.
///
/// The texts stand in one string, because a table of pointers to them would
/// be longer than they are.
macro_rules! words {
    ($(#[$attribute:meta])* pub enum $name:ident { $($variant:ident $text:literal)* }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
        }

        impl $name {
            /// The variant of this number.
            pub(crate) fn numbered(number: u8) -> Option<Self> {
                [$(Self::$variant),*].get(usize::from(number)).copied()
            }

            /// Its text.
            pub fn name(self) -> &'static str {
                $crate::words::line(concat!($($text, "\n"),*), self as u8)
            }
        }
    };
}

pub(crate) use words;

/// The line of this number, counted from 0; empty behind the last one.
#[inline(never)]
pub fn line(text: &'static str, number: u8) -> &'static str {
    text.split('\n').nth(number.into()).unwrap_or_default()
}
