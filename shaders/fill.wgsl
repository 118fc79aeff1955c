// fill: y = value, everywhere.
//
// Dispatch: ceil(n / 256) workgroups of 256, over x and y.

struct Parameters {
    n: u32,
    // The number's bits, so that a NaN keeps its payload.
    value: u32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;

//#include element

fn element(i: u32) {
    y[i] = parameters.value;
}
