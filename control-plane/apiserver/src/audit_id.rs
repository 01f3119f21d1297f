//! `Audit-Id`: the name of one request, which its answer carries (`apiserver/pkg/endpoints/filters/audit_init.go`). People
//! quote it when they report a failure. Knows nothing of what is asked.

use http::{HeaderMap, HeaderName, HeaderValue};
use std::cell::Cell;
use uuid::Uuid;

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// Names the request in its answer: as the client has named it, else anew.
pub(crate) fn name(request: &HeaderMap, answer: &mut HeaderMap) {
    let given = request.get(AUDIT_ID).filter(|id| !id.is_empty()).cloned();
    if let Some(mut id) = given.or_else(fresh) {
        // HTTP/2 would keep it, in the place of headers that come again.
        id.set_sensitive(true);
        answer.insert(AUDIT_ID, id);
    }
}

fn fresh() -> Option<HeaderValue> {
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    HeaderValue::from_str(random().hyphenated().encode_lower(&mut text)).ok()
}

thread_local! {
    static STATE: Cell<(u64, u64)> = Cell::new(Uuid::new_v4().as_u64_pair());
}

/// A version 4 UUID without asking the system each time: two counters that start at random, mixed (splitmix64). It names; it
/// need not be hard to guess.
fn random() -> Uuid {
    let (a, b) = STATE.get();
    let next = (a.wrapping_add(0x9E37_79B9_7F4A_7C15), b.wrapping_add(0xD1B5_4A32_D192_ED03));
    STATE.set(next);
    let bits = (u128::from(mix(next.0)) << 64) | u128::from(mix(next.1));
    uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
}

const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_clients_name_is_kept_and_others_are_new() {
        let mut answer = HeaderMap::new();
        let request = HeaderMap::from_iter([(AUDIT_ID, HeaderValue::from_static("mine"))]);
        name(&request, &mut answer);
        assert_eq!(answer[AUDIT_ID], "mine");
        let here = || (0..1000).map(|_| random()).collect::<Vec<_>>();
        let there = std::thread::spawn(here).join().unwrap();
        let all: HashSet<Uuid> = here().into_iter().chain(there).collect();
        assert_eq!(all.len(), 2000);
        assert!(all.iter().all(|id| id.get_version_num() == 4));
        name(&HeaderMap::from_iter([(AUDIT_ID, HeaderValue::from_static(""))]), &mut answer);
        assert!(Uuid::parse_str(answer[AUDIT_ID].to_str().unwrap()).is_ok());
    }
}
