// moments_combine: the mean and the variance of each group of SIZE channels, of what `moments` made of parts of the
// rows: partial[o, p, 0, c] the means, partial[o, p, 1, c] the sums of squared deviations from them.
//
// Dispatch: a workgroup of 64 for as many groups as have a thread for each channel, else for one:
// ceil(outer groups / max(1, 64 / SIZE)) workgroups, over x and y.
// Constant: SIZE.

struct Parameters {
    rows: u32,
    channels: u32,
    part: u32,
    parts: u32,
    // Of all images.
    all_groups: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> mean: array<f32>;
@group(0) @binding(3) var<storage, read_write> variance: array<f32>;

//#include group_sum

fn rows_of(part: u32) -> f32 {
    return f32(min(parameters.part, parameters.rows - part * parameters.part));
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let own = group_of(group.x + group.y * groups.x, local);
    let groups_of_one = parameters.channels / SIZE;
    let first_part = own / groups_of_one * parameters.parts;
    let first_channel = own % groups_of_one * SIZE;
    let inside = has_group(own, local);
    let population = f32(parameters.rows) * f32(SIZE);
    var sum = 0.0;
    if inside {
        for (var c = first_of_thread(local); c < SIZE; c += 64u) {
            for (var p = 0u; p < parameters.parts; p++) {
                let at = 2u * (first_part + p) * parameters.channels + first_channel + c;
                sum += rows_of(p) * partial[at];
            }
        }
    }
    let centre = group_sum(sum, local) / population;
    var deviations = 0.0;
    if inside {
        for (var c = first_of_thread(local); c < SIZE; c += 64u) {
            for (var p = 0u; p < parameters.parts; p++) {
                let at = 2u * (first_part + p) * parameters.channels + first_channel + c;
                let distance = partial[at] - centre;
                deviations += partial[at + parameters.channels] + rows_of(p) * distance * distance;
            }
        }
    }
    let all = group_sum(deviations, local);
    if inside && first_of_thread(local) == 0u {
        mean[own] = centre;
        variance[own] = all / population;
    }
}
