//! `skiff`: parse what is asked, wire the parts, run them. Everything that acts lives in a module or crate of its own.

mod access;
mod args;
mod bench;
mod cluster;
mod examples;
mod history;
mod http;
mod image;
mod kubeconfig;
mod manifests;
mod node;
mod paths;
mod ranges;
mod relay;
mod run;
mod server;
mod storage;
mod store;
mod table;
mod ui;
mod up;
mod version;
mod workloads;

use anyhow::{Context as _, Result};
use args::{Cli, Command};
use clap::Parser as _;
use std::process::ExitCode;
use std::time::Instant;

/// Small, short-lived pieces are most of what is allocated here, on all threads: the C library's allocator took a fifth of
/// the time of a write, and kept what large and short-lived things had used. Its second version: the third costs 24 MB idle.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let started = Instant::now();
    let cli = Cli::parse();
    if let Command::Compile { .. } = cli.command {
        // Reads its job from the command line itself.
        return agent::runtime::compile_child_main();
    }
    if let Err(error) = log_to_stderr(&cli.log) {
        return failed(&error);
    }
    agent::runtime::raise_file_limit();
    match dispatch(cli.command, started) {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

fn dispatch(command: Command, started: Instant) -> Result<ExitCode> {
    match command {
        Command::Up(args) => block_on(up::command(*args, started)),
        Command::Server(args) => block_on(server::command(*args, started)),
        Command::Node(args) => block_on(node::command(args, started)),
        Command::Run(args) => block_on(run::command(args)),
        Command::Image(args) => image::command(&args).map(|()| ExitCode::SUCCESS),
        Command::Kubeconfig(args) => kubeconfig::command(&args).map(|()| ExitCode::SUCCESS),
        Command::History(args) => block_on(history::command(args)),
        Command::Store(args) => block_on(store::command(args)),
        Command::Bench(args) => block_on(bench::command(args)),
        Command::Version => {
            ui::Ui::data(&version::report());
            Ok(ExitCode::SUCCESS)
        }
        // Handled before anything else is set up.
        Command::Compile { .. } => Ok(ExitCode::FAILURE),
    }
}

fn block_on(work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("skiff")
        .build()
        .context("cannot start the async runtime")?;
    let result = runtime.block_on(work);
    // Guests' blocking calls must not hold up the end.
    runtime.shutdown_background();
    result
}

fn log_to_stderr(filter: &str) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .with_context(|| format!("--log {filter:?} is no log filter; try error, warn, info or debug"))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}

fn failed(error: &anyhow::Error) -> ExitCode {
    use std::io::Write as _;
    // One line for each step that failed, the outermost first.
    let text: Vec<String> = error.chain().map(ToString::to_string).collect();
    let _ = writeln!(std::io::stderr(), "skiff: {}", text.join(": "));
    ExitCode::FAILURE
}
