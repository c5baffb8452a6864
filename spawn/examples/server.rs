//! Runs snippets of shell that somebody sends, on the loopback interface:
//! `server [PORT]`. Each runs in a sandbox of its own.
//!
//!     curl --data 'echo $((6 * 7))' http://127.0.0.1:8080/
#![allow(missing_docs, reason = "an example")]

use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::process::ExitCode;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use launcher_spawn::{Error, Sandbox, Stdio};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

/// What a snippet may do: read and run the system's programs, and write to a
/// temporary directory that goes with it. No network.
const POLICY: &str = r#"
filesystem = { root = "minimal", tmp_size = "16M" }
process = { cwd = "/tmp", terminal = "none" }
seccomp.profile = "strict"
limits = { wall_time = "5s", memory = "128M", processes = 32, rlimit.fsize = "16M" }
"#;

/// How much is read of what a snippet says.
const MOST_OUTPUT: u64 = 64 * 1024;

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Error> {
    let port = std::env::args().nth(1).map_or(Ok(8080), |port| port.parse());
    let port = port.map_err(io::Error::other)?;
    let sandbox = Sandbox::from_toml(POLICY)?.prepare()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        println!("http://{}/", listener.local_addr()?);
        let snippets = Router::new().route("/", post(answer)).with_state(sandbox);
        axum::serve(listener, snippets).await
    })?;
    Ok(())
}

/// Runs what was sent, and answers with what it says.
async fn answer(State(sandbox): State<Sandbox>, snippet: String) -> (StatusCode, String) {
    // Starting and waiting block.
    let ran = spawn_blocking(move || run(&sandbox, &snippet)).await.map_err(io::Error::other);
    match ran.map_err(Error::from).and_then(|ran| ran) {
        Ok(said) => (StatusCode::OK, said),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn run(sandbox: &Sandbox, snippet: &str) -> Result<String, Error> {
    // Both streams into one pipe, as a terminal would show them.
    let mut child = sandbox
        .command("sh")
        .args(["-c", "exec 2>&1; eval \"$1\"", "sh", snippet])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut said = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        // Who says more is ended by SIGPIPE, or when its time is over.
        stdout.take(MOST_OUTPUT).read_to_end(&mut said)?;
    }
    let status = child.wait()?;
    Ok(format!("{}{status}\n", String::from_utf8_lossy(&said)))
}
