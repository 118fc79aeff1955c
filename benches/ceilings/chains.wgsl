// chains: y[i] = the sum of 4 V chains x = x * factor + addend, each taken `steps` times (a multiple of 8).
//
// V is 2, 3, 4 or 8 (switches V3, V4, V8): vec4s of independent chains that live in registers. How many a
// processor wants for its full rate depends on its latencies and registers. Chain c of thread i begins at
// i % 16 + c, so that no two chains of a thread are one.
//
// Dispatch: n / 256 workgroups of 256, over x and y.

//#if F16
enable f16;
alias Number = f16;
//#else
alias Number = f32;
//#endif

struct Parameters {
    n: u32,
    steps: u32,
    factor: f32,
    addend: f32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

fn step(x: vec4<Number>, factor: vec4<Number>, addend: vec4<Number>) -> vec4<Number> {
//#if FUSED
    return fma(x, factor, addend);
//#else
    return x * factor + addend;
//#endif
}

fn sum(x: vec4<Number>) -> f32 {
    let wide = vec4<f32>(x);
    return wide.x + wide.y + wide.z + wide.w;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.x + group.y * groups.x) * 256u + local;
    let factor = vec4<Number>(Number(parameters.factor));
    let addend = vec4<Number>(Number(parameters.addend));
    let first = f32(i % 16u);
    var x0 = vec4<Number>(vec4(first, first + 1.0, first + 2.0, first + 3.0));
    var x1 = x0 + Number(4.0);
    var x2 = x0 + Number(8.0);
    var x3 = x0 + Number(12.0);
    var x4 = x0 + Number(16.0);
    var x5 = x0 + Number(20.0);
    var x6 = x0 + Number(24.0);
    var x7 = x0 + Number(28.0);
    for (var done = 0u; done < parameters.steps; done += 8u) {
        for (var k = 0u; k < 8u; k++) {
            x0 = step(x0, factor, addend);
            x1 = step(x1, factor, addend);
//#if V3
            x2 = step(x2, factor, addend);
//#endif
//#if V4
            x3 = step(x3, factor, addend);
//#endif
//#if V8
            x4 = step(x4, factor, addend);
            x5 = step(x5, factor, addend);
            x6 = step(x6, factor, addend);
            x7 = step(x7, factor, addend);
//#endif
        }
    }
    var total = sum(x0) + sum(x1);
//#if V3
    total += sum(x2);
//#endif
//#if V4
    total += sum(x3);
//#endif
//#if V8
    total += sum(x4) + sum(x5) + sum(x6) + sum(x7);
//#endif
    if i < parameters.n {
        y[i] = total;
    }
}
