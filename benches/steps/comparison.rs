//! What the turns say of this engine beside each peer, mode by mode, and beside each peer's best.

use super::peer::Peer;
use super::turns::{Contestant, Rounds, median};
use crate::report::{Report, milliseconds};
use serde_json::{Value, json};
use std::time::Duration;

/// The rows of the table of peers, which comes after that of steps.
#[derive(Default)]
pub struct Comparison {
    rows: Vec<Vec<Value>>,
    /// Modes that there were no times of, with the reason.
    skipped: Vec<String>,
}

impl Comparison {
    /// Notes a mode without times, once.
    pub fn skip(&mut self, line: String) {
        if !self.skipped.contains(&line) {
            self.skipped.push(line);
        }
    }

    /// Adds what `rounds` of the step `label` say.
    pub fn add(&mut self, label: &str, peers: &[Peer], rounds: &Rounds) {
        let ours: Vec<Duration> = rounds.ours.iter().map(|time| time.whole).collect();
        for (index, Peer { name, .. }) in peers.iter().enumerate() {
            let mut best: Option<(&str, &[Duration])> = None;
            let mut modes = 0;
            for Contestant { mode, times, .. } in rounds.peers.iter().filter(|one| one.peer == index) {
                match times {
                    Ok(times) => {
                        modes += 1;
                        self.rows.push(row(&format!("{label}, {name} {mode}"), &ours, times));
                        if best.is_none_or(|(_, other)| median(times) < median(other)) {
                            best = Some((mode, times));
                        }
                    }
                    Err(reason) => self.skip(format!("{name} {mode}: {reason}")),
                }
            }
            if let Some((mode, times)) = best.filter(|_| modes > 1) {
                self.rows.push(row(&format!("{label}, {name}'s best ({mode})"), &ours, times));
            }
        }
    }

    /// Reports it, if there was a peer.
    pub fn report(self, report: &mut Report) {
        if self.rows.is_empty() && self.skipped.is_empty() {
            return;
        }
        let columns = ["step, peer", "jem ms", "peer ms", "jem / peer", "least", "most", "peer / jem"];
        let about = "medians; jem / peer: round by round, the median, the least and the most";
        report.table("Peers", about, &columns);
        for row in self.rows {
            report.row(row);
        }
        for line in self.skipped {
            report.left_out(&line);
        }
    }
}

/// The pairs of every round, compared.
fn row(label: &str, ours: &[Duration], peer: &[Duration]) -> Vec<Value> {
    let pairs = ours.iter().zip(peer);
    let mut ratios: Vec<f64> = pairs.map(|(a, b)| a.as_secs_f64() / b.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    let middle = ratios[ratios.len() / 2];
    vec![
        json!(label),
        json!(milliseconds(median(ours))),
        json!(milliseconds(median(peer))),
        json!(middle),
        json!(ratios.first()),
        json!(ratios.last()),
        json!(1.0 / middle),
    ]
}
