// The SGLD update of one element: x += step * clamp(gradient, ±limit) + noise * N(0, 1), then x clamped to
// [low, high]; nothing where `moving` is 0 (MOVING). Switches besides: NOISE, CLAMP_GRADIENT, CLAMP_X.
//
// The noise of elements 2i and 2i + 1 comes from one call of Threefry with key (seed, STREAM) and counter (SGLD
// step, i). The includer declares `parameters` with these numbers, `x`, `counters` and `moving`.

//#if NOISE
//#include threefry
//#include normal
//#endif

// The noise of elements 2 * pair and 2 * pair + 1.
fn noise_of(pair: u32) -> vec2<f32> {
    // Read in every permutation, so that all of them have the same bindings.
    let seed = counters[0];
    let step = counters[2];
//#if NOISE
    return normal_pair(threefry2x32(vec2(seed, STREAM), vec2(step, pair)));
//#else
    return vec2(0.0, 0.0);
//#endif
}

// Comparisons, not clamp(): a NaN must stay one, whatever the driver's min and max do.
fn limited(v: f32, low: f32, high: f32) -> f32 {
    return select(select(v, high, v > high), low, v < low);
}

fn update(i: u32, gradient: f32, normal: f32) {
    var drift = gradient;
//#if CLAMP_GRADIENT
    drift = limited(drift, -parameters.limit, parameters.limit);
//#endif
    var moved = x[i] + parameters.step * drift + parameters.noise * normal;
//#if CLAMP_X
    moved = limited(moved, parameters.low, parameters.high);
//#endif
//#if MOVING
    moved = select(moved, x[i], moving[i] == 0.0);
//#endif
    x[i] = moved;
}
