//! Kubernetes' own end-to-end suites, scenario by scenario: the same requests and the same expectations, with
//! WebAssembly programs in the place of its test images. Each function has the name of Kubernetes' test.

mod apps_deployment;
mod apps_replicas;
mod scene;
mod stage;
