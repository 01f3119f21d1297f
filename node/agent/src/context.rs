//! What every pod of a node shares: the ways to the world, and the node's settings.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use api::k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::Client;

use crate::config::Config;
use crate::configs::ConfigStore;
use crate::events::Recorder;
use crate::logs::OpenFiles;

/// Log files kept open at once, node-wide.
const OPEN_LOG_FILES: usize = 1024;

/// The node, as its pods see it.
pub struct NodeContext {
    pub config: Config,
    pub configs: ConfigStore,
    pub recorder: Recorder,
    pub log_files: Arc<OpenFiles>,
    pub allocatable: BTreeMap<String, Quantity>,
}

impl NodeContext {
    pub fn new(config: Config, recorder: Recorder) -> Arc<Self> {
        let configs = ConfigStore::new(config.client.clone());
        let allocatable = crate::node::object::resources(&config.capacity);
        Arc::new(Self { configs, recorder, log_files: OpenFiles::new(OPEN_LOG_FILES), allocatable, config })
    }

    pub fn client(&self) -> Client {
        self.config.client.clone()
    }

    pub fn name(&self) -> &str {
        &self.config.node_name
    }

    /// Where all pods' logs are.
    pub fn logs_dir(&self) -> PathBuf {
        self.config.data_dir.join("pods")
    }

    /// Where all pods' volumes are.
    pub fn volumes_dir(&self) -> PathBuf {
        self.config.data_dir.join("volumes")
    }
}
