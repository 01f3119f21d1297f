//! The compiler process: limits itself, looks at the module, compiles it, checks that it links,
//! and writes native code and report. Everything it reads besides the job is untrusted.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, nice, setrlimit};
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use super::{Job, Kind, Report, inspect};
use crate::{Flavor, engine, link};

/// Seconds of CPU time between the signal that tells and the one that kills.
const CPU_GRACE: u64 = 2;

/// The body of the hidden `__compile` subcommand: compiles the job named by the last argument
/// under limits that it sets on itself first. The outcome is in the report file; the exit code
/// only tells whether there is one.
pub fn compile_child_main() -> ExitCode {
    match std::env::args_os().next_back().map(|path| run(&path)) {
        Some(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// For a `#[test]` function of a test binary that is used as the compiler (see
/// [`CompilerCommand::libtest`](crate::CompilerCommand::libtest)): does the job and exits if the
/// last argument is a job, else returns at once.
pub fn compile_child_test() {
    let job = std::env::args_os().next_back().filter(|path| Path::new(path).ends_with("job"));
    if let Some(path) = job {
        std::process::exit(i32::from(run(&path).is_err()));
    }
}

fn run(path: &OsString) -> std::io::Result<()> {
    let job: Job = serde_json::from_slice(&std::fs::read(path)?)?;
    limit(&job)?;
    let report = match compile(&job) {
        Ok(kind) => Report::Compiled { kind },
        Err(report) => report,
    };
    std::fs::write(&job.report, serde_json::to_vec(&report)?)
}

fn limit(job: &Job) -> std::io::Result<()> {
    let hard = |value| Rlimit { current: Some(value), maximum: Some(value) };
    setrlimit(Resource::Core, hard(0))?;
    setrlimit(Resource::As, hard(job.memory_bytes))?;
    setrlimit(Resource::Cpu, Rlimit { current: Some(job.cpu_seconds), maximum: Some(job.cpu_seconds + CPU_GRACE) })?;
    // Guests that run already come first.
    let _ = nice(5);
    Ok(())
}

fn compile(job: &Job) -> Result<Kind, Report> {
    let wasm = read(job)?;
    let flavor = if job.fuel { Flavor::Fuel } else { Flavor::Plain };
    let failed = |error: wasmtime::Error| Report::Failed(format!("{error:#}"));
    let engine = Engine::new(&engine::base_config(flavor)).map_err(failed)?;
    let core = link::core(&engine).map_err(failed)?;
    let kind = inspect::inspect(&wasm, &inspect::core_imports(&engine, &core))?;
    let code = match kind {
        Kind::Command => {
            let module = Module::from_binary(&engine, &wasm).map_err(failed)?;
            core.instantiate_pre(&module).map_err(|error| unlinkable(&error))?;
            module.serialize()
        }
        Kind::CommandComponent | Kind::HttpComponent => {
            let component = Component::from_binary(&engine, &wasm).map_err(failed)?;
            let linker = link::component(&engine).map_err(failed)?;
            linker.instantiate_pre(&component).map_err(|error| unlinkable(&error))?;
            component.serialize()
        }
    };
    let code = code.map_err(failed)?;
    std::fs::write(&job.output, code)
        .map_err(|error| Report::Failed(format!("cannot write the native code: {error}")))?;
    Ok(kind)
}

/// The names are known but the types differ, or a function within an interface is missing.
fn unlinkable(error: &wasmtime::Error) -> Report {
    Report::UnknownImports(vec![format!("{error:#}")])
}

fn read(job: &Job) -> Result<Vec<u8>, Report> {
    let text = |error: std::io::Error| Report::Read(format!("{}: {error}", job.input.display()));
    let file = File::open(&job.input).map_err(text)?;
    let mut wasm = Vec::new();
    file.take(job.max_module_bytes + 1).read_to_end(&mut wasm).map_err(text)?;
    if wasm.len() as u64 > job.max_module_bytes {
        return Err(Report::TooLarge { size: wasm.len() as u64 });
    }
    Ok(wasm)
}
