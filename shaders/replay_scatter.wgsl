// replay_scatter: buffer[indices[b]] = x[b], the indices being distinct; nothing where the index is all ones.
//
// Dispatch: ceil(elements / 256) workgroups of 256, over x and y.

struct Parameters {
    n: u32,
    image: u32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> indices: array<u32>;
@group(0) @binding(3) var<storage, read_write> buffer: array<f32>;

//#include element

fn element(i: u32) {
    let index = indices[i / parameters.image];
    if index != 0xffffffffu {
        buffer[index * parameters.image + i % parameters.image] = x[i];
    }
}
