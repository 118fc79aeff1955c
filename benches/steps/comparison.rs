//! The comparison of this engine with each peer from their turns, mode by mode, and with each peer's best mode.

use super::peer::Peer;
use super::turns::{Contestant, Rounds, median};
use crate::report::{Report, milliseconds};
use serde_json::{Value, json};
use std::time::Duration;

/// The rows of the table of peers, which comes after that of steps.
#[derive(Default)]
pub struct Comparison {
    rows: Vec<Vec<Value>>,
    /// Modes without times, with the reason.
    skipped: Vec<String>,
}

impl Comparison {
    /// Notes a mode without times, once.
    pub fn skip(&mut self, line: String) {
        if !self.skipped.contains(&line) {
            self.skipped.push(line);
        }
    }

    /// Adds rows from `rounds` of the step `label`: one for each mode, one for the best mode in the precision `class`,
    /// which is the nearest to this engine's, and one for the best mode of all.
    pub fn add(&mut self, label: &str, class: &str, peers: &[Peer], rounds: &Rounds) {
        let ours: Vec<Duration> = rounds.ours.iter().map(|time| time.whole).collect();
        for (index, Peer { name, .. }) in peers.iter().enumerate() {
            let mut timed: Vec<(&str, &[Duration])> = Vec::new();
            for Contestant { mode, times, .. } in rounds.peers.iter().filter(|one| one.peer == index) {
                match times {
                    Ok(times) => {
                        self.rows.push(row(&format!("{label}, {name} {mode}"), &ours, times));
                        timed.push((mode, times));
                    }
                    Err(reason) => self.skip(format!("{name} {mode}: {reason}")),
                }
            }
            let in_class = |mode: &str| mode.split('-').any(|word| word == class);
            for (best, only) in [(format!("best {class}"), true), ("best".to_owned(), false)] {
                let modes = timed.iter().filter(|(mode, _)| !only || in_class(mode));
                if let Some((mode, times)) = modes.min_by_key(|(_, times)| median(times)) {
                    self.rows.push(row(&format!("{label}, {name}'s {best} ({mode})"), &ours, times));
                }
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
