//! The output of `jem tune`.

use super::{Arguments, Only, Results};
use crate::facts::say;
use jem::compute::conv_geometry::ConvProblem;
use jem::device::Device;
use jem::tuning::file;
use jem::tuning::{Ranked, Trial, Tuning};
use jem::words::counted;
use serde_json::{Map, Value, json};
use std::path::Path;
use std::time::Duration;

fn milliseconds(trial: &Trial) -> Option<f64> {
    trial.time.map(|time| 1e3 * time.as_secs_f64())
}

/// A row of the table.
fn row([shape, runs, rule, winner, milliseconds, ratio]: [String; 6]) -> String {
    format!("{shape:<43} {runs:>3} {rule:>7}  {winner:<23} {milliseconds:>7} {ratio:>4}")
}

/// The header of the table.
pub fn header() -> String {
    row(["shape", "run", "rule ms", "winner", "ms", "of"].map(str::to_owned))
}

/// Prints a row of the table, and under it the refused candidates and the number of untried ones.
pub fn print(tuning: &Tuning, runs: usize) {
    let ms = |trial: &Trial| milliseconds(trial).map_or("-".into(), |ms| format!("{ms:.3}"));
    let (rule, winner) = (tuning.rule(), tuning.winner());
    say(&row([
        tuning.shape.to_string(),
        runs.to_string(),
        ms(rule),
        winner.map_or("none".into(), |winner| winner.candidate.to_string()),
        winner.map_or("-".into(), ms),
        winner.and_then(|winner| winner.ratio).map_or("-".into(), |ratio| format!("{ratio:.2}")),
    ]));
    for (candidate, why) in tuning.refused() {
        say(&format!("    {candidate} is refused: {why}"));
    }
    if !tuning.untried.is_empty() {
        say(&format!("    no time was left for {} more candidates", tuning.untried.len()));
    }
}

/// The total milliseconds of all runs of all shapes: with the default choices and as tuned. Shapes without both times
/// do not count.
fn sums(tunings: &[(Tuning, usize)]) -> [f64; 2] {
    let mut sums = [0.0; 2];
    for (tuning, runs) in tunings {
        let times = milliseconds(tuning.rule()).zip(tuning.winner().and_then(milliseconds));
        if let Some((rule, winner)) = times {
            sums[0] += *runs as f64 * rule;
            sums[1] += *runs as f64 * winner;
        }
    }
    sums
}

/// Prints the totals, or everything as JSON.
pub fn finish(
    arguments: &Arguments,
    (device, precision): (&Device, &str),
    out: &Path,
    results: &Results,
    elapsed: Duration,
) {
    let Results { tunings, left_out, stored } = results;
    let [by_rule, as_tuned] = sums(tunings);
    if arguments.output.json {
        let facts = json!({
            "device": device.name(),
            "precision": precision,
            "file": out.display().to_string(),
            "shapes_in_file": stored,
            "milliseconds_by_rule": by_rule,
            "milliseconds_as_tuned": as_tuned,
            "seconds": elapsed.as_secs_f64(),
            "shapes": tunings.iter().map(|(tuning, runs)| facts(tuning, *runs)).collect::<Vec<_>>(),
            "left_out": left_out.iter().map(|(ranked, why)| left_out_facts(ranked, why)).collect::<Vec<_>>(),
        });
        return say(&facts.to_string());
    }
    for (ranked, why) in left_out {
        let time = ranked.time.map_or("not timed".into(), |time| {
            format!("{} of {:.3} ms by rule", counted(ranked.runs, "run"), 1e3 * time.as_secs_f64())
        });
        say(&format!("not tuned: {}, {why} ({time})", ranked.shape));
    }
    let what = match (arguments.model.is_some(), arguments.only) {
        (true, _) => "a score and an SGLD step",
        (false, Only::All) => "an iteration",
        (false, Only::Sgld) => "an iteration's SGLD steps",
        (false, Only::Update) => "an update",
    };
    let all = if left_out.is_empty() { "all convolutions" } else { "the tuned convolutions" };
    say(&format!("{all} of {what}: {by_rule:.1} ms by rule, {as_tuned:.1} ms as tuned"));
    let shapes = if *stored == 1 { "shape" } else { "shapes" };
    say(&format!("{} has {stored} {shapes} for this device", out.display()));
    if file::path().as_deref() != Some(out) {
        say(&format!("to use them, set {}={}", file::VARIABLE, out.display()));
    }
}

fn facts(tuning: &Tuning, runs: usize) -> Value {
    let trial = |trial: &Trial| {
        json!({
            "kernel": trial.candidate.to_string(),
            "milliseconds": milliseconds(trial),
            "ratio": trial.ratio,
            "refused": trial.refused,
        })
    };
    let mut facts = shape_facts(&tuning.shape, runs);
    facts.extend([
        ("rule".to_owned(), json!(tuning.rule().candidate.to_string())),
        ("winner".to_owned(), json!(tuning.winner().map(|winner| winner.candidate.to_string()))),
        ("candidates".to_owned(), tuning.trials.iter().map(trial).collect()),
        ("untried".to_owned(), tuning.untried.iter().map(|candidate| json!(candidate.to_string())).collect()),
    ]);
    facts.into()
}

fn left_out_facts(ranked: &Ranked, why: &str) -> Value {
    let mut facts = shape_facts(&ranked.shape, ranked.runs);
    facts.extend([
        ("milliseconds_by_rule".to_owned(), json!(ranked.time.map(|time| 1e3 * time.as_secs_f64()))),
        ("why".to_owned(), json!(why)),
    ]);
    facts.into()
}

fn shape_facts(shape: &ConvProblem, runs: usize) -> Map<String, Value> {
    let (g, storage) = (shape.geometry, shape.storage);
    let facts = json!({
        "direction": shape.direction,
        "input": [g.n, g.h, g.w, g.c_in],
        "weights": [g.kh, g.kw, g.c_in, g.c_out],
        "stride": g.stride,
        "padding": g.padding,
        "storage": [storage.a, storage.b, storage.c],
        "runs": runs,
    });
    match facts {
        Value::Object(facts) => facts,
        _ => unreachable!("an object was made"),
    }
}
