//! The card's clocks while a step runs, which `nvidia-smi` reports once a second.

use jem::device::DeviceSpec;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The command that prints them, a line for each card every second, until it is ended.
pub fn command(tool: &Path) -> Command {
    let mut command = Command::new(tool);
    command.args(["--query-gpu=index,name,clocks.sm,clocks.mem,power.draw,temperature.gpu"]);
    command.args(["--format=csv,noheader,nounits", "--loop-ms=1000"]);
    command
}

/// The largest value in each column of `text`, without its first `from` lines, of the card that is `device`. Null if no
/// card or several may be meant.
pub fn largest(text: &str, from: usize, device: &DeviceSpec) -> Value {
    let cells = |line| str::split(line, ',').map(str::trim).collect::<Vec<_>>();
    let is_meant = |cells: &Vec<&str>| match device {
        DeviceSpec::GpuNamed(name) => cells.get(1).is_some_and(|card| card.eq_ignore_ascii_case(name)),
        _ => cells.len() > 1,
    };
    let lines: Vec<Vec<&str>> = text.lines().skip(from).map(cells).filter(is_meant).collect();
    let cards: BTreeSet<&str> = lines.iter().map(|cells| cells[0]).collect();
    let column = |index: usize| {
        let numbers = lines.iter().filter_map(|cells| cells.get(index)?.parse::<f64>().ok());
        numbers.max_by(f64::total_cmp)
    };
    let all = [2, 3, 4, 5].map(column);
    if cards.len() != 1 || all.iter().all(Option::is_none) {
        return Value::Null;
    }
    json!({"sm_mhz": all[0], "memory_mhz": all[1], "watts": all[2], "celsius": all[3]})
}
