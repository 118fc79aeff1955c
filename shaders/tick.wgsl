// tick: counters[word] += 1.
//
// Dispatch: one thread.

struct Parameters {
    word: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read_write> counters: array<u32>;

@compute @workgroup_size(1)
fn main() {
    counters[parameters.word] += 1u;
}
