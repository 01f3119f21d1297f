//! Waiting on a condition with a deadline.

use std::future::Future;
use std::time::{Duration, Instant};

/// Between two looks.
const PERIOD: Duration = Duration::from_millis(20);

/// Looks at `condition` until it gives `Ok`, for at most `limit`.
///
/// # Panics
/// When time is over, with the last `Err` as the reason.
pub async fn eventually<T, E, F, Fut>(what: &str, limit: Duration, mut condition: F) -> T
where
    E: std::fmt::Display,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let started = Instant::now();
    loop {
        match condition().await {
            Ok(value) => return value,
            Err(error) if started.elapsed() > limit => panic!("{what}: not within {limit:?}: {error}"),
            Err(_) => tokio::time::sleep(PERIOD).await,
        }
    }
}
