//! What a pod costs the agent, as far as types tell.

use std::sync::Arc;

use api::k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::Harness;
use crate::pod::PodContext;
use crate::pod::record::Verdict;
use crate::states::{self, Admission};

struct Anybody;

impl Admission for Anybody {
    fn admit(&self, _: &PodContext, _: &Pod) -> Result<(), Verdict> {
        Ok(())
    }

    fn release(&self, _: &PodContext) {}
}

#[tokio::test]
async fn a_pods_task_is_small() {
    let h = Harness::start().await;
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "n", "uid": "u"},
        "spec": {"containers": [{"name": "c", "image": "i"}]}
    }))
    .unwrap();
    let context = PodContext::new(h.agent.node(), Arc::new(pod)).unwrap();
    let container = std::mem::size_of_val(&crate::container::live(Arc::clone(&context), 0));
    let task = std::mem::size_of_val(&states::run(context, Arc::new(Anybody)));
    println!("task {task}, container {container}, context {}", size_of::<PodContext>());
    assert!(task < 8 * 1024, "the task of a pod takes {task} bytes");
    assert!(container < 4 * 1024, "a container in it takes {container} bytes");
}
