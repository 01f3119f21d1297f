//! Killed with SIGKILL, again and again: a writer process works on one growing file until the test kills it at some
//! point, of its life or of its progress (opening, creating the file, compacting, after so many acknowledgements).
//! Whatever it had acknowledged is there when the file is opened the next time, whatever is there was attempted, each
//! transaction whole, and history by watch is contiguous and ends in the very state that is there.
//!
//! The test runs this same program once more for each life, with [`CHILD`] set. The ledger is a pipe: a line that
//! was written survives its writer. `SKIFF_CRASH_SEED` replays the choices of an earlier run (the scheduler makes its
//! own); `SKIFF_CRASH_KILLS` asks for more kills.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]
#![allow(clippy::print_stdout, reason = "without libtest's harness this is how a test speaks")]

mod child;
mod judge;
mod ledger;
mod life;
mod work;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use judge::Judge;
use life::{End, Plan, Trigger};

/// Set in the writer process.
const CHILD: &str = "SKIFF_CRASH_CHILD";
const NAME: &str = "killed_at_any_moment_nothing_acknowledged_is_lost";
/// Kills in one run, whatever `SKIFF_CRASH_KILLS` says.
const LEAST_KILLS: u32 = 210;

fn main() {
    if std::env::var_os(CHILD).is_some() {
        return child::run();
    }
    if is_wanted() {
        all_lives();
    }
}

/// What libtest would make of the arguments: a list, or filters by name.
fn is_wanted() -> bool {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        println!("{NAME}: test\n\n1 test, 0 benchmarks");
        return false;
    }
    let mut filters = arguments.iter().filter(|argument| !argument.starts_with("--")).peekable();
    filters.peek().is_none() || filters.any(|filter| NAME.contains(filter.as_str()))
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

fn all_lives() {
    let seed = number("SKIFF_CRASH_SEED").unwrap_or_else(rand::random);
    let kills = number("SKIFF_CRASH_KILLS").map_or(LEAST_KILLS, |kills| u32::try_from(kills).unwrap()).max(LEAST_KILLS);
    println!("test {NAME}: SKIFF_CRASH_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let mut main = Judge::new(folder.path().join("main"));
    let mut fresh: Option<Judge> = None;
    let (mut killed, mut acknowledged, mut unknown) = (BTreeMap::<&str, u32>::new(), 0, 0);
    // Lives that ended before they could be killed do not count.
    let (mut life, mut dead) = (0, 0);
    while dead < kills {
        // One life in eight is on another file, which is made, killed, and opened again some lives later.
        let judge = if life % 8 == 7 {
            let path = folder.path().join(format!("fresh-{}", life / 32));
            if fresh.as_ref().is_none_or(|judge| judge.path() != path) {
                fresh = Some(Judge::new(path));
            }
            fresh.as_mut().unwrap()
        } else {
            &mut main
        };
        let plan = plan(&mut random, life);
        let outcome = life::live(&plan, judge);
        acknowledged += outcome.acknowledged;
        life += 1;
        if outcome.end == End::Killed {
            dead += 1;
            *killed.entry(outcome.moment).or_default() += 1;
        }
    }
    // The last word: an undisturbed life of each file that only shows what is there.
    for judge in [Some(&mut main), fresh.as_mut()].into_iter().flatten() {
        life::live(&Plan { life, trigger: Trigger::Shown, writers: 1, compacts: false }, judge);
        unknown += judge.surprises();
    }
    let bytes = std::fs::metadata(main.path()).unwrap().len();
    println!(
        "test {NAME} ... ok: {kills} kills in {life} lives {killed:?}, {acknowledged} acknowledged writes, 0 lost, 0 invented, \
         {unknown} that survived unacknowledged, main file at revision {} with {bytes} bytes, {:.1?}",
        main.revision(),
        began.elapsed()
    );
}

fn plan(random: &mut SmallRng, life: u32) -> Plan {
    let micros = |random: &mut SmallRng, most| Duration::from_micros(random.random_range(0..most));
    let trigger = match random.random_range(0..10) {
        0 => Trigger::Started(micros(random, 40_000)),
        1 | 2 => Trigger::Opening(micros(random, 25_000)),
        3 => Trigger::Opening(micros(random, 2_000)),
        4 | 5 => Trigger::Compacting(micros(random, 4_000)),
        6 => Trigger::Closing(micros(random, 2_000)),
        _ => Trigger::Acknowledged(random.random_range(1..300)),
    };
    let writers = [1, 2, 8, 24][random.random_range(0..4)];
    Plan { life, trigger, writers, compacts: random.random_bool(0.6) }
}
