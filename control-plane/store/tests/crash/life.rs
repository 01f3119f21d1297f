//! One life of the writer process: started, listened to, killed.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::child::Orders;
use crate::judge::Judge;
use crate::ledger::Line;

/// A process that says nothing for so long is done, or stuck.
const SILENCE: Duration = Duration::from_secs(30);
const SIGKILL: i32 = 9;

/// When to kill, counted from some moment.
#[derive(Clone, Copy, Debug)]
pub enum Trigger {
    Started(Duration),
    Opening(Duration),
    Compacting(Duration),
    Closing(Duration),
    /// After so many acknowledgements.
    Acknowledged(u64),
    /// Once it has shown what the file holds.
    Shown,
}

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub life: u32,
    pub trigger: Trigger,
    pub writers: u32,
    pub compacts: bool,
}

pub struct Outcome {
    /// What the process was doing when it was killed.
    pub moment: &'static str,
    pub end: End,
    pub acknowledged: u64,
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Killed,
    /// It had closed its file before it could be killed.
    Closed,
}

/// Dropped, it is killed: a test that fails leaves nothing behind either.
struct Mortal(Child);

impl Drop for Mortal {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Start the process, kill it when `plan` says so, and let `judge` hear all it said.
pub fn live(plan: &Plan, judge: &mut Judge) -> Outcome {
    let closes = matches!(plan.trigger, Trigger::Closing(_));
    let orders = Orders {
        path: judge.path().to_str().unwrap().into(),
        life: plan.life,
        writers: plan.writers,
        compacts: plan.compacts || matches!(plan.trigger, Trigger::Compacting(_)),
        closes,
    };
    let process = Command::new(std::env::current_exe().unwrap())
        .env(crate::CHILD, orders.encode())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut process = Mortal(process);
    let output = process.0.stdout.take().unwrap();
    let (sender, lines) = channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            // What the kill cut off was never said.
            let Ok(line) = line else { break };
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let mut due = match plan.trigger {
        Trigger::Started(after) => Some(Instant::now() + after),
        _ => None,
    };
    let (mut moment, mut acknowledged, mut compactions) = ("starting", 0, 0);
    judge.begins();
    loop {
        let wait = due.map_or(SILENCE, |due| due.saturating_duration_since(Instant::now()));
        let line = match lines.recv_timeout(wait) {
            Ok(line) => Line::parse(&line),
            Err(RecvTimeoutError::Timeout) if due.is_some() => break,
            Err(RecvTimeoutError::Timeout) => panic!("{plan:?}: the writer is stuck, {moment}"),
            // It closed the file before it could be killed.
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let seen = match &line {
            Line::Opening => Some(("opening", Trigger::Opening(Duration::ZERO))),
            Line::Shown => Some(("writing", Trigger::Shown)),
            Line::Compacting => Some(("compacting", Trigger::Compacting(Duration::ZERO))),
            Line::Closing => Some(("closing", Trigger::Closing(Duration::ZERO))),
            _ => None,
        };
        acknowledged += u64::from(matches!(line, Line::Acknowledged { .. }));
        compactions += u64::from(line == Line::Compacting);
        judge.hear(line);
        if let Some((what, _)) = seen {
            moment = what;
        }
        due = due.or(match (plan.trigger, seen) {
            (Trigger::Opening(after), Some((_, Trigger::Opening(_))))
            | (Trigger::Compacting(after), Some((_, Trigger::Compacting(_))))
            | (Trigger::Closing(after), Some((_, Trigger::Closing(_)))) => Some(Instant::now() + after),
            (Trigger::Acknowledged(count), _) if acknowledged >= count => Some(Instant::now()),
            // A new file has nothing to compact.
            (Trigger::Compacting(_), _) if acknowledged >= 200 && compactions == 0 => Some(Instant::now()),
            (Trigger::Shown, Some((_, Trigger::Shown))) => Some(Instant::now()),
            _ => None,
        });
    }
    // SIGKILL: the process does nothing more, not even in its defence. One that was told to close may have been faster.
    let _ = process.0.kill();
    let status = process.0.wait().unwrap();
    let end = match status.signal() {
        Some(SIGKILL) => End::Killed,
        _ if closes && status.success() => End::Closed,
        _ => panic!("{plan:?}: the writer ended by itself, {moment}: {status}"),
    };
    for line in lines {
        let line = Line::parse(&line);
        acknowledged += u64::from(matches!(line, Line::Acknowledged { .. }));
        judge.hear(line);
    }
    reader.join().unwrap();
    Outcome { moment, end, acknowledged }
}
