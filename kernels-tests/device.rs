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
    a_workgroup_may_be_as_large_as_the_adapter_allows,
    a_workgroup_beyond_the_adapters_limits_is_named,
    a_profile_has_one_time_for_each_dispatch,
    a_profile_may_be_longer_than_a_query_set,
    a_tensor_beyond_the_binding_limit_is_named,
    a_buffer_beyond_the_limit_is_named,
    a_refused_kernel_is_named_and_later_programs_run,
    a_checked_device_divides_by_zero_as_wgsl_says,
    a_missing_small_or_doubled_buffer_is_named,
    a_lost_device_is_an_error_everywhere_and_a_panic_nowhere
];

/// A device of this test's own, for what is counted or broken.
fn open(checked: bool) -> Device {
    Device::open(&gpu_spec(), DeviceOptions { checked, uncached: true, ..DeviceOptions::default() })
        .expect("the device that other tests open")
}

/// `x = 2 x + 1` over `n` elements of the external `x`, through a transient.
fn doubling(n: usize) -> Program {
    let mut builder = ProgramBuilder::new("doubling");
    let x = builder.external_named("x", n);
    let t = builder.transient("t", n);
    builder.dispatch("twice", Unary { op: UnaryOp::Affine(2.0, 1.0), n }, &[x, t]);
    builder.dispatch("back", Unary { op: UnaryOp::Affine(1.0, 0.0), n }, &[t, x]);
    builder.finish()
}

fn loaded(device: &Device, values: &[f32]) -> (Buffer, Executable) {
    let x = device.buffer_from("x", values).expect("a buffer");
    let executable = device.load(doubling(values.len()), &[("x", &x)]).expect("a valid program");
    (x, executable)
}

/// A kernel of one output whose shader, workgroups and size are the test's.
#[derive(Debug, Clone, Copy)]
struct Probe {
    text: &'static str,
    workgroups: [u32; 3],
    words: usize,
}

const ONE_WORD: &str = "@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@compute @workgroup_size(1) fn main() { y[0] = 7u; }";

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
fn load_probe(device: &Device, probe: Probe) -> Result<(Buffer, Executable)> {
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

/// The adapter of `device`.
fn adapter_of(device: &Device) -> &jem::device::AdapterInfo {
    device.adapter().expect("a GPU has an adapter")
}

/// A probe whose workgroup has `invocations` in x and `bytes` of memory.
fn large_probe(invocations: u32, bytes: u32) -> Probe {
    let text = format!(
        "@group(0) @binding(1) var<storage, read_write> y: array<u32>;
        var<workgroup> w: array<u32, {}>;
        @compute @workgroup_size({invocations}) fn main(@builtin(local_invocation_index) i: u32) {{
            w[arrayLength(&y) - 1u + {}u - i] = i;
            workgroupBarrier();
            y[0] = w[{}] + 7u;
        }}",
        bytes / 4,
        bytes / 4 - 1,
        bytes / 4 - 1,
    );
    Probe { text: text.leak(), workgroups: [1; 3], words: 1 }
}

fn a_workgroup_may_be_as_large_as_the_adapter_allows() {
    for checked in [true, false] {
        let device = gpu(checked);
        let adapter = adapter_of(device);
        // First all of the memory, then all of the invocations.
        let (memory, most) = (adapter.workgroup_memory, adapter.workgroup_invocations);
        for (invocations, bytes) in [(64, memory), (most, 4 * most)] {
            let (y, executable) = load_probe(device, large_probe(invocations, bytes)).unwrap();
            device.run(&executable).unwrap();
            assert_eq!(device.read_as::<u32>(&y).unwrap(), [7], "{invocations} and {bytes} bytes");
        }
    }
}

fn a_workgroup_beyond_the_adapters_limits_is_named() {
    let device = gpu(false);
    let adapter = adapter_of(device);
    let (memory, invocations) = (adapter.workgroup_memory, adapter.workgroup_invocations);
    let text = |size: &str| {
        let text = format!("@compute @workgroup_size({size}) fn main() {{}}");
        Probe { text: text.leak(), workgroups: [1; 3], words: 1 }
    };
    let cases = [
        (large_probe(64, memory + 16), memory + 16, "max_compute_workgroup_storage_size"),
        (text("1, 1, 1048576"), 1 << 20, "max_compute_workgroup_size_z"),
        (text(&format!("{invocations}, 2")), 2 * invocations, "max_compute_invocations_per_workgroup"),
    ];
    for (probe, takes, limit) in cases {
        let error = load_probe(device, probe).expect_err(limit).to_string();
        for part in ["probe", "probed", limit, &takes.to_string()] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
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

fn a_tensor_beyond_the_binding_limit_is_named() {
    let device = gpu(false);
    let adapter = Device::adapters().into_iter().find(|a| device.name().contains(&a.name)).unwrap();
    let n = adapter.max_storage_binding as usize / 4 + 1;
    let mut builder = ProgramBuilder::new("too large");
    let (x, y) = (builder.external_named("features", n), builder.transient("activations", n));
    builder.dispatch("layer 3", Unary { op: UnaryOp::Exp, n }, &[x, y]);
    let error = device.load(builder.finish(), &[]).unwrap_err();
    let Error::Limit { tensor, program, needs, allows, .. } = &error else { panic!("{error}") };
    assert!(tensor.contains("features") && program == "too large", "{error}");
    assert_eq!((*needs, *allows), (n as u64 * 4, adapter.max_storage_binding), "{error}");
}

fn a_buffer_beyond_the_limit_is_named() {
    let device = gpu(false);
    let adapter = Device::adapters().into_iter().find(|a| device.name().contains(&a.name)).unwrap();
    let bytes = adapter.max_buffer + 4;
    let error = device.buffer("everything", bytes).unwrap_err();
    assert!(matches!(error, Error::Device { .. }), "{error}");
    for part in ["everything", &bytes.to_string()] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

fn a_refused_kernel_is_named_and_later_programs_run() {
    let refused = [
        ("no such function", "@compute @workgroup_size(1) fn main() { nothing(); }", [1, 1, 1]),
        ("no main", "@compute @workgroup_size(1) fn other() {}", [1, 1, 1]),
        (
            "a binding that the kernel does not give",
            "
            @group(0) @binding(2) var<storage, read_write> z: array<u32>;
            @compute @workgroup_size(1) fn main() { z[0] = 7u; }",
            [1, 1, 1],
        ),
        (
            "a binding smaller than its type",
            "
            @group(0) @binding(1) var<storage, read_write> y: array<vec4<u32>>;
            @compute @workgroup_size(1) fn main() { y[0] = vec4(7u); }",
            [1, 1, 1],
        ),
        (
            "1 MiB of workgroup memory",
            "
            @group(0) @binding(1) var<storage, read_write> y: array<u32>;
            var<workgroup> w: array<u32, 262144>;
            @compute @workgroup_size(1) fn main() { y[0] = w[y[0]]; }",
            [1, 1, 1],
        ),
        ("65536 invocations", "@compute @workgroup_size(65536) fn main() {}", [1, 1, 1]),
        ("too many workgroups", ONE_WORD, [1, 70_000, 1]),
    ];
    for checked in [true, false] {
        let device = gpu(checked);
        for (reason, text, workgroups) in refused {
            let error = load_probe(device, Probe { text, workgroups, words: 1 })
                .expect_err(&format!("{reason}, checked {checked}"));
            let Error::Device { what, .. } = &error else { panic!("{reason}: {error}") };
            assert!(what.contains("probe") && what.contains("probed"), "{reason}: {error}");
            let (y, executable) = load_probe(device, Probe { text: ONE_WORD, workgroups: [1; 3], words: 1 })
                .unwrap_or_else(|e| panic!("after {reason}: {e}"));
            device.run(&executable).unwrap();
            assert_eq!(device.read_as::<u32>(&y).unwrap(), [7], "after {reason}");
        }
    }
}

fn a_checked_device_divides_by_zero_as_wgsl_says() {
    let text = "@group(0) @binding(1) var<storage, read_write> y: array<u32>;
        @compute @workgroup_size(1) fn main() { y[0] = 7u / y[0]; }";
    let device = gpu(true);
    let (y, executable) = load_probe(device, Probe { text, workgroups: [1, 1, 1], words: 1 }).unwrap();
    device.run(&executable).unwrap();
    assert_eq!(device.read_as::<u32>(&y).unwrap(), [7]);
}

fn a_missing_small_or_doubled_buffer_is_named() {
    for (name, device) in devices() {
        let two = || {
            let mut builder = ProgramBuilder::new("two");
            let (x, y) = (builder.external_named("x", 64), builder.external_named("y", 64));
            builder.dispatch("copy", Unary { op: UnaryOp::Affine(1.0, 0.0), n: 64 }, &[x, y]);
            builder.finish()
        };
        let (x, small) = (device.buffer("x", 256).unwrap(), device.buffer("small", 252).unwrap());
        let cases: [(&[(&str, &Buffer)], &str); 3] = [
            (&[("x", &x)], "buffer y: was not given"),
            (&[("x", &x), ("y", &small)], "buffer y: has 252 bytes, needs 256"),
            (&[("x", &x), ("y", &x)], "buffer x: is also given as y"),
        ];
        for (externals, expected) in cases {
            let error = device.load(two(), externals).unwrap_err();
            assert!(matches!(error, Error::Binding { .. }), "{name}: {error}");
            assert!(error.to_string().contains(expected), "{name}: {error}");
        }
    }
}

fn a_lost_device_is_an_error_everywhere_and_a_panic_nowhere() {
    for checked in [true, false] {
        let device = open(checked);
        let (x, executable) = loaded(&device, &[1.0; 1000]);
        device.run(&executable).unwrap();
        let pending = device.read_later(&x, 0, 4000).unwrap();
        device.lose();
        let lost = |what: &str, result: Result<()>| match result {
            Err(Error::DeviceLost { device: name, .. }) => assert_eq!(name, device.name(), "{what}"),
            other => panic!("{what}: {other:?}"),
        };
        assert!(pending.is_ready(), "nothing is left to wait for");
        lost("pending", pending.wait().map(drop));
        lost("buffer", device.buffer("y", 4).map(drop));
        lost("write", device.write(&x, 0, &[0; 4]));
        lost("read", device.read(&x).map(drop));
        lost("run", device.run(&executable));
        lost("profile", device.profile(&executable).map(drop));
        lost("load", device.load(doubling(1000), &[("x", &x)]).map(drop));
        lost("wait", device.wait());
        drop((x, executable));
        assert_eq!(device.allocated_bytes(), 0);
    }
}
