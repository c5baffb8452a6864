//! A request to the spawn server, and the answer.
//!
//! A request is one message: a head of words, what each of the descriptors with
//! it is for, and the arguments and variables of the command, each with its
//! NUL. Numbers are in the machine's own order.

use core::ffi::CStr;

use launcher_policy::Refusal;
use launcher_policy::exec::MAX_ENVIRONMENT;
use rustix::fd::RawFd;

use crate::sys::{CStrings, StringArray};

/// The first word of a request.
pub const VERSION: u32 = 1;

/// The most bytes of a request.
pub const MAX_REQUEST: usize = 128 * 1024;

/// The most descriptors with it.
pub const MAX_FDS: usize = 64;

/// The most arguments, and the most variables.
pub const MAX_STRINGS: usize = MAX_ENVIRONMENT;

/// Room for the arguments or the variables of a request.
pub type Strings = StringArray<{ MAX_STRINGS + 1 }>;

/// The working directory. This and what follows is what a descriptor can be for
/// instead of a number that the command gets it under.
pub const DIRECTORY: i32 = -1;
/// As `--error-fd`.
pub const ERRORS: i32 = -2;
/// As `--status-fd`.
pub const STATUS: i32 = -3;
/// As `--netns-fd`.
pub const NETWORK: i32 = -4;
/// As `--cgroup-fd`.
pub const CGROUP: i32 = -5;

/// Bytes of a word.
const WORD: usize = 4;

/// What a request begins with.
#[derive(Clone, Copy)]
pub struct Head {
    /// What the answer is told by.
    pub number: u32,
    /// How many descriptors come with it.
    pub fds: u32,
    /// How many arguments the command has, the first of them included.
    pub arguments: u32,
    /// How many variables.
    pub variables: u32,
}

impl Head {
    /// Its bytes.
    pub fn bytes(&self) -> impl Iterator<Item = u8> {
        let Self { number, fds, arguments, variables } = *self;
        [VERSION, number, fds, arguments, variables].into_iter().flat_map(u32::to_ne_bytes)
    }
}

/// A request that was found to be whole.
pub struct Request {
    /// How it begins.
    pub head: Head,
    /// What each descriptor is for.
    purposes: [i32; MAX_FDS],
    /// Where the strings begin.
    strings: usize,
}

impl Request {
    /// The number of what may be no request, for the answer.
    pub fn number(bytes: &[u8]) -> u32 {
        let mut rest = bytes.get(WORD..).unwrap_or_default();
        word(&mut rest).unwrap_or(0)
    }

    /// Reads what came with so many descriptors.
    ///
    /// # Errors
    ///
    /// Where it is no request, or hands something over twice, or under a number
    /// that no command gets.
    pub fn read(bytes: &[u8], fds: usize, gives: impl Fn(RawFd) -> bool) -> Result<Self, Refusal> {
        let mut rest = bytes;
        let head = head(&mut rest).filter(|head| is_possible(head, fds));
        let head = head.ok_or(Refusal::Request)?;
        let mut purposes = [0; MAX_FDS];
        for place in 0..fds {
            let purpose = word(&mut rest).ok_or(Refusal::Request)? as i32;
            let (earlier, _) = purposes.split_at_checked(place).unwrap_or_default();
            let is_known = (CGROUP..=DIRECTORY).contains(&purpose) || gives(purpose);
            if !is_known || earlier.contains(&purpose) {
                return Err(Refusal::RequestFd);
            }
            if let Some(kept) = purposes.get_mut(place) {
                *kept = purpose;
            }
        }
        let ends = rest.iter().filter(|&&byte| byte == 0).count();
        if rest.last() != Some(&0) || ends != (head.arguments + head.variables) as usize {
            return Err(Refusal::Request);
        }
        Ok(Self { head, purposes, strings: bytes.len() - rest.len() })
    }

    /// What each descriptor is for.
    pub fn purposes(&self) -> &[i32] {
        self.purposes.get(..self.head.fds as usize).unwrap_or_default()
    }

    /// The arguments and the variables in the bytes that it was read from.
    pub fn strings<'m>(
        &self,
        bytes: &'m [u8],
        [arguments, variables]: &'m mut [Strings; 2],
    ) -> [CStrings<'m>; 2] {
        let mut rest = bytes.get(self.strings..).unwrap_or_default();
        let arguments = take(&mut rest, self.head.arguments, arguments);
        [arguments, take(&mut rest, self.head.variables, variables)]
    }
}

fn head(rest: &mut &[u8]) -> Option<Head> {
    let version = word(rest)?;
    let head = Head {
        number: word(rest)?,
        fds: word(rest)?,
        arguments: word(rest)?,
        variables: word(rest)?,
    };
    (version == VERSION).then_some(head)
}

fn is_possible(head: &Head, fds: usize) -> bool {
    let most = MAX_STRINGS as u32;
    head.fds as usize == fds && (1..=most).contains(&head.arguments) && head.variables <= most
}

fn word(rest: &mut &[u8]) -> Option<u32> {
    let (first, behind) = rest.split_first_chunk::<WORD>()?;
    *rest = behind;
    Some(u32::from_ne_bytes(*first))
}

/// The next strings; `read` has counted them.
fn take<'m>(rest: &mut &'m [u8], count: u32, memory: &'m mut Strings) -> CStrings<'m> {
    let mut strings = memory.builder();
    for _ in 0..count {
        let Ok(string) = CStr::from_bytes_until_nul(rest) else { break };
        *rest = rest.get(string.count_bytes() + 1..).unwrap_or_default();
        if !strings.push(string) {
            break;
        }
    }
    strings.finish()
}

/// What the server says, in words; where there is no failure, with a pidfd.
#[derive(Clone, Copy)]
pub struct Answer {
    /// That of the request, or 0.
    pub number: u32,
    /// The process that was started, a child of the server's parent; 0 where
    /// there is none.
    pub pid: u32,
    /// [`launcher_policy::Failure::number`], or 0.
    pub failure: u32,
}

impl Answer {
    /// Its length.
    pub const LENGTH: usize = size_of::<u128>();

    /// Its bytes: a word is left.
    pub fn bytes(&self) -> [u8; Self::LENGTH] {
        let Self { number, pid, failure } = *self;
        (u128::from(number) | u128::from(pid) << 32 | u128::from(failure) << 64).to_ne_bytes()
    }

    /// What its bytes say.
    pub fn read(bytes: [u8; Self::LENGTH]) -> Self {
        let words = u128::from_ne_bytes(bytes);
        Self { number: words as u32, pid: (words >> 32) as u32, failure: (words >> 64) as u32 }
    }
}
