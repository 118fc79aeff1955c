//! The limits of devices, and their errors: on the GPU with and without naga's checks and, where it applies, on the CPU.

use super::device::{ONE_WORD, Probe, doubling, load_probe, loaded, open};
use super::harness::{devices, gpu};
use jem::device::{Buffer, Device, ProgramBuilder};
use jem::kernels::unary::{Unary, UnaryOp};
use jem::{Error, Result};

tests![
    a_workgroup_may_be_as_large_as_the_adapter_allows,
    a_workgroup_beyond_the_adapters_limits_is_named,
    a_tensor_beyond_the_binding_limit_is_named,
    a_buffer_beyond_the_limit_is_named,
    a_refused_kernel_is_named_and_later_programs_run,
    a_checked_device_divides_by_zero_as_wgsl_says,
    a_missing_small_or_doubled_buffer_is_named,
    a_lost_device_is_an_error_everywhere_and_a_panic_nowhere,
];

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
