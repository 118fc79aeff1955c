//! The threads that compile pipelines.
//!
//! A driver compiles on its caller's stack, and the kernels unroll to thousands of instructions, for which the 2 MiB of
//! an ordinary thread may be too little.

use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::OnceLock;

/// Bytes of a thread's stack. The system backs only the pages that are touched.
const STACK: usize = 32 << 20;

/// The threads' names, followed by a number.
const NAME: &str = "pipelines-";

/// Runs `work` on the compiling threads, where rayon's parallel iterators use all of them. If these cannot be started,
/// it runs on rayon's ordinary threads.
pub fn run<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    static POOL: OnceLock<Option<ThreadPool>> = OnceLock::new();
    let start = || {
        // As many as rayon's own: one for each core, or RAYON_NUM_THREADS.
        let builder = ThreadPoolBuilder::new().stack_size(STACK).thread_name(|i| format!("{NAME}{i}"));
        let refused =
            |error| tracing::warn!("no threads with stacks of {STACK} bytes, so ordinary ones: {error}");
        builder.build().map_err(refused).ok()
    };
    match POOL.get_or_init(start) {
        Some(pool) => pool.install(work),
        None => work(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;
    use std::thread;

    /// Goes `bytes` down the stack from the address `top`.
    fn descend(top: usize, bytes: usize) -> u8 {
        let frame = [0; 64 << 10];
        let here = black_box(&frame).as_ptr().addr();
        // The sum after the call keeps the frame alive during the call.
        if top.abs_diff(here) < bytes { descend(top, bytes) + black_box(&frame)[0] } else { 0 }
    }

    #[test]
    fn every_thread_has_a_large_stack() {
        let cores = rayon::current_num_threads();
        let names = run(|| {
            rayon::broadcast(|_| {
                let top = [0u8];
                assert_eq!(descend(black_box(&top).as_ptr().addr(), 24 << 20), 0);
                thread::current().name().expect("a name").to_owned()
            })
        });
        assert!(names.iter().all(|name| name.starts_with(NAME)), "{names:?}");
        assert_eq!(names.len(), cores);
    }
}
