// A thread's part of a GEMM tile: 8 rows (pixels) by 4 columns (channels), in named variables, because
// a dynamically indexed array would leave the registers.
struct Sums {
    r0: vec4<f32>,
    r1: vec4<f32>,
    r2: vec4<f32>,
    r3: vec4<f32>,
    r4: vec4<f32>,
    r5: vec4<f32>,
    r6: vec4<f32>,
    r7: vec4<f32>,
}
