//! `skiff store …`: what an operator does with the store.

use super::Access;
use super::history::Output;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Store {
    #[command(flatten)]
    pub access: Access,

    #[command(subcommand)]
    pub command: StoreCommand,
}

#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Write everything the store holds to a file, while the cluster runs or not. It holds Secrets: keep it safe
    Backup(Backup),
    /// Bring a backup back: into the running cluster, the stopped one, or a data directory that is new
    Restore(Restore),
    /// Verify the stopped cluster's store, byte by byte
    Check,
    /// Forget old history now. A running cluster uses the room again, a stopped one gives it back to the disk
    Compact(Compact),
    /// Show what the store holds and does
    Stats(Stats),
}

#[derive(Debug, Args)]
pub struct Backup {
    /// The file to write, or - for standard output
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Overwrite the file if it exists
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct Restore {
    /// The backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Only verify the backup and show what it is of
    #[arg(long)]
    pub dry_run: bool,

    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,

    /// In a new data directory: begin as another cluster beside the one that the backup was taken of
    #[arg(long)]
    pub new_identity: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Compact {
    /// Forget what was before: a revision (1234), a time ago (-5m), a time (2026-01-02T15:04:05Z) or now
    #[arg(long, value_name = "REVISION", allow_hyphen_values = true)]
    pub to: Option<String>,

    /// Keep this much history: a time (5m, 24h) or revisions (10000rev)
    #[arg(long, value_name = "POLICY")]
    pub keep: Option<String>,
}

#[derive(Debug, Args)]
pub struct Stats {
    /// How to print it
    #[arg(long, short, value_name = "FORMAT")]
    pub output: Option<Output>,
}
