// The uniform block of the three convolution kernels: the forward convolution's geometry
// (ConvGeometry::words in src/compute/conv_geometry.rs), then what single kernels need.
struct Parameters {
    n: u32,
    h: u32,
    w: u32,
    c_in: u32,
    c_out: u32,
    kh: u32,
    kw: u32,
    stride: u32,
    padding: u32,
    out_h: u32,
    out_w: u32,
    out_pixels: u32,
    // conv2d, conv2d_input_gradient: the leaky ReLU's.
    slope: f32,
    // conv2d_weight_gradient.
    parts: u32,
    pixels_per_part: u32,
    // conv2d_input_gradient, conv2d_weight_gradient: of the sums.
    factor: f32,
//#if UPDATE
    // conv2d_input_gradient: SGLD's.
    step: f32,
    noise: f32,
    limit: f32,
    low: f32,
    high: f32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
//#endif
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
