//! Where a store can lie: the same tests run over every place. The one on etcd is there with the feature `etcd-tests`.

use store::{HistoryPolicy, Options, Store};

/// A place for one store.
pub enum Place {
    Memory,
    File(tempfile::TempDir),
    #[cfg(feature = "etcd-tests")]
    Etcd(crate::etcd::Prefix),
}

impl Place {
    pub fn file() -> Self {
        Self::File(tempfile::tempdir().unwrap())
    }

    /// Each kind, empty.
    pub fn every() -> Vec<Self> {
        let mut all = vec![Self::Memory];
        all.extend(Self::durable());
        all
    }

    /// Each kind that outlives a store, empty.
    pub fn durable() -> Vec<Self> {
        vec![
            Self::file(),
            #[cfg(feature = "etcd-tests")]
            Self::Etcd(crate::etcd::Prefix::fresh()),
        ]
    }

    /// Open the store that lies here, or make it.
    pub async fn open(&self) -> Store {
        self.open_with(HistoryPolicy::default()).await
    }

    pub async fn open_with(&self, history: HistoryPolicy) -> Store {
        match self {
            Self::Memory => Store::open(Options { history, ..Options::memory() }).unwrap(),
            Self::File(folder) => {
                let path = folder.path().join("store.redb");
                Store::open(Options { history, ..Options::file(path) }).unwrap()
            }
            #[cfg(feature = "etcd-tests")]
            Self::Etcd(prefix) => {
                let options = store::etcd::Options { history, ..prefix.options() };
                Store::connect(options).await.unwrap()
            }
        }
    }

    /// Let somebody else write, where others count the same revisions.
    pub async fn disturb(&self) {
        #[cfg(feature = "etcd-tests")]
        if let Self::Etcd(prefix) = self {
            let stranger = Store::connect(crate::etcd::options(&prefix.server)).await.unwrap();
            stranger.commit(store::Txn::new().put("noise", crate::value("x"))).await.unwrap();
            stranger.close().await;
        }
    }
}
