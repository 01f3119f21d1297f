//! `skiff run`: one module as a pod, its log on this terminal, its exit code as ours.

use crate::{args, paths, ui::Ui};
use anyhow::{Context as _, Result, bail};
use futures::{AsyncReadExt as _, StreamExt as _, TryStreamExt as _};
use kube::Client;
use kube::api::{Api, DeleteParams, LogParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use scheduler::api::k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, Pod};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// How long to look for the data directory's cluster before the user's kubeconfig is taken.
const PROBE: Duration = Duration::from_secs(2);

/// Waiting reasons that time does not heal: the run ends with them.
const HOPELESS: &[&str] = &[
    "ErrImageInvalid",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImagePullBackOff",
    "CreateContainerConfigError",
];

/// How the program ended.
struct Ended {
    code: i32,
    reason: String,
    message: String,
}

/// Creates the pod, follows it, removes it.
pub async fn command(args: args::Run) -> Result<ExitCode> {
    let client = connect(&args).await?;
    let pod = pod(&args)?;
    let pods: Api<Pod> = Api::namespaced(client, &args.namespace);
    let created = pods.create(&PostParams::default(), &pod).await.context("cannot create the pod")?;
    let name = created.metadata.name.clone().context("the server gave the pod no name")?;
    let stop = crate::up::stop_signal()?;
    let ended = tokio::select! {
        ended = follow(&pods, &name, created.metadata.resource_version.as_deref().unwrap_or("0")) => ended,
        () = stop => Ok(Ended { code: 130, reason: String::new(), message: String::new() }),
    };
    if !args.keep {
        let gone = pods.delete(&name, &DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() }).await;
        match gone {
            // Somebody else was faster.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            gone => drop(gone.with_context(|| format!("cannot remove pod {name}"))?),
        }
    }
    let ended = ended?;
    if !matches!(ended.reason.as_str(), "" | "Completed" | "Error") || !ended.message.is_empty() {
        note(&format!("{}{}{}", ended.reason, if ended.message.is_empty() { "" } else { ": " }, ended.message));
    }
    Ok(ExitCode::from(u8::try_from(ended.code).unwrap_or(1)))
}

async fn connect(args: &args::Run) -> Result<Client> {
    let options = KubeConfigOptions::default();
    if let Some(file) = &args.kubeconfig {
        let config = Kubeconfig::read_from(file).with_context(|| format!("cannot read {}", file.display()))?;
        return Ok(Client::try_from(kube::Config::from_custom_kubeconfig(config, &options).await?)?);
    }
    let ours = paths::data_dir(&args.data)?.join(paths::KUBECONFIG);
    if let Some(client) = running(&ours).await {
        return Ok(client);
    }
    let config = kube::Config::from_kubeconfig(&options).await.with_context(|| {
        format!("no cluster is up at {} and there is no kubeconfig of yours: start one with `skiff up`", ours.display())
    })?;
    Ok(Client::try_from(config)?)
}

/// A client for the cluster of this kubeconfig, if it answers.
async fn running(file: &Path) -> Option<Client> {
    let config = Kubeconfig::read_from(file).ok()?;
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.ok()?;
    let client = Client::try_from(config).ok()?;
    tokio::time::timeout(PROBE, client.apiserver_version()).await.ok()?.ok()?;
    Some(client)
}

fn pod(args: &args::Run) -> Result<Pod> {
    let path = Path::new(&args.module);
    let image = if path.exists() || args.module.ends_with(".wasm") && !args.module.contains(':') {
        let file = std::fs::canonicalize(path).with_context(|| format!("cannot open {}", path.display()))?;
        if !file.is_file() {
            bail!("{} is not a file", file.display());
        }
        format!("file://{}", file.display())
    } else {
        args.module.clone()
    };
    let mut env = Vec::new();
    for pair in &args.env {
        let (name, value) = pair.split_once('=').with_context(|| format!("--env {pair}: not of the form KEY=VALUE"))?;
        env.push(json!({"name": name, "value": value}));
    }
    let mut limits = Map::new();
    for (name, value) in [("memory", &args.memory), ("cpu", &args.cpu)] {
        if let Some(value) = value {
            limits.insert(name.into(), Value::String(value.clone()));
        }
    }
    if let Some(fuel) = args.fuel {
        limits.insert("skiff.dev/fuel".into(), Value::String(fuel.to_string()));
    }
    let mut metadata = json!({"labels": {"app.kubernetes.io/managed-by": "skiff-run"}});
    match &args.name {
        Some(name) => metadata["name"] = json!(name),
        None => metadata["generateName"] = json!(format!("{}-", stem(&args.module))),
    }
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": {
            "restartPolicy": "Never",
            "containers": [{
                "name": "main", "image": image, "args": args.args, "env": env,
                "resources": {"limits": limits},
            }],
        },
    });
    serde_json::from_value(pod).context("cannot make a pod of these arguments")
}

/// A pod name's beginning from a file name or image name.
fn stem(module: &str) -> String {
    let last = module.rsplit('/').next().unwrap_or(module);
    let last = last.split([':', '@']).next().unwrap_or(last).trim_end_matches(".wasm");
    let clean: String =
        last.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    let clean = clean.trim_matches('-');
    if clean.is_empty() { "run".into() } else { clean.into() }
}

async fn follow(pods: &Api<Pod>, name: &str, version: &str) -> Result<Ended> {
    let mut version = version.to_owned();
    let mut logged = false;
    loop {
        let params = WatchParams::default().fields(&format!("metadata.name={name}")).timeout(240);
        let mut events = pods.watch(&params, &version).await.context("cannot watch the pod")?.boxed();
        while let Some(event) = events.try_next().await.context("the watch on the pod broke")? {
            let pod = match event {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) => pod,
                WatchEvent::Deleted(_) => bail!("pod {name} was deleted by somebody else"),
                WatchEvent::Bookmark(_) => continue,
                WatchEvent::Error(status) => bail!("the watch on pod {name} ended: {}", status.message),
            };
            version = pod.metadata.resource_version.clone().unwrap_or(version);
            match state(&pod) {
                State::Waiting => {}
                State::Hopeless(why) => bail!("pod {name} cannot start: {why}"),
                State::Running if logged => {}
                State::Running => {
                    logged = true;
                    // Ends when the container has ended.
                    stream_log(pods, name).await?;
                }
                State::Ended(ended) => {
                    if !logged {
                        stream_log(pods, name).await?;
                    }
                    return Ok(ended);
                }
            }
        }
    }
}

enum State {
    Waiting,
    Hopeless(String),
    Running,
    Ended(Ended),
}

fn state(pod: &Pod) -> State {
    let Some(status) = &pod.status else { return State::Waiting };
    let container = status.container_statuses.iter().flatten().next().and_then(|c| c.state.as_ref());
    match container {
        Some(ContainerState { terminated: Some(end), .. }) => State::Ended(ended(end)),
        Some(ContainerState { running: Some(_), .. }) => State::Running,
        Some(ContainerState { waiting: Some(waiting), .. }) => {
            let reason = waiting.reason.as_deref().unwrap_or_default();
            if HOPELESS.contains(&reason) {
                State::Hopeless(format!("{reason}: {}", waiting.message.as_deref().unwrap_or_default()))
            } else {
                State::Waiting
            }
        }
        _ if status.phase.as_deref() == Some("Failed") => {
            State::Hopeless(status.message.clone().or_else(|| status.reason.clone()).unwrap_or_else(|| "Failed".into()))
        }
        _ => State::Waiting,
    }
}

fn ended(end: &ContainerStateTerminated) -> Ended {
    Ended {
        code: end.exit_code,
        reason: end.reason.clone().unwrap_or_default(),
        message: end.message.clone().unwrap_or_default(),
    }
}

async fn stream_log(pods: &Api<Pod>, name: &str) -> Result<()> {
    let params = LogParams { follow: true, ..LogParams::default() };
    let mut log = Box::pin(pods.log_stream(name, &params).await.context("cannot read the pod's log")?);
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = log.read(&mut buffer).await.context("the pod's log broke off")?;
        if read == 0 {
            return Ok(());
        }
        Ui::bytes(&buffer[..read]);
    }
}

fn note(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skiff: {text}");
}

#[cfg(test)]
mod tests {
    use super::stem;

    #[test]
    fn pod_names_come_from_file_and_image_names() {
        assert_eq!(stem("/a/b/My_Prog.wasm"), "my-prog");
        assert_eq!(stem("ghcr.io/x/app:v1"), "app");
        assert_eq!(stem("___.wasm"), "run");
    }
}
