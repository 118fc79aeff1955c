// head: pooled = mean over pixels of activated[n, pixels, features]; logits = pooled · weights + bias;
// stats as in logit_loss; and the way back: the gradient of each image's loss at its logits, at pooled,
// and at every pixel, through the leaky ReLU's mask.
//
// Dispatch: n workgroups of 256, over x and y; one an image.
// Constants: PIXELS, FEATURES, CLASSES. Switches: MASK, LOGITS, GRADIENT, SAVED, BACKWARD (one of the
// last two), HALF (activated and gradient are f16, two to a word), FUNCTIONAL (as in logit_loss).
// Never in memory, but for what the switches ask for: pooled, logits, the gradients at both.

struct Parameters {
    n: u32,
    // The word of `saved` where the gradients at the logits begin.
    logit_gradient_offset: u32,
    slope: f32,
    // Of `gradient`.
    factor: f32,
    // The image after each part's last, and each part's a, b, c, d.
    ends: vec4<u32>,
    weights: array<vec4<f32>, 4>,
//#if FUNCTIONAL
    // The number of each part's functional (0: none), the bits of its parameter, those of its weight.
    functionals: array<vec4<u32>, 4>,
//#endif
}

const THREADS: u32 = 256u;
// Threads that share a feature's pixels, or a class's features; 1 where there are as many as threads.
const FEATURE_LANES: u32 = max(1u, THREADS / FEATURES);
const CLASS_LANES: u32 = max(1u, THREADS / CLASSES);

@group(0) @binding(0) var<uniform> parameters: Parameters;
//#if HALF
@group(0) @binding(1) var<storage, read> activated: array<u32>;
//#else
@group(0) @binding(1) var<storage, read> activated: array<f32>;
//#endif
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> labels: array<u32>;
//#if MASK
@group(0) @binding(5) var<storage, read> mask: array<u32>;
//#endif
//#if LOGITS
@group(0) @binding(6) var<storage, read_write> logits: array<f32>;
//#endif
@group(0) @binding(7) var<storage, read_write> stats: array<f32>;
//#if GRADIENT
//#if HALF
@group(0) @binding(8) var<storage, read_write> gradient: array<u32>;
//#else
@group(0) @binding(8) var<storage, read_write> gradient: array<f32>;
//#endif
//#endif
//#if SAVED
@group(0) @binding(9) var<storage, read_write> saved: array<f32>;
//#endif

var<workgroup> pooled: array<f32, FEATURES>;
var<workgroup> row: array<f32, CLASSES>;

fn row_logit(k: u32) -> f32 {
    return row[k];
}

//#include logit_row

//#if HALF
//#include pack_half

//#endif
fn activated_at(index: u32) -> f32 {
//#if HALF
    let pair = unpack2x16float(activated[index / 2u]);
    return select(pair.x, pair.y, (index & 1u) == 1u);
//#else
    return activated[index];
//#endif
}

// The sum of one feature over the pixels lane, lane + FEATURE_LANES, ...
fn feature_sum(image: u32, feature: u32, lane: u32) -> f32 {
    var sum = 0.0;
    for (var pixel = lane; pixel < PIXELS; pixel += FEATURE_LANES) {
        sum += activated_at((image * PIXELS + pixel) * FEATURES + feature);
    }
    return sum;
}

// The part of one logit that features lane, lane + CLASS_LANES, ... make.
fn class_sum(k: u32, lane: u32) -> f32 {
    var sum = 0.0;
    for (var feature = lane; feature < FEATURES; feature += CLASS_LANES) {
        sum += pooled[feature] * weights[feature * CLASSES + k];
    }
    return sum;
}

fn pool(image: u32, local: u32) {
    if local < FEATURES * FEATURE_LANES {
        row_values[local] = feature_sum(image, local % FEATURES, local / FEATURES);
    }
    workgroupBarrier();
    for (var feature = local; feature < FEATURES; feature += THREADS) {
        var sum = 0.0;
        if feature < THREADS {
            for (var lane = 0u; lane < FEATURE_LANES; lane++) {
                sum += row_values[lane * FEATURES + feature];
            }
        } else {
            sum = feature_sum(image, feature, 0u);
        }
        pooled[feature] = sum / f32(PIXELS);
    }
    workgroupBarrier();
}

fn linear(local: u32) {
    if local < CLASSES * CLASS_LANES {
        row_values[local] = class_sum(local % CLASSES, local / CLASSES);
    }
    workgroupBarrier();
    for (var k = local; k < CLASSES; k += THREADS) {
        var sum = bias[k];
        if k < THREADS {
            for (var lane = 0u; lane < CLASS_LANES; lane++) {
                sum += row_values[lane * CLASSES + k];
            }
        } else {
            sum += class_sum(k, 0u);
        }
        row[k] = sum;
    }
    workgroupBarrier();
}

//#if GRADIENT
//#include sloped

// The gradient of a feature at one of its pixels.
fn gradient_at(pixel: u32, feature: u32) -> f32 {
//#if MASK
    let word = mask[(pixel / 8u) * ((FEATURES + 3u) / 4u) + feature / 4u];
    let bit = (word >> ((pixel % 8u) * 4u + feature % 4u)) & 1u;
    return select(sloped(pooled[feature], parameters.slope), pooled[feature], bit == 1u);
//#else
    return pooled[feature];
//#endif
}
//#endif

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let image = group.x + group.y * groups.x;
    if image >= parameters.n {
        return;
    }
    pool(image, local);
    linear(local);
    let label = labels[image];
    let reduced = logit_row(local, CLASSES);
//#if FUNCTIONAL
    let functional = functional_row(reduced, image, local, CLASSES, label);
//#endif
    if local == 0u {
        let s = row_stats(reduced, CLASSES, label);
        stats[5u * image] = s.x;
        stats[5u * image + 1u] = s.y;
        stats[5u * image + 2u] = s.z;
        stats[5u * image + 3u] = s.w;
//#if FUNCTIONAL
        stats[5u * image + 4u] = functional.slopes.x;
//#else
        stats[5u * image + 4u] = 0.0;
//#endif
    }
//#if LOGITS
    for (var k = local; k < CLASSES; k += THREADS) {
        logits[image * CLASSES + k] = row[k];
    }
//#endif
//#if BACKWARD
    // Before the row of logits becomes the row of their gradients: thread 0 still read its label's.
    workgroupBarrier();
    let part = weights_of(image);
    for (var k = local; k < CLASSES; k += THREADS) {
//#if FUNCTIONAL
        row[k] = logit_gradient_at(reduced, part, k, CLASSES, label)
            + functional_gradient_at(reduced, functional, k, label);
//#else
        row[k] = logit_gradient_at(reduced, part, k, CLASSES, label);
//#endif
//#if SAVED
        saved[parameters.logit_gradient_offset + image * CLASSES + k] = row[k];
//#endif
    }
//#if SAVED
    for (var feature = local; feature < FEATURES; feature += THREADS) {
        saved[image * FEATURES + feature] = pooled[feature];
    }
    let padding = parameters.n * FEATURES + local;
    if image == 0u && padding < parameters.logit_gradient_offset {
        saved[padding] = 0.0;
    }
//#endif
//#if GRADIENT
    workgroupBarrier();
    for (var feature = local; feature < FEATURES; feature += THREADS) {
        var sum = 0.0;
        for (var k = 0u; k < CLASSES; k++) {
            sum += row[k] * weights[feature * CLASSES + k];
        }
        pooled[feature] = parameters.factor * sum / f32(PIXELS);
    }
    workgroupBarrier();
//#if HALF
    for (var i = 2u * local; i < PIXELS * FEATURES; i += 2u * THREADS) {
        let pixel = image * PIXELS + i / FEATURES;
        let feature = i % FEATURES;
        let pair = vec2<f32>(gradient_at(pixel, feature), gradient_at(pixel, feature + 1u));
        gradient[(pixel * FEATURES + feature) / 2u] = pack_half(pair);
    }
//#else
    for (var i = local; i < PIXELS * FEATURES; i += THREADS) {
        let pixel = image * PIXELS + i / FEATURES;
        let feature = i % FEATURES;
        gradient[pixel * FEATURES + feature] = gradient_at(pixel, feature);
    }
//#endif
//#endif
//#endif
}
