//! Interpreting a pickle takes at most `MAX_MEMORY` bytes besides those that its documentation excepts. This is the
//! only test of its binary, whose allocator counts bytes.

use jem::io::torch::pickle::{self, MAX_MEMORY};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The bytes that are allocated, and the most that were.
static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(NOW.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: the caller's promises are those of this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promises are those of this function.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that interpreting `code` takes beside it, and the error if it is refused.
fn measure(code: &[u8]) -> (usize, Option<String>) {
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    let error = pickle::read(code).err();
    (PEAK.load(Relaxed) - before, error)
}

#[test]
fn a_pickle_takes_bounded_memory() {
    const M: usize = 1_000_000;
    let batch = |item: &[u8], end: u8| [&b"("[..], &item.repeat(1000), &[end]].concat();
    let list = |item: &[u8], batches: usize| [&b"]"[..], &batch(item, b'e').repeat(batches), b"."].concat();
    let float = b"G\x3f\xf0\0\0\0\0\0\0";

    // Lists of numbers, however long.
    for batches in [3_000, 10_000] {
        let (bytes, error) = measure(&list(float, batches));
        println!("{} numbers: {bytes} bytes", 1000 * batches);
        assert!(error.is_none() && bytes < 1 << 20, "{bytes} bytes, {error:?}");
    }

    // As many values as there may be: pairs, objects, and a memo of them all.
    let class = b"cm\nN\nq\x000";
    let memo = [&b"N"[..], &b"\x94".repeat(4 * M), b"0"].concat();
    let references = [&b"Nq\x010]"[..], &batch(b"h\x01", b'e').repeat(15_000)].concat();
    let stack = b"h\x01".repeat(4 * M);
    for (name, code) in [
        ("pairs", list(b"K\x01K\x02\x86", 1_390)),
        ("objects", [&class[..], b"](", &b"h\x00)\x81".repeat(2 * M), b"e."].concat()),
        ("tensors' shapes", list(b"(K\x01K\x02K\x03K\x04t", 830)),
        ("memo", [&memo[..], b"N."].concat()),
        ("references", [&references[..], b"."].concat()),
        ("stack", [&b"Nq\x010"[..], &stack, b"."].concat()),
        (
            "all",
            [&memo[..], &references, class, &b"h\x00)\x81".repeat(2 * M), &b"h\x01".repeat(M), b"."].concat(),
        ),
    ] {
        let (bytes, error) = measure(&code);
        println!("{name}: {bytes} bytes");
        assert!(error.is_none(), "{name}: {error:?}");
        assert!(bytes <= MAX_MEMORY, "{name}: {bytes} bytes");
    }
}
