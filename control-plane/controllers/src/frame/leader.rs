//! Leader election by Lease (`client-go/tools/leaderelection`): where several processes serve one cluster, a loop runs in
//! the one that holds the loop's Lease. Knows nothing of the loop.
//!
//! Invariant: a holder that cannot renew stops its loop before anybody else may begin: [`Timing::renew_deadline`] and
//! [`Timing::stop`] together are no longer than [`Timing::lease`]. Whether a Lease has run out is judged by how long the
//! observer has seen no change, never by the clocks of two machines.

use crate::Clock;
use crate::k8s::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, info, warn};

/// What a loop is elected by.
#[derive(Clone)]
pub struct Election {
    pub client: Client,
    /// The Lease's name, such as `kube-scheduler`, in the namespace kube-system.
    pub name: &'static str,
    /// Who we are: unique among all processes that want the Lease.
    pub identity: String,
    pub timing: Timing,
    pub clock: Clock,
}

/// How long things take. The default is that of Kubernetes' own components.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// `--leader-elect-lease-duration`: others may take a Lease that has not changed for this long.
    pub lease: Duration,
    /// `--leader-elect-renew-deadline`: a holder that could not renew for this long gives up.
    pub renew_deadline: Duration,
    /// `--leader-elect-retry-period`: between two tries.
    pub retry: Duration,
    /// How long the loop may take to stop; then it is dropped.
    pub stop: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
            stop: Duration::from_secs(4),
        }
    }
}

/// Runs the loop that `work` makes whenever this process holds the Lease, until `token` is cancelled; the Lease is given
/// back then. A loop's own token is cancelled when the Lease is lost.
pub async fn run<W>(election: Election, token: CancellationToken, mut work: impl FnMut(CancellationToken) -> W)
where
    W: Future<Output = ()> + Send + 'static,
{
    let mut candidate = Candidate::new(election);
    while token.run_until_cancelled(candidate.acquire()).await.is_some() {
        info!(lease = candidate.election.name, identity = candidate.election.identity, "became leader");
        let stop = token.child_token();
        let span = tracing::info_span!("leading", lease = candidate.election.name);
        let mut task = tokio::spawn(work(stop.clone()).instrument(span));
        let lost = tokio::select! {
            () = token.cancelled() => false,
            () = candidate.keep() => true,
            ended = &mut task => {
                debug!(?ended, "the loop ended by itself");
                false
            }
        };
        stop.cancel();
        candidate.end(task, if lost { candidate.election.timing.stop } else { candidate.election.timing.lease }).await;
        if lost {
            warn!(lease = candidate.election.name, "lost the Lease; others lead from now on");
        } else {
            candidate.release().await;
        }
    }
}

/// What was last seen of the Lease.
struct Observed {
    lease: Lease,
    /// When it was seen to change last.
    at: Instant,
}

struct Candidate {
    election: Election,
    leases: Api<Lease>,
    observed: Option<Observed>,
}

/// Why a try failed.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0} holds it")]
    Held(String),
    #[error("the API server did not answer in time")]
    Slow,
    #[error(transparent)]
    Api(#[from] kube::Error),
}

impl Candidate {
    fn new(election: Election) -> Self {
        let leases = Api::namespaced(election.client.clone(), "kube-system");
        Self { election, leases, observed: None }
    }

    /// Completes once the Lease is ours.
    async fn acquire(&mut self) {
        loop {
            match self.attempt().await {
                Ok(()) => return,
                Err(why) => debug!(lease = self.election.name, %why, "not the leader"),
            }
            tokio::time::sleep(self.election.timing.retry).await;
        }
    }

    /// Renews; completes when the Lease is lost.
    async fn keep(&mut self) {
        // Counted from when a renewal was sent: that is before anybody can have seen it.
        let mut renewed = Instant::now();
        loop {
            let deadline = renewed + self.election.timing.renew_deadline;
            match timeout_at(deadline, self.renew()).await {
                Ok(Some(sent)) => renewed = sent,
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// When the renewal that worked was sent; `None` when somebody else holds the Lease.
    async fn renew(&mut self) -> Option<Instant> {
        loop {
            tokio::time::sleep(self.election.timing.retry).await;
            let sent = Instant::now();
            match self.attempt().await {
                Ok(()) => return Some(sent),
                Err(Refusal::Held(other)) => {
                    warn!(lease = self.election.name, other, "the Lease was taken");
                    return None;
                }
                Err(why) => warn!(lease = self.election.name, %why, "the Lease could not be renewed"),
            }
        }
    }

    async fn attempt(&mut self) -> Result<(), Refusal> {
        let patience = self.election.timing.renew_deadline / 2;
        timeout(patience, self.try_once()).await.unwrap_or(Err(Refusal::Slow))
    }

    async fn try_once(&mut self) -> Result<(), Refusal> {
        let Some(current) = self.leases.get_opt(self.election.name).await? else {
            let lease = self.record(None);
            let created = self.leases.create(&PostParams::default(), &lease).await?;
            self.observe(created);
            return Ok(());
        };
        self.observe(current.clone());
        let spec = current.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if !holder.is_empty() && holder != self.election.identity && !self.has_run_out(&spec) {
            return Err(Refusal::Held(holder.to_owned()));
        }
        let updated =
            self.leases.replace(self.election.name, &PostParams::default(), &self.record(Some(current))).await?;
        self.observe(updated);
        Ok(())
    }

    fn observe(&mut self, lease: Lease) {
        let same = self.observed.as_ref().is_some_and(|o| o.lease.spec == lease.spec);
        if !same {
            self.observed = Some(Observed { lease, at: Instant::now() });
        }
    }

    /// Whether the Lease has not changed for as long as it lasts.
    fn has_run_out(&self, spec: &LeaseSpec) -> bool {
        let seconds = spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
        let lasts = seconds.map_or(self.election.timing.lease, Duration::from_secs);
        self.observed.as_ref().is_some_and(|observed| observed.at.elapsed() >= lasts)
    }

    /// The Lease as ours, renewed now.
    fn record(&self, old: Option<Lease>) -> Lease {
        let mut lease = old.unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                name: Some(self.election.name.into()),
                namespace: Some("kube-system".into()),
                ..ObjectMeta::default()
            },
            ..Lease::default()
        });
        let now = self.election.clock.micro_time();
        let before = lease.spec.take();
        let transitions = before.as_ref().and_then(|spec| spec.lease_transitions);
        let kept = before.filter(|spec| spec.holder_identity.as_deref() == Some(&self.election.identity));
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.election.identity.clone()),
            lease_duration_seconds: Some(seconds(self.election.timing.lease)),
            // As in Kubernetes the first holder is no transition, every later one is.
            lease_transitions: Some(transitions.map_or(0, |n| if kept.is_some() { n } else { n.saturating_add(1) })),
            acquire_time: kept.and_then(|spec| spec.acquire_time).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            ..LeaseSpec::default()
        });
        lease
    }

    async fn end(&self, mut task: JoinHandle<()>, patience: Duration) {
        if task.is_finished() {
            return;
        }
        if timeout(patience, &mut task).await.is_err() {
            warn!(lease = self.election.name, "the loop did not stop in time; it is dropped");
            task.abort();
        }
    }

    /// Gives the Lease back, so that the next holder need not wait for it to run out.
    async fn release(&mut self) {
        let Some(observed) = self.observed.take() else { return };
        let mut lease = observed.lease;
        let now = self.election.clock.micro_time();
        let transitions = lease.spec.take().and_then(|spec| spec.lease_transitions);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            lease_transitions: transitions,
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            ..LeaseSpec::default()
        });
        let patience = self.election.timing.retry;
        match timeout(patience, self.leases.replace(self.election.name, &PostParams::default(), &lease)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => warn!(lease = self.election.name, %error, "the Lease could not be given back"),
            Err(_) => warn!(lease = self.election.name, "the Lease could not be given back in time"),
        }
    }
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;
    use http::{Request, Response};
    use kube::client::Body;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use tokio::task::JoinHandle;

    /// A process that wants to lead, and its way to the API server, which can be cut.
    struct Process {
        leading: Arc<AtomicUsize>,
        cut: Arc<AtomicBool>,
        token: CancellationToken,
        task: JoinHandle<()>,
    }

    impl Process {
        fn start(fake: &Fake, identity: &str, leading: &Arc<AtomicUsize>) -> Self {
            let (cut, token) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
            let (inner, is_cut) = (fake.client(), Arc::clone(&cut));
            let service = tower::service_fn(move |request: Request<Body>| {
                let (inner, is_cut) = (inner.clone(), Arc::clone(&is_cut));
                async move {
                    if is_cut.load(Ordering::SeqCst) {
                        return Err::<Response<Body>, tower::BoxError>("cut".into());
                    }
                    Ok(inner.send(request).await?)
                }
            });
            let election = Election {
                client: Client::new(service, "default"),
                name: "kube-scheduler",
                identity: identity.into(),
                timing: Timing::default(),
                clock: Clock::following_tokio("2026-01-01T00:00:00Z".parse().unwrap()),
            };
            let count = Arc::clone(leading);
            let task = tokio::spawn(run(election, token.clone(), move |stop| {
                let count = Arc::clone(&count);
                async move {
                    count.fetch_add(1, Ordering::SeqCst);
                    stop.cancelled().await;
                    count.fetch_sub(1, Ordering::SeqCst);
                }
            }));
            Self { leading: Arc::clone(leading), cut, token, task }
        }

        async fn stop(self) {
            self.token.cancel();
            self.task.await.unwrap();
        }
    }

    fn holder(fake: &Fake) -> String {
        let lease = fake.get("leases", "kube-system/kube-scheduler");
        lease.and_then(|l| l["spec"]["holderIdentity"].as_str().map(String::from)).unwrap_or_default()
    }

    #[tokio::test(start_paused = true)]
    async fn one_leads_and_hands_over_when_it_stops() {
        let (fake, leading) = (Fake::default(), Arc::new(AtomicUsize::new(0)));
        let first = Process::start(&fake, "a", &leading);
        fake.until(1, "the first leads", |fake| holder(fake) == "a").await;
        let second = Process::start(&fake, "b", &leading);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!((holder(&fake).as_str(), leading.load(Ordering::SeqCst)), ("a", 1));
        let began = Instant::now();
        first.stop().await;
        assert_eq!(holder(&fake), "");
        fake.until(3, "the second leads at once", |fake| holder(fake) == "b").await;
        assert!(began.elapsed() < Duration::from_secs(3));
        let lease = fake.get("leases", "kube-system/kube-scheduler").unwrap();
        assert_eq!(lease["spec"]["leaseTransitions"], 1);
        assert_eq!(lease["spec"]["leaseDurationSeconds"], 15);
        second.stop().await;
        assert_eq!(leading.load(Ordering::SeqCst), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_is_cut_off_stops_before_the_next_begins() {
        let (fake, leading) = (Fake::default(), Arc::new(AtomicUsize::new(0)));
        let first = Process::start(&fake, "a", &leading);
        fake.until(1, "the first leads", |fake| holder(fake) == "a").await;
        let second = Process::start(&fake, "b", &leading);
        tokio::time::sleep(Duration::from_secs(5)).await;
        first.cut.store(true, Ordering::SeqCst);
        let began = Instant::now();
        while holder(&fake) == "a" {
            assert!(first.leading.load(Ordering::SeqCst) <= 1);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(began.elapsed() >= Duration::from_secs(13), "{:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(leading.load(Ordering::SeqCst), 1, "the first had stopped");
        // Back again, the first waits its turn.
        first.cut.store(false, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!((holder(&fake).as_str(), leading.load(Ordering::SeqCst)), ("b", 1));
        second.stop().await;
        fake.until(3, "the first leads again", |fake| holder(fake) == "a").await;
        first.stop().await;
    }
}
