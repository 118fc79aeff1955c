//! Where, when and of what the results are.

use crate::options::Setting;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// The commit that the executable was built from, where its build was told.
pub const COMMIT: Option<&str> = option_env!("JEM_COMMIT");

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
    if let Ok(Some(folder)) = jem::kernels::shader::folder() {
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

/// The commit of this executable. Git is asked only under cargo: elsewhere the source tree may be another's.
pub fn commit() -> String {
    let from_git = || {
        let tree = std::env::var_os("CARGO_MANIFEST_DIR")?;
        let output = Command::new("git").arg("-C").arg(tree).args(["rev-parse", "HEAD"]).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    COMMIT.map(str::to_owned).or_else(from_git).unwrap_or_else(|| "unknown".into())
}

/// Today's date in UTC, YYYY-MM-DD.
pub fn date() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    // Days to civil date, with years that begin in March (Hinnant, "chrono-compatible low-level date algorithms").
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (month, day) = (if month < 10 { month + 3 } else { month - 9 }, day - (153 * month + 2) / 5 + 1);
    format!("{:04}-{month:02}-{day:02}", year + 400 * era + u64::from(month <= 2))
}
