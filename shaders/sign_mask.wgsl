// sign_mask: packs x > 0 into one bit a value (layout: src/compute/mask.rs).
//
// Dispatch: a thread for each word of the mask, 8 pixels by 4 channels: ceil(words / 256) workgroups of
// 256, over x and y.

struct Parameters {
    words: u32,
    pixels: u32,
    channels: u32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> mask: array<u32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.x + group.y * groups.x) * 256u + local;
    if i >= parameters.words {
        return;
    }
    let quads = (parameters.channels + 3u) / 4u;
    let first_pixel = i / quads * 8u;
    let first_channel = i % quads * 4u;
    let pixels = min(8u, parameters.pixels - first_pixel);
    let channels = min(4u, parameters.channels - first_channel);
    var word = 0u;
    for (var p = 0u; p < pixels; p++) {
        let first = (first_pixel + p) * parameters.channels + first_channel;
        for (var c = 0u; c < channels; c++) {
            if x[first + c] > 0.0 {
                word |= 1u << (p * 4u + c);
            }
        }
    }
    mask[i] = word;
}
