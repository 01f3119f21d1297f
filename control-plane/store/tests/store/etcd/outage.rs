//! etcd is cut off, killed, stopped, compacted or replaced: reads go on, writes fail with what is known, and nobody
//! misses an event or sees one twice.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use store::etcd::{Options, Timeouts};
use store::{CommitError, OpenError, RevisionError, Store, Txn, Watch, WatchError};

use super::proxy::Proxy;
use super::{Disk, Prefix, Server, options};
use crate::linear::{Plan, Servers, run};
use crate::{text, value};

/// Short, so that tests are.
const QUICK: Timeouts = Timeouts {
    connect: Duration::from_millis(500),
    request: Duration::from_secs(2),
    pulse: Duration::from_millis(100),
    barrier: Duration::from_secs(1),
    patience: Duration::from_millis(500),
};

fn quick(options: Options) -> Options {
    Options { timeouts: QUICK, ..options }
}

/// A write that works once etcd is back. Gives up after a minute.
async fn persist(store: &Store, txn: Txn) -> u64 {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match store.commit(txn.clone()).await {
            Ok(done) => return done.revision,
            Err(CommitError::Unavailable { .. } | CommitError::Unknown { .. }) if Instant::now() < deadline => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Wait until the store has everything again. Gives up after a minute.
async fn caught_up(store: &Store) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(error) = store.latest().await {
        assert!(Instant::now() < deadline, "{error}");
    }
}

/// The values of the next `count` events.
async fn values(watch: &mut Watch, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let batch = watch.next().await.unwrap();
        let body = |event: &Arc<store::Event>| event.entry.as_ref().unwrap().value.body.to_vec();
        seen.extend(batch.events.iter().map(|event| String::from_utf8(body(event)).unwrap()));
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_after_the_connection_was_cut() {
    let prefix = Prefix::fresh();
    let proxy = Proxy::before(prefix.server.endpoint()).await;
    let cut_off = Options { endpoints: vec![proxy.endpoint()], ..prefix.options() };
    let store = Store::connect(quick(cut_off)).await.unwrap();
    let other = Store::connect(prefix.options()).await.unwrap();
    let mut watch = store.watch(b"a", store.revision()).unwrap();
    let mut expected = Vec::new();
    for round in 0..10 {
        let text = round.to_string();
        proxy.cut();
        other.commit(Txn::new().put("a", value(&text))).await.unwrap();
        other.commit(Txn::new().put("a", value(&text))).await.unwrap();
        let error = store.commit(Txn::new().put("b", value("x"))).await.unwrap_err();
        assert!(matches!(error, CommitError::Unavailable { .. } | CommitError::Unknown { .. }), "{error}");
        proxy.heal();
        persist(&store, Txn::new().put("b", value("x"))).await;
        expected.extend([text.clone(), text]);
    }
    assert_eq!(values(&mut watch, 20).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_while_cut_off_ends_watches_and_loses_nothing_else() {
    let prefix = Prefix::fresh();
    let proxy = Proxy::before(prefix.server.endpoint()).await;
    let cut_off = Options { endpoints: vec![proxy.endpoint()], ..prefix.options() };
    let store = Store::connect(quick(cut_off)).await.unwrap();
    let other = Store::connect(prefix.options()).await.unwrap();
    store.commit(Txn::create("gone", value("1"))).await.unwrap();
    let before = store.commit(Txn::create("a", value("1"))).await.unwrap().revision;
    let mut watch = store.watch(b"a", before).unwrap();
    let mut quiet = store.watch(b"quiet", before).unwrap();
    proxy.cut();
    other.commit(Txn::new().put("a", value("2"))).await.unwrap();
    other.commit(Txn::new().delete("gone")).await.unwrap();
    let last = other.commit(Txn::new().put("a", value("3"))).await.unwrap().revision;
    // Not through a store: nobody is told.
    prefix.server.ctl(&["compaction", &last.to_string()]);
    assert_eq!(text(&store.snapshot(), "a").as_deref(), Some("1"), "reads go on");
    proxy.heal();
    caught_up(&store).await;
    let next = persist(&store, Txn::new().put("b", value("x"))).await;
    assert_eq!(text(&store.snapshot(), "a").as_deref(), Some("3"));
    assert!(store.snapshot().get(b"gone").is_none());
    for watch in [&mut watch, &mut quiet] {
        assert!(matches!(watch.next().await, Err(WatchError::Compacted { oldest }) if oldest >= last && oldest < next));
    }
    assert!(matches!(store.watch(b"", before), Err(RevisionError::Compacted { .. })));
    assert!(matches!(store.snapshot_at(before).await, Err(RevisionError::Compacted { .. })));
    let mut watch = store.watch(b"b", last).unwrap();
    assert_eq!(values(&mut watch, 1).await, ["x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_past_a_quiet_store_is_nothing_to_it() {
    let prefix = Prefix::fresh();
    let proxy = Proxy::before(prefix.server.endpoint()).await;
    let cut_off = Options { endpoints: vec![proxy.endpoint()], ..prefix.options() };
    let store = Store::connect(quick(cut_off)).await.unwrap();
    let before = store.commit(Txn::create("a", value("1"))).await.unwrap().revision;
    let mut watch = store.watch(b"a", before).unwrap();
    proxy.cut();
    let stranger = Store::connect(Prefix::on(&prefix.server).options()).await.unwrap();
    let last = stranger.commit(Txn::create("x", value("1"))).await.unwrap().revision;
    prefix.server.ctl(&["compaction", &last.to_string()]);
    proxy.heal();
    caught_up(&store).await;
    let next = persist(&store, Txn::new().put("a", value("2"))).await;
    let batch = watch.next().await.unwrap();
    assert_eq!((batch.revision, batch.events.len()), (next, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_stops_where_it_stands_is_noticed_in_time() {
    let prefix = Prefix::fresh();
    let store = Store::connect(quick(prefix.options())).await.unwrap();
    store.commit(Txn::create("a", value("1"))).await.unwrap();
    prefix.server.pause();
    let start = Instant::now();
    let error = store.commit(Txn::create("b", value("1"))).await.unwrap_err();
    assert!(matches!(error, CommitError::Unknown { .. } | CommitError::Unavailable { .. }), "{error}");
    let error = store.latest().await.unwrap_err();
    assert!(matches!(error, RevisionError::Unavailable { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    // Known to be away by now: nothing is sent any more.
    let error = store.commit(Txn::create("c", value("1"))).await.unwrap_err();
    assert!(matches!(error, CommitError::Unavailable { .. }), "{error}");
    assert!(!store.stats().etcd.unwrap().is_connected);
    assert_eq!(text(&store.snapshot(), "a").as_deref(), Some("1"), "reads go on");
    prefix.server.resume();
    persist(&store, Txn::new().put("d", value("1"))).await;
    assert!(store.latest().await.unwrap().get(b"c").is_none(), "what was not sent did not happen");
    assert!(store.stats().etcd.unwrap().is_connected);
}

/// Two stores, whose etcd is killed and started again, and stopped and resumed, while clients work.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn histories_are_linearizable_while_etcd_is_killed_and_stopped() {
    let server = Server::start(Disk::Synced);
    // A fresh read gives up soon: so long does a stop last.
    let timeouts = Timeouts { barrier: Duration::from_millis(300), ..QUICK };
    let options = || Options { timeouts, ..options(&server) };
    let stores = vec![Store::connect(options()).await.unwrap(), Store::connect(options()).await.unwrap()];
    let server = Arc::new(Mutex::new(server));
    for seed in 0..3 {
        let plan = Plan { seed, clients: 12, operations: 120, keys: 4, patience: Duration::from_secs(30) };
        let server = server.clone();
        let servers = Arc::new(Servers::new(stores.clone()));
        run(plan, servers, move |servers, over| async move {
            let store = servers.get(0);
            for round in 0.. {
                // After some more writes, or none when everybody is done.
                let (revision, deadline) = (store.revision(), Instant::now() + Duration::from_secs(5));
                while store.revision() < revision + 60 && !over.load(Ordering::SeqCst) && Instant::now() < deadline {
                    tokio::task::yield_now().await;
                }
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let server = server.clone();
                if round % 2 == 0 {
                    let kill = move || {
                        let mut server = server.lock();
                        server.kill();
                        server.restart();
                    };
                    tokio::task::spawn_blocking(kill).await.unwrap();
                } else {
                    server.lock().pause();
                    // Long enough for what was asked meanwhile to be in doubt.
                    while store.latest().await.is_ok() {}
                    server.lock().resume();
                }
            }
        })
        .await;
        // Each round begins with empty registers.
        for key in 0..plan.keys {
            persist(&stores[0], Txn::new().delete(format!("register/{key}"))).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_with_another_past_is_refused() {
    let mut server = Server::start(Disk::Synced);
    let store = Store::connect(quick(options(&server))).await.unwrap();
    store.commit(Txn::create("a", value("1"))).await.unwrap();
    server.kill();
    let (data, backup) = (server.folder().join("data"), server.folder().join("backup"));
    copy(&data, &backup);
    server.restart();
    for round in 0..5 {
        persist(&store, Txn::new().put("a", value(&round.to_string()))).await;
    }
    let revision = store.revision();
    server.kill();
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&backup, &data).unwrap();
    server.restart();
    // It counts the same revisions again, for other things.
    for round in 0..20 {
        server.ctl(&["put", "/other", &round.to_string()]);
    }
    let error = store.latest().await.unwrap_err();
    assert!(matches!(error, RevisionError::Unavailable { .. }), "{error}");
    let error = store.commit(Txn::new().put("a", value("x"))).await.unwrap_err();
    assert!(error.to_string().contains("it is not the one it was"), "{error}");
    assert_eq!((store.revision(), text(&store.snapshot(), "a").as_deref()), (revision, Some("4")), "reads go on");
    // An empty one in its place is none, either.
    server.kill();
    std::fs::remove_dir_all(&data).unwrap();
    server.restart();
    assert!(store.latest().await.is_err());
    assert!(store.commit(Txn::new().put("a", value("x"))).await.is_err());
    assert_eq!(server.ctl(&["get", "--prefix", "/skiff/", "--keys-only"]).trim(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_member_takes_over_when_the_leader_is_gone() {
    let mut members = Server::three();
    let endpoints: Vec<String> = members.iter().map(Server::endpoint).collect();
    let leader = members.iter().position(Server::leads).unwrap();
    // The leader is the one that is talked to.
    let mut order = endpoints.clone();
    order.rotate_left(leader);
    let store = Store::connect(quick(Options::new(order))).await.unwrap();
    let mut watch = store.watch(b"", store.revision()).unwrap();
    store.commit(Txn::new().put("a", value("1"))).await.unwrap();
    members[leader].kill();
    persist(&store, Txn::new().put("a", value("2"))).await;
    assert_eq!(text(&store.latest().await.unwrap(), "a").as_deref(), Some("2"));
    members[leader].restart();
    // Without a majority nothing can be written, or known to be the newest.
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    others.iter().for_each(|other| members[*other].kill());
    let deadline = Instant::now() + Duration::from_secs(60);
    while store.commit(Txn::new().put("b", value("x"))).await.is_ok() {
        assert!(Instant::now() < deadline);
    }
    assert!(store.latest().await.is_err());
    assert_eq!(text(&store.snapshot(), "a").as_deref(), Some("2"), "reads go on");
    // Both at once: one alone would not come up.
    members[others[0]].spawn();
    members[others[1]].restart();
    persist(&store, Txn::new().put("a", value("3"))).await;
    assert_eq!(values(&mut watch, 3).await.last().map(String::as_str), Some("3"));
}

/// More than etcd sends at once, and more than one message may have: read in pages, followed in pieces.
#[tokio::test(flavor = "multi_thread")]
async fn large_states_and_long_absences() {
    const LARGE: usize = 80;
    let prefix = Prefix::fresh();
    let proxy = Proxy::before(prefix.server.endpoint()).await;
    let cut_off = Options { endpoints: vec![proxy.endpoint()], ..prefix.options() };
    let follower =
        Store::connect(Options { timeouts: Timeouts { request: Duration::from_secs(30), ..QUICK }, ..cut_off });
    let follower = follower.await.unwrap();
    let store = Store::connect(prefix.options()).await.unwrap();
    let mut watch = follower.watch(b"large", follower.revision()).unwrap();
    proxy.cut();
    for page in 0..8 {
        let txn = (0..100).fold(Txn::new(), |txn, key| txn.put(format!("a/{page}/{key}"), value("small")));
        store.commit(txn).await.unwrap();
    }
    let mut expected = Vec::new();
    for number in 0..LARGE {
        let body = number.to_string().repeat(500_000);
        store.commit(Txn::new().put(format!("large/{number}"), value(&body))).await.unwrap();
        expected.push(body);
    }
    proxy.heal();
    assert!(values(&mut watch, LARGE).await == expected, "each once, in order");
    assert_eq!(follower.snapshot().len(), 800 + LARGE);
    let fresh = Store::connect(prefix.options()).await.unwrap();
    let (fresh, known) = (fresh.snapshot(), store.snapshot());
    assert!(fresh.range(b"", None).eq(known.range(b"", None)));
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    assert!(std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

async fn refused(options: Options) -> OpenError {
    match Store::connect(options).await {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn what_is_no_etcd_is_refused_in_time() {
    let start = Instant::now();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    for endpoint in [silent, "127.0.0.1:1".to_owned(), "no-such-host.invalid:2379".to_owned()] {
        let error = refused(quick(Options::new(vec![endpoint.clone()]))).await;
        assert!(matches!(error, OpenError::Etcd { .. }), "{error}");
        assert!(error.to_string().starts_with(&format!("etcd://{endpoint}/skiff/: ")), "{error}");
    }
    assert!(start.elapsed() < Duration::from_secs(90), "{:?}", start.elapsed());
}

#[tokio::test]
async fn one_member_that_is_away_does_not_matter() {
    let server = Server::start(Disk::Fast);
    let endpoints = vec!["127.0.0.1:1".to_owned(), server.endpoint()];
    let store = Store::connect(quick(Options::new(endpoints))).await.unwrap();
    store.commit(Txn::create("a", value("1"))).await.unwrap();
}
