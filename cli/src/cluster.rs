//! The composition root: every part of a cluster, built in the order of its dependencies and wired together.

mod authority;
mod election;
mod service_ranges;
mod stop;

use crate::args::Serving;
use crate::ranges::Range;
use crate::storage::Place;
use crate::{examples, kubeconfig, node, paths};
use agent::images::{self, FileImages, ImageStore};
use agent::network::{self, Claim, ClaimError, Network};
use agent::runtime::{self, Runtime};
use agent::{Agent, ServiceSync};
use anyhow::{Context as _, Error, Result, anyhow};
use apiserver::pki::PkiSource;
use apiserver::store::Store;
use apiserver::{AdmissionPlugins, ApiServer, AuthorizationMode, Sharing, StaticTokens, User};
use kube::Client;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// Prefix of the part of the default ranges that a cluster in memory takes, so that several fit on one machine.
const EPHEMERAL_PREFIX: u8 = 16;

/// Which nodes run in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nodes {
    None,
    Local(u16),
}

/// A running cluster.
pub struct Cluster {
    server: ApiServer,
    store: Store,
    client: Client,
    kubeconfig: PathBuf,
    node_names: Vec<String>,
    token: CancellationToken,
    tasks: JoinSet<()>,
    // Held for as long as the cluster runs.
    _claims: Vec<Claim>,
    sharing: Sharing,
    _scratch: Option<TempDir>,
}

/// The address ranges of a cluster, exclusively ours on this host.
struct Ranges {
    pods: Range,
    services: Range,
    usage: Use,
    claims: Vec<Claim>,
}

impl Ranges {
    /// Both, where others of this host are kept from them.
    fn claimed(&self) -> Result<Option<service_ranges::Own>> {
        if self.usage == Use::Common {
            return Ok(None);
        }
        let pods = self.pods.to_string().parse().context("--cluster-cidr")?;
        let services = self.services.to_string().parse().context("--service-cluster-ip-range")?;
        Ok(Some(service_ranges::Own { pods, services }))
    }
}

/// Whether a cluster must find everything again at its next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    Nothing,
    Everything,
}

/// Whether this process gives out addresses of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// For nodes of its own, or nodes on this host that nobody else looks after.
    Claimed,
    /// The cluster's other servers do so, too: nobody has the ranges for itself.
    Common,
}

impl Use {
    fn of(nodes: Nodes, sharing: Sharing) -> Self {
        if nodes == Nodes::None && sharing == Sharing::Shared { Self::Common } else { Self::Claimed }
    }
}

/// What the nodes of this process share to run guests.
struct Guests {
    images: ImageStore,
    runtime: Arc<Runtime>,
}

impl Guests {
    /// Opens both, with the examples in the image store. Blocks on the disk, so it has a thread of its own.
    fn prepare(dir: &Path) -> JoinHandle<Result<Self>> {
        let dir = dir.to_path_buf();
        tokio::task::spawn_blocking(move || {
            let images = open_images(&dir, FileImages::Allow)?;
            examples::import(&images)?;
            Ok(Self { images, runtime: open_runtime(&dir)? })
        })
    }
}

impl Cluster {
    /// Starts everything. When it fails, nothing is left running.
    pub async fn start(args: &Serving, nodes: Nodes) -> Result<Self> {
        let place = Place::of(args)?;
        let sharing = place.sharing();
        let scratch = if place.is_memory() { Some(tempfile::tempdir().context("no temporary folder")?) } else { None };
        let dir = match &scratch {
            Some(scratch) => scratch.path().to_path_buf(),
            None => paths::data_dir(&args.data)?,
        };
        paths::create_private(&dir).with_context(|| format!("cannot create the data directory {}", dir.display()))?;
        let keep = if place.is_memory() { Keep::Nothing } else { Keep::Everything };
        let mut ranges = claim_ranges(args, keep, Use::of(nodes, sharing))?;
        let store = place.open(args, &dir).await?;
        // A good part of it can be done while the API server waits for the disk.
        let count = if let Nodes::Local(count) = nodes { count } else { 0 };
        let guests = (count > 0).then(|| Guests::prepare(&dir));
        let server = start_server(args, (&dir, keep), (&store, sharing), &ranges).await?;

        let kubeconfig = args.kubeconfig.clone().unwrap_or_else(|| dir.join(paths::KUBECONFIG));
        let text = server.kubeconfig(&server.url());
        kubeconfig::write(&kubeconfig, &text)?;
        if args.write_default_kubeconfig {
            kubeconfig::merge_into_users(&text)?;
        }

        let client = local_client(&server, "skiff-up", &["system:masters"]);
        let mut cluster = Self {
            server,
            store,
            client,
            kubeconfig,
            node_names: Vec::new(),
            token: CancellationToken::new(),
            tasks: JoinSet::new(),
            _claims: std::mem::take(&mut ranges.claims),
            sharing,
            _scratch: scratch,
        };
        let node_prefix = match sharing {
            Sharing::Alone => ranges.pods.node_prefix(count.max(1))?,
            Sharing::Shared => ranges.pods.common_node_prefix()?,
        };
        if let Some(guests) = guests {
            let guests = guests.await.context("preparing the nodes was cut short")??;
            cluster.start_nodes(&dir, guests, count, (ranges.pods, node_prefix), ranges.services)?;
        }
        cluster.start_control_loops(ranges.pods, node_prefix);
        if let Some(own) = ranges.claimed()? {
            let (client, end) = (cluster.client.clone(), cluster.token.clone());
            let follow = async move { _ = end.run_until_cancelled(service_ranges::follow(client, own)).await };
            cluster.spawn("service ranges", follow);
        }
        Ok(cluster)
    }

    /// An administrator's client in this process.
    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Waits until every node of this process is Ready.
    pub async fn nodes_ready(&self) -> Result<()> {
        node::all_ready(&self.client, &self.node_names).await
    }

    fn start_control_loops(&mut self, pods: Range, node_prefix: u8) {
        let scheduler = scheduler::Config {
            client: component(&self.server, "system:kube-scheduler"),
            name: "default-scheduler".into(),
        };
        self.spawn_loop("kube-scheduler", "system:kube-scheduler", move |token| {
            scheduler::run(scheduler.clone(), token)
        });
        let mut config = controllers::Config::new(local_client(
            &self.server,
            "system:kube-controller-manager",
            // As one identity for all controllers it needs what each of them needs, the garbage collector's everything too.
            &["system:masters"],
        ));
        config.cluster_cidr = (Ipv4Addr::from(pods.base), pods.prefix);
        config.node_cidr_mask = node_prefix;
        config.root_ca = Some(self.server.pki().ca_pem().to_owned());
        config.authority = Some(Arc::new(authority::ClusterAuthority(self.server.pki().clone())));
        let run = move |token| controllers::run(config.clone(), token);
        self.spawn_loop("kube-controller-manager", "system:kube-controller-manager", run);
    }

    fn start_nodes(
        &mut self,
        dir: &Path,
        Guests { images, runtime }: Guests,
        count: u16,
        pods: (Range, u8),
        services: Range,
    ) -> Result<()> {
        let network = network(pods.0, services)?;
        let sync = ServiceSync::new(component(&self.server, "system:kube-proxy"), Arc::clone(&network));
        let (services_sync, token) = (Arc::clone(&sync), self.token.clone());
        self.spawn("services", async move { services_sync.run(token).await });
        for index in 0..count {
            let name = self.node_name(index)?;
            let user = User::node(&name);
            let client = Client::new(self.server.local_client_service(user), "default");
            let mut config = agent::Config::new(
                &name,
                client,
                dir.join("nodes").join(&name),
                Arc::clone(&runtime),
                Arc::clone(&network),
                images.clone(),
            );
            config.services = Some(Arc::clone(&sync));
            if self.sharing == Sharing::Alone {
                let part = pods.0.part(pods.1, index).to_string();
                config.pod_cidr = Some(part.parse().context("a node's address range")?);
            }
            let agent = Agent::new(config);
            self.server.attach_node(&name, agent.router());
            let token = self.token.clone();
            self.spawn("agent", async move { agent.run(token).await });
            self.node_names.push(name);
        }
        Ok(())
    }

    /// Where other machines have nodes, too, a node is called after its machine.
    fn node_name(&self, index: u16) -> Result<String> {
        Ok(match self.sharing {
            Sharing::Alone => format!("node-{}", index + 1),
            Sharing::Shared => format!("{}-{}", node::host_name()?, index + 1),
        })
    }

    fn spawn(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(work.instrument(tracing::info_span!("component", name)));
    }
}

/// A component with the rights that Kubernetes' default roles give its name.
fn component(server: &ApiServer, name: &str) -> Client {
    local_client(server, name, &[])
}

fn local_client(server: &ApiServer, user: &str, groups: &[&str]) -> Client {
    let user = User::authenticated(user, groups.iter().copied());
    Client::new(server.local_client_service(user), "default")
}

fn claim_ranges(args: &Serving, keep: Keep, usage: Use) -> Result<Ranges> {
    let pods = Range::parse("--cluster-cidr", &args.cluster_cidr)?;
    let services = Range::parse("--service-cluster-ip-range", &args.service_cluster_ip_range)?;
    if pods.overlaps(services) {
        anyhow::bail!("--cluster-cidr {pods} and --service-cluster-ip-range {services} overlap");
    }
    if usage == Use::Common {
        return Ok(Ranges { pods, services, usage, claims: Vec::new() });
    }
    let (pods, pod_claim) = claim("--cluster-cidr", pods, keep)?;
    let (services, service_claim) = claim("--service-cluster-ip-range", services, keep)?;
    Ok(Ranges { pods, services, usage, claims: vec![pod_claim, service_claim] })
}

/// A cluster in memory takes any free part of a wide range; one that is kept must find its addresses again.
fn claim(flag: &str, range: Range, keep: Keep) -> Result<(Range, Claim)> {
    let cidr: network::Cidr = range.to_string().parse().with_context(|| format!("{flag} {range}"))?;
    let claim = if keep == Keep::Nothing && range.prefix < EPHEMERAL_PREFIX {
        Claim::first_free(cidr, EPHEMERAL_PREFIX)
    } else {
        Claim::exactly(cidr)
    };
    let claim = claim.map_err(|error| match error {
        ClaimError::Bind { .. } => Error::new(error).context(format!("{flag} {range}")),
        taken => anyhow!(
            "{flag} {range}: {taken}. Stop that one, or give this cluster ranges of its own with both --cluster-cidr \
             and --service-cluster-ip-range"
        ),
    })?;
    let range = Range::parse(flag, &claim.range().to_string())?;
    Ok((range, claim))
}

async fn start_server(
    args: &Serving,
    (dir, keep): (&Path, Keep),
    (store, sharing): (&Store, Sharing),
    ranges: &Ranges,
) -> Result<ApiServer> {
    let mut config = apiserver::Config::new(store.clone());
    config.sharing = sharing;
    config.advertise = args.advertise_address;
    config.listen = SocketAddr::new(args.bind_address, args.https_port);
    config.tls_san.clone_from(&args.tls_san);
    let bound = |most: usize| if most == 0 { usize::MAX } else { most };
    config.limits.requests_in_flight = bound(args.max_requests_inflight);
    config.limits.mutating_requests_in_flight = bound(args.max_mutating_requests_inflight);
    config.authorization = AuthorizationMode::parse_list(&args.authorization_mode).context("--authorization-mode")?;
    config.admission = AdmissionPlugins::parse(&args.enable_admission_plugins, &args.disable_admission_plugins)?;
    if let Some(file) = &args.token_auth_file {
        config.tokens = StaticTokens::from_file(file).context("--token-auth-file")?;
    }
    config.service_cidr = ranges.services.to_string().parse().context("--service-cluster-ip-range")?;
    if keep == Keep::Everything {
        config.pki = PkiSource::Directory(dir.join("pki"));
    }
    let server = ApiServer::start(config).await;
    server.context("the API server did not start")
}

/// The image store of a data directory.
pub fn open_images(dir: &Path, files: FileImages) -> Result<ImageStore> {
    let mut config = images::Config::new(dir.join("images"));
    config.file_images = files;
    ImageStore::open(config).context("cannot open the image store")
}

/// The Wasm runtime, with its compiled modules in the user's cache: they depend on nothing but the module and this
/// binary, so every cluster of this user shares them. Without a home folder they are kept in `dir`.
pub fn open_runtime(dir: &Path) -> Result<Arc<Runtime>> {
    let cache = paths::cache_dir().unwrap_or_else(|| dir.join("cache"));
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let config = runtime::Config::new(cache, runtime::CompilerCommand::subcommand(program));
    Runtime::new(config).context("cannot start the Wasm runtime")
}

/// The pods' network for these ranges.
pub fn network(pods: Range, services: Range) -> Result<Arc<Network>> {
    let config = network::Config {
        cluster_cidr: pods.to_string().parse().context("--cluster-cidr")?,
        service_cidr: services.to_string().parse().context("--service-cluster-ip-range")?,
        ..network::Config::default()
    };
    Ok(Network::new(config))
}
