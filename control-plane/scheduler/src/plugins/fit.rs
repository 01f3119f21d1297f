//! NodeResourcesFit with LeastAllocated, and NodeResourcesBalancedAllocation.

use std::sync::{Arc, LazyLock};

use super::{Reason, Refusal, Remedy};
use crate::node::Place;
use crate::pod::Pod;

/// The best score a plugin gives.
pub(crate) const MAX_SCORE: i64 = 100;

struct Names {
    cpu: Arc<str>,
    memory: Arc<str>,
    ephemeral_storage: Arc<str>,
}

static NAMES: LazyLock<Names> = LazyLock::new(|| Names {
    cpu: "cpu".into(),
    memory: "memory".into(),
    ephemeral_storage: "ephemeral-storage".into(),
});

/// Whether there is room for everything the pod requests.
pub(crate) fn filter(place: &Place, pod: &Pod) -> Result<(), Refusal> {
    let (room, used, wanted) = (&place.node.allocatable, &place.used.requested, &pod.requests);
    let has_room = place.used.pods < place.node.allowed_pods
        && fits(wanted.cpu, used.cpu, room.cpu)
        && fits(wanted.memory, used.memory, room.memory)
        && fits(wanted.ephemeral_storage, used.ephemeral_storage, room.ephemeral_storage)
        && wanted.other.iter().all(|(name, amount)| fits(*amount, used.other(name), room.other(name)));
    if has_room { Ok(()) } else { Err(refusal(place, pod)) }
}

fn fits(wanted: i64, used: i64, room: i64) -> bool {
    wanted == 0 || wanted <= room.saturating_sub(used)
}

fn refusal(place: &Place, pod: &Pod) -> Refusal {
    let (room, used, wanted) = (&place.node.allocatable, &place.used.requested, &pod.requests);
    let names = &*NAMES;
    let mut refusal = Refusal { reasons: Vec::new(), remedy: Remedy::FewerPods };
    if place.used.pods >= place.node.allowed_pods {
        refusal.reasons.push(Reason::TooManyPods);
    }
    let mut check = |name: &Arc<str>, wanted: i64, used: i64, room: i64| {
        if !fits(wanted, used, room) {
            refusal.reasons.push(Reason::Insufficient(name.clone()));
            if wanted > room {
                refusal.remedy = Remedy::None;
            }
        }
    };
    check(&names.cpu, wanted.cpu, used.cpu, room.cpu);
    check(&names.memory, wanted.memory, used.memory, room.memory);
    check(&names.ephemeral_storage, wanted.ephemeral_storage, used.ephemeral_storage, room.ephemeral_storage);
    for (name, amount) in &wanted.other {
        check(name, *amount, used.other(name), room.other(name));
    }
    refusal
}

/// LeastAllocated: the share of CPU and memory that would still be free, on average.
pub(crate) fn least_allocated(place: &Place, pod: &Pod) -> i64 {
    let room = &place.node.allocatable;
    let free = |used: i64, wanted: i64, room: i64| {
        let taken = used.saturating_add(wanted);
        if room == 0 || taken > room { 0 } else { (room - taken) * MAX_SCORE / room }
    };
    let cpu = free(place.used.scored_cpu, pod.scored_cpu, room.cpu);
    let memory = free(place.used.scored_memory, pod.scored_memory, room.memory);
    i64::midpoint(cpu, memory)
}

/// BalancedAllocation: how close the used shares of CPU and memory would be. Pods that request
/// neither are not scored, or all of them would go to one node.
pub(crate) fn balanced(place: &Place, pod: &Pod) -> i64 {
    let (room, used, wanted) = (&place.node.allocatable, &place.used.requested, &pod.requests);
    if (wanted.cpu == 0 && wanted.memory == 0) || room.cpu == 0 || room.memory == 0 {
        return 0;
    }
    // In millionths: exact enough, and the same on every machine.
    let share = |taken: i64, room: i64| (i128::from(taken) * 1_000_000 / i128::from(room)).min(1_000_000);
    let cpu = share(used.cpu.saturating_add(wanted.cpu), room.cpu);
    let memory = share(used.memory.saturating_add(wanted.memory), room.memory);
    let deviation = (cpu - memory).abs() / 2;
    i64::try_from((1_000_000 - deviation) * i128::from(MAX_SCORE) / 1_000_000).unwrap_or(0)
}
