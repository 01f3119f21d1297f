//! Where a cluster's objects are kept: what `--store` and the flags beside it say, and opening that.

use crate::args::Serving;
use crate::ui::Ui;
use anyhow::{Context as _, Result, bail};
use apiserver::Sharing;
use apiserver::store::{self, OpenError, Store, etcd};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// How long a start waits for etcd: it may be starting, too.
const PATIENCE: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_millis(500);

/// A place for objects.
#[derive(Debug)]
pub enum Place {
    Memory,
    /// A file; `None` is the one in the data directory.
    File(Option<PathBuf>),
    Etcd(Box<etcd::Options>),
}

impl Place {
    /// What the flags say.
    pub fn of(args: &Serving) -> Result<Self> {
        let place = match args.store.as_deref() {
            None if args.ephemeral => Self::Memory,
            None => Self::File(None),
            Some(text) => Self::parse(text, args)?,
        };
        if args.ephemeral && !matches!(place, Self::Memory) {
            bail!("--ephemeral keeps objects in memory: leave out --store, or --ephemeral");
        }
        let tls = [&args.etcd_cafile, &args.etcd_certfile, &args.etcd_keyfile];
        if tls.iter().any(|file| file.is_some()) && !matches!(place, Self::Etcd(_)) {
            bail!(
                "--etcd-cafile, --etcd-certfile and --etcd-keyfile are for a store on etcd: --store etcds://HOST:PORT"
            );
        }
        Ok(place)
    }

    fn parse(text: &str, args: &Serving) -> Result<Self> {
        if text == "memory" {
            return Ok(Self::Memory);
        }
        if let Some(path) = text.strip_prefix("file:") {
            // `file:///path` is how URLs write it.
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                bail!("--store {text}: a path is missing after file:");
            }
            return Ok(Self::File(Some(PathBuf::from(path))));
        }
        if !text.starts_with("etcd://") && !text.starts_with("etcds://") {
            // What is no URL that we know may be one with a password: its scheme is enough.
            let shown = text.split_once("://").map_or(text, |(scheme, _)| scheme);
            bail!("--store {shown}: expected file:PATH, memory, or etcd[s]://HOST:PORT[,HOST:PORT...][/PREFIX]");
        }
        let mut options = etcd::Options::from_url(text).context("--store")?;
        let files = [&args.etcd_cafile, &args.etcd_certfile, &args.etcd_keyfile].map(|file| file.as_deref());
        if files.iter().any(Option::is_some) {
            let [ca, certificate, key] = files;
            options.tls = Some(etcd::Tls::from_files(ca, certificate, key).context("--etcd-*file")?);
        }
        options.history = args.history.unwrap_or_default();
        Ok(Self::Etcd(Box::new(options)))
    }

    /// Whether everything is forgotten at the end.
    pub fn is_memory(&self) -> bool {
        matches!(self, Self::Memory)
    }

    /// Who else may write there.
    pub fn sharing(&self) -> Sharing {
        if matches!(self, Self::Etcd(_)) { Sharing::Shared } else { Sharing::Alone }
    }

    /// Opens the store. `dir` is the data directory.
    pub async fn open(self, args: &Serving, dir: &Path) -> Result<Store> {
        let options = match self {
            Self::Memory => store::Options::memory(),
            Self::File(path) => store::Options::file(path.unwrap_or_else(|| dir.join("store.redb"))),
            Self::Etcd(options) => return connect(*options, &Ui::detect(args.quiet)).await,
        };
        let options = store::Options { history: args.history.unwrap_or_default(), ..options };
        let Some(path) = options.path.clone() else { return Ok(Store::open(options)?) };
        // Reading all of it blocks on the disk.
        let opened = tokio::task::spawn_blocking(move || Store::open(options)).await.context("opening the store")?;
        opened.with_context(|| format!("cannot open the store {}", path.display()))
    }
}

/// Opens a store on etcd, waiting a while for etcd to come up.
async fn connect(options: etcd::Options, ui: &Ui) -> Result<Store> {
    let deadline = Instant::now() + PATIENCE;
    let mut told = String::new();
    loop {
        match Store::connect(options.clone()).await {
            Err(error @ OpenError::Etcd { .. }) if Instant::now() + RETRY < deadline => {
                let text = error.to_string();
                if text != told {
                    ui.line(format!("waiting up to {} s for etcd: {text}", PATIENCE.as_secs()));
                    told = text;
                }
                tokio::time::sleep(RETRY).await;
            }
            opened => return opened.context("cannot open the store"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser as _;

    fn place(flags: &[&str]) -> Result<Place> {
        let cli = Cli::try_parse_from(["skiff", "server"].iter().chain(flags)).map_err(anyhow::Error::from)?;
        let Command::Server(server) = cli.command else { panic!("not a server") };
        Place::of(&server.serving)
    }

    #[test]
    fn a_store_is_a_file_memory_or_etcd() {
        assert!(matches!(place(&[]).unwrap(), Place::File(None)));
        assert!(matches!(place(&["--ephemeral"]).unwrap(), Place::Memory));
        assert!(matches!(place(&["--store", "memory", "--ephemeral"]).unwrap(), Place::Memory));
        for text in ["file:/a/b", "file:///a/b"] {
            let Place::File(Some(path)) = place(&["--store", text]).unwrap() else { panic!("{text}") };
            assert_eq!(path, Path::new("/a/b"));
        }
        let Place::Etcd(options) = place(&["--store", "etcd://a:1,b:2/x", "--history", "24h"]).unwrap() else {
            panic!("not etcd")
        };
        assert_eq!(options.endpoints, ["a:1", "b:2"]);
        assert_eq!(options.history.age, Duration::from_secs(86_400));
    }

    #[test]
    fn what_is_no_store_is_refused_with_a_reason() {
        for (flags, expected) in [
            (
                &["--store", "x"][..],
                "--store x: expected file:PATH, memory, or etcd[s]://HOST:PORT[,HOST:PORT...][/PREFIX]",
            ),
            (&["--store", "http://u:secret@a"], "--store http: expected file:PATH"),
            (&["--store", "file:"], "--store file:: a path is missing after file:"),
            (&["--store", "etcd://a:b"], "--store: \"a:b\" is not an address: host:port is expected"),
            (
                &["--store", "etcds://a", "--etcd-certfile", "/x"],
                "a client certificate needs both its file and its key's",
            ),
            (&["--store", "etcds://a", "--etcd-cafile", "/does/not/exist"], "cannot read /does/not/exist"),
            (&["--etcd-cafile", "/x"], "are for a store on etcd"),
            (&["--ephemeral", "--store", "file:/x"], "--ephemeral keeps objects in memory"),
            (&["--history", "5x"], "5x"),
        ] {
            let error = format!("{:#}", place(flags).unwrap_err());
            assert!(error.contains(expected), "{flags:?}: {error}");
        }
    }
}
