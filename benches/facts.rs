//! The facts about a report: the machine, the device, the date and the commit.

use crate::build::{commit, date};
use crate::options::Setting;

/// The facts of a report, by name.
pub fn facts(setting: &Setting) -> Vec<(&'static str, String)> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut facts = vec![("device", setting.device.name())];
    if let Some(adapter) = setting.device.adapter() {
        facts.push(("kind", adapter.kind.to_string()));
        facts.push(("backend", adapter.backend.clone()));
        facts.push(("driver", format!("{} {}", adapter.driver, adapter.driver_info).trim().to_owned()));
        facts.push(("adapter", adapter.to_string()));
    }
    let (system, instructions) = (std::env::consts::OS, std::env::consts::ARCH);
    let processor = processor().map_or_else(String::new, |name| format!(", {name}"));
    facts.push(("host", format!("{system} {instructions}{processor}, {threads} threads")));
    if let Ok(Some(folder)) = jem::compute::shader::folder() {
        facts.push(("shaders", folder.summary()));
    }
    facts.push(("date", date()));
    facts.push(("commit", commit()));
    if setting.quick {
        facts.push((
            "quick",
            "small shapes and little time: numbers to see that it works, not to quote".into(),
        ));
    }
    facts
}

/// The processor's name, where Linux tells it.
fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
