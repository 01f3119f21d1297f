//! Tests of the whole agent: real runtime, network and images against a fake API server in memory.

mod fake_api;
mod harness;
mod lifecycle;
mod memory;
mod volumes;

pub use fake_api::FakeApi;
pub use harness::Harness;

/// The compiler process of these tests: this very test binary (see `runtime::CompilerCommand::libtest`).
#[test]
fn compile_child() {
    runtime::compile_child_test();
}
