//! `skiff store`: backup, restore, check, compaction and figures.

use crate::access::{Access, Place, STORE, find, uri};
use crate::args::store::{self as args, StoreCommand};
use crate::history::{document, print};
use crate::table::{bytes, confirm, count, number, table};
use crate::ui::Ui;
use crate::{args::Access as AccessArgs, paths};
use anyhow::{Context as _, Result, bail};
use apiserver::history::documents::{Compacted, StoreRestored, StoreStats};
use apiserver::store::OpenError;
use apiserver::store::ops::{self, BackupFile, BackupInfo, Identity};
use bytes::Bytes;
use futures::TryStreamExt as _;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use kube::client::Body;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio_util::io::ReaderStream;

/// Does it and says what was done.
pub async fn command(args: args::Store) -> Result<ExitCode> {
    let access = &args.access;
    match &args.command {
        StoreCommand::Backup(args) => backup(access, args).await?,
        StoreCommand::Restore(args) => restore(access, args).await?,
        StoreCommand::Check => return check(access).await,
        StoreCommand::Compact(args) => compact(access, args).await?,
        StoreCommand::Stats(args) => stats(access, args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn backup(access: &AccessArgs, args: &args::Backup) -> Result<()> {
    let to_stdout = args.file.as_os_str() == "-";
    if !to_stdout && !args.force && args.file.symlink_metadata().is_ok() {
        bail!("{} exists already: choose another name, or say --force", args.file.display());
    }
    let access = Access::open(access).await?;
    let written = if to_stdout {
        download(&access, &mut std::io::stdout().lock()).await.map(|_| None)
    } else {
        to_file(&access, &args.file).await.map(Some)
    };
    access.close().await;
    if let Some((info, size)) = written? {
        Ui::data(&format!(
            "Backed up {} at revision {} to {} ({}).\n",
            count(info.count, "object"),
            info.revision,
            args.file.display(),
            bytes(size)
        ));
    }
    Ok(())
}

/// Through a file beside it, which is verified before it gets its name.
async fn to_file(access: &Access, path: &Path) -> Result<(BackupInfo, u64)> {
    let temporary = Temporary::beside(path)?;
    let cannot = || format!("cannot write the backup {}", path.display());
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temporary.0).with_context(cannot)?;
    let size = download(access, &mut file).await.with_context(cannot)?;
    file.sync_all().with_context(cannot)?;
    drop(file);
    let verified = temporary.0.clone();
    let verified = tokio::task::spawn_blocking(move || BackupFile::open(&verified)).await?;
    let verified = verified.context("what arrived is no whole backup; nothing was kept")?;
    std::fs::rename(&temporary.0, path).with_context(cannot)?;
    Ok((*verified.info(), size))
}

async fn download(access: &Access, out: &mut impl Write) -> Result<u64> {
    let request = Request::get(uri("store/backup", &[])).body(Body::empty())?;
    let answer = access.send(request).await?;
    let status = answer.status();
    let mut body = answer.into_body();
    if !status.is_success() {
        bail!("{}", refusal(body).await);
    }
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the backup broke off")?;
        if let Some(data) = frame.data_ref() {
            out.write_all(data)?;
            size += data.len() as u64;
        }
    }
    out.flush()?;
    Ok(size)
}

/// A file that goes away unless it is renamed.
struct Temporary(PathBuf);

impl Temporary {
    fn beside(path: &Path) -> Result<Self> {
        let name = path.file_name().with_context(|| format!("{} is no file name", path.display()))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}", std::process::id()));
        Ok(Self(path.with_file_name(hidden)))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Gone already when it got its name.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What a server says that refuses.
async fn refusal(body: Body) -> String {
    let bytes = http_body_util::Limited::new(body, 1 << 20).collect().await.map(|body| body.to_bytes());
    message(&bytes.unwrap_or_default())
}

fn message(status: &[u8]) -> String {
    let status: serde_json::Value = serde_json::from_slice(status).unwrap_or_default();
    status["message"].as_str().unwrap_or("the server refused without saying why").to_owned()
}

async fn restore(access: &AccessArgs, args: &args::Restore) -> Result<()> {
    let path = args.file.clone();
    let verified = tokio::task::spawn_blocking(move || BackupFile::open(&path)).await?;
    let verified = verified.with_context(|| format!("cannot restore {}; nothing was changed", args.file.display()))?;
    let info = *verified.info();
    let what = format!("{} of revision {} ({})", count(info.count, "object"), info.revision, info.cluster_id);
    if args.dry_run {
        Ui::data(&format!("{} is a whole backup: {what}.\n", args.file.display()));
        return Ok(());
    }
    let (place, store) = find(access).await?;
    if let Place::Nowhere(path) = place {
        return create(&path, verified, args, &what).await;
    }
    if args.new_identity {
        bail!("--new-identity is for new data directories: this store has its own, and keeps it");
    }
    let access = Access::at(&place, store).await?;
    let done = into(&access, args, &place, &what).await;
    access.close().await;
    let done = done?;
    Ui::data(&format!(
        "Restored {what}: {} written, {} deleted, {} as they were. The store is at revision {}.\n",
        number(done.written),
        number(done.deleted),
        number(done.unchanged),
        done.revision
    ));
    Ok(())
}

/// A new store.
async fn create(path: &Path, backup: BackupFile, args: &args::Restore, what: &str) -> Result<()> {
    let dir = path.parent().context("a data directory")?;
    paths::create_private(dir).with_context(|| format!("cannot create the data directory {}", dir.display()))?;
    let identity = if args.new_identity { Identity::Renew } else { Identity::Keep };
    let target = path.to_path_buf();
    let created = tokio::task::spawn_blocking(move || ops::create(&target, &backup, identity)).await?;
    let created = created.with_context(|| format!("cannot restore into {}", dir.display()))?;
    Ui::data(&format!(
        "Made {} of {what}. It begins at revision {}: clients of the time before list anew.\n",
        path.display(),
        created.revision
    ));
    Ok(())
}

/// A store that is there.
async fn into(access: &Access, args: &args::Restore, place: &Place, what: &str) -> Result<StoreRestored> {
    if !args.yes {
        let now: StoreStats = access.get("store/stats", &[]).await?;
        let place = match place {
            Place::Server(kubeconfig) => format!("the cluster of {}", kubeconfig.display()),
            Place::File(path) | Place::Nowhere(path) => path.display().to_string(),
        };
        let holds = count(now.objects, "object");
        confirm(&format!("Replace the {holds} of {place} (revision {}) by {what}?", now.revision))?;
    }
    let file = tokio::fs::File::open(&args.file).await.context("cannot read the backup")?;
    let chunks = ReaderStream::with_capacity(file, 64 << 10).map_ok(Frame::<Bytes>::data);
    let (status, bytes) = access.upload("store/restore", StreamBody::new(chunks)).await?;
    if !status.is_success() {
        bail!("{}", message(&bytes));
    }
    serde_json::from_slice(&bytes).context("the server's answer is not understood")
}

async fn compact(args: &AccessArgs, what: &args::Compact) -> Result<()> {
    let query = [("to", what.to.as_deref().unwrap_or_default()), ("keep", what.keep.as_deref().unwrap_or_default())];
    let access = Access::open(args).await?;
    let done: Result<Compacted> = access.post("store/compact", &query, Vec::new()).await;
    let stopped = access.is_file();
    access.close().await;
    let done = done?;
    let kept = count(done.revision - done.oldest.min(done.revision), "revision");
    if done.oldest == done.before {
        Ui::data(&format!("Nothing to forget: history begins at revision {} ({kept} kept).\n", done.oldest));
    } else {
        let (oldest, before) = (done.oldest, done.before);
        Ui::data(&format!("Forgot history before revision {oldest} (it began at {before}); {kept} kept.\n"));
    }
    if stopped {
        let path = paths::data_dir(&args.data)?.join(STORE);
        let shrunk = tokio::task::spawn_blocking(move || ops::shrink(&path)).await??;
        Ui::data(&format!("The file had {}, now {}.\n", bytes(shrunk.before), bytes(shrunk.after)));
    }
    Ok(())
}

async fn stats(access: &AccessArgs, args: &args::Stats) -> Result<()> {
    let access = Access::open(access).await?;
    let stats: Result<StoreStats> = access.get("store/stats", &[]).await;
    access.close().await;
    let stats = stats?;
    if let Some(format) = document(args.output) {
        return print(&stats, format);
    }
    let mut rows = vec![
        ["cluster", &stats.cluster_id].map(String::from),
        ["revision".into(), number(stats.revision)],
        ["history".into(), format!("from revision {} ({})", number(stats.oldest), bytes(stats.history_bytes))],
        ["objects".into(), format!("{} ({})", number(stats.objects), bytes(stats.bytes))],
    ];
    if stats.file_bytes > 0 {
        rows.push(["file".into(), bytes(stats.file_bytes)]);
    }
    if stats.transactions > 0 {
        let batches =
            format!("{} in {} batches, {} failed", number(stats.transactions), number(stats.batches), stats.failures);
        rows.push(["writes".into(), batches]);
        rows.push([
            "last sync".into(),
            format!("{}.{:03} ms", stats.last_sync_micros / 1_000, stats.last_sync_micros % 1_000),
        ]);
    }
    rows.push(["watches".into(), number(stats.watches)]);
    for [name, value] in rows {
        Ui::data(&format!("{name:<10} {value}\n"));
    }
    let kinds: Vec<Vec<String>> =
        stats.kinds.iter().map(|kind| vec![kind.resource.clone(), number(kind.objects), bytes(kind.bytes)]).collect();
    Ui::data(&format!("\n{}", table(&["RESOURCE", "OBJECTS", "SIZE"], &kinds)));
    Ok(())
}

async fn check(access: &AccessArgs) -> Result<ExitCode> {
    if access.kubeconfig.is_some() {
        bail!("check reads the file of a stopped cluster: name its --data-dir, not a server's --kubeconfig");
    }
    let path = paths::data_dir(&access.data)?.join(STORE);
    let target = path.clone();
    let report = match tokio::task::spawn_blocking(move || ops::check(&target)).await? {
        Ok(report) => report,
        Err(OpenError::Locked { path }) => {
            bail!(
                "{} is in use: a server runs on it. Stop it first; a backup can be taken while it runs",
                path.display()
            )
        }
        Err(error) => return Err(error.into()),
    };
    if report.is_sound() {
        let stats = report.stats.as_ref();
        let holds = stats.map_or_else(String::new, |stats| {
            format!(", {}, history from revision {} to {}", count(stats.keys, "object"), stats.oldest, stats.revision)
        });
        Ui::data(&format!("{} is sound: {} checked{holds}.\n", path.display(), count(report.rows, "row")));
        return Ok(ExitCode::SUCCESS);
    }
    for finding in &report.findings {
        Ui::data(&format!("{finding}\n"));
    }
    let more = report.found.saturating_sub(report.findings.len() as u64);
    if more > 0 {
        Ui::data(&format!("… and {} more\n", number(more)));
    }
    bail!("{} is damaged: {} in {}", path.display(), count(report.found, "fault"), count(report.rows, "row"))
}
