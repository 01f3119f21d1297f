//! The command line: what can be asked of `skiff`. Only parsing; nothing here acts.

pub mod history;
pub mod store;

use apiserver::store::HistoryPolicy;
use clap::{Args, Parser, Subcommand};
use std::net::IpAddr;
use std::path::PathBuf;

/// Kubernetes for WebAssembly: API server, scheduler, controllers and a node agent in one binary, with
/// wasmtime in the place of containers. kubectl and other Kubernetes clients work against it as they are.
/// To begin: `skiff up`.
#[derive(Debug, Parser)]
#[command(name = "skiff", version = crate::version::LONG, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,

    /// What to log to stderr: off, error, warn, info, debug, trace, or a filter such as `info,agent=debug`
    #[arg(long, global = true, env = "SKIFF_LOG", default_value = "error,kube_client=off", value_name = "FILTER")]
    pub log: String,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a whole cluster in this process, run manifests on it, and stay until Ctrl-C
    Up(Box<Up>),
    /// Start the control plane only: API server, scheduler, controllers
    Server(Box<Server>),
    /// Start a node and join it to a cluster that runs already
    Node(Node),
    /// Run one Wasm module as a pod: stream its log, exit with its exit code, remove it
    Run(Run),
    /// Bring Wasm modules into a data directory's image store, without a registry
    Image(Image),
    /// Print a cluster's kubeconfig, or merge it into yours
    Kubeconfig(Kubeconfig),
    /// Look into the past: who changed what, an object's life; and bring back what was
    History(history::History),
    /// Back up, restore, check, compact and measure the store
    Store(store::Store),
    /// Measure this machine: start-up, pod start, idle cost
    Bench(Bench),
    /// Print the version of skiff, of the Kubernetes API it serves and of wasmtime
    Version,
    /// Compile one module under resource limits (the agent runs this as a child process)
    #[command(name = "__compile", hide = true)]
    Compile {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        job: Vec<std::ffi::OsString>,
    },
}

/// Where a cluster keeps what it must not forget.
#[derive(Clone, Debug, Args)]
pub struct Data {
    /// Directory for all that is kept: objects, certificates, images, pod logs, kubeconfig
    /// [default: the user's data folder, such as ~/.local/share/skiff]
    #[arg(long, value_name = "DIR", env = "SKIFF_DATA_DIR", global = true)]
    pub data_dir: Option<PathBuf>,
}

/// Which cluster is asked, running or not.
#[derive(Clone, Debug, Args)]
pub struct Access {
    #[command(flatten)]
    pub data: Data,

    /// Kubeconfig of the running cluster
    /// [default: the data directory's, if its cluster runs; if not, its file is opened]
    #[arg(long, value_name = "FILE", global = true)]
    pub kubeconfig: Option<PathBuf>,
}

/// What the API server listens on and the addresses it gives out; names as in kube-apiserver where they mean the same.
#[derive(Clone, Debug, Args)]
pub struct Serving {
    #[command(flatten)]
    pub data: Data,

    /// Forget everything at the end: objects stay in memory, files in a temporary folder
    #[arg(long)]
    pub ephemeral: bool,

    /// Where objects are kept: file:PATH, memory, or `etcd://HOST:PORT[,HOST:PORT...][/PREFIX]` (etcds:// over TLS), which
    /// several servers may share [default: a file in the data directory]
    #[arg(long, value_name = "URL", env = "SKIFF_STORE")]
    pub store: Option<String>,

    /// Certificate of who signs etcd's certificates
    #[arg(long, value_name = "FILE")]
    pub etcd_cafile: Option<PathBuf>,

    /// Certificate to show to etcd
    #[arg(long, value_name = "FILE")]
    pub etcd_certfile: Option<PathBuf>,

    /// Key of the certificate to show to etcd
    #[arg(long, value_name = "FILE")]
    pub etcd_keyfile: Option<PathBuf>,

    /// How much history to keep: a time (5m, 24h), revisions (10000rev), bytes (512MiB), or several with commas
    /// [default: 5m,10000rev,512MiB]
    #[arg(long, value_name = "POLICY")]
    pub history: Option<HistoryPolicy>,

    /// Port of the API server; 0 picks a free one
    #[arg(long, default_value_t = 6443, value_name = "PORT")]
    pub https_port: u16,

    /// Address that the API server listens on
    #[arg(long, default_value = "127.0.0.1", value_name = "IP")]
    pub bind_address: IpAddr,

    /// Address under which other servers and nodes reach this server [default: the address it listens on]
    #[arg(long, value_name = "IP")]
    pub advertise_address: Option<IpAddr>,

    /// Further name or address for the server's certificate; may be given several times
    #[arg(long, value_name = "NAME")]
    pub tls_san: Vec<String>,

    /// Addresses of Services. Any process of this machine reaches those within 127.0.0.0/8
    #[arg(long, default_value = "127.96.0.0/12", value_name = "CIDR")]
    pub service_cluster_ip_range: String,

    /// Addresses of pods; each node gets a part
    #[arg(long, default_value = "127.64.0.0/12", value_name = "CIDR")]
    pub cluster_cidr: String,

    /// Who decides about requests, in this order: Node, RBAC, AlwaysAllow, AlwaysDeny
    #[arg(long, default_value = "Node,RBAC", value_name = "MODES")]
    pub authorization_mode: String,

    /// Admission plugins to run beside the default ones, such as OwnerReferencesPermissionEnforcement
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAMES")]
    pub enable_admission_plugins: String,

    /// Admission plugins that run by default and are not to, such as PodSecurity
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAMES")]
    pub disable_admission_plugins: String,

    /// How many requests that read are answered at once; further ones are told to come back (0: no bound)
    #[arg(long, default_value_t = 2000, value_name = "N")]
    pub max_requests_inflight: usize,

    /// How many requests that write are answered at once (0: no bound)
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub max_mutating_requests_inflight: usize,

    /// CSV file of bearer tokens: token,user,uid,"group1,group2"
    #[arg(long, value_name = "FILE")]
    pub token_auth_file: Option<PathBuf>,

    /// Where to write the administrator's kubeconfig [default: `kubeconfig` in the data directory]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Also merge a context named `skiff` into your own kubeconfig ($KUBECONFIG or ~/.kube/config)
    #[arg(long)]
    pub write_default_kubeconfig: bool,

    /// Print nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct Up {
    #[command(flatten)]
    pub serving: Serving,

    /// Manifests to apply once the cluster is ready: a YAML or JSON file, a folder of them, or - for stdin;
    /// may be given several times
    #[arg(long = "filename", short = 'f', value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// How many nodes to run in this process
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub nodes: u16,

    /// Stop as soon as the manifests' workloads are ready (exit code 0) or have failed (1)
    #[arg(long)]
    pub exit: bool,

    /// How long to wait for the workloads, in seconds
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    pub timeout: u64,
}

#[derive(Debug, Args)]
pub struct Server {
    #[command(flatten)]
    pub serving: Serving,
}

#[derive(Debug, Args)]
pub struct Node {
    #[command(flatten)]
    pub data: Data,

    /// Kubeconfig of the cluster to join
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub kubeconfig: PathBuf,

    /// Another server of the same cluster (HOST:PORT), to go on with when the kubeconfig's does not answer; may be given
    /// several times. Those that the cluster itself lists are found without it
    #[arg(long = "server", value_name = "HOST:PORT")]
    pub servers: Vec<String>,

    /// Name of the node [default: this machine's name]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,

    /// The cluster's addresses of pods: what its server was started with
    #[arg(long, default_value = "127.64.0.0/12", value_name = "CIDR")]
    pub cluster_cidr: String,

    /// The cluster's addresses of Services: what its server was started with
    #[arg(long, default_value = "127.96.0.0/12", value_name = "CIDR")]
    pub service_cluster_ip_range: String,

    /// Label for the node; may be given several times
    #[arg(long = "node-label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,

    /// How many pods the node takes at once, at most
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub max_pods: u32,

    /// Let pods name modules by path, as `image: file:///path/to/module.wasm`
    #[arg(long)]
    pub allow_file_images: bool,

    /// Print nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct Run {
    /// The module or component: a .wasm file on the node's machine (`skiff up` allows this, `skiff node` with
    /// --allow-file-images), or the name of an image
    #[arg(value_name = "MODULE.wasm")]
    pub module: String,

    /// Arguments for the program
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,

    #[command(flatten)]
    pub data: Data,

    /// Kubeconfig of the cluster to run it on
    /// [default: the data directory's if that cluster is up, else $KUBECONFIG or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Environment variable for the program; may be given several times
    #[arg(long, short, value_name = "KEY=VALUE")]
    pub env: Vec<String>,

    /// Name of the pod [default: made from the module's file name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Namespace of the pod
    #[arg(long, short, default_value = "default", value_name = "NAMESPACE")]
    pub namespace: String,

    /// Most memory the program may use, such as 64Mi; beyond, it ends OOMKilled
    #[arg(long, value_name = "QUANTITY")]
    pub memory: Option<String>,

    /// Most processor time, in cores, such as 500m for half of one
    #[arg(long, value_name = "QUANTITY")]
    pub cpu: Option<String>,

    /// Most Wasm fuel, about one unit an instruction, for the program's whole life; beyond, it ends FuelExhausted
    #[arg(long, value_name = "UNITS")]
    pub fuel: Option<u64>,

    /// Leave the pod behind instead of removing it
    #[arg(long)]
    pub keep: bool,
}

#[derive(Debug, Args)]
pub struct Image {
    #[command(flatten)]
    pub data: Data,

    #[command(subcommand)]
    pub command: ImageCommand,
}

#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Make a local module available under an image name
    Import {
        /// The module or component
        file: PathBuf,
        /// The name that pods use in `image:`, such as example.com/team/app:v1
        name: String,
    },
    /// List the images in the store
    #[command(visible_alias = "ls")]
    List,
    /// Remove an image by name
    #[command(visible_alias = "rm")]
    Remove {
        /// The image, as `skiff image list` shows it
        name: String,
    },
}

#[derive(Debug, Args)]
pub struct Kubeconfig {
    #[command(flatten)]
    pub data: Data,

    /// Merge a context named `skiff` into your own kubeconfig instead of printing
    #[arg(long)]
    pub merge: bool,
}

#[derive(Debug, Args)]
pub struct Bench {
    #[command(subcommand)]
    pub command: BenchCommand,
}

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// The API server under load: each verb, a crowd of watchers, and their cost; beside another cluster's if one is named
    Api(BenchApi),
    /// From exec to ready, to the first pod Running and to the first HTTP answer; idle cost; pod start times
    Startup(BenchStartup),
    /// The store on this machine's disk: durable writes beside etcd's, lists, watches, memory, opening, compaction
    Store(BenchStore),
}

#[derive(Debug, Args)]
pub struct BenchApi {
    /// How many objects to create, read, write and delete
    #[arg(short = 'n', long, default_value_t = 5000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub objects: u32,

    /// Requests at a time
    #[arg(short, long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub concurrency: u32,

    /// How often to list all objects, one list at a time
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub lists: u32,

    /// How many watch while more objects are created
    #[arg(short, long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub watchers: u32,

    /// How many objects are created for them
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub events: u32,

    /// Keep the store in memory instead of on disk
    #[arg(long)]
    pub ephemeral: bool,

    /// The kubeconfig of a cluster to measure by turns with our own, in a namespace that is deleted at the end
    #[arg(long, value_name = "KUBECONFIG")]
    pub beside: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct BenchStartup {
    /// How many cold starts to measure
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub starts: u32,

    /// How many pods to start, at concurrency 1 and again at 16
    #[arg(long, default_value_t = 500, value_name = "N")]
    pub pods: u32,

    /// How long to watch the idle cluster
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    pub idle_seconds: u64,

    /// Keep the store in memory instead of on disk
    #[arg(long)]
    pub ephemeral: bool,
}

#[derive(Debug, Args)]
pub struct BenchStore {
    /// The etcd to compare with; left out when there is none
    #[arg(long, default_value = "etcd", value_name = "PATH")]
    pub etcd: PathBuf,

    /// Where to make the files, etcd's too: a folder on the disk to measure [default: the current folder]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// How many times each number of writers is measured, ours and etcd's by turns
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub turns: u32,

    /// How long each turn takes
    #[arg(long, default_value_t = 3, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: u64,
}
