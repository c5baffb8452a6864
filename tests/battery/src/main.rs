//! `battery arena` makes a place for attacks, `battery attack` makes them. The
//! library says more.

use std::io::{self, Write};
use std::process::ExitCode;

use battery::arena::{self, Contender};
use battery::world::World;
use battery::{attack, checks};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[1..] {
        ["arena", uid, dist, contender] => make_arena(uid, dist, contender),
        ["attack", ref names @ ..] => make_attacks(names).map(|()| 0),
        ["identity"] => Ok(battery::identity()),
        _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    };
    let status = done.unwrap_or_else(|error| {
        eprintln!("battery: {error}");
        125
    });
    ExitCode::from(u8::try_from(status).unwrap_or(125))
}

fn make_arena(uid: &str, dist: &str, contender: &str) -> io::Result<i32> {
    let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
    let uid = uid.parse().map_err(|_| invalid())?;
    arena::run(uid, dist, Contender::named(contender).ok_or_else(invalid)?)
}

/// Makes the checks of these names, or all.
fn make_attacks(names: &[&str]) -> io::Result<()> {
    let world = World::new()?;
    let mut output = io::stdout();
    for check in checks().filter(|check| names.is_empty() || names.contains(&check.name)) {
        let outcome = attack(check, &world)?;
        writeln!(output, "{} {outcome}", check.name)?;
    }
    Ok(())
}
