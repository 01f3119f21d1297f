//! Two servers on one etcd.

use store::{CommitError, Store, Txn};

use super::Prefix;
use crate::{text, value};

async fn two() -> (Prefix, Store, Store) {
    let prefix = Prefix::fresh();
    let first = Store::connect(prefix.options()).await.unwrap();
    let second = Store::connect(prefix.options()).await.unwrap();
    (prefix, first, second)
}

#[tokio::test]
async fn both_see_each_others_writes_and_conflicts() {
    let (_etcd, first, second) = two().await;
    assert_eq!(first.cluster_id(), second.cluster_id());
    let mut watch = second.watch(b"", second.revision()).unwrap();
    let made = first.commit(Txn::create("a", value("1"))).await.unwrap();
    assert_eq!(text(&first.snapshot(), "a").as_deref(), Some("1"), "whoever wrote reads it");
    assert_eq!(text(&second.latest().await.unwrap(), "a").as_deref(), Some("1"), "so does the other, who asks");
    let batch = watch.next().await.unwrap();
    assert_eq!((batch.revision, batch.events.len()), (made.revision, 1));
    let error = second.commit(Txn::create("a", value("2"))).await.unwrap_err();
    let CommitError::Conflict { actual: Some(actual), .. } = error else { panic!("{error}") };
    assert_eq!(actual.mod_revision, made.revision);
    let done = second.commit(Txn::update("a", made.revision, value("2"))).await.unwrap();
    first.reached(done.revision, std::time::Duration::from_secs(10)).await.unwrap();
    assert_eq!(text(&first.snapshot(), "a").as_deref(), Some("2"));
}
