//! Compiles every C file of a directory, several at once: `parallel DIRECTORY`.
//!
//! The compilers are commands of [`std::process`] that a build tool has
//! already; they see the system's programs and this directory.
#![allow(missing_docs, reason = "an example")]

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use launcher_spawn::{CommandExt, Error, Sandbox};

fn main() -> ExitCode {
    let directory = std::env::args_os().nth(1).unwrap_or_else(|| ".".into());
    match compile_all(Path::new(&directory)) {
        Ok((files, 0)) => {
            println!("compiled {files} files");
            ExitCode::SUCCESS
        }
        Ok((files, failed)) => {
            println!("{failed} of {files} files do not compile");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("parallel: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How many files there are, and how many do not compile.
fn compile_all(directory: &Path) -> Result<(usize, usize), Error> {
    let directory = fs::canonicalize(directory)?;
    let entries = fs::read_dir(&directory)?.map(|entry| entry.map(|entry| entry.path()));
    let mut files = entries.collect::<io::Result<Vec<PathBuf>>>()?;
    files.retain(|path| path.extension() == Some(OsStr::new("c")));
    let policy = format!("filesystem = {{ root = 'minimal', write = [{directory:?}] }}");
    let sandbox = Sandbox::from_toml(&policy)?.prepare()?;
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || -> Result<(), Error> {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            if !compile(&sandbox, file)? {
                failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let count = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
    })?;
    Ok((files.len(), failed.into_inner()))
}

fn compile(sandbox: &Sandbox, file: &Path) -> Result<bool, Error> {
    let mut command = Command::new("gcc");
    command.arg("-c").arg(file).arg("-o").arg(file.with_extension("o"));
    // When all is said: arguments that come later are not seen.
    let launches = command.sandboxed(sandbox)?;
    let status = command.status().map_err(|error| launches.explain(error))?;
    Ok(status.success())
}
