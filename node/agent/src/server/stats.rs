//! CPU and memory of the node's containers: `/stats/summary` and `/metrics/resource`.

use std::fmt::Write;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Shared;
use crate::pod::PodContext;

struct Usage {
    container: String,
    cpu_nanos: u64,
    memory_bytes: u64,
}

fn usage(pod: &PodContext) -> Vec<Usage> {
    pod.read(|r| {
        let running = r.containers.iter().filter_map(|c| Some((c, c.instance.as_ref()?)));
        running
            .map(|(c, instance)| {
                let stats = instance.container.stats();
                Usage {
                    container: c.name.clone(),
                    cpu_nanos: u64::try_from(stats.cpu_time.as_nanos()).unwrap_or(u64::MAX),
                    memory_bytes: stats.memory_bytes,
                }
            })
            .collect()
    })
}

pub async fn summary(State(shared): State<Shared>) -> Response {
    let time = shared.node.config.clock.time();
    let figures = |cpu: u64, memory: u64| {
        json!({
            "cpu": {"time": time, "usageCoreNanoSeconds": cpu},
            "memory": {"time": time, "usageBytes": memory, "workingSetBytes": memory, "rssBytes": memory},
        })
    };
    let mut pods = Vec::new();
    let (mut all_cpu, mut all_memory) = (0u64, 0u64);
    for pod in shared.pods.all() {
        let usage = usage(&pod);
        let cpu = usage.iter().map(|u| u.cpu_nanos).sum();
        let memory = usage.iter().map(|u| u.memory_bytes).sum();
        (all_cpu, all_memory) = (all_cpu.saturating_add(cpu), all_memory.saturating_add(memory));
        let mut entry = figures(cpu, memory);
        entry["podRef"] = json!({"name": pod.name, "namespace": pod.namespace, "uid": pod.uid});
        entry["startTime"] = json!(pod.read(|r| r.start_time.map(|t| t.to_string())));
        entry["containers"] = usage
            .iter()
            .map(|u| {
                let mut one = figures(u.cpu_nanos, u.memory_bytes);
                one["name"] = json!(u.container);
                one
            })
            .collect();
        pods.push(entry);
    }
    let mut node = figures(all_cpu, all_memory);
    node["nodeName"] = json!(shared.node.name());
    super::json(StatusCode::OK, &json!({"node": node, "pods": pods}))
}

pub async fn resource_metrics(State(shared): State<Shared>) -> Response {
    let mut cpu = String::from("# TYPE container_cpu_usage_seconds_total counter\n");
    let mut memory = String::from("# TYPE container_memory_working_set_bytes gauge\n");
    let (mut all_cpu, mut all_memory) = (0u64, 0u64);
    for pod in shared.pods.all() {
        for usage in usage(&pod) {
            all_cpu = all_cpu.saturating_add(usage.cpu_nanos);
            all_memory = all_memory.saturating_add(usage.memory_bytes);
            let labels =
                format!("container=\"{}\",namespace=\"{}\",pod=\"{}\"", usage.container, pod.namespace, pod.name);
            // Writing to a String can't fail.
            let _ = writeln!(cpu, "container_cpu_usage_seconds_total{{{labels}}} {}", seconds(usage.cpu_nanos));
            let _ = writeln!(memory, "container_memory_working_set_bytes{{{labels}}} {}", usage.memory_bytes);
        }
    }
    let text = format!(
        "{cpu}{memory}# TYPE node_cpu_usage_seconds_total counter\nnode_cpu_usage_seconds_total {}\n\
         # TYPE node_memory_working_set_bytes gauge\nnode_memory_working_set_bytes {all_memory}\n",
        seconds(all_cpu)
    );
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

fn seconds(nanos: u64) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}
