//! Stopping a cluster: who depends on others goes first.

use super::Cluster;
use crate::ui::Ui;
use anyhow::Result;
use std::time::Duration;

/// How long the control loops and nodes may take to end.
const GRACE: Duration = Duration::from_secs(10);

impl Cluster {
    /// Ends nodes and control loops, then the API server, then the store. Workloads are stopped, not deleted.
    pub async fn stop(mut self, ui: &Ui) -> Result<()> {
        ui.line("stopping");
        self.token.cancel();
        let ended = tokio::time::timeout(GRACE, async { while self.tasks.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            tracing::warn!(left = self.tasks.len(), "some parts did not end in time");
            self.tasks.abort_all();
        }
        drop(self.client);
        self.server.shutdown().await;
        self.store.close().await;
        Ok(())
    }
}
