// matrices: y[i] = the sum of elements i % THREADS, + THREADS, ... of a workgroup's sums, each A B taken `steps` times.
//
// A subgroup keeps 2 or 4 matrices A, 2 or 4 matrices B (switches A4, B4) and all of their products in registers:
// how many a processor wants for its full rate depends on its latencies and registers. Operands are f16, sums f32.
// SUBGROUPS of THREADS / SUBGROUPS threads are a workgroup; where the driver takes smaller ones, those past
// SUBGROUPS only add up, and the rate is none the less that of SUBGROUPS.
// A[m][k] of matrix r is (r + m + 2 k) % 3, B[k][n] of matrix c is (c + k n) % 2: sums of integers, exact in f32.
//
// Dispatch: n / THREADS workgroups of THREADS, over x and y.

//#if MATRIX_16
alias MatrixA = coop_mat16x16<f16, A>;
alias MatrixB = coop_mat16x16<f16, B>;
alias MatrixC = coop_mat16x16<f32, C>;
//#else
alias MatrixA = coop_mat8x8<f16, A>;
alias MatrixB = coop_mat8x8<f16, B>;
alias MatrixC = coop_mat8x8<f32, C>;
//#endif

const ELEMENTS: u32 = MATRIX * MATRIX;

struct Parameters {
    n: u32,
    steps: u32,
    // Multiplies A, when the kernel runs, so that nothing can be simplified.
    factor: f32,
    unused: u32,
}

//#include matrix_lane

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

var<workgroup> tile_a: array<f16, 4u * ELEMENTS>;
var<workgroup> tile_b: array<f16, 4u * ELEMENTS>;
var<workgroup> tile_c: array<f32, SUBGROUPS * ELEMENTS>;

// (An array, whose every index is a constant: a struct of 16x16 matrices crashes llvmpipe's compiler.)
//#if B4
alias Sums = array<MatrixC, 16>;
//#else
alias Sums = array<MatrixC, 8>;
//#endif

fn stage(local: u32) {
    for (var i = local; i < 4u * ELEMENTS; i += THREADS) {
        let matrix = i / ELEMENTS;
        let row = i % ELEMENTS / MATRIX;
        let column = i % MATRIX;
        tile_a[i] = f16(parameters.factor * f32((matrix + row + 2u * column) % 3u));
        tile_b[i] = f16(f32((matrix + row * column) % 2u));
    }
}

// (coopLoadT reads rows, coopLoad columns.)
fn load_a(matrix: u32) -> MatrixA {
    return coopLoadT<MatrixA>(&tile_a[matrix * ELEMENTS], MATRIX);
}

fn load_b(matrix: u32) -> MatrixB {
    return coopLoadT<MatrixB>(&tile_b[matrix * ELEMENTS], MATRIX);
}

fn multiply(sums: ptr<function, Sums>) {
    let a0 = load_a(0u);
    let a1 = load_a(1u);
    let b0 = load_b(0u);
    let b1 = load_b(1u);
//#if A4
    let a2 = load_a(2u);
    let a3 = load_a(3u);
//#endif
//#if B4
    let b2 = load_b(2u);
    let b3 = load_b(3u);
//#endif
    for (var done = 0u; done < parameters.steps; done++) {
        (*sums)[0] = coopMultiplyAdd(a0, b0, (*sums)[0]);
        (*sums)[1] = coopMultiplyAdd(a0, b1, (*sums)[1]);
        (*sums)[2] = coopMultiplyAdd(a1, b0, (*sums)[2]);
        (*sums)[3] = coopMultiplyAdd(a1, b1, (*sums)[3]);
//#if A4
        (*sums)[4] = coopMultiplyAdd(a2, b0, (*sums)[4]);
        (*sums)[5] = coopMultiplyAdd(a2, b1, (*sums)[5]);
        (*sums)[6] = coopMultiplyAdd(a3, b0, (*sums)[6]);
        (*sums)[7] = coopMultiplyAdd(a3, b1, (*sums)[7]);
//#endif
//#if B4
        (*sums)[8] = coopMultiplyAdd(a0, b2, (*sums)[8]);
        (*sums)[9] = coopMultiplyAdd(a0, b3, (*sums)[9]);
        (*sums)[10] = coopMultiplyAdd(a1, b2, (*sums)[10]);
        (*sums)[11] = coopMultiplyAdd(a1, b3, (*sums)[11]);
        (*sums)[12] = coopMultiplyAdd(a2, b2, (*sums)[12]);
        (*sums)[13] = coopMultiplyAdd(a2, b3, (*sums)[13]);
        (*sums)[14] = coopMultiplyAdd(a3, b2, (*sums)[14]);
        (*sums)[15] = coopMultiplyAdd(a3, b3, (*sums)[15]);
//#endif
    }
}

// `total` and this thread's elements of every subgroup's `sum`.
fn add_up(lane: Lane, sum: MatrixC, total: f32) -> f32 {
    // What was there before has been read.
    workgroupBarrier();
    if subgroup_of(lane) < SUBGROUPS {
        coopStoreT(sum, &tile_c[subgroup_of(lane) * ELEMENTS], MATRIX);
    }
    workgroupBarrier();
    var result = total;
    for (var i = lane.index; i < SUBGROUPS * ELEMENTS; i += THREADS) {
        result += tile_c[i];
    }
    return result;
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    lane: Lane,
) {
    stage(lane.index);
    workgroupBarrier();
    var sums: Sums;
    if subgroup_of(lane) < SUBGROUPS {
        multiply(&sums);
    }
    var total = add_up(lane, sums[0], 0.0);
    total = add_up(lane, sums[1], total);
    total = add_up(lane, sums[2], total);
    total = add_up(lane, sums[3], total);
//#if A4
    total = add_up(lane, sums[4], total);
    total = add_up(lane, sums[5], total);
    total = add_up(lane, sums[6], total);
    total = add_up(lane, sums[7], total);
//#endif
//#if B4
    total = add_up(lane, sums[8], total);
    total = add_up(lane, sums[9], total);
    total = add_up(lane, sums[10], total);
    total = add_up(lane, sums[11], total);
    total = add_up(lane, sums[12], total);
    total = add_up(lane, sums[13], total);
    total = add_up(lane, sums[14], total);
    total = add_up(lane, sums[15], total);
//#endif
    let i = (group.x + group.y * groups.x) * THREADS + lane.index;
    if i < parameters.n {
        y[i] = total;
    }
}
