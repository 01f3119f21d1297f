//! ServiceCIDRs are ready once the finalizer is on them, and stay while an address would be left without a range
//! (`pkg/controller/servicecidrs`).
//!
//! Who gives out addresses looks at the same objects: nothing is told to it but by what is written to them.

use crate::clock::{Clock, remaining};
use crate::context::Context;
use crate::frame::access::Access;
use crate::frame::events::{Note, Recorder};
use crate::frame::informer::{Change, Informer};
use crate::frame::key::Key;
use crate::frame::queue::Queue;
use crate::frame::runner::Reconciler;
use crate::k8s::api::networking::v1::{IPAddress, IPAddressSpec, ServiceCIDR};
use crate::k8s::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use crate::{Config, Error, Next};
use async_trait::async_trait;
use jiff::SignedDuration;
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::task::JoinSet;

const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
const MANAGED_BY: (&str, &str) = ("ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io");
/// Between the deletion and the look that counts: what was given out just before is seen by then.
const GRACE: SignedDuration = SignedDuration::from_secs(10);
const READY: Verdict = Verdict { status: "True", reason: "", message: "Kubernetes Service CIDR is ready" };
const TERMINATING: Verdict = Verdict {
    status: "False",
    reason: "Terminating",
    message: "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
};

/// What the condition `Ready` says.
struct Verdict {
    status: &'static str,
    reason: &'static str,
    message: &'static str,
}

/// A range of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u128,
    /// The network's part of an address; of IPv4, of the 32 bits that it has.
    mask: u128,
    six: bool,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let (number, six) = number(address.parse().ok()?);
        let width: u32 = if six { 128 } else { 32 };
        let host = width.checked_sub(bits.parse().ok()?)?;
        let all = u128::MAX >> (128 - width);
        let mask = all & u128::MAX.checked_shl(host).unwrap_or(0);
        Some(Self { first: number & mask, mask, six })
    }

    fn contains_range(self, other: Self) -> bool {
        self.six == other.six && self.mask & other.mask == self.mask && other.first & self.mask == self.first
    }

    /// Not so for the network's own address, nor IPv4's broadcast address: no Service has those.
    fn contains(self, address: IpAddr) -> bool {
        let (number, six) = number(address);
        let last = self.first | (!self.mask & (u128::MAX >> 96));
        six == self.six && number & self.mask == self.first && number != self.first && (six || number != last)
    }
}

fn number(address: IpAddr) -> (u128, bool) {
    match address {
        IpAddr::V4(four) => (u32::from(four).into(), false),
        IpAddr::V6(six) => (six.into(), true),
    }
}

struct Controller {
    access: Access,
    cidrs: Informer<ServiceCIDR>,
    addresses: Informer<IPAddress>,
    events: Recorder,
    clock: Clock,
}

pub(crate) fn start(_: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let (cidrs, addresses) = (context.informers.service_cidrs.wanted(), context.informers.ip_addresses.wanted());
    let queue = Arc::new(Queue::default());
    let (signal, known) = (Arc::clone(&queue), cidrs.clone());
    cidrs.on_change(move |change| {
        signal.add(Key::of(change.object().as_ref()));
        // A new range may free one that waits, and one that goes may be what another counted on.
        for other in known.all().iter().filter(|other| is_deleting(&other.metadata)) {
            signal.add(Key::of(other.as_ref()));
        }
    });
    let (signal, known) = (Arc::clone(&queue), cidrs.clone());
    addresses.on_change(move |change| {
        if let Change::Updated { .. } = change {
            return;
        }
        for cidr in known.all().iter().filter(|cidr| is_deleting(&cidr.metadata)) {
            if given_address(change.object()).is_some_and(|address| contains(cidr, address)) {
                signal.add(Key::of(cidr.as_ref()));
            }
        }
    });
    let controller = Controller {
        access: context.access.clone(),
        cidrs,
        addresses,
        events: context.events.named(Controller::NAME),
        clock: context.clock.clone(),
    };
    context.spawn(tasks, Arc::new(controller), queue);
}

/// What nobody asks of an address: whose it is.
pub(crate) fn trim(address: &mut IPAddress) {
    address.spec = IPAddressSpec::default();
}

fn is_deleting(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some()
}

fn ranges(cidr: &ServiceCIDR) -> impl Iterator<Item = Range> {
    let cidrs = cidr.spec.as_ref().and_then(|spec| spec.cidrs.as_ref()).into_iter().flatten();
    cidrs.filter_map(|cidr| Range::parse(cidr))
}

fn contains(cidr: &ServiceCIDR, address: IpAddr) -> bool {
    ranges(cidr).any(|range| range.contains(address))
}

/// The address, where it was given to a Service: users' own hold nothing.
fn given_address(address: &IPAddress) -> Option<IpAddr> {
    let labels = address.metadata.labels.as_ref()?;
    if labels.get(MANAGED_BY.0)? != MANAGED_BY.1 {
        return None;
    }
    address.metadata.name.as_ref()?.parse().ok()
}

impl Controller {
    /// Whether every address of the range is in another one that stays. Kubernetes counts those that go as well, so that
    /// two that are deleted together leave their addresses behind.
    fn may_go(&self, cidr: &ServiceCIDR) -> bool {
        let all = self.cidrs.all();
        let stay: Vec<Range> = all
            .iter()
            .filter(|other| other.metadata.name != cidr.metadata.name && !is_deleting(&other.metadata))
            .flat_map(|other| ranges(other))
            .collect();
        if ranges(cidr).all(|range| stay.iter().any(|other| other.contains_range(range))) {
            return true;
        }
        let orphan = |address: IpAddr| contains(cidr, address) && !stay.iter().any(|range| range.contains(address));
        !self.addresses.all().iter().filter_map(|address| given_address(address)).any(orphan)
    }

    /// Writes the condition where it says something else.
    async fn tell(&self, key: &Key, cidr: &ServiceCIDR, verdict: Verdict) -> Result<(), Error> {
        let mut conditions = cidr.status.clone().unwrap_or_default().conditions.unwrap_or_default();
        let old = conditions.iter().find(|condition| condition.type_ == "Ready");
        let said = |old: &Condition| {
            (old.status.as_str(), old.reason.as_str(), old.message.as_str())
                == (verdict.status, verdict.reason, verdict.message)
        };
        if old.is_some_and(said) {
            return Ok(());
        }
        let ready = Condition {
            type_: "Ready".into(),
            status: verdict.status.into(),
            reason: verdict.reason.into(),
            message: verdict.message.into(),
            last_transition_time: self.clock.time(),
            observed_generation: None,
        };
        conditions.retain(|condition| condition.type_ != "Ready");
        conditions.push(ready);
        let version = &cidr.metadata.resource_version;
        let patch = json!({"metadata": {"resourceVersion": version}, "status": {"conditions": conditions}});
        self.access.patch_status::<ServiceCIDR>(key, &patch).await.map(drop)
    }

    async fn let_go(&self, key: &Key, cidr: &ServiceCIDR) -> Result<(), Error> {
        let finalizers = || cidr.metadata.finalizers.iter().flatten();
        if !finalizers().any(|finalizer| finalizer == FINALIZER) {
            return Ok(());
        }
        let rest: Vec<&String> = finalizers().filter(|finalizer| *finalizer != FINALIZER).collect();
        let patch = json!({"metadata": {"finalizers": rest, "resourceVersion": cidr.metadata.resource_version}});
        self.access.patch::<ServiceCIDR>(key, &patch).await.map(drop)
    }

    async fn reconcile_deleting(&self, key: &Key, cidr: &ServiceCIDR) -> Result<Next, Error> {
        if !self.may_go(cidr) {
            self.tell(key, cidr, TERMINATING).await?;
            return Ok(Next::Signal);
        }
        let since = cidr.metadata.deletion_timestamp.as_ref().map_or(self.clock.now(), |time| time.0);
        if let Some(wait) = remaining(since, GRACE, self.clock.now()) {
            return Ok(Next::After(wait));
        }
        self.let_go(key, cidr).await?;
        Ok(Next::Signal)
    }

    async fn reconcile_kept(&self, key: &Key, cidr: Arc<ServiceCIDR>) -> Result<(), Error> {
        let mut cidr = cidr;
        let finalizers = cidr.metadata.finalizers.clone().unwrap_or_default();
        if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            let mut finalizers = finalizers;
            finalizers.push(FINALIZER.into());
            let patch =
                json!({"metadata": {"finalizers": finalizers, "resourceVersion": cidr.metadata.resource_version}});
            cidr = Arc::new(self.access.patch::<ServiceCIDR>(key, &patch).await?);
        }
        let told = self.tell(key, &cidr, READY).await;
        if told.as_ref().is_err_and(|error| !error.is_conflict() && !error.is_not_found()) {
            let message = "The ServiceCIDR Status can not be set to Ready=True";
            self.events.record(cidr.as_ref(), Note::warning("KubernetesServiceCIDRError", message));
        }
        told
    }
}

#[async_trait]
impl Reconciler for Controller {
    const NAME: &'static str = "service-cidr-controller";
    const WORKERS: usize = 5;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(cidr) = self.cidrs.get(key) else { return Ok(Next::Signal) };
        let done = if is_deleting(&cidr.metadata) {
            self.reconcile_deleting(key, &cidr).await
        } else {
            self.reconcile_kept(key, cidr).await.map(|()| Next::Signal)
        };
        match done {
            Err(error) if error.is_not_found() => Ok(Next::Signal),
            done => done,
        }
    }

    fn keys(&self) -> Vec<Key> {
        self.cidrs.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Cluster, Fake};
    use serde_json::Value;

    const NAME: &str = "service-cidr-controller";

    fn range(text: &str) -> Range {
        Range::parse(text).unwrap()
    }

    #[test]
    fn ranges_know_what_is_in_them() {
        let wide = range("10.0.0.0/16");
        assert!(wide.contains_range(range("10.0.5.0/24")) && wide.contains_range(wide));
        for other in ["10.0.0.0/8", "10.1.0.0/24", "::a00:0/112", "0.0.0.0/0"] {
            assert!(!wide.contains_range(range(other)), "{other}");
        }
        assert!(range("0.0.0.0/0").contains_range(wide));
        for (address, inside) in
            [("10.0.0.0", false), ("10.0.0.1", true), ("10.0.255.254", true), ("10.0.255.255", false), ("::1", false)]
        {
            assert_eq!(wide.contains(address.parse().unwrap()), inside, "{address}");
        }
        let six = range("fd00::/64");
        assert!(six.contains("fd00::ffff:ffff:ffff:ffff".parse().unwrap()));
        assert!(!six.contains("fd00::".parse().unwrap()));
        assert!(!six.contains("fd00:0:0:1::1".parse().unwrap()));
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "a/8"] {
            assert_eq!(Range::parse(bad), None, "{bad}");
        }
    }

    fn cidr(fake: &Fake, name: &str, range: &str) {
        fake.create(json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": name},
            "spec": {"cidrs": [range]}}));
    }

    fn address(fake: &Fake, ip: &str) {
        fake.create(json!({"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
            "metadata": {"name": ip, "labels": {MANAGED_BY.0: MANAGED_BY.1}},
            "spec": {"parentRef": {"resource": "services", "namespace": "n", "name": "s"}}}));
    }

    fn ready(fake: &Fake, name: &str) -> Value {
        let object = fake.get("servicecidrs", name).unwrap_or_default();
        object.pointer("/status/conditions/0").cloned().unwrap_or_default()
    }

    #[tokio::test(start_paused = true)]
    async fn a_range_becomes_ready_and_is_protected() {
        let cluster = Cluster::start(&[NAME]);
        let fake = &cluster.fake;
        cidr(fake, "a", "10.0.0.0/24");
        fake.until(5, "ready", |fake| ready(fake, "a")["status"] == "True").await;
        let object = fake.get("servicecidrs", "a").unwrap();
        assert_eq!(object["metadata"]["finalizers"], json!([FINALIZER]));
        assert_eq!((&ready(fake, "a")["message"], &ready(fake, "a")["reason"]), (&json!(READY.message), &json!("")));
        let writes = || fake.requests("PATCH servicecidrs") + fake.requests("PATCH servicecidrs/status");
        assert_eq!(writes(), 2);
        fake.merge("servicecidrs", "a", &json!({"metadata": {"labels": {"x": "y"}}}));
        tokio::time::sleep(std::time::Duration::from_secs(700)).await;
        assert_eq!(writes(), 2, "what is so is not written again");
        cluster.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_range_stays_while_it_has_the_last_word_on_an_address() {
        let cluster = Cluster::start(&[NAME]);
        let fake = &cluster.fake;
        for (name, range) in [("a", "10.0.0.0/24"), ("users", "10.9.0.0/24")] {
            cidr(fake, name, range);
        }
        address(fake, "10.0.0.7");
        fake.create(
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress", "metadata": {"name": "10.9.0.1"}}),
        );
        fake.until(5, "ready", |fake| ready(fake, "a")["status"] == "True" && ready(fake, "users")["status"] == "True")
            .await;
        for name in ["a", "users"] {
            fake.delete("servicecidrs", name, &json!({}));
        }
        fake.until(5, "told", |fake| ready(fake, "a")["status"] == "False").await;
        assert_eq!(ready(fake, "a")["reason"], "Terminating");
        assert_eq!(ready(fake, "a")["message"], TERMINATING.message);
        // Deleted at 30 s of the fake's clock, and gone ten later: what users made is no reason to stay.
        fake.until(60, "gone", |fake| fake.get("servicecidrs", "users").is_none()).await;
        assert!(fake.get("servicecidrs", "a").is_some());
        fake.delete("ipaddresses", "10.0.0.7", &json!({}));
        fake.until(5, "gone", |fake| fake.get("servicecidrs", "a").is_none()).await;
        cluster.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_wider_range_takes_over_but_not_one_that_goes_itself() {
        let cluster = Cluster::start(&[NAME]);
        let fake = &cluster.fake;
        cidr(fake, "a", "10.0.0.0/24");
        cidr(fake, "same", "10.0.0.0/24");
        address(fake, "10.0.0.7");
        fake.until(5, "ready", |fake| ready(fake, "same")["status"] == "True").await;
        fake.delete("servicecidrs", "a", &json!({}));
        fake.delete("servicecidrs", "same", &json!({}));
        fake.until(5, "both told", |fake| ["a", "same"].iter().all(|name| ready(fake, name)["status"] == "False"))
            .await;
        cidr(fake, "wide", "10.0.0.0/16");
        fake.until(60, "both gone", |fake| fake.list("servicecidrs").len() == 1).await;
        assert_eq!(ready(fake, "wide")["status"], "True");
        cluster.stop().await;
    }
}
