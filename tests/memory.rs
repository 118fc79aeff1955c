//! Training uses as much memory after 200 iterations as after 2: both the buffers that the library counts and the
//! process as the system reports it. This is the only test of its program, so that nothing else changes the figures.

#[path = "common/devices.rs"]
mod devices;
#[path = "common/small.rs"]
mod small;

use devices::devices;
use jem::ebm::{Recipe, Trainer};
use small::{pictures, recipe};

/// The allowed growth of the process between iterations 20 and 200: less than 6 KiB per iteration, the cost of a leaked
/// buffer with the driver's own data for it.
const GROWTH: u64 = 1 << 20;

/// The resident bytes of this process, if the system reports them.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

/// Waits for the metrics of each iteration, so that the number of pending copies does not affect the figures.
fn train(trainer: &mut Trainer, iterations: usize) {
    for _ in 0..iterations {
        trainer.step().expect("an iteration");
        assert_eq!(trainer.finish_metrics().expect("metrics").len(), 1);
    }
}

#[test]
fn memory_after_2_iterations_is_memory_after_200() {
    let data = pictures(32, 8);
    let recipe = Recipe { steps: 1, iterations: 200, ..recipe() };
    for (name, device) in devices() {
        let mut trainer = Trainer::new(&device, &recipe, &data).expect("a trainer");
        train(&mut trainer, 2);
        let after_2 = device.allocated_bytes();
        assert!(after_2 > 0, "{name}: nothing is counted");
        train(&mut trainer, 18);
        let resident_20 = resident();
        train(&mut trainer, 180);
        assert_eq!(device.allocated_bytes(), after_2, "{name}: bytes of buffers");
        match resident_20.zip(resident()) {
            Some((before, after)) => {
                let grown = after.saturating_sub(before);
                println!("{name}: {after_2} bytes of buffers; resident {before} then {after}, +{grown}");
                assert!(grown <= GROWTH, "{name}: the process grew by {grown} bytes in 180 iterations");
            }
            None => println!("{name}: this system does not tell the resident bytes: not compared"),
        }
        drop(trainer);
        // A GPU keeps its few buffers for copies to the host.
        let left = device.allocated_bytes();
        assert!(left <= 16 << 10, "{name}: {left} bytes of buffers without the trainer");
    }
}
