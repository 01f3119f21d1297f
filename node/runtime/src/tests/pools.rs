//! More instances than the first pool holds.

use super::{Harness, command, end_of};

#[tokio::test]
async fn instances_beyond_the_first_pool_run_in_the_second() {
    let harness = Harness::with(|config| config.max_instances = 1_500);
    let wat = command("(call $proc_exit (call $wait (i64.const -1)))", "").replacen(
        "(memory",
        r#"(import "skiff:pod" "wait_shutdown" (func $wait (param i64) (result i32)))
           (memory"#,
        1,
    );
    let module = harness.load(&wat).await.unwrap();
    let start = || harness.runtime.start(module.clone(), harness.spec()).unwrap();
    let containers: Vec<_> = (0..1_200).map(|_| start()).collect();
    assert_eq!(harness.runtime.instances(), 1_200);
    for container in &containers {
        container.signal_stop(std::time::Duration::from_secs(60));
    }
    for container in &containers {
        assert_eq!(end_of(container).await.code, 1);
    }
}
