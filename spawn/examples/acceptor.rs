//! A command whose network is this program: it accepts on the sockets of
//! `network.access = "proxy"`, and answers every request itself.
#![allow(missing_docs, reason = "an example")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;

use launcher_spawn::{Error, Sandbox, Stdio};

/// What the rules say is this program's to keep: it reaches nobody.
const POLICY: &str = r#"
filesystem.root = "minimal"
network = { access = "proxy", allow = ["*"] }
limits.wall_time = "10s"
"#;

/// A client of HTTP in a shell.
const SCRIPT: &str = r#"
exec 3<>/dev/tcp/127.0.0.1/3128
printf 'GET http://anywhere.example/page HTTP/1.0\r\n\r\n' >&3
cat <&3
"#;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("acceptor: {error}");
            ExitCode::from(125)
        }
    }
}

fn run() -> Result<(), Error> {
    let sandbox = Sandbox::from_toml(POLICY)?.prepare()?;
    let mut child = sandbox.command("bash").args(["-c", SCRIPT]).stdout(Stdio::piped()).spawn()?;
    // The first socket is for HTTP, the second for SOCKS, which is closed here.
    if let Some(http) = child.listeners().into_iter().next() {
        // It ends with this program, as the command does.
        std::thread::spawn(move || {
            for stream in TcpListener::from(http).incoming().map_while(Result::ok) {
                // One that has gone away needs no answer.
                let _ = answer(stream);
            }
        });
    }
    let output = child.wait_with_output()?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

/// Says what was asked for.
fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut line = String::new();
    BufReader::new((&mut stream).take(8192)).read_line(&mut line)?;
    let url = line.split(' ').nth(1).unwrap_or_default();
    write!(stream, "HTTP/1.0 200 OK\r\n\r\nyou asked for {url}\n")
}
