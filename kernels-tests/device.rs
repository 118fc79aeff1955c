//! The device layer: order, memory, limits and errors, on the GPU with and without naga's checks and, where
//! it applies, on the CPU.

use super::adapter::gpu_spec;
use super::harness::{Inputs, devices, gpu};
use jem::compute::Argument;
use jem::compute::Shader;
use jem::compute::{Access, Binding, Kernel, binding};
use jem::device::{Buffer, Device, DeviceOptions, DeviceSpec, Executable, Program, ProgramBuilder};
use jem::kernels::unary::{Unary, UnaryOp};
use jem::{Error, Result};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

tests![
    an_unknown_adapter_is_an_error_that_lists_the_adapters,
    the_name_of_an_adapter_is_matched_in_any_case,
    replays_continue_from_what_the_last_one_left,
    writes_runs_and_reads_keep_their_order,
    a_read_back_arrives_without_being_waited_for,
    bytes_need_not_fill_words,
    a_large_write_arrives_whole,
    threads_share_a_device,
    memory_is_counted_and_given_back,
    many_runs_queue_without_growing,
    a_long_program_is_cut_without_a_trace,
    pipelines_compile_on_threads_of_their_own,
    a_profile_has_one_time_for_each_dispatch,
    a_profile_may_be_longer_than_a_query_set,
];

/// A device of this test's own, for what is counted or broken.
pub fn open(checked: bool) -> Device {
    Device::open(&gpu_spec(), DeviceOptions { checked, uncached: true, ..DeviceOptions::default() })
        .expect("the device that other tests open")
}

/// `x = 2 x + 1` over `n` elements of the external `x`, through a transient.
pub fn doubling(n: usize) -> Program {
    let mut builder = ProgramBuilder::new("doubling");
    let x = builder.external_named("x", n);
    let t = builder.transient("t", n);
    builder.dispatch("twice", Unary { op: UnaryOp::Affine(2.0, 1.0), n }, &[x, t]);
    builder.dispatch("back", Unary { op: UnaryOp::Affine(1.0, 0.0), n }, &[t, x]);
    builder.finish()
}

pub fn loaded(device: &Device, values: &[f32]) -> (Buffer, Executable) {
    let x = device.buffer_from("x", values).expect("a buffer");
    let executable = device.load(doubling(values.len()), &[("x", &x)]).expect("a valid program");
    (x, executable)
}

pub const ONE_WORD: &str = "@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@compute @workgroup_size(1) fn main() { y[0] = 7u; }";

/// A kernel of one output whose shader, workgroups and size are the test's.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    pub text: &'static str,
    pub workgroups: [u32; 3],
    pub words: usize,
}

impl Kernel for Probe {
    fn name(&self) -> &'static str {
        "probe"
    }
    fn bindings(&self) -> Vec<Binding> {
        vec![binding("y", 1, Access::Write, self.words)]
    }
    fn shader(&self) -> Shader {
        Shader::with_text("probe", self.text)
    }
    fn uniforms(&self) -> Vec<u32> {
        Vec::new()
    }
    fn workgroups(&self) -> [u32; 3] {
        self.workgroups
    }
    fn flops(&self) -> u64 {
        0
    }
    fn run(&self, arguments: &mut [Argument<'_>]) {
        arguments[0].u32_mut()[0] = 7;
    }
}

/// Loads a program of one [`Probe`] labelled `probed`, on a buffer of its own.
pub fn load_probe(device: &Device, probe: Probe) -> Result<(Buffer, Executable)> {
    let mut builder = ProgramBuilder::new("probing");
    let y = builder.external_named("y", probe.words.max(1));
    builder.dispatch("probed", probe, &[y]);
    let y = device.buffer("y", probe.words as u64 * 4)?;
    let executable = device.load(builder.finish(), &[("y", &y)])?;
    Ok((y, executable))
}

fn an_unknown_adapter_is_an_error_that_lists_the_adapters() {
    let spec: DeviceSpec = "gpu:no such adapter".parse().unwrap();
    let error = Device::open(&spec, DeviceOptions::default()).unwrap_err();
    assert!(matches!(&error, Error::NoDevice { asked, .. } if asked == "gpu:no such adapter"), "{error}");
    let adapters = Device::adapters();
    assert!(!adapters.is_empty());
    for adapter in adapters {
        assert!(error.to_string().contains(&adapter.name), "{error} does not list {adapter}");
        assert_eq!(adapter.to_string().lines().count(), 1);
    }
}

fn the_name_of_an_adapter_is_matched_in_any_case() {
    for adapter in Device::adapters() {
        for name in [adapter.name.to_uppercase(), adapter.name.to_lowercase()] {
            let device = Device::open(&DeviceSpec::GpuNamed(name), DeviceOptions::default()).unwrap();
            assert!(device.name().contains(&adapter.backend), "{}", device.name());
            assert!(!device.is_cpu());
        }
    }
}

fn replays_continue_from_what_the_last_one_left() {
    let start: Vec<f32> = (0..1000).map(|i| (i % 7) as f32).collect();
    for (name, device) in devices() {
        let (x, executable) = loaded(device, &start);
        for _ in 0..20 {
            device.run(&executable).unwrap();
        }
        let expected: Vec<f32> = start.iter().map(|x| (x + 1.0) * (1 << 20) as f32 - 1.0).collect();
        assert_eq!(device.read_as::<f32>(&x).unwrap(), expected, "{name}");
    }
}

fn writes_runs_and_reads_keep_their_order() {
    for (name, device) in devices() {
        let (x, executable) = loaded(device, &[1.0; 300]);
        device.run(&executable).unwrap();
        let first = device.read_later(&x, 0, x.bytes()).unwrap();
        device.write(&x, 0, bytemuck::bytes_of(&5.0f32)).unwrap();
        let second = device.read_later(&x, 0, 8).unwrap();
        device.run(&executable).unwrap();
        device.run(&executable).unwrap();
        let third = device.read_later(&x, 0, 8).unwrap();
        device.write(&x, 0, bytemuck::cast_slice(&[0.0f32; 300])).unwrap();
        let floats = |bytes: Vec<u8>| bytemuck::pod_collect_to_vec::<u8, f32>(&bytes);
        // The last first: nothing depends on the order of the waits.
        assert_eq!(floats(third.wait().unwrap()), [23.0, 15.0], "{name}");
        assert_eq!(floats(second.wait().unwrap()), [5.0, 3.0], "{name}");
        assert_eq!(floats(first.wait().unwrap()), [3.0; 300], "{name}");
        assert_eq!(device.read_as::<f32>(&x).unwrap(), [0.0; 300], "{name}");
    }
}

fn a_read_back_arrives_without_being_waited_for() {
    for (name, device) in devices() {
        let (x, executable) = loaded(device, &[1.0; 70_000]);
        device.run(&executable).unwrap();
        let pending = device.read_later(&x, 0, x.bytes()).unwrap();
        let start = Instant::now();
        while !pending.is_ready() {
            assert!(start.elapsed() < Duration::from_secs(20), "{name}: never ready");
            std::thread::yield_now();
        }
        assert_eq!(bytemuck::pod_collect_to_vec::<u8, f32>(&pending.wait().unwrap()), vec![3.0; 70_000]);
    }
}

fn bytes_need_not_fill_words() {
    for (name, device) in devices() {
        let data: Vec<u8> = (1..=11).collect();
        let buffer = device.buffer_from("bytes", &data).unwrap();
        assert_eq!(device.read(&buffer).unwrap(), data, "{name}");
        assert_eq!(device.read_later(&buffer, 3, 6).unwrap().wait().unwrap(), data[3..9], "{name}");
        assert!(device.read_later(&buffer, 11, 0).unwrap().wait().unwrap().is_empty(), "{name}");
        device.write(&buffer, 8, &[91, 92, 93]).unwrap();
        assert_eq!(device.read(&buffer).unwrap()[7..], [8, 91, 92, 93], "{name}");
        for (offset, length) in [(2, 4), (4, 3), (8, 4)] {
            let error = device.write(&buffer, offset, &data[..length]).unwrap_err();
            assert!(matches!(&error, Error::Binding { buffer, .. } if buffer == "bytes"), "{name}: {error}");
        }
        assert!(matches!(device.read_later(&buffer, 8, 4), Err(Error::Binding { .. })), "{name}");
    }
}

fn a_large_write_arrives_whole() {
    // More than one staging flush, and not a multiple of it.
    let words: Vec<u32> = (0..(40 << 18) + 5).map(|i: u32| i.wrapping_mul(0x9e37_79b9)).collect();
    let device = gpu(false);
    let buffer = device.buffer_from("large", &words).unwrap();
    assert!(device.read_as::<u32>(&buffer).unwrap() == words);
}

fn threads_share_a_device() {
    for checked in [true, false] {
        let device = open(checked);
        std::thread::scope(|scope| {
            for seed in 0..4 {
                let device = &device;
                scope.spawn(move || {
                    for n in [10, 3000, 100] {
                        let start = Inputs::new(seed).floats(n);
                        let (x, executable) = loaded(device, &start);
                        device.run(&executable).unwrap();
                        let expected: Vec<f32> = start.iter().map(|x| 2.0 * x + 1.0).collect();
                        for (a, b) in device.read_as::<f32>(&x).unwrap().iter().zip(&expected) {
                            assert!((a - b).abs() <= 1e-6, "{a} {b}");
                        }
                    }
                });
            }
        });
    }
}

fn memory_is_counted_and_given_back() {
    for checked in [true, false] {
        let device = open(checked);
        let mut totals = Vec::new();
        for _ in 0..3 {
            let (x, executable) = loaded(&device, &[1.0; 1000]);
            let before_reading = device.allocated_bytes();
            device.run(&executable).unwrap();
            // Dropped before it is waited for: its staging buffer must be freed as well.
            drop(device.read_later(&x, 0, 4000).unwrap());
            assert_eq!(device.read_as::<f32>(&x).unwrap(), [3.0; 1000]);
            drop(executable);
            let with_x = device.allocated_bytes();
            drop(x);
            let idle = device.allocated_bytes();
            assert_eq!(with_x - idle, 4000, "the buffer");
            totals.push((before_reading, idle));
        }
        // x and t, and two uniform blocks of 16 bytes, the second at the next multiple of 256.
        assert_eq!(totals[0].0, 4000 + 4000 + 256 + 16);
        // The staging buffer of the last read stays in the pool.
        assert_eq!(totals[0].1, 4000);
        assert_eq!(totals[1], (totals[0].0 + 4000, 4000));
        assert_eq!(totals[2], totals[1]);
    }
}

fn many_runs_queue_without_growing() {
    let device = open(false);
    let (x, executable) = loaded(&device, &[0.0; 64]);
    device.run(&executable).unwrap();
    let bytes = device.allocated_bytes();
    for _ in 0..200 {
        device.run(&executable).unwrap();
        device.write(&x, 0, bytemuck::cast_slice(&[1.0f32; 64])).unwrap();
    }
    device.wait().unwrap();
    assert_eq!(device.allocated_bytes(), bytes);
    assert_eq!(device.read_as::<f32>(&x).unwrap(), [1.0; 64]);
}

fn a_long_program_is_cut_without_a_trace() {
    // More dispatches than one submission holds; each reads what the one before it wrote.
    const N: usize = 64;
    let mut builder = ProgramBuilder::new("long");
    let x = builder.external_named("x", N);
    let t = builder.transient("t", N);
    for _ in 0..1250 {
        builder.dispatch("there", Unary { op: UnaryOp::Affine(2.0, 1.0), n: N }, &[x, t]);
        builder.dispatch("back", Unary { op: UnaryOp::Affine(0.5, 0.5), n: N }, &[t, x]);
    }
    let program = builder.finish();
    for (name, device) in devices() {
        let x = device.buffer_from("x", &[0.0f32; N]).unwrap();
        let executable = device.load(program.clone(), &[("x", &x)]).unwrap();
        for runs in 1..4 {
            device.run(&executable).unwrap();
            assert_eq!(device.read_as::<f32>(&x).unwrap(), [1250.0 * runs as f32; N], "{name}");
        }
    }
}

/// A kernel that records the threads that ask for its name.
#[derive(Debug, Clone)]
struct Watched(Arc<Mutex<Vec<Option<String>>>>);

impl Kernel for Watched {
    fn name(&self) -> &'static str {
        self.0.lock().unwrap().push(std::thread::current().name().map(str::to_owned));
        "watched"
    }
    fn bindings(&self) -> Vec<Binding> {
        vec![binding("y", 1, Access::Write, 1)]
    }
    fn shader(&self) -> Shader {
        Shader::with_text("watched", ONE_WORD)
    }
    fn uniforms(&self) -> Vec<u32> {
        Vec::new()
    }
    fn workgroups(&self) -> [u32; 3] {
        [1; 3]
    }
    fn flops(&self) -> u64 {
        0
    }
    fn run(&self, arguments: &mut [Argument<'_>]) {
        arguments[0].u32_mut()[0] = 7;
    }
}

fn pipelines_compile_on_threads_of_their_own() {
    let device = open(false);
    let mut builder = ProgramBuilder::new("watching");
    let y = builder.external_named("y", 1);
    let kernel = Watched(Arc::default());
    builder.dispatch("watched", kernel.clone(), &[y]);
    let y = device.buffer("y", 4).unwrap();
    device.load(builder.finish(), &[("y", &y)]).unwrap();
    let threads = kernel.0.lock().unwrap();
    let compiler = |name: &Option<String>| name.as_deref().is_some_and(|name| name.starts_with("pipelines-"));
    assert!(threads.iter().any(compiler), "{threads:?}");
}

fn a_profile_has_one_time_for_each_dispatch() {
    for (name, device) in devices() {
        let (x, executable) = loaded(device, &vec![1.0; 1 << 20]);
        let times = device.profile(&executable).unwrap();
        let labels: Vec<_> = times.iter().map(|t| (t.kernel, t.label.as_str())).collect();
        assert_eq!(labels, [("unary", "twice"), ("unary", "back")], "{name}");
        for time in &times {
            assert!(time.time > Duration::ZERO && time.time < Duration::from_secs(20), "{name}: {time:?}");
        }
        assert_eq!(device.read_as::<f32>(&x).unwrap()[..2], [3.0; 2], "{name}: a profile is a run");
    }
}

fn a_profile_may_be_longer_than_a_query_set() {
    const DISPATCHES: usize = 2048 + 3;
    let mut builder = ProgramBuilder::new("long");
    let y = builder.external_named("y", 1);
    for _ in 0..DISPATCHES {
        builder.dispatch("probed", Probe { text: ONE_WORD, workgroups: [1, 1, 1], words: 1 }, &[y]);
    }
    let device = gpu(false);
    let y = device.buffer("y", 4).unwrap();
    let executable = device.load(builder.finish(), &[("y", &y)]).unwrap();
    assert_eq!(device.profile(&executable).unwrap().len(), DISPATCHES);
    assert_eq!(device.read_as::<u32>(&y).unwrap(), [7]);
}
