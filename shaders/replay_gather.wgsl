// replay_gather: out[b] = buffer[indices[b]], or with probability `reinitialise` uniform in [-1, 1) or fresh[b].
//
// Dispatch: ceil(elements / 256) workgroups of 256, over x and y. Constants: CHOICE and INIT, the streams
// of the choice (counter (iteration, b)) and of new images (counter (iteration, element / 2)). Switch: FRESH.

struct Parameters {
    n: u32,
    image: u32,
    reinitialise: f32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> buffer: array<f32>;
@group(0) @binding(2) var<storage, read> indices: array<u32>;
@group(0) @binding(3) var<storage, read> counters: array<u32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
//#if FRESH
@group(0) @binding(5) var<storage, read> fresh: array<f32>;
//#endif

//#include threefry

//#include element

fn element(i: u32) {
    let slot = i / parameters.image;
    let choice = threefry2x32(vec2(counters[0], CHOICE), vec2(counters[1], slot)).x;
    if uniform_of(choice) >= parameters.reinitialise {
        out[i] = buffer[indices[slot] * parameters.image + i % parameters.image];
        return;
    }
//#if FRESH
    out[i] = fresh[i];
//#else
    let words = threefry2x32(vec2(counters[0], INIT), vec2(counters[1], i / 2u));
    out[i] = 2.0 * uniform_of(select(words.x, words.y, (i & 1u) == 1u)) - 1.0;
//#endif
}
