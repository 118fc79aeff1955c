//! Ends processes that outlive the step that started them because they left its group, as the workers of PyTorch's
//! compiler do.

#[cfg(target_os = "linux")]
pub use linux::{adopt, end};

/// Other systems do not offer this: the processes live on.
#[cfg(not(target_os = "linux"))]
pub fn adopt() {}

/// Other systems do not offer this: the processes live on.
#[cfg(not(target_os = "linux"))]
pub fn end(_: &[u32]) {}

#[cfg(target_os = "linux")]
mod linux {
    use jem::process::SIGKILL;
    use std::fs;
    use std::time::Duration;

    const PR_SET_CHILD_SUBREAPER: i32 = 36;
    const WNOHANG: i32 = 1;
    /// The number of searches for them and the pause after each: a killed process leaves its own children behind.
    const ROUNDS: (usize, Duration) = (40, Duration::from_millis(5));

    unsafe extern "C" {
        fn prctl(option: i32, ...) -> i32;
        fn kill(pid: i32, signal: i32) -> i32;
        fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    }

    /// Makes this process the new parent of every descendant whose parent ends.
    pub fn adopt() {
        // SAFETY: this option takes a number and touches no memory. If it is refused, orphans only live on.
        unsafe { prctl(PR_SET_CHILD_SUBREAPER, 1_u64, 0_u64, 0_u64, 0_u64) };
    }

    /// Ends all children of this process except `kept`, and the orphans that they leave.
    pub fn end(kept: &[u32]) {
        for _ in 0..ROUNDS.0 {
            let children: Vec<i32> = children(kept);
            if children.is_empty() {
                return;
            }
            for child in children {
                // SAFETY: kill(2) takes numbers; the process is a child of this one, and nothing else waits for it.
                unsafe { kill(child, SIGKILL) };
                // SAFETY: a null status is allowed.
                unsafe { waitpid(child, std::ptr::null_mut(), WNOHANG) };
            }
            std::thread::sleep(ROUNDS.1);
        }
    }

    /// The children of this process except `kept`.
    fn children(kept: &[u32]) -> Vec<i32> {
        let own = std::process::id();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_child = |process: &u32| {
            let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            // The state and the parent follow the name, which may contain anything.
            let parent = text.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
            parent == Some(own)
        };
        let children = processes.filter(|process| !kept.contains(process)).filter(is_child);
        children.filter_map(|process| i32::try_from(process).ok()).collect()
    }
}
