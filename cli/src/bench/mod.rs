//! `skiff bench`: the figures in README.md, measured from outside on the machine at hand.

mod api;
mod pods;
mod process;
mod startup;
mod stats;
mod store;

use crate::args::{self, BenchCommand};
use anyhow::Result;
use std::process::ExitCode;

/// Runs the benchmark that was asked for.
pub async fn command(args: args::Bench) -> Result<ExitCode> {
    match args.command {
        BenchCommand::Api(args) => api::command(&args).await?,
        BenchCommand::Startup(args) => startup::command(&args).await?,
        BenchCommand::Store(args) => store::command(&args).await?,
    }
    Ok(ExitCode::SUCCESS)
}
