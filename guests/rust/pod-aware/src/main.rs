//! A command that asks the node which pod it is, waits to be told to stop, and says goodbye: what `skiff:pod`
//! (`wit/pod.wit`) is for. `kubectl delete pod` shows the goodbye in the log; exit code 0.
//!
//! With `HEARTBEAT_MS` in its environment it prints a line every so many milliseconds while it waits.

use std::env;
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use crate::skiff::pod::{identity, lifecycle};

wit_bindgen::generate!({
    path: "../../../wit",
    world: "skiff:pod/pod-guest",
    generate_all,
});

fn main() {
    println!("pod {}/{} ({})", identity::namespace(), identity::name(), identity::uid());
    println!("on node {} at {}", identity::node(), identity::ip());
    for (key, value) in identity::labels() {
        println!("label {key}={value}");
    }
    flush();
    match env::var("HEARTBEAT_MS").ok().and_then(|text| text.parse().ok()) {
        Some(milliseconds) => beat_until_shutdown(Duration::from_millis(milliseconds)),
        None => lifecycle::subscribe_shutdown().block(),
    }
    match lifecycle::deadline() {
        Some(left) => println!("told to stop, {left} ms left: goodbye"),
        None => println!("told to stop: goodbye"),
    }
    flush();
}

fn beat_until_shutdown(pause: Duration) {
    let mut beats = 0_u64;
    while !lifecycle::shutdown_requested() {
        beats += 1;
        println!("beat {beats}");
        flush();
        thread::sleep(pause);
    }
}

/// Output that cannot be written is nobody's loss here.
fn flush() {
    let _ = io::stdout().flush();
}
