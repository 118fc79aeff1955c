// The maximum of a row of x and the sum of its exponentials, by WIDTH (a power of two) of a workgroup's
// 64 threads. The maximum is kept finite, so that a row of -inf gives a sum of 0, one with +inf a sum of
// +inf and one with NaN a sum of NaN.

//#include exp_log

const LOWEST: f32 = -3.4028234e38;
const HIGHEST: f32 = 3.4028234e38;

var<workgroup> scratch: array<f32, 64>;

fn larger(a: f32, b: f32) -> f32 {
    // Not max(), whose answer for a NaN is the driver's choice: a NaN never wins here.
    return select(a, b, b > a);
}

fn row_max_and_sum(first: u32, cols: u32, local: u32) -> vec2<f32> {
    let column = local % WIDTH;
    let base = local - column;
    var highest = LOWEST;
    for (var c = column; c < cols; c += WIDTH) {
        highest = larger(highest, x[first + c]);
    }
    if WIDTH > 1u {
        scratch[local] = highest;
        workgroupBarrier();
        for (var i = 0u; i < WIDTH; i++) {
            highest = larger(highest, scratch[base + i]);
        }
        workgroupBarrier();
    }
    highest = select(highest, HIGHEST, highest > HIGHEST);
    var sum = 0.0;
    for (var c = column; c < cols; c += WIDTH) {
        sum += exponential(x[first + c] - highest);
    }
    if WIDTH > 1u {
        scratch[local] = sum;
        for (var step = WIDTH / 2u; step > 0u; step /= 2u) {
            workgroupBarrier();
            if column < step {
                scratch[local] += scratch[local + step];
            }
        }
        workgroupBarrier();
        sum = scratch[base];
    }
    return vec2<f32>(highest, sum);
}
