//! Figures that are computed from tables.

use crate::measure::figures::{Beside, Lines, Rates, beside, cell, reached, step_row};
use serde_json::{Value, json};

/// A line of a step that reported these tables.
pub fn line(step: &str, result: Value) -> Value {
    json!({"step": step, "status": "ok", "exit": 0, "signal": null, "seconds": 1.5, "limit": 9.0, "at": 2.0,
           "last_words": [], "result": result})
}

pub fn table(title: &str, rows: &[Value]) -> Value {
    json!({"title": title, "notes": [], "rows": rows})
}

/// Rows of the bench's tables of steps and peers, as it writes them.
pub fn steps() -> Value {
    let step = |label: &str, ms: f64| {
        json!({"step": label, "GFLOP": 10.0, "MiB moved": 100.0, "median ms": ms, "best ms": ms,
               "GFLOP/s": 1e4 / ms, "fraction": 0.25})
    };
    let peer = |label: &str, ms: f64, ratio: f64| json!({"step, peer": label, "jem ms": 10.0, "peer ms": ms, "jem / peer": 1.0 / ratio, "peer / jem": ratio});
    json!({"facts": {"device": "A card", "driver": "1.2"}, "errors": [], "not_measured": [], "tables": [
        table("Steps", &[
            step("paper WRN-28-10 f16 x64 sgld, PyTorch graph-bf16-nhwc", 5.0),
            step("paper WRN-28-10 f16 x64 sgld", 10.0),
            step("paper WRN-28-10 f16 x64 sgld, nothing fused", 12.0),
            step("paper WRN-28-10 f16 x64 update", 40.0),
            step("paper WRN-28-10 f16 x64 iteration, K = 20", 240.0),
            step("paper WRN-28-10 f16 x64 iteration, K = 20, PyTorch graph-bf16-nhwc", 120.0),
        ]),
        table("Peers", &[
            peer("paper WRN-28-10 f16 x64 sgld, PyTorch compile-bf16-nhwc", 8.0, 0.8),
            peer("paper WRN-28-10 f16 x64 sgld, PyTorch graph-bf16-nhwc", 5.0, 0.5),
            peer("paper WRN-28-10 f16 x64 sgld, PyTorch's best (graph-bf16-nhwc)", 5.0, 0.5),
            peer("paper WRN-28-10 f16 x64 iteration, K = 20, PyTorch graph-bf16-nhwc", 120.0, 0.51),
        ]),
    ]})
}

#[test]
fn rows_of_a_step_are_this_engines() {
    let lines = [line("steps-f16", steps())];
    let time = |step| step_row(Lines(&lines), "steps-f16", step).and_then(|row| cell(row, "median ms"));
    assert_eq!([time("sgld"), time("update"), time("iteration")], [Some(10.0), Some(40.0), Some(240.0)]);
    assert_eq!(time("nothing"), None);
    assert!(step_row(Lines(&lines), "steps-f32", "sgld").is_none());
    let row = step_row(Lines(&lines), "steps-f16", "sgld").unwrap();
    let (flops, bytes, fraction) = reached(row);
    assert_eq!((flops, fraction), (Some(1000.0), Some(0.25)));
    // 100 MiB in 10 ms.
    approx::assert_relative_eq!(bytes.unwrap(), 10.48576);
}

#[test]
fn ratios_are_those_of_turns_where_there_are_any() {
    let alone = json!({"rows": [
        {"mode": "eager-bf16-nhwc", "step": "sgld", "median_ms": 9.0},
        {"mode": "graph-bf16-nhwc", "step": "update", "median_ms": 20.0},
        {"mode": "eager-bf16-nhwc", "step": "update", "median_ms": 30.0},
        {"mode": "compile-bf16-nhwc", "skipped": "no compiler"},
    ]});
    let lines = [line("torch-bf16", alone), line("steps-f16", steps())];
    let of = |step| beside(Lines(&lines), "f16", step, "bf16");
    let turns = |mode: &str, peer, ratio| Some(Beside { mode: mode.into(), peer, ratio, turns: true });
    assert_eq!(of("sgld"), turns("graph-bf16-nhwc", 5.0, 0.5));
    assert_eq!(of("iteration"), turns("graph-bf16-nhwc", 120.0, 0.51));
    let apart = Beside { mode: "graph-bf16-nhwc".into(), peer: 20.0, ratio: 0.5, turns: false };
    assert_eq!(of("update"), Some(apart), "no turns of it, but PyTorch alone");
    assert_eq!(beside(Lines(&lines), "f32", "sgld", "float32"), None);
    // A run that was killed before its last table.
    let mut cut = steps();
    cut["tables"].as_array_mut().unwrap().pop();
    let lines = [line("steps-f16", cut)];
    assert_eq!(beside(Lines(&lines), "f16", "sgld", "bf16"), turns("graph-bf16-nhwc", 5.0, 0.5));
}

#[test]
fn ceilings_are_the_best_of_their_kind() {
    let probe = |label: &str, rate: f64| json!({"probe": label, "ms": 1.0, "GFLOP/s": rate});
    let size = |label: &str, copy: f64, sums: Option<f64>| json!({"tensor": label, "copy GB/s": copy, "fill GB/s": 1.0, "sums GB/s": sums});
    let result = json!({"tables": [
        table("Ceiling of arithmetic: chains", &[
            probe("f32, fma, 16 chains a thread", 9000.0),
            probe("f32, the best", 60000.0),
            probe("f16, the best", 99000.0),
        ]),
        table("Ceiling of cooperative matrices (tensor cores)", &[
            probe("16x16x16, 8 sums a subgroup", 700000.0),
            probe("16x16x16, the best", 600000.0),
            probe("8x8x8, the best", 300.0),
        ]),
        table("Ceiling of memory", &[size("64 KiB", 9000.0, Some(1.0)), size("524288 KiB", 2900.0, Some(3100.0))]),
    ]});
    let rates = Rates::of(Lines(&[line("ceilings", result)]));
    assert_eq!(rates, Rates { f32: Some(60000.0), matrices: Some(600000.0), memory: Some(3100.0) });
    assert_eq!(Rates::of(Lines(&[])), Rates::default());
}
