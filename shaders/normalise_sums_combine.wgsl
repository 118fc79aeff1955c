// normalise_sums_combine: of the parts of `normalise_sums`, partial[o, p, 2, c]: each channel's
// sums = factor Σ gradient and products = factor Σ gradient x̂, and each group's
// means[o, group] = (mean of weight gradient, mean of weight gradient x̂).
//
// Dispatch: a workgroup of 64 for as many groups as have a thread for each channel, else for one:
// ceil(outer groups / max(1, 64 / SIZE)) workgroups, over x and y.
// Constant: SIZE.

struct Parameters {
    rows: u32,
    channels: u32,
    parts: u32,
    // Of all images.
    all_groups: u32,
    factor: f32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;
@group(0) @binding(4) var<storage, read_write> products: array<f32>;
@group(0) @binding(5) var<storage, read_write> means: array<vec2<f32>>;

//#include group_sum

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let own = group_of(group.x + group.y * groups.x, local);
    let groups_of_one = parameters.channels / SIZE;
    let outer = own / groups_of_one;
    let first_channel = own % groups_of_one * SIZE;
    let inside = has_group(own, local);
    var weighted = vec2<f32>();
    if inside {
        for (var c = first_of_thread(local); c < SIZE; c += 64u) {
            let channel = first_channel + c;
            var both = vec2<f32>();
            for (var p = 0u; p < parameters.parts; p++) {
                let at = 2u * (outer * parameters.parts + p) * parameters.channels + channel;
                both += vec2<f32>(partial[at], partial[at + parameters.channels]);
            }
            let result = outer * parameters.channels + channel;
            sums[result] = parameters.factor * both.x;
            products[result] = parameters.factor * both.y;
            weighted += weight[channel] * both;
        }
    }
    let plain = group_sum(weighted.x, local);
    let product = group_sum(weighted.y, local);
    if inside && first_of_thread(local) == 0u {
        means[own] = vec2<f32>(plain, product) / (f32(parameters.rows) * f32(SIZE));
    }
}
