// max_pool: y[window, c] = v at the element of the window at which x is largest, the first of equals, NHWC. With v = x
// that is the maximum.
//
// Dispatch: a thread for each element of y, ceil(n / 256) workgroups of 256, over x and y.

//#include max_window

@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

//#include element

fn element(i: u32) {
    let window = i / parameters.c;
    let row = window / parameters.out_w;
    let image = row / parameters.out_h;
    y[i] = v[largest(image, row % parameters.out_h, window % parameters.out_w, i % parameters.c)];
}
