//! Kubeconfig files: where ours is, and merging it into the user's own.

use crate::{args, paths, ui::Ui};
use anyhow::{Context as _, Result, bail};
use kube::config::Kubeconfig;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Name of the cluster, user and context that are merged into the user's kubeconfig.
pub const CONTEXT: &str = "skiff";

/// `skiff kubeconfig`.
pub fn command(args: &args::Kubeconfig) -> Result<()> {
    let file = paths::data_dir(&args.data)?.join(paths::KUBECONFIG);
    let text = std::fs::read_to_string(&file).with_context(|| {
        format!("no kubeconfig at {}: start a cluster with `skiff up` first, or name its --data-dir", file.display())
    })?;
    if args.merge {
        let target = merge_into_users(&text)?;
        Ui::detect(false).line(format!("merged context {CONTEXT} into {}", target.display()));
    } else {
        Ui::data(&text);
    }
    Ok(())
}

/// Writes `text` so that only the user can read it, whole or not at all.
pub fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let temporary = folder.join(format!(".kubeconfig-{}", std::process::id()));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| std::fs::rename(&temporary, path));
    written.with_context(|| format!("cannot write the kubeconfig {}", path.display()))
}

/// The user's own kubeconfig: the first file of `$KUBECONFIG`, or `~/.kube/config`.
pub fn users_file() -> Result<PathBuf> {
    if let Some(list) = std::env::var_os("KUBECONFIG")
        && let Some(first) = std::env::split_paths(&list).find(|p| !p.as_os_str().is_empty())
    {
        return Ok(first);
    }
    let home = directories::BaseDirs::new().context("this user has no home folder: set KUBECONFIG")?;
    Ok(home.home_dir().join(".kube/config"))
}

/// Adds or replaces our context in the user's kubeconfig and makes it the current one.
pub fn merge_into_users(ours: &str) -> Result<PathBuf> {
    let path = users_file()?;
    let ours = Kubeconfig::from_yaml(ours).context("our kubeconfig is broken")?;
    let theirs = match std::fs::read_to_string(&path) {
        Ok(text) => Kubeconfig::from_yaml(&text)
            .with_context(|| format!("{} is not a kubeconfig; it is left as it is", path.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Kubeconfig { api_version: Some("v1".into()), kind: Some("Config".into()), ..Kubeconfig::default() }
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let merged = merge(theirs, ours)?;
    write(&path, &serde_saphyr::to_string(&merged).context("cannot write YAML")?)?;
    Ok(path)
}

fn merge(mut into: Kubeconfig, ours: Kubeconfig) -> Result<Kubeconfig> {
    let (Some(mut cluster), Some(mut user), Some(mut context)) =
        (ours.clusters.into_iter().next(), ours.auth_infos.into_iter().next(), ours.contexts.into_iter().next())
    else {
        bail!("our kubeconfig has no cluster, user or context");
    };
    cluster.name = CONTEXT.into();
    user.name = CONTEXT.into();
    context.name = CONTEXT.into();
    if let Some(context) = &mut context.context {
        context.cluster = CONTEXT.into();
        context.user = Some(CONTEXT.into());
    }
    into.clusters.retain(|c| c.name != CONTEXT);
    into.auth_infos.retain(|u| u.name != CONTEXT);
    into.contexts.retain(|c| c.name != CONTEXT);
    into.clusters.push(cluster);
    into.auth_infos.push(user);
    into.contexts.push(context);
    into.current_context = Some(CONTEXT.into());
    Ok(into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str, server: &str) -> Kubeconfig {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {name}\nclusters: [{{name: {name}, cluster: {{server: '{server}'}}}}]\nusers: [{{name: {name}, user: {{}}}}]\ncontexts: [{{name: {name}, context: {{cluster: {name}, user: {name}}}}}]\n"
        );
        Kubeconfig::from_yaml(&text).unwrap()
    }

    #[test]
    fn merging_keeps_the_others_and_replaces_ours() {
        let once = merge(config("work", "https://a"), config("x", "https://b")).unwrap();
        let twice = merge(once, config("x", "https://c")).unwrap();
        let names: Vec<&str> = twice.contexts.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["work", CONTEXT]);
        assert_eq!(twice.current_context.as_deref(), Some(CONTEXT));
        let server = twice.clusters[1].cluster.as_ref().and_then(|c| c.server.clone());
        assert_eq!(server.as_deref(), Some("https://c"));
    }
}
