//! The failures of the fake driver.

use std::hint::black_box;
use std::time::Duration;

const MODE: &str = "JEM_FAKE_DRIVER";
const MODES: [&str; 7] = ["crash", "abort", "exit", "hang", "refuse", "crash-group-non-uniform", "full"];

/// SPIR-V's `OpCapability`, and two of its operands.
const OP_CAPABILITY: u32 = 17;
pub const GROUP_NON_UNIFORM: u32 = 61;
pub const COOPERATIVE_MATRIX: u32 = 6022;

/// Whether `$JEM_FAKE_DRIVER` is a known mode; prints a message if not.
pub fn is_known() -> bool {
    let mode = std::env::var(MODE).unwrap_or_default();
    let known = MODES.contains(&mode.as_str());
    if !known {
        eprintln!("fake driver: expected {MODE} to be one of {}, got {mode:?}", MODES.join(", "));
    }
    known
}

/// Whether the allocation of a buffer of this size fails: in mode `full`, in a child that runs the gate, for the gate's
/// tensors, but not for the buffers that wgpu needs to open a device.
pub fn is_full(bytes: u64) -> bool {
    let full = std::env::var(MODE).is_ok_and(|mode| mode == "full");
    full && std::env::var_os("JEM_GATE_REQUEST").is_some() && (32 << 10..512 << 10).contains(&bytes)
}

/// The capabilities that a SPIR-V module declares.
pub fn capabilities(words: &[u32]) -> Vec<u32> {
    let mut rest = words.get(5..).unwrap_or_default();
    let mut found = Vec::new();
    // Capabilities come first. An instruction's first word holds its length and its opcode.
    while let [first, operand, ..] = *rest {
        if first & 0xffff != OP_CAPABILITY {
            break;
        }
        found.push(operand);
        rest = rest.get(first as usize >> 16..).unwrap_or_default();
    }
    found
}

/// Fails in the mode of `$JEM_FAKE_DRIVER`; returns only if that mode refuses pipelines.
pub fn fail(group_non_uniform: bool) {
    match std::env::var(MODE).unwrap_or_default().as_str() {
        "abort" => std::process::abort(),
        "exit" => std::process::exit(3),
        "hang" => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
        mode if mode == "crash" || (mode == "crash-group-non-uniform" && group_non_uniform) => {
            // SAFETY: none; no system maps this address, and the fault that follows is what the mode asks for.
            unsafe { black_box(64 as *mut u8).write_volatile(1) }
        }
        _ => {}
    }
}
