//! A host function that panics takes its guest with it and nothing else.

use std::sync::Arc;

use super::{Harness, command, end_of};
use crate::{ExitReason, Output, Stream};

struct Broken;

impl Output for Broken {
    fn write(&self, _stream: Stream, _bytes: &[u8]) {
        panic!("the log is broken");
    }
}

#[tokio::test]
async fn a_panic_in_the_host_ends_one_guest_only() {
    let harness = Harness::new();
    let wat = command("(call $print (i32.const 1) (i32.const 64) (i32.const 1))", "");
    let container = harness.start(&wat, |spec| spec.output = Arc::new(Broken)).await;
    let exit = end_of(&container).await;
    assert_eq!((exit.code, exit.reason), (128, ExitReason::Error), "{exit:?}");
    assert!(exit.message.contains("the log is broken"), "{}", exit.message);
    assert_eq!(harness.run(&wat, |_| {}).await.code, 0);
}
