// batch_gather: out[b] = image indices[b] of the byte data set, padded by reflection and cropped back at
// random, flipped at random, as v / 127.5 - 1, plus noise * N(0, 1).
//
// Dispatch: ceil(pairs / 256) workgroups of 256, over x and y; thread i makes elements 2i and 2i + 1, whose
// noise is one pair.
// Constants: SHARD_WORDS, the words of `data` and `data_1`; AUGMENT_STREAM, NOISE_STREAM.
// Switches: AUGMENT (crop or flip), FLIP, NOISE, TWO_SHARDS, THREE_SHARDS.
// Never in memory: the padded images.

struct Parameters {
    batch: u32,
    h: u32,
    w: u32,
    c: u32,
    pad: u32,
    noise: f32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> data: array<u32>;
@group(0) @binding(2) var<storage, read> indices: array<u32>;
@group(0) @binding(3) var<storage, read> counters: array<u32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
//#if TWO_SHARDS
@group(0) @binding(5) var<storage, read> data_1: array<u32>;
//#endif
//#if THREE_SHARDS
@group(0) @binding(6) var<storage, read> data_2: array<u32>;
//#endif

//#include threefry
//#include normal

// Bytes are not aligned to words: an image may have any number of them.
fn word_at(at: u32) -> u32 {
//#if THREE_SHARDS
    if at >= 2u * SHARD_WORDS {
        return data_2[at - 2u * SHARD_WORDS];
    }
//#endif
//#if TWO_SHARDS
    if at >= SHARD_WORDS {
        return data_1[at - SHARD_WORDS];
    }
//#endif
    return data[at];
}

// The row or column v of an image of size n padded by `pad`, without repeating the edge.
fn reflected(v: u32, n: u32) -> u32 {
    let inside = u32(abs(i32(v) - i32(parameters.pad)));
    return select(2u * (n - 1u) - inside, inside, inside < n);
}

fn gather(element: u32, normal: f32) {
    let image = parameters.h * parameters.w * parameters.c;
    let slot = element / image;
    if slot >= parameters.batch {
        return;
    }
    let channel = element % parameters.c;
    var x = (element / parameters.c) % parameters.w;
    var y = (element / (parameters.c * parameters.w)) % parameters.h;
//#if AUGMENT
    let words = threefry2x32(vec2(counters[0], AUGMENT_STREAM), vec2(counters[1], slot));
//#if FLIP
    if (words.x & 1u) == 1u {
        x = parameters.w - 1u - x;
    }
//#endif
    let places = 2u * parameters.pad + 1u;
    y = reflected(y + (words.x >> 1u) % places, parameters.h);
    x = reflected(x + words.y % places, parameters.w);
//#endif
    let at = indices[slot] * image + (y * parameters.w + x) * parameters.c + channel;
    let byte = (word_at(at / 4u) >> (8u * (at % 4u))) & 255u;
    out[element] = f32(byte) * (1.0 / 127.5) - 1.0 + parameters.noise * normal;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.x + group.y * groups.x) * 256u + local;
    // Read in every permutation, so that all of them have the same bindings.
    let seed = counters[0];
    let iteration = counters[1];
    var normals = vec2(0.0, 0.0);
//#if NOISE
    normals = normal_pair(threefry2x32(vec2(seed, NOISE_STREAM), vec2(iteration, i)));
//#endif
    gather(2u * i, normals.x);
    gather(2u * i + 1u, normals.y);
}
