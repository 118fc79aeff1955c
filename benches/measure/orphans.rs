//! Processes that outlive the step that started them although they left its group, as the workers of PyTorch's
//! compiler do.

#[cfg(target_os = "linux")]
pub use linux::{adopt, end};

/// Elsewhere they live on.
#[cfg(not(target_os = "linux"))]
pub fn adopt() {}

/// Elsewhere they live on.
#[cfg(not(target_os = "linux"))]
pub fn end(_: &[u32]) {}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::time::Duration;

    const PR_SET_CHILD_SUBREAPER: i32 = 36;
    const SIGKILL: i32 = 9;
    const WNOHANG: i32 = 1;
    /// Looks for them, and the time between two: a killed process leaves its own children behind.
    const ROUNDS: (usize, Duration) = (40, Duration::from_millis(5));

    unsafe extern "C" {
        fn prctl(option: i32, ...) -> i32;
        fn kill(pid: i32, signal: i32) -> i32;
        fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    }

    /// Makes this process the parent of every descendant whose own parent ends.
    pub fn adopt() {
        // SAFETY: this option takes a number and touches no memory. If it is refused, orphans live on, no more.
        unsafe { prctl(PR_SET_CHILD_SUBREAPER, 1_u64, 0_u64, 0_u64, 0_u64) };
    }

    /// Ends all children of this process but `kept`, and what they leave behind.
    pub fn end(kept: &[u32]) {
        for _ in 0..ROUNDS.0 {
            let children: Vec<i32> = children(kept);
            if children.is_empty() {
                return;
            }
            for child in children {
                // SAFETY: it takes numbers; the process is a child of this one, which nothing else waits for.
                unsafe { kill(child, SIGKILL) };
                // SAFETY: the status may be left out.
                unsafe { waitpid(child, std::ptr::null_mut(), WNOHANG) };
            }
            std::thread::sleep(ROUNDS.1);
        }
    }

    /// The children of this process but `kept`.
    fn children(kept: &[u32]) -> Vec<i32> {
        let own = std::process::id();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_child = |process: &u32| {
            let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            // Behind the name, which may hold anything: the state and the parent.
            let parent = text.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
            parent == Some(own)
        };
        let children = processes.filter(|process| !kept.contains(process)).filter(is_child);
        children.filter_map(|process| i32::try_from(process).ok()).collect()
    }
}
