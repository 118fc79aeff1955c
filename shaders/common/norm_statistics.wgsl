// The statistics of four channels of an image. The includer declares `parameters` with channels, size and epsilon,
// and the arrays `mean` and `variance`, one number each for `size` neighbouring channels.

fn statistics_at(outer: u32, quad: u32) -> vec4<u32> {
    let channels = 4u * quad + vec4<u32>(0u, 1u, 2u, 3u);
    return outer * (parameters.channels / parameters.size) + channels / parameters.size;
}

fn mean_of(outer: u32, quad: u32) -> vec4<f32> {
    let at = statistics_at(outer, quad);
    return vec4<f32>(mean[at.x], mean[at.y], mean[at.z], mean[at.w]);
}

fn deviation_reciprocal(outer: u32, quad: u32) -> vec4<f32> {
    let at = statistics_at(outer, quad);
    let v = vec4<f32>(variance[at.x], variance[at.y], variance[at.z], variance[at.w]);
    return 1.0 / sqrt(v + parameters.epsilon);
}
