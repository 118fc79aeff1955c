//! The card's clocks while a step runs, which `nvidia-smi` reports once a second.

use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// The command that prints them, a line of numbers every second, until it is ended.
pub fn command(tool: &Path) -> Command {
    let mut command = Command::new(tool);
    command.args(["--query-gpu=clocks.sm,clocks.mem,power.draw,temperature.gpu"]);
    command.args(["--format=csv,noheader,nounits", "--loop-ms=1000"]);
    command
}

/// The largest value in each column of `text`, without its first `from` lines; null if there are none.
pub fn largest(text: &str, from: usize) -> Value {
    let numbers =
        |line: &str| -> Vec<Option<f64>> { line.split(',').map(|cell| cell.trim().parse().ok()).collect() };
    let lines: Vec<Vec<Option<f64>>> = text.lines().skip(from).map(numbers).collect();
    let column = |index: usize| lines.iter().filter_map(|line| *line.get(index)?).max_by(f64::total_cmp);
    let all = [0, 1, 2, 3].map(column);
    if all.iter().all(Option::is_none) {
        return Value::Null;
    }
    json!({"sm_mhz": all[0], "memory_mhz": all[1], "watts": all[2], "celsius": all[3]})
}
