//! The commit of this executable, and today's date.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// The commit that the executable was built from, where its build was told.
pub const COMMIT: Option<&str> = option_env!("JEM_COMMIT");

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
