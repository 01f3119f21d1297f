//! A connection to etcd that can be cut while etcd goes on.

use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to those who connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Open,
    /// Connections end as soon as they are made.
    Cut,
}

pub struct Proxy {
    endpoint: String,
    mode: Arc<watch::Sender<Mode>>,
}

impl Proxy {
    pub async fn before(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        let mode = Arc::new(watch::channel(Mode::Open).0);
        let shared = mode.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, target.clone(), shared.subscribe()));
            }
        });
        Self { endpoint, mode }
    }

    pub fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    pub fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    pub fn heal(&self) {
        self.mode.send_replace(Mode::Open);
    }
}

async fn carry(mut client: TcpStream, target: String, mut mode: watch::Receiver<Mode>) {
    if *mode.borrow() == Mode::Cut {
        return;
    }
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = mode.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}
