//! How long one decision takes, and with it the most pods a second that one scheduler places.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use scheduler::{Decision, Node, Pod, Resources, Snapshot, decide};

fn cluster(nodes: usize) -> Snapshot {
    let mut snapshot = Snapshot::new(1);
    for at in 0..nodes {
        let mut node = Node::new(&format!("node-{at}"));
        node.allocatable = Resources { cpu: 32_000, memory: 64 << 30, ..Resources::default() };
        node.labels.insert("kubernetes.io/hostname".into(), node.name.to_string());
        node.allowed_pods = 10_000;
        snapshot.set_node(node);
    }
    snapshot
}

fn pod(at: usize) -> Pod {
    let requests = Resources { cpu: 10, memory: 1 << 20, ..Resources::default() };
    let uid = at.to_string().into();
    Pod { uid, requests, scored_cpu: 10, scored_memory: 1 << 20, ..Pod::default() }
}

fn decisions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide and assume");
    group.throughput(Throughput::Elements(1));
    for nodes in [10, 1_000, 5_000] {
        group.bench_function(format!("{nodes} nodes"), |bencher| {
            let mut snapshot = cluster(nodes);
            let mut at = 0;
            bencher.iter(|| {
                at += 1;
                let pod = pod(at);
                match decide(black_box(&snapshot), &pod) {
                    Decision::Bind(name) => {
                        snapshot.add_pod(&name, &pod);
                        snapshot.remove_pod(&name, &pod);
                    }
                    Decision::Unschedulable(why) => panic!("{why}"),
                }
            });
        });
    }
    let snapshot = cluster(5_000);
    let greedy = Pod { requests: Resources { cpu: 99_000, ..Resources::default() }, ..Pod::default() };
    group.bench_function("5,000 nodes, none suits", |bencher| {
        bencher.iter(|| decide(black_box(&snapshot), &greedy));
    });
    group.finish();
}

criterion_group!(benches, decisions);
criterion_main!(benches);
