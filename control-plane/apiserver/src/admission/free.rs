//! Which number of a range is given out next: addresses and node ports. Pure: what is taken is asked of the caller.

use std::net::Ipv4Addr;

/// Numbers that are tried one by one. A range in which none of so many is free is all but full, and is searched instead.
const TRIES: usize = 256;

/// How many of `size` numbers are left to users who name theirs (`calculateRangeOffset`): those are given out last.
pub(super) fn static_band(size: u32, step: u32, most: u32) -> u32 {
    if size < 16 { 0 } else { (size / step).clamp(16, most) }
}

/// The numbers from `first` to below `end`, each once: beginning at random above `band`, those below it last. Two servers
/// that look at the same time seldom meet.
pub(super) fn candidates(first: u32, band: u32, end: u32, random: u64) -> impl Iterator<Item = u32> {
    let upper = band.max(first).min(end);
    let width = u64::from((end - upper).max(1));
    let start = upper + u32::try_from(random % width).unwrap_or_default();
    (start..end).chain(upper..start).chain(first..upper)
}

/// What is known of the addresses that are taken.
pub(super) trait Taken {
    fn is_free(&self, address: Ipv4Addr) -> bool;

    /// How many addresses that are written so are taken, by whomever. It may take a time that grows with what it returns.
    fn count(&self, beginning: &str) -> usize;
}

/// A free one of the `usable` addresses from `first` on: at random, and from the `band` at the beginning last.
///
/// However large the range and however full, it asks for some thousand addresses at most, and counts what is taken three
/// times over.
pub(super) fn address(taken: &impl Taken, first: Ipv4Addr, usable: u32, band: u32, random: u64) -> Option<Ipv4Addr> {
    let base = u32::from(first);
    let at = |n: u32| Ipv4Addr::from(base.wrapping_add(n));
    let mut some = candidates(0, band, usable, random).take(TRIES).map(at);
    if let Some(found) = some.find(|address| taken.is_free(*address)) {
        return Some(found);
    }
    let last = usable.checked_sub(1).filter(|last| *last as usize >= TRIES)?;
    let upper = lowest(taken, base + band, base + last, 32);
    upper.or_else(|| lowest(taken, base, (base + band).checked_sub(1)?, 32)).map(Ipv4Addr::from)
}

/// The lowest free address of `from..=to`, all of which agree above their lowest `bits`. A block whose addresses are all
/// taken, as one count says, is not looked into.
fn lowest(taken: &impl Taken, from: u32, to: u32, bits: u32) -> Option<u32> {
    if from > to {
        return None;
    }
    if bits == 0 {
        return taken.is_free(Ipv4Addr::from(from)).then_some(from);
    }
    let bits = bits - 8;
    let rest = (1_u32 << bits) - 1;
    ((from >> bits)..=(to >> bits)).find_map(|block| {
        let (begin, end) = ((block << bits).max(from), (block << bits | rest).min(to));
        let whole = end - begin == rest;
        if bits > 0 && whole && taken.count(&beginning(block, bits)) as u64 > u64::from(rest) {
            return None;
        }
        lowest(taken, begin, end, bits)
    })
}

/// How the addresses of a block are written, up to their lowest `bits`.
fn beginning(block: u32, bits: u32) -> String {
    let octets = Ipv4Addr::from(block << bits).octets();
    octets.iter().take(4 - bits as usize / 8).map(|octet| format!("{octet}.")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::collections::BTreeSet;

    #[test]
    fn every_candidate_comes_once_and_the_users_band_last() {
        for random in [0, 1, 7, u64::MAX] {
            let all: Vec<u32> = candidates(1, 16, 62, random).collect();
            assert_eq!(all.len(), 61);
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 61);
            assert!(all[..46].iter().all(|n| *n >= 16), "{all:?}");
        }
        assert_eq!(candidates(1, 0, 1, 5).count(), 0, "a range of one address has none to give");
        assert_eq!(candidates(1, 0, 0, 5).count(), 0);
    }

    #[test]
    fn the_bands_are_those_of_kubernetes() {
        assert_eq!(static_band(14, 16, 256), 0);
        assert_eq!(static_band(254, 16, 256), 16);
        assert_eq!(static_band(4_094, 16, 256), 255);
        assert_eq!(static_band(1_048_574, 16, 256), 256);
        assert_eq!(static_band(2_768, 32, 128), 86);
    }

    /// All is taken but `free`; what was asked is counted.
    struct Full {
        free: Vec<Ipv4Addr>,
        asked: Cell<usize>,
        counted: Cell<usize>,
    }

    impl Full {
        fn but(free: &[&str]) -> Self {
            let free = free.iter().map(|ip| ip.parse().unwrap()).collect();
            Self { free, asked: Cell::new(0), counted: Cell::new(0) }
        }
    }

    impl Taken for Full {
        fn is_free(&self, address: Ipv4Addr) -> bool {
            self.asked.set(self.asked.get() + 1);
            self.free.contains(&address)
        }

        fn count(&self, beginning: &str) -> usize {
            self.counted.set(self.counted.get() + 1);
            let octets = u32::try_from(beginning.matches('.').count()).unwrap();
            let all = 256_usize.pow(4 - octets);
            all - self.free.iter().filter(|ip| ip.to_string().starts_with(beginning)).count()
        }
    }

    fn found(full: &Full, first: &str, usable: u32, band: u32) -> Option<String> {
        address(full, first.parse().unwrap(), usable, band, 7).map(|ip| ip.to_string())
    }

    #[test]
    fn the_last_free_address_of_a_wide_range_is_found_without_a_walk() {
        for free in ["127.96.1.1", "127.100.7.255", "127.111.255.254", "127.103.0.0"] {
            let full = Full::but(&[free]);
            assert_eq!(found(&full, "127.96.0.1", (1 << 20) - 2, 256).as_deref(), Some(free));
            assert!(
                full.asked.get() < 2_000 && full.counted.get() < 1_000,
                "{} {}",
                full.asked.get(),
                full.counted.get()
            );
        }
        let none = Full::but(&["127.96.0.0", "127.111.255.255", "127.112.0.1", "127.95.0.1"]);
        assert_eq!(found(&none, "127.96.0.1", (1 << 20) - 2, 256), None);
        assert!(none.asked.get() < 2_000 && none.counted.get() < 1_000);
    }

    #[test]
    fn what_users_name_comes_last_and_small_ranges_are_tried_whole() {
        let both = Full::but(&["10.0.0.5", "10.0.200.1"]);
        assert_eq!(found(&both, "10.0.0.1", (1 << 16) - 2, 256).as_deref(), Some("10.0.200.1"));
        let band = Full::but(&["10.0.0.5"]);
        assert_eq!(found(&band, "10.0.0.1", (1 << 16) - 2, 256).as_deref(), Some("10.0.0.5"));
        assert_eq!(found(&band, "10.0.0.1", 14, 0).as_deref(), Some("10.0.0.5"));
        assert_eq!(found(&band, "10.0.0.1", 0, 0), None);
        assert_eq!(found(&Full::but(&[]), "10.0.0.1", 254, 16), None);
        // As wide as it gets.
        assert_eq!(found(&Full::but(&["200.1.2.3"]), "0.0.0.1", u32::MAX - 1, 256).as_deref(), Some("200.1.2.3"));
    }

    #[test]
    fn the_search_agrees_with_a_look_at_each() {
        for (first, usable) in [("10.1.2.250", 300_u32), ("10.1.0.1", 1_022), ("10.0.255.9", 3_000)] {
            let base = u32::from(first.parse::<Ipv4Addr>().unwrap());
            for n in (0..usable).step_by(37) {
                let only = Full::but(&[&Ipv4Addr::from(base + n).to_string()]);
                assert_eq!(found(&only, first, usable, 16), Some(Ipv4Addr::from(base + n).to_string()));
            }
        }
    }
}
