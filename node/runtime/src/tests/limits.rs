//! Memory, fuel, CPU and the number of instances.

use std::time::Duration;

use super::{Harness, command, end_of};
use crate::{ExitReason, Flavor, StartError};

/// Grows by a page until that fails, then exits 0.
const BOMB: &str = "(loop $more
    (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))";

#[tokio::test]
async fn memory_beyond_the_limit_is_oom_killed() {
    let harness = Harness::new();
    let container = harness.start(&command(BOMB, ""), |spec| spec.memory_limit_bytes = Some(1 << 20)).await;
    let exit = end_of(&container).await;
    assert_eq!((exit.code, exit.reason), (137, ExitReason::OomKilled), "{exit:?}");
    assert!(exit.message.contains("memory limit exceeded"), "{}", exit.message);
    let stats = container.stats();
    assert!(stats.memory_peak_bytes <= 1 << 20, "{stats:?}");
    assert_eq!(stats.memory_bytes, 0, "all given back");
}

#[tokio::test]
async fn initial_memory_beyond_the_limit_is_oom_killed_too() {
    let harness = Harness::new();
    let wat = r#"(module (memory (export "memory") 100) (func (export "_start")))"#;
    let exit = harness.run(wat, |spec| spec.memory_limit_bytes = Some(1 << 20)).await;
    assert_eq!(exit.reason, ExitReason::OomKilled, "{exit:?}");
}

#[tokio::test]
async fn tables_count_as_memory() {
    let harness = Harness::new();
    let wat = r#"(module (memory (export "memory") 1) (table $t 1 funcref)
        (func (export "_start")
            (drop (table.grow $t (ref.null func) (i32.const 10000)))))"#;
    let exit = harness.run(wat, |spec| spec.memory_limit_bytes = Some(100_000)).await;
    assert_eq!(exit.reason, ExitReason::OomKilled, "{exit:?}");
}

#[tokio::test]
async fn growth_beyond_the_modules_own_maximum_is_the_guests_business() {
    let harness = Harness::new();
    let wat = command(BOMB, "").replace(r#"(export "memory") 1"#, r#"(export "memory") 1 4"#);
    let exit = harness.run(&wat, |spec| spec.memory_limit_bytes = Some(1 << 20)).await;
    assert_eq!(exit.code, 0, "{exit:?}");
}

#[tokio::test]
async fn fuel_is_counted_and_runs_out() {
    let harness = Harness::new();
    let endless = command("(loop $ever (br $ever))", "");
    let container = harness.start(&endless, |spec| spec.fuel = Some(1_000_000)).await;
    let exit = end_of(&container).await;
    assert_eq!((exit.code, exit.reason), (137, ExitReason::FuelExhausted), "{exit:?}");
    assert_eq!(container.stats().fuel_used, 1_000_000);

    let short = harness.start(&command("", ""), |spec| spec.fuel = Some(1_000_000)).await;
    assert_eq!(end_of(&short).await.code, 0);
    let used = short.stats().fuel_used;
    assert!((1..100).contains(&used), "{used}");
    let again = harness.start(&command("", ""), |spec| spec.fuel = Some(1_000_000)).await;
    assert_eq!(end_of(&again).await.code, 0);
    assert_eq!(again.stats().fuel_used, used, "deterministic");
}

#[tokio::test]
async fn a_fuel_limit_and_the_modules_flavor_must_agree() {
    let harness = Harness::new();
    let plain = harness.load(&command("", "")).await.unwrap();
    let mut spec = harness.spec();
    spec.fuel = Some(1);
    assert!(matches!(harness.runtime.start(plain, spec), Err(StartError::Flavor)));
    let wasm = wat::parse_str(command("", "")).unwrap();
    let fuel = harness.load_bytes(&wasm, Flavor::Fuel).await.unwrap();
    assert!(matches!(harness.runtime.start(fuel, harness.spec()), Err(StartError::Flavor)));
}

#[tokio::test]
async fn cpu_limits_hold_a_guest_back() {
    let harness = Harness::new();
    let endless = command("(loop $ever (br $ever))", "");
    let container = harness.start(&endless, |spec| spec.cpu_limit_millis = Some(100)).await;
    // How much it gets done in which time depends on the machine; that it is held back again and again does not.
    super::until(|| container.stats().throttled >= Duration::from_millis(300)).await;
    assert!(container.stats().cpu_time >= Duration::from_millis(10), "{:?}", container.stats());
    container.kill();
    end_of(&container).await;
}

#[tokio::test]
async fn the_node_fills_up_and_empties() {
    let harness = Harness::with(|config| config.max_instances = 2);
    assert_eq!(harness.runtime.max_instances(), 2);
    let endless = command("(loop $ever (br $ever))", "");
    let one = harness.start(&endless, |_| {}).await;
    let two = harness.start(&endless, |_| {}).await;
    let module = harness.load(&endless).await.unwrap();
    let full = harness.runtime.start(module.clone(), harness.spec());
    assert!(matches!(full, Err(StartError::NodeFull { limit: 2 })));
    one.kill();
    end_of(&one).await;
    let three = harness.runtime.start(module, harness.spec()).unwrap();
    for container in [two, three] {
        container.kill();
        end_of(&container).await;
    }
}

#[tokio::test]
async fn dropping_the_runtime_ends_its_guests() {
    let harness = Harness::new();
    let container = harness.start(&command("(loop $ever (br $ever))", ""), |_| {}).await;
    drop(harness);
    assert_eq!(end_of(&container).await.reason, ExitReason::Killed);
}
