// What the loss kernels compute of one row of logits, one workgroup a row. Twin: src/kernels/cpu/logits.rs.
//
// The including shader defines THREADS (its workgroup's size, a power of 2), `parameters.ends` and
// `parameters.weights` (the parts of the batch), and row_logit(k).

//#include exp_log

struct LogitRow {
    maximum: f32,
    // ln Σ exp(f - maximum): kept apart from the maximum, or large logits would cancel.
    log_sum: f32,
    squares: f32,
    argmax: u32,
}

var<workgroup> row_values: array<f32, THREADS>;
var<workgroup> row_indices: array<u32, THREADS>;

// The sum of v over the workgroup, in a fixed order.
fn row_sum(local: u32, v: f32) -> f32 {
    workgroupBarrier();
    row_values[local] = v;
    for (var stride = THREADS / 2u; stride > 0u; stride /= 2u) {
        workgroupBarrier();
        if local < stride {
            row_values[local] += row_values[local + stride];
        }
    }
    workgroupBarrier();
    return row_values[0];
}

fn logit_row(local: u32, classes: u32) -> LogitRow {
    var row: LogitRow;
    // The first of the largest: comparisons pass over NaN, which then shows in log_sum. The start is finite,
    // so that the LogSumExp of a row of -infinity is -infinity.
    var best = -3.4028234e38;
    var index = local;
    var squares = 0.0;
    for (var k = local; k < classes; k += THREADS) {
        let f = row_logit(k);
        if f > best {
            best = f;
            index = k;
        }
        squares += f * f;
    }
    row.squares = row_sum(local, squares);
    workgroupBarrier();
    row_values[local] = best;
    row_indices[local] = index;
    for (var stride = THREADS / 2u; stride > 0u; stride /= 2u) {
        workgroupBarrier();
        if local < stride {
            let v = row_values[local + stride];
            let i = row_indices[local + stride];
            let same = v == row_values[local] && i < row_indices[local];
            if v > row_values[local] || same {
                row_values[local] = v;
                row_indices[local] = i;
            }
        }
    }
    workgroupBarrier();
    row.maximum = row_values[0];
    row.argmax = row_indices[0];
    // The largest adds 1, beside which the others of a confident row would be lost. (Not 1 but 0 or NaN where
    // no logit is finite.)
    var others = 0.0;
    for (var k = local; k < classes; k += THREADS) {
        others += select(exponential(row_logit(k) - row.maximum), 0.0, k == row.argmax);
    }
    let sum = row_sum(local, others);
    let largest = exponential(row_logit(row.argmax) - row.maximum);
    row.log_sum = select(logarithm(largest + sum), logarithm_of_one_plus(sum), largest == 1.0);
    return row;
}

// The weights (a, b, c, d) of the part that a row of the batch belongs to.
fn weights_of(row: u32) -> vec4<f32> {
    let passed = vec4<u32>(vec4(row) >= parameters.ends);
    return parameters.weights[passed.x + passed.y + passed.z + passed.w];
}

fn nan() -> f32 {
    var bits = 0x7fc00000u;
    return bitcast<f32>(bits);
}

fn cross_entropy(row: LogitRow, classes: u32, label: u32) -> f32 {
    if label >= classes {
        return nan();
    }
    return (row.maximum - row_logit(label)) + row.log_sum;
}

// LogSumExp, cross-entropy, correct, Σ f².
fn row_stats(row: LogitRow, classes: u32, label: u32) -> vec4<f32> {
    let correct = select(0.0, 1.0, row.argmax == label);
    return vec4(row.maximum + row.log_sum, cross_entropy(row, classes, label), correct, row.squares);
}

// The gradient of a row's loss at one logit.
fn logit_gradient_at(row: LogitRow, weights: vec4<f32>, k: u32, classes: u32, label: u32) -> f32 {
    if label >= classes && (weights.y != 0.0 || weights.z != 0.0) {
        return nan();
    }
    let f = row_logit(k);
    let log_softmax = (f - row.maximum) - row.log_sum;
    let softmax = exponential(log_softmax);
    // softmax - 1 at the label, without the cancellation.
    let towards = select(softmax, exponential_minus_one(log_softmax), k == label);
    let logit_y = select(0.0, weights.z, k == label);
    return weights.x * softmax + weights.y * towards + logit_y + 2.0 * weights.w * f;
}
