//! Doing many API calls at once, carefully at first.

use futures::future::join_all;
use std::future::Future;

/// Most calls in flight for one object.
const LIMIT: usize = 64;

/// Kubernetes' slow start: batches of 1, 2, 4, … (at most 64) calls; after a batch with an error the rest is
/// not tried, so that a quota or a broken template costs a handful of calls and not thousands.
/// Returns the results of all calls that were made.
pub async fn slow_start<T, R, E, F, Fut>(items: Vec<T>, call: F) -> Vec<Result<R, E>>
where
    F: Fn(T) -> Fut,
    Fut: Future<Output = Result<R, E>>,
{
    let mut results = Vec::with_capacity(items.len());
    let mut items = items.into_iter();
    let mut size = 1;
    loop {
        let batch: Vec<_> = items.by_ref().take(size).map(&call).collect();
        if batch.is_empty() {
            return results;
        }
        let outcomes = join_all(batch).await;
        let failed = outcomes.iter().any(Result::is_err);
        results.extend(outcomes);
        if failed {
            return results;
        }
        size = (size * 2).min(LIMIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stops_after_the_batch_that_failed() {
        let results = slow_start((0..100).collect(), |n| async move { if n == 4 { Err(n) } else { Ok(n) } }).await;
        assert_eq!(results.len(), 1 + 2 + 4);
        assert_eq!(results.iter().filter(|r| r.is_err()).count(), 1);
        let all: Vec<Result<_, ()>> = slow_start((0..100).collect(), |n| async move { Ok(n) }).await;
        assert_eq!(all.len(), 100);
    }
}
