//! `GET /containerLogs/{namespace}/{pod}/{container}`: what `kubectl logs` shows. Following is driven
//! by the writer's signal and ends with the container.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use api::k8s_openapi::jiff::{SignedDuration, Timestamp};
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::Stream;

use super::{Shared, status};
use crate::logs::{ContainerLog, Cursor, Options, Progress, Timestamps};
use crate::pod::PodContext;
use crate::pod::record;

/// Output collected before it is sent on, at most (plus one chunk).
const FLUSH: usize = 64 * 1024;

pub async fn get(
    State(shared): State<Shared>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let Some(context) = shared.pods.find(&namespace, &pod) else {
        return status(StatusCode::NOT_FOUND, "NotFound", &format!("pods \"{pod}\" not found"));
    };
    let wanted = match Wanted::parse(&query, shared.node.config.clock.now()) {
        Ok(wanted) => wanted,
        Err(message) => return status(StatusCode::BAD_REQUEST, "BadRequest", &message),
    };
    let run = match choose(&context, &container, wanted.which) {
        Ok(run) => run,
        Err((code, message)) => {
            let reason = if code == StatusCode::NOT_FOUND { "NotFound" } else { "BadRequest" };
            return status(code, reason, &message);
        }
    };
    let dir = context.logs_dir().join(&container);
    let restart = run.restart;
    let options = wanted.options;
    let cursor = match tokio::task::spawn_blocking(move || Cursor::open(&dir, restart, options)).await {
        Ok(Ok(cursor)) => cursor,
        Ok(Err(error)) => return internal(&error.to_string()),
        Err(error) => return internal(&error.to_string()),
    };
    let follow = run.log.filter(|_| wanted.follow == Follow::Yes);
    let body = Body::from_stream(stream(cursor, follow));
    ([(header::CONTENT_TYPE, "text/plain")], body).into_response()
}

fn internal(message: &str) -> Response {
    status(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follow {
    Yes,
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Present,
    Previous,
}

/// The query, parsed.
#[derive(Debug)]
struct Wanted {
    follow: Follow,
    which: Which,
    options: Options,
}

impl Wanted {
    fn parse(query: &HashMap<String, String>, now: Timestamp) -> Result<Self, String> {
        let flag = |name: &str| match query.get(name).map(String::as_str) {
            None | Some("" | "false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(other) => Err(format!("{name}: invalid value {other:?}")),
        };
        let number = |name: &str| match query.get(name) {
            None => Ok(None),
            Some(text) => text.parse::<u64>().map(Some).map_err(|_| format!("{name}: invalid value {text:?}")),
        };
        let since = match (query.get("sinceTime"), number("sinceSeconds")?) {
            (Some(time), _) => Some(time.parse().map_err(|_| format!("sinceTime: invalid value {time:?}"))?),
            (None, Some(seconds)) => {
                let back = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
                Some(now.saturating_sub(back).unwrap_or(Timestamp::MIN))
            }
            (None, None) => None,
        };
        Ok(Self {
            follow: if flag("follow")? { Follow::Yes } else { Follow::No },
            which: if flag("previous")? { Which::Previous } else { Which::Present },
            options: Options {
                tail: number("tailLines")?,
                since,
                timestamps: if flag("timestamps")? { Timestamps::Show } else { Timestamps::Hide },
                limit: number("limitBytes")?,
            },
        })
    }
}

/// Which run's files to read, and who writes them if they are still being written.
struct Run {
    restart: u32,
    log: Option<Arc<ContainerLog>>,
}

fn choose(pod: &PodContext, name: &str, which: Which) -> Result<Run, (StatusCode, String)> {
    pod.read(|r| {
        let Some(container) = r.containers.iter().find(|c| c.name == name) else {
            let message = format!("container \"{name}\" not found in pod \"{}_{}\"", pod.name, pod.namespace);
            return Err((StatusCode::NOT_FOUND, message));
        };
        let present = container.log.as_ref().map_or(container.restart_count, |log| log.restart());
        match which {
            Which::Previous => present.checked_sub(1).map(|restart| Run { restart, log: None }).ok_or_else(|| {
                let message = format!("previous terminated container \"{name}\" in pod \"{}\" not found", pod.name);
                (StatusCode::BAD_REQUEST, message)
            }),
            Which::Present => match &container.state {
                record::State::Waiting { reason, .. } if container.last.is_none() => {
                    let message = format!("container \"{name}\" in pod \"{}\" is waiting to start: {reason}", pod.name);
                    Err((StatusCode::BAD_REQUEST, message))
                }
                _ => Ok(Run { restart: present, log: container.log.clone() }),
            },
        }
    })
}

fn stream(cursor: Cursor, follow: Option<Arc<ContainerLog>>) -> impl Stream<Item = io::Result<Bytes>> + Send {
    futures::stream::try_unfold(Some((cursor, follow)), async |state| {
        let Some((mut cursor, follow)) = state else { return Ok(None) };
        loop {
            // Registered and asked before the read: what comes during it is seen in the next round.
            let log = follow.clone();
            let change = log.as_ref().map(|l| Box::pin(l.changed()));
            let mut change = change;
            if let Some(change) = &mut change {
                change.as_mut().enable();
            }
            let closed = log.as_ref().is_none_or(|l| l.is_closed());
            let (back, out, progress) = read(cursor, follow.clone()).await?;
            cursor = back;
            let over = progress == Progress::Limit || (progress == Progress::End && closed);
            if !out.is_empty() {
                let next = (!over).then_some((cursor, follow));
                return Ok(Some((Bytes::from(out), next)));
            }
            if over {
                return Ok(None);
            }
            if progress == Progress::End
                && let Some(change) = change
            {
                change.await;
            }
        }
    })
}

/// Reads on a thread that may block, until there is something to send or nothing more to read.
async fn read(mut cursor: Cursor, follow: Option<Arc<ContainerLog>>) -> io::Result<(Cursor, Vec<u8>, Progress)> {
    let work = move || {
        let mut out = Vec::new();
        loop {
            let mut progress = cursor.read(&mut out)?;
            if progress == Progress::End
                && let Some(log) = &follow
            {
                progress = cursor.follow(log)?;
            }
            if progress != Progress::More || out.len() >= FLUSH {
                return Ok((cursor, out, progress));
            }
        }
    };
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::logs::{LogLimits, OpenFiles};
    use futures::StreamExt;
    use runtime::{Output, Stream as Out};

    #[test]
    fn parses_the_query() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let parse = |pairs: &[(&str, &str)]| {
            let map = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            Wanted::parse(&map, now)
        };
        let wanted =
            parse(&[("follow", "true"), ("tailLines", "5"), ("sinceSeconds", "60"), ("previous", "false")]).unwrap();
        assert_eq!((wanted.follow, wanted.which, wanted.options.tail), (Follow::Yes, Which::Present, Some(5)));
        assert_eq!(wanted.options.since, Some("2026-01-01T00:00:00Z".parse().unwrap()));
        assert!(parse(&[("tailLines", "-1")]).is_err());
        assert!(parse(&[("sinceTime", "yesterday")]).is_err());
    }

    #[tokio::test]
    async fn following_ends_with_the_container_and_misses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let limits = LogLimits { max_bytes: 300, max_files: 100 };
        let log = ContainerLog::new(dir.path().join("c"), 0, limits, Clock::System, OpenFiles::new(1));
        log.write(Out::Stdout, b"first\n");
        let cursor = Cursor::open(log.dir(), 0, Options::default()).unwrap();
        let stream = stream(cursor, Some(log.clone()));
        let writer = std::thread::spawn(move || {
            for i in 0..200 {
                log.write(Out::Stdout, format!("line {i}\n").as_bytes());
            }
            log.write(Out::Stderr, b"no newline");
            log.close();
        });
        let chunks: Vec<_> = stream.map(|c| c.unwrap()).collect().await;
        writer.join().unwrap();
        let text = String::from_utf8(chunks.concat()).unwrap();
        assert_eq!(text.lines().count(), 202);
        assert!(text.starts_with("first\nline 0\n") && text.ends_with("line 199\nno newline\n"));
    }
}
