//! Compilation in a process of its own, which can be limited and killed: untrusted Wasm makes the
//! compiler take time and memory out of proportion to its size. This half starts the process and
//! reads its report; [`child`] is the other half.

pub(crate) mod child;
mod inspect;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::Semaphore;

use crate::error::seconds;
use crate::{CompileLimits, CompilerCommand, Flavor, LoadError, ModuleKind};

/// Of what the compiler process says on stderr, this much is kept.
const STDERR_LIMIT: u64 = 4 << 10;

/// What the compiler process is told, as a JSON file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub input: PathBuf,
    pub output: PathBuf,
    pub report: PathBuf,
    pub fuel: bool,
    pub max_module_bytes: u64,
    pub cpu_seconds: u64,
    pub memory_bytes: u64,
}

/// What the compiler process answers, as a JSON file. No report: it was stopped or crashed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    Compiled { kind: Kind },
    Read(String),
    TooLarge { size: u64 },
    NotWasm(String),
    NoEntryPoint(String),
    UnknownImports(Vec<String>),
    Failed(String),
}

/// [`ModuleKind`] as it is written to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Command,
    CommandComponent,
    HttpComponent,
}

impl From<Kind> for ModuleKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Command => Self::Command,
            Kind::CommandComponent => Self::CommandComponent,
            Kind::HttpComponent => Self::HttpComponent,
        }
    }
}

/// Starts compiler processes, a bounded number at once.
pub(crate) struct Compiler {
    command: CompilerCommand,
    limits: CompileLimits,
    slots: Arc<Semaphore>,
}

impl Compiler {
    pub(crate) fn new(command: CompilerCommand, limits: CompileLimits, parallel: usize) -> Self {
        let parallel = match parallel {
            0 => std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2).max(1),
            some => some,
        };
        Self { command, limits, slots: Arc::new(Semaphore::new(parallel)) }
    }

    /// Refuses by size alone, without reading the file.
    pub(crate) async fn check_size(&self, wasm: &Path) -> Result<(), LoadError> {
        let metadata = tokio::fs::metadata(wasm).await.map_err(|error| read_error(wasm, &error))?;
        if !metadata.is_file() {
            return Err(LoadError::Read(format!("{} is not a file", wasm.display())));
        }
        let (size, limit) = (metadata.len(), self.limits.max_module_bytes);
        if size > limit { Err(LoadError::TooLarge { size, limit }) } else { Ok(()) }
    }

    /// Compiles `wasm` into the file `output`, using `scratch` for the files in between.
    pub(crate) async fn compile(
        &self,
        wasm: &Path,
        output: &Path,
        scratch: &Path,
        flavor: Flavor,
    ) -> Result<ModuleKind, LoadError> {
        self.check_size(wasm).await?;
        let _slot = self.slots.acquire().await.expect("never closed");
        let job = Job {
            input: std::path::absolute(wasm).map_err(|error| read_error(wasm, &error))?,
            output: output.to_owned(),
            report: scratch.join("report"),
            fuel: flavor == Flavor::Fuel,
            max_module_bytes: self.limits.max_module_bytes,
            cpu_seconds: self.limits.cpu_time.as_secs_f64().ceil().max(1.0) as u64,
            memory_bytes: self.limits.memory_bytes,
        };
        let file = scratch.join("job");
        let text = serde_json::to_vec(&job).map_err(|error| LoadError::Cache(error.to_string()))?;
        tokio::fs::write(&file, text).await.map_err(|error| cache_error(&file, &error))?;
        let outcome = self.run(&file).await?;
        match tokio::fs::read(&job.report).await {
            Ok(report) => self.interpret(&report),
            Err(_) => Err(self.stopped(&outcome)),
        }
    }

    async fn run(&self, job: &Path) -> Result<Outcome, LoadError> {
        let mut child = Command::new(&self.command.program)
            .args(&self.command.args)
            .arg(job)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                let program = self.command.program.display();
                LoadError::CompileFailed(format!("cannot start the compiler {program}: {error}"))
            })?;
        let stderr = child.stderr.take();
        let ended = async {
            let mut text = Vec::new();
            if let Some(mut stderr) = stderr {
                let _ = (&mut stderr).take(STDERR_LIMIT).read_to_end(&mut text).await;
                let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
            }
            let status = child.wait().await;
            (status, String::from_utf8_lossy(&text).into_owned())
        };
        match tokio::time::timeout(self.limits.wall_time, ended).await {
            Err(_) => Ok(Outcome::OutOfTime),
            Ok((Ok(status), stderr)) => Ok(Outcome::Ended { status, stderr }),
            Ok((Err(error), _)) => Err(LoadError::CompileFailed(error.to_string())),
        }
    }

    fn interpret(&self, report: &[u8]) -> Result<ModuleKind, LoadError> {
        let limit = self.limits.max_module_bytes;
        match serde_json::from_slice(report) {
            Ok(Report::Compiled { kind }) => Ok(kind.into()),
            Ok(Report::Read(text)) => Err(LoadError::Read(text)),
            Ok(Report::TooLarge { size }) => Err(LoadError::TooLarge { size, limit }),
            Ok(Report::NotWasm(text)) => Err(LoadError::NotWasm(text)),
            Ok(Report::NoEntryPoint(text)) => Err(LoadError::NoEntryPoint(text)),
            Ok(Report::UnknownImports(names)) => Err(LoadError::UnknownImport { names }),
            Ok(Report::Failed(text)) if ran_out_of_memory(&text) => Err(self.memory_limit()),
            Ok(Report::Failed(text)) => Err(LoadError::CompileFailed(text)),
            Err(error) => Err(LoadError::CompileFailed(format!("no report: {error}"))),
        }
    }

    fn memory_limit(&self) -> LoadError {
        let limit = self.limits.memory_bytes >> 20;
        LoadError::CompileLimit(format!("it needed more than {limit} MiB of memory"))
    }

    /// Why there is no report.
    fn stopped(&self, outcome: &Outcome) -> LoadError {
        let (status, stderr) = match outcome {
            Outcome::OutOfTime => {
                let limit = seconds(self.limits.wall_time);
                return LoadError::CompileLimit(format!("it took longer than {limit}"));
            }
            Outcome::Ended { status, stderr } => (status, stderr.trim()),
        };
        const SIGXCPU: i32 = rustix::process::Signal::XCPU.as_raw();
        const SIGKILL: i32 = rustix::process::Signal::KILL.as_raw();
        match status.signal() {
            Some(SIGXCPU | SIGKILL) => {
                let limit = seconds(self.limits.cpu_time);
                LoadError::CompileLimit(format!("it needed more than {limit} of CPU time"))
            }
            _ if ran_out_of_memory(stderr) => self.memory_limit(),
            _ => LoadError::CompileFailed(format!("the compiler ended with {status}: {stderr}")),
        }
    }
}

/// How a process under `RLIMIT_AS` complains: the allocator, mmap, and the start of a thread.
fn ran_out_of_memory(text: &str) -> bool {
    const SIGNS: [&str; 5] = ["memory allocation of", "os error 12", "os error 11", "code: 12", "code: 11"];
    SIGNS.iter().any(|sign| text.contains(sign))
}

enum Outcome {
    OutOfTime,
    Ended { status: ExitStatus, stderr: String },
}

fn read_error(path: &Path, error: &std::io::Error) -> LoadError {
    LoadError::Read(format!("{}: {error}", path.display()))
}

fn cache_error(path: &Path, error: &std::io::Error) -> LoadError {
    LoadError::Cache(format!("{}: {error}", path.display()))
}
