//! `skiff history …`: what can be asked of the past.

use super::Access;
use clap::{Args, Subcommand, ValueEnum};

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A table with more columns
    Wide,
    Yaml,
    Json,
}

/// How an object is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Document {
    Yaml,
    Json,
}

#[derive(Debug, Args)]
pub struct History {
    #[command(flatten)]
    pub access: Access,

    #[command(subcommand)]
    pub command: HistoryCommand,
}

#[derive(Debug, Subcommand)]
pub enum HistoryCommand {
    /// Show which objects changed between two points in history, and who changed them
    Diff(Diff),
    /// Show every change of one object, the newest first
    Log(Log),
    /// Show one object as it was
    Get(Get),
    /// Bring back an object, a namespace or everything as it was: as new changes, which watches see as such
    Restore(Restore),
}

/// The object that is meant: `KIND NAME` or `KIND/NAME`.
#[derive(Debug, Args)]
pub struct Object {
    /// Kind as kubectl takes it: deployment, deploy, deployments.apps; or KIND/NAME
    #[arg(value_name = "KIND")]
    pub kind: String,

    /// Name of the object
    #[arg(value_name = "NAME")]
    pub name: Option<String>,

    /// Namespace of the object [default: default]
    #[arg(long, short, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
}

#[derive(Debug, Args)]
pub struct Diff {
    /// From when: a revision (1234), a time ago (-5m, -2h, -1d), a time (2026-01-02T15:04:05Z), now or oldest
    #[arg(value_name = "A", allow_hyphen_values = true)]
    pub from: String,

    /// Until when
    #[arg(value_name = "B", default_value = "now", allow_hyphen_values = true)]
    pub to: String,

    /// Only objects of these kinds; may be given several times
    #[arg(long = "kind", short = 'k', value_name = "KIND")]
    pub kinds: Vec<String>,

    /// Only objects in this namespace
    #[arg(long, short, value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    /// Show heartbeats (Leases), Events and the default roles, too
    #[arg(long, short)]
    pub all: bool,

    /// Show the differences as YAML
    #[arg(long, short)]
    pub patch: bool,

    /// How to print it
    #[arg(long, short, value_name = "FORMAT")]
    pub output: Option<Output>,
}

#[derive(Debug, Args)]
pub struct Log {
    #[command(flatten)]
    pub object: Object,

    /// How many changes to show, at most
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,

    /// Show the differences as YAML
    #[arg(long, short)]
    pub patch: bool,

    /// How to print it
    #[arg(long, short, value_name = "FORMAT")]
    pub output: Option<Output>,
}

#[derive(Debug, Args)]
pub struct Get {
    #[command(flatten)]
    pub object: Object,

    /// As it was when: a revision (1234), a time ago (-5m), a time (2026-01-02T15:04:05Z), now or oldest
    #[arg(long, alias = "at", value_name = "REVISION", allow_hyphen_values = true)]
    pub revision: String,

    /// How to print it
    #[arg(long, short, value_name = "FORMAT", default_value = "yaml")]
    pub output: Document,

    /// Show metadata.managedFields, too
    #[arg(long)]
    pub show_managed_fields: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "One of KIND NAME, --namespace or --all says what comes back.")]
pub struct Restore {
    /// Kind as kubectl takes it: deployment, deploy, deployments.apps; or KIND/NAME
    #[arg(value_name = "KIND")]
    pub kind: Option<String>,

    /// Name of the object
    #[arg(value_name = "NAME")]
    pub name: Option<String>,

    /// Namespace of the object; without an object, the namespace that comes back with all that is in it
    #[arg(long, short, value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    /// Bring back everything
    #[arg(long, conflicts_with_all = ["kind", "namespace"])]
    pub all: bool,

    /// As it was when: a revision (1234), a time ago (-5m), a time (2026-01-02T15:04:05Z) or oldest
    #[arg(long, value_name = "REVISION", allow_hyphen_values = true)]
    pub to: String,

    /// Only show what would be done
    #[arg(long)]
    pub dry_run: bool,

    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,

    /// How to print it
    #[arg(long, short, value_name = "FORMAT")]
    pub output: Option<Output>,
}
