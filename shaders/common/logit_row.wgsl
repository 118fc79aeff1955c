// What the loss kernels compute of one row of logits, one workgroup a row. Twin: src/compute/cpu/logits.rs.
//
// The including shader defines THREADS (its workgroup's size, a power of 2), `parameters.ends` and
// `parameters.weights` (the parts of the batch), and row_logit(k); with FUNCTIONAL `parameters.functionals`.

//#include exp_log
//#if FUNCTIONAL
//#include functional
//#endif

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

// Leaves the largest of the workgroup's values and its index, the smallest of equals', in element 0.
fn row_largest(local: u32, v: f32, index: u32) {
    workgroupBarrier();
    row_values[local] = v;
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
    row_largest(local, best, index);
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

// LogSumExp, cross-entropy, correct, Σ f². The fifth statistic is the functional.
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

//#if FUNCTIONAL
// The functional of a row. Its kind is that of the row's part, so that a workgroup takes one way.
struct FunctionalRow {
    // The loss, and its derivatives by the energies of right and wrong answer, and by the surprise.
    slopes: vec4<f32>,
    weight: f32,
    // The class of the most offending wrong answer, the first of equals.
    wrong: u32,
    // 0 where the functional is none of the Gibbs distribution.
    beta: f32,
    // ln Σ exp(β (f - maximum))
    log_sum: f32,
}

fn functional_row(row: LogitRow, i: u32, local: u32, classes: u32, label: u32) -> FunctionalRow {
    let passed = vec4<u32>(vec4(i) >= parameters.ends);
    let words = parameters.functionals[passed.x + passed.y + passed.z + passed.w];
    let parameter = bitcast<f32>(words.y);
    var result = FunctionalRow(vec4(0.0), bitcast<f32>(words.z), classes, 0.0, 0.0);
    if words.x != 0u {
        var best = -3.4028234e38;
        var index = classes;
        for (var k = local; k < classes; k += THREADS) {
            let f = row_logit(k);
            if k != label && f > best {
                best = f;
                index = k;
            }
        }
        row_largest(local, best, index);
        let wrong = -row_values[0];
        result.wrong = row_indices[0];
        var right = nan();
        if label < classes {
            right = -row_logit(label);
        }
        // NLL and MEE.
        if words.x >= 9u {
            result.beta = parameter;
            var others = 0.0;
            for (var k = local; k < classes; k += THREADS) {
                let v = exponential(parameter * (row_logit(k) - row.maximum));
                others += select(v, 0.0, k == row.argmax);
            }
            let sum = row_sum(local, others);
            let largest = exponential(parameter * (row_logit(row.argmax) - row.maximum));
            result.log_sum = select(logarithm(largest + sum), logarithm_of_one_plus(sum), largest == 1.0);
        }
        let surprise = result.beta * (row.maximum + right) + result.log_sum;
        result.slopes = functional(words.x, parameter, right, wrong, surprise);
        // Comparisons have passed over a logit that is not finite, but log_sum has not.
        let broken = (bitcast<u32>(row.log_sum) & 0x7fffffffu) > 0x7f800000u;
        if label >= classes || broken {
            result.slopes = vec4(nan());
        }
    }
    return result;
}

// The gradient of a functional at one logit.
fn functional_gradient_at(row: LogitRow, functional: FunctionalRow, k: u32, label: u32) -> f32 {
    let log_p = functional.beta * (row_logit(k) - row.maximum) - functional.log_sum;
    // β (p - [k = y]), without the cancellation at the label.
    let by_surprise = functional.beta * select(exponential(log_p), exponential_minus_one(log_p), k == label);
    let by_wrong = select(0.0, functional.slopes.z, k == functional.wrong);
    let energy = select(by_wrong, functional.slopes.y, k == label);
    let gradient = functional.slopes.w * by_surprise - energy;
    return select(functional.weight * gradient, 0.0, functional.weight == 0.0);
}
//#endif
