//! Turns: this engine's step, then each peer's in each of its modes, and so on, so that other load on the machine
//! affects all alike.

use super::clock::StepTime;
use super::peer::Peer;
use std::time::{Duration, Instant};

/// Time for the runs of one step of one contestant.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs of a step, round by round.
pub struct Rounds {
    /// This engine's, at least one.
    pub ours: Vec<StepTime>,
    /// The peers', those that have the step.
    pub peers: Vec<Contestant>,
}

/// A peer in one of its modes.
pub struct Contestant {
    /// The index of the peer.
    pub peer: usize,
    /// Its mode.
    pub mode: String,
    /// Its times, one for each of [`Rounds::ours`], or why there are none.
    pub times: Result<Vec<Duration>, String>,
}

/// Takes `repeats` rounds of `step` after two to warm up; fewer if either takes longer than a minute for each
/// contestant. `ours` runs this engine's step.
///
/// A peer that ends has no times in its remaining modes; [`Peer::failed`] says why.
///
/// # Errors
/// The errors of `ours`.
pub fn take(
    step: &str,
    repeats: usize,
    peers: &mut [Peer],
    mut ours: impl FnMut() -> jem::Result<StepTime>,
) -> jem::Result<Rounds> {
    let mut rounds = Rounds { ours: Vec::new(), peers: Vec::new() };
    for (index, peer) in
        peers.iter().enumerate().filter(|(_, peer)| peer.about.steps.iter().any(|s| s == step))
    {
        let contestant =
            |mode: &String| Contestant { peer: index, mode: mode.clone(), times: Ok(Vec::new()) };
        rounds.peers.extend(peer.about.modes.iter().map(contestant));
    }
    let patience = PATIENCE * (1 + rounds.peers.len() as u32);
    for (runs, counts) in [(2, false), (repeats, true)] {
        let start = Instant::now();
        for _ in 0..runs {
            let time = ours()?;
            if counts {
                rounds.ours.push(time);
            }
            for Contestant { peer, mode, times } in &mut rounds.peers {
                let Ok(measured) = times else { continue };
                match peers[*peer].time(mode, step) {
                    Ok(time) if counts => measured.push(time),
                    Ok(_) => {}
                    Err(reason) => *times = Err(reason),
                }
            }
            if start.elapsed() > patience {
                break;
            }
        }
    }
    Ok(rounds)
}

/// The median.
///
/// # Panics
/// If there are no times.
pub fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}
