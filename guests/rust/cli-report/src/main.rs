//! A command that reports what it was given, then ends with the exit code it was told.
//!
//! ```text
//! cli-report [--file PATH]... [--stderr TEXT] [--sleep MILLISECONDS] [--allocate MIB] [--exit CODE] [ANYTHING]...
//! ```
//!
//! It prints its arguments, its environment (sorted) and the contents of every `PATH` (a directory is listed
//! and its files printed); `REPORT_FILE` in the environment counts as one more `--file`.
//! `--allocate` takes that much memory and fills it, to meet a limit.
//! A file that cannot be read ends it with exit code 2, after the rest was printed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs, io, thread};

/// What the arguments asked for.
#[derive(Default)]
struct Job {
    files: Vec<PathBuf>,
    stderr: Option<String>,
    sleep: Duration,
    allocate_mib: usize,
    exit: u8,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    let job = match parse(&arguments) {
        Ok(job) => job,
        Err(message) => {
            eprintln!("cli-report: {message}");
            return ExitCode::from(64);
        }
    };
    println!("cli-report: {} argument(s)", arguments.len().saturating_sub(1));
    for (index, argument) in arguments.iter().enumerate() {
        println!("arg {index}: {argument}");
    }
    let mut variables: Vec<(String, String)> = env::vars().collect();
    variables.sort();
    for (name, value) in variables {
        println!("env {name}={value}");
    }
    let mut unreadable = false;
    for path in &job.files {
        if let Err(error) = print(path) {
            eprintln!("cli-report: {}: {error}", path.display());
            unreadable = true;
        }
    }
    if let Some(text) = &job.stderr {
        eprintln!("{text}");
    }
    let mut memory: Vec<Vec<u8>> = Vec::new();
    for _ in 0..job.allocate_mib {
        memory.push(vec![1; 1 << 20]);
    }
    if !memory.is_empty() {
        println!("cli-report: filled {} MiB", std::hint::black_box(&memory).len());
    }
    if !job.sleep.is_zero() {
        thread::sleep(job.sleep);
    }
    if unreadable { ExitCode::from(2) } else { ExitCode::from(job.exit) }
}

fn parse(arguments: &[String]) -> Result<Job, String> {
    let mut job = Job::default();
    job.files.extend(env::var_os("REPORT_FILE").map(PathBuf::from));
    let mut rest = arguments.iter().skip(1);
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{argument} wants a value"));
        match argument.as_str() {
            "--file" => job.files.push(PathBuf::from(value()?)),
            "--stderr" => job.stderr = Some(value()?.clone()),
            "--sleep" => job.sleep = Duration::from_millis(number(argument, value()?)?),
            "--allocate" => job.allocate_mib = number(argument, value()?)?,
            "--exit" => job.exit = number(argument, value()?)?,
            _ => {}
        }
    }
    Ok(job)
}

fn number<N: std::str::FromStr>(flag: &str, text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("{flag}: {text:?} is not a number in range"))
}

/// Prints a file's lines, each after its path; a directory's files in order, without hidden ones
/// (a ConfigMap mount keeps its versions in those).
fn print(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with('.') {
                entries.push(entry.path());
            }
        }
        entries.sort();
        return entries.iter().try_for_each(|entry| print(entry));
    }
    for line in fs::read_to_string(path)?.lines() {
        println!("file {}: {line}", path.display());
    }
    Ok(())
}
