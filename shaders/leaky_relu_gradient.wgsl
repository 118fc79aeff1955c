// leaky_relu_gradient: y = gradient where the input was greater than 0, else slope gradient.
//
// Dispatch: ceil(n / 256) workgroups of 256, over x and y.
// Switches: PACKED (the sign comes from the one-bit mask, laid out as in src/compute/mask.rs, else from x), RELU (the
// slope is 0).

struct Parameters {
    n: u32,
    channels: u32,
    slope: f32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> gradient: array<f32>;
//#if PACKED
@group(0) @binding(2) var<storage, read> mask: array<u32>;
//#else
@group(0) @binding(2) var<storage, read> x: array<f32>;
//#endif
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

//#include sloped

//#if PACKED
fn positive(i: u32) -> bool {
    let pixel = i / parameters.channels;
    let channel = i - pixel * parameters.channels;
    let word = mask[pixel / 8u * ((parameters.channels + 3u) / 4u) + channel / 4u];
    return (word >> (pixel % 8u * 4u + channel % 4u) & 1u) == 1u;
}
//#else
fn positive(i: u32) -> bool {
    return x[i] > 0.0;
}
//#endif

//#include element

fn element(i: u32) {
    let g = gradient[i];
    y[i] = select(sloped(g, parameters.slope), g, positive(i));
}
