//! Is a concurrent history linearizable? Clients read, write and compare-and-swap a few keys while something disturbs
//! the store; then every key's history is searched for an order that explains what each client saw (Wing and Gong's
//! search with Lowe's memory). Entry point for any backend: [`run`]; tests of the checker itself are below.
//!
//! An operation whose outcome nobody knows (its error leaves it open) may take effect at any time after it began, or
//! never. Beside the search, revisions are held against real time: they are unique, and never run backwards.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use store::{CommitError, Options, Snapshot, Store, Txn};

use crate::{open_in, value};

/// What a register holds: every write has a number of its own; `None` when the key does not exist.
type Register = Option<u64>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Read(Register),
    /// Store this, whatever was there.
    Write(Register),
    /// Store the second where the first was, and succeed.
    Swap(Register, Register),
    /// Find something else than this.
    Refused(Register),
}

#[derive(Clone, Copy, Debug)]
struct Operation {
    action: Action,
    called: Instant,
    /// `None`: the outcome is not known.
    returned: Option<Instant>,
    /// The revision that the store named for it.
    revision: Option<u64>,
}

impl Action {
    fn is_change(self) -> bool {
        matches!(self, Action::Write(_) | Action::Swap(..))
    }

    /// What the register holds afterwards; `None` when this cannot happen while it holds `now`.
    fn after(self, now: Register) -> Option<Register> {
        match self {
            Action::Read(seen) => (seen == now).then_some(now),
            Action::Write(new) => Some(new),
            Action::Swap(old, new) => (old == now).then_some(new),
            Action::Refused(old) => (old != now).then_some(now),
        }
    }
}

/// Whether some order of `operations` on one register, which begins empty, keeps to real time and explains every
/// outcome.
fn is_linearizable(operations: &[Operation]) -> bool {
    let mut sorted = operations.to_vec();
    sorted.sort_by_key(|operation| operation.called);
    let mut search = Search { done: vec![0; sorted.len().div_ceil(64)], operations: &sorted, seen: HashSet::new() };
    search.complete(0, Place { now: None, unseen: None })
}

/// Where in the order the search stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    now: Register,
    /// The last operation is one of unknown outcome, put there for what comes next to see; this was before it.
    unseen: Option<Register>,
}

struct Search<'a> {
    operations: &'a [Operation],
    /// One bit per operation that the order holds so far.
    done: Vec<u64>,
    /// Where the search has been in vain.
    seen: HashSet<(Vec<u64>, Place)>,
}

impl Search<'_> {
    /// Whether the order can be completed. All operations before `from` are in it already.
    fn complete(&mut self, mut from: usize, place: Place) -> bool {
        while from < self.operations.len() && self.is_done(from) {
            from += 1;
        }
        let open: Vec<usize> = (from..self.operations.len()).filter(|index| !self.is_done(*index)).collect();
        // Whoever has returned before another was called comes before it.
        let Some(first_return) = open.iter().filter_map(|index| self.operations[*index].returned).min() else {
            return true;
        };
        let mut next: Vec<usize> =
            open.into_iter().take_while(|index| self.operations[*index].called <= first_return).collect();
        next.retain(|index| self.is_useful(*index, place));
        // What changes nothing and fits is best taken at once: that closes no way.
        let fits = |action: Action| !action.is_change() && action.after(place.now).is_some();
        let fitting = next.iter().find(|index| fits(self.operations[**index].action));
        if let Some(fitting) = fitting {
            next = vec![*fitting];
        } else if !self.seen.insert((self.done.clone(), place)) {
            return false;
        }
        next.sort_by_key(|index| self.operations[*index].returned.is_none());
        for index in next {
            let operation = &self.operations[index];
            let Some(after) = operation.action.after(place.now) else { continue };
            let unseen = operation.returned.is_none().then_some(place.now);
            self.done[index / 64] ^= 1 << (index % 64);
            if self.complete(from, Place { now: after, unseen }) {
                return true;
            }
            self.done[index / 64] ^= 1 << (index % 64);
        }
        false
    }

    /// Whether an order may go on with this. One of unknown outcome need not be in the order at all, so it is there
    /// only when it makes a difference to the next one.
    fn is_useful(&self, index: usize, place: Place) -> bool {
        let operation = &self.operations[index];
        let differs = operation.returned.is_some() || operation.action.after(place.now) != Some(place.now);
        let sees = place.unseen.is_none_or(|before| match operation.action {
            Action::Write(_) => false,
            Action::Read(_) | Action::Swap(..) => true,
            Action::Refused(old) => old == before,
        });
        differs && sees
    }

    fn is_done(&self, index: usize) -> bool {
        self.done[index / 64] & 1 << (index % 64) != 0
    }
}

/// A key's history, and the place for what clients do to it.
pub type Histories = BTreeMap<u8, Vec<Recorded>>;

/// One operation on one key, as its client saw it.
#[derive(Clone, Copy, Debug)]
pub struct Recorded(Operation);

/// How much concurrency, for how long.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub clients: u64,
    /// Operations of each client.
    pub operations: u64,
    pub keys: u8,
    /// An operation that takes longer is given up; its outcome counts as unknown.
    pub patience: Duration,
}

/// Stores that serve the same cluster: clients take turns among them. A disturber may replace one (restart).
pub struct Servers {
    stores: RwLock<Vec<Store>>,
    /// Grows with each replacement.
    generation: AtomicU64,
}

impl Servers {
    pub fn new(stores: Vec<Store>) -> Self {
        Self { stores: RwLock::new(stores), generation: AtomicU64::new(0) }
    }

    pub fn get(&self, index: usize) -> Store {
        let stores = self.stores.read();
        stores[index % stores.len()].clone()
    }

    /// Put `store` in the place of an earlier one, which must be closed.
    pub fn replace(&self, index: usize, store: Store) {
        let mut stores = self.stores.write();
        stores[index] = store;
        self.generation.fetch_add(1, Ordering::SeqCst);
    }
}

/// Let many clients work on `servers` while `disturb` runs, then check what they saw. `disturb` gets a flag that
/// becomes true when the clients are done, and must return soon after.
///
/// # Panics
/// When the history is not linearizable; the plan is in the message.
pub async fn run<F>(plan: Plan, servers: Arc<Servers>, disturb: impl FnOnce(Arc<Servers>, Arc<AtomicBool>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let over = Arc::new(AtomicBool::new(false));
    let disturber = tokio::spawn(disturb(servers.clone(), over.clone()));
    let histories = Arc::new(Mutex::new(Histories::new()));
    let clients: Vec<_> = (0..plan.clients)
        .map(|number| tokio::spawn(Client::new(plan, number, servers.clone(), histories.clone()).work()))
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    over.store(true, Ordering::SeqCst);
    disturber.await.unwrap();
    // What the store holds in the end is one more read of each key.
    let mut last = Client::new(plan, plan.clients, servers, histories.clone());
    for key in 0..plan.keys {
        last.key = key;
        last.read().await;
    }
    check(&plan, &histories.lock());
}

fn check(plan: &Plan, histories: &Histories) {
    let all: Vec<Operation> = histories.values().flatten().map(|recorded| recorded.0).collect();
    let known = all.iter().filter(|operation| operation.returned.is_some()).count();
    assert!(known as u64 > plan.clients * plan.operations / 4, "{plan:?}: only {known} operations worked");
    if let Some(wrong) = runs_backwards(&all) {
        panic!("{plan:?}: {wrong}");
    }
    for (key, history) in histories {
        let operations: Vec<Operation> = history.iter().map(|recorded| recorded.0).collect();
        assert!(is_linearizable(&operations), "{plan:?}: no order explains key {key}: {operations:#?}");
    }
}

/// What contradicts that revisions follow real time, if anything does.
fn runs_backwards(operations: &[Operation]) -> Option<String> {
    let mut returns: Vec<(Instant, u64)> =
        operations.iter().filter_map(|operation| Some((operation.returned?, operation.revision?))).collect();
    returns.sort_unstable();
    let mut calls: Vec<&Operation> = operations.iter().filter(|operation| operation.revision.is_some()).collect();
    calls.sort_by_key(|operation| operation.called);
    let (mut newest, mut returned) = (0, returns.into_iter().peekable());
    let mut written = HashSet::new();
    for operation in calls {
        while let Some((_, revision)) = returned.next_if(|(at, _)| *at < operation.called) {
            newest = newest.max(revision);
        }
        let revision = operation.revision?;
        let is_write = operation.action.is_change();
        if revision < newest || (is_write && (revision == newest || !written.insert(revision))) {
            return Some(format!("{operation:?} after revision {newest} had been acknowledged"));
        }
    }
    None
}

struct Client {
    plan: Plan,
    number: u64,
    servers: Arc<Servers>,
    histories: Arc<Mutex<Histories>>,
    random: SmallRng,
    key: u8,
    /// Value and revision of each key as last seen by this client.
    known: BTreeMap<u8, (Register, u64)>,
}

/// How a commit ended, as far as its client can tell.
enum Outcome {
    Done(u64),
    Refused,
    Failed,
    Unknown,
}

impl Client {
    fn new(plan: Plan, number: u64, servers: Arc<Servers>, histories: Arc<Mutex<Histories>>) -> Self {
        let random = SmallRng::seed_from_u64(plan.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Self { plan, number, servers, histories, random, key: 0, known: BTreeMap::new() }
    }

    async fn work(mut self) {
        for round in 0..self.plan.operations {
            self.key = self.random.random_range(0..self.plan.keys);
            let new = self.number * self.plan.operations + round;
            match self.random.random_range(0..10) {
                0..4 => self.read().await,
                4..6 => self.write(Some(new)).await,
                6 => self.write(None).await,
                _ => self.swap(Some(new)).await,
            }
        }
    }

    fn server(&self) -> Store {
        self.servers.get(usize::try_from(self.number).unwrap())
    }

    async fn read(&mut self) {
        let called = Instant::now();
        let generation = self.servers.generation.load(Ordering::SeqCst);
        let store = self.server();
        let Ok(Ok(snapshot)) = tokio::time::timeout(self.plan.patience, store.latest()).await else { return };
        // A store that was closed meanwhile shows what it held then.
        if generation == self.servers.generation.load(Ordering::SeqCst) {
            let (seen, written) = look(&snapshot, self.key);
            self.known.insert(self.key, (seen, written));
            self.record(Action::Read(seen), called, true, Some(snapshot.revision()));
        }
    }

    async fn write(&mut self, new: Register) {
        let txn = change(Txn::new(), self.key, new);
        let called = Instant::now();
        match self.commit(txn).await {
            // A deletion of what is not there makes no revision.
            Outcome::Done(revision) => {
                self.known.insert(self.key, (new, if new.is_some() { revision } else { 0 }));
                self.record(Action::Write(new), called, true, new.map(|_| revision));
            }
            Outcome::Unknown => self.record(Action::Write(new), called, false, None),
            Outcome::Refused => panic!("a plain write was refused"),
            Outcome::Failed => {}
        }
    }

    async fn swap(&mut self, new: Register) {
        let (old, written) = self.known.get(&self.key).copied().unwrap_or_default();
        let txn = change(Txn::new(), self.key, new).require(name(self.key), written);
        let called = Instant::now();
        match self.commit(txn).await {
            Outcome::Done(revision) => {
                self.known.insert(self.key, (new, revision));
                self.record(Action::Swap(old, new), called, true, Some(revision));
            }
            Outcome::Refused => self.record(Action::Refused(old), called, true, None),
            Outcome::Unknown => self.record(Action::Swap(old, new), called, false, None),
            Outcome::Failed => {}
        }
    }

    async fn commit(&self, txn: Txn) -> Outcome {
        let generation = self.servers.generation.load(Ordering::SeqCst);
        let store = self.server();
        match tokio::time::timeout(self.plan.patience, store.commit(txn)).await {
            Ok(Ok(done)) => Outcome::Done(done.revision),
            Ok(Err(CommitError::Conflict { .. })) => Outcome::Refused,
            Ok(Err(CommitError::Full | CommitError::TooLarge { .. } | CommitError::Unavailable { .. })) => {
                Outcome::Failed
            }
            Ok(Err(CommitError::Closed)) => {
                self.reopened(generation).await;
                Outcome::Unknown
            }
            Ok(Err(_)) | Err(_) => Outcome::Unknown,
        }
    }

    /// Wait until a closed store has been replaced, at most as long as patience lasts.
    async fn reopened(&self, generation: u64) {
        let deadline = Instant::now() + self.plan.patience;
        while generation == self.servers.generation.load(Ordering::SeqCst) && Instant::now() < deadline {
            tokio::task::yield_now().await;
        }
    }

    fn record(&self, action: Action, called: Instant, is_known: bool, revision: Option<u64>) {
        let returned = is_known.then(Instant::now);
        let operation = Operation { action, called, returned, revision };
        self.histories.lock().entry(self.key).or_default().push(Recorded(operation));
    }
}

fn name(key: u8) -> String {
    format!("register/{key}")
}

fn change(txn: Txn, key: u8, new: Register) -> Txn {
    match new {
        Some(number) => txn.put(name(key), value(&number.to_string())),
        None => txn.delete(name(key)),
    }
}

fn look(snapshot: &Snapshot, key: u8) -> (Register, u64) {
    let entry = snapshot.get(name(key).as_bytes());
    let number = entry.map(|entry| str::from_utf8(&entry.value.body).unwrap().parse().unwrap());
    (number, entry.map_or(0, |entry| entry.mod_revision))
}

fn plan(seed: u64) -> Plan {
    Plan { seed, clients: 16, operations: 60, keys: 4, patience: Duration::from_secs(30) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_clients_of_a_store_in_memory() {
    for seed in 0..6 {
        let servers = Servers::new(vec![Store::open(Options::memory()).unwrap()]);
        run(plan(seed), Arc::new(servers), |_, _| async {}).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_clients_of_a_store_in_a_file() {
    for seed in 10..14 {
        let folder = tempfile::tempdir().unwrap();
        let store = open_in(&folder);
        run(plan(seed), Arc::new(Servers::new(vec![store.clone()])), |_, _| async {}).await;
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_clients_of_a_store_that_is_opened_again() {
    for seed in 20..24 {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let servers = Arc::new(Servers::new(vec![open_in(&folder)]));
        run(plan(seed), servers.clone(), |servers, over| async move {
            while !over.load(Ordering::SeqCst) {
                let store = servers.get(0);
                let revision = store.revision();
                // After some more writes, or none when everybody is done.
                while store.revision() < revision + 40 && !over.load(Ordering::SeqCst) {
                    tokio::task::yield_now().await;
                }
                store.compact(revision).await.unwrap();
                store.close().await;
                let folder = folder.clone();
                let opened = tokio::task::spawn_blocking(move || open_in(&folder)).await.unwrap();
                servers.replace(0, opened);
            }
        })
        .await;
        servers.get(0).close().await;
    }
}

/// Operations as (action, called, returned) at made-up times.
fn history(operations: &[(Action, u64, Option<u64>)]) -> Vec<Operation> {
    let zero = Instant::now();
    let at = |time| zero + Duration::from_secs(time);
    let operation = |(action, called, returned): &(Action, u64, Option<u64>)| Operation {
        action: *action,
        called: at(*called),
        returned: returned.map(at),
        revision: None,
    };
    operations.iter().map(operation).collect()
}

#[test]
fn overlapping_operations_may_come_in_any_order() {
    let write = (Action::Write(Some(1)), 1, Some(5));
    for seen in [None, Some(1)] {
        assert!(is_linearizable(&history(&[write, (Action::Read(seen), 2, Some(4))])));
    }
    let race = [
        (Action::Swap(None, Some(1)), 1, Some(9)),
        (Action::Refused(None), 2, Some(8)),
        (Action::Swap(Some(1), Some(2)), 3, Some(7)),
        (Action::Read(Some(2)), 10, Some(11)),
    ];
    assert!(is_linearizable(&history(&race)));
}

#[test]
fn a_stale_read_is_found() {
    let stale = [
        (Action::Write(Some(1)), 1, Some(2)),
        (Action::Write(Some(2)), 3, Some(4)),
        (Action::Read(Some(1)), 5, Some(6)),
    ];
    assert!(!is_linearizable(&history(&stale)));
    let backwards =
        [(Action::Write(Some(1)), 1, Some(9)), (Action::Read(Some(1)), 2, Some(3)), (Action::Read(None), 4, Some(5))];
    assert!(!is_linearizable(&history(&backwards)));
}

#[test]
fn a_lost_update_is_found() {
    let both_won = [(Action::Swap(None, Some(1)), 1, Some(5)), (Action::Swap(None, Some(2)), 2, Some(6))];
    assert!(!is_linearizable(&history(&both_won)));
    let vanished = [(Action::Write(Some(1)), 1, Some(2)), (Action::Read(None), 3, Some(4))];
    assert!(!is_linearizable(&history(&vanished)));
    let invented = [(Action::Read(Some(7)), 1, Some(2))];
    assert!(!is_linearizable(&history(&invented)));
}

#[test]
fn an_unknown_outcome_happens_once_at_any_time_or_never() {
    let lost = (Action::Write(Some(1)), 1, None);
    let read = |seen, at| (Action::Read(seen), at, Some(at + 1));
    assert!(is_linearizable(&history(&[lost, read(None, 3)])));
    assert!(is_linearizable(&history(&[lost, read(None, 3), read(Some(1), 5)])));
    assert!(!is_linearizable(&history(&[lost, read(Some(1), 3), read(None, 5)])));
    let write = (Action::Write(Some(2)), 5, Some(6));
    let twice = [lost, read(Some(1), 3), write, read(Some(2), 7), read(Some(1), 9)];
    assert!(!is_linearizable(&history(&twice)));
}

#[test]
fn revisions_that_run_backwards_are_found() {
    let mut operations = history(&[(Action::Write(Some(1)), 1, Some(2)), (Action::Read(Some(1)), 3, Some(4))]);
    operations[0].revision = Some(7);
    operations[1].revision = Some(7);
    assert!(runs_backwards(&operations).is_none());
    operations[1].revision = Some(6);
    assert!(runs_backwards(&operations).is_some());
    operations[1] = Operation { action: Action::Write(Some(2)), revision: Some(7), ..operations[1] };
    assert!(runs_backwards(&operations).is_some());
}
