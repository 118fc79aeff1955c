// The sums of a tile in cooperative matrices (tensor cores): f16 operands, f32 sums.
//
// A subgroup takes 4 x 2 matrices of MATRIX x MATRIX; SUBGROUPS of them, SUBGROUPS_N side by side, make the tile.
// THREADS is for the device's largest subgroup: where the driver takes a smaller one, the subgroups past
// SUBGROUPS only load and write.
// Both operands are staged in workgroup memory as f16, rounded to the nearest (beyond 65,504: infinite). A matrix
// has no elements to get at, so the sums go through workgroup memory too, a row of matrices at a time.
// With HALF_QUADS memory holds vec4s, which one instruction stores; for Metal naga writes loads of scalars only.
//
// naga 30.0.1 marks no access as NonPrivate, so Vulkan's memory model does not promise what the barriers here are
// for. Mesa keeps it all the same; src/self_test/gate.rs finds out whether a driver does.
// With FLAT an invocation's subgroup follows from its index instead of a builtin, which needs full subgroups.

//#if MATRIX_16
alias MatrixA = coop_mat16x16<f16, A>;
alias MatrixB = coop_mat16x16<f16, B>;
alias MatrixC = coop_mat16x16<f32, C>;
//#else
alias MatrixA = coop_mat8x8<f16, A>;
alias MatrixB = coop_mat8x8<f16, B>;
alias MatrixC = coop_mat8x8<f32, C>;
//#endif
//#if HALF_QUADS
alias Half = vec4<f16>;
alias Single = vec4<f32>;
const UNIT: u32 = 4u;
//#else
alias Half = f16;
alias Single = f32;
const UNIT: u32 = 1u;
//#endif

const ROWS: u32 = 4u * MATRIX;
const COLUMNS: u32 = 2u * MATRIX;

// Elements from row to row of the staged tiles. 8 more than there are put rows on other banks and keep each a
// multiple of 16 bytes, which matrix loads ask for.
//#if A_TRANSPOSED
const PITCH_A: u32 = TILE_M + 8u;
const SIZE_A: u32 = STEP_K * PITCH_A;
//#else
const PITCH_A: u32 = STEP_K + 8u;
const SIZE_A: u32 = TILE_M * PITCH_A;
//#endif
const PITCH_B: u32 = TILE_N + 8u;
const SIZE_B: u32 = STEP_K * PITCH_B;
const PITCH_C: u32 = COLUMNS + 4u;
const SIZE_C: u32 = MATRIX * PITCH_C;

// A's tile [m][k] (A_TRANSPOSED: [k][m]), B's [k][n], and one row of matrices of each subgroup's sums.
var<workgroup> tile_a: array<Half, SIZE_A / UNIT>;
var<workgroup> tile_b: array<Half, SIZE_B / UNIT>;
var<workgroup> tile_c: array<Single, SUBGROUPS * SIZE_C / UNIT>;

//#include matrix_lane

// A subgroup's sums, row by row; every index is a constant. (An array, as in everybody's GLSL: a struct of 16x16
// matrices crashes llvmpipe's compiler.)
alias Sums = array<MatrixC, 8>;

fn store_a(row: u32, quad: u32, v: vec4<f32>) {
    let at = (row * PITCH_A + quad * 4u) / UNIT;
//#if HALF_QUADS
    tile_a[at] = vec4<f16>(v);
//#else
    tile_a[at] = f16(v.x);
    tile_a[at + 1u] = f16(v.y);
    tile_a[at + 2u] = f16(v.z);
    tile_a[at + 3u] = f16(v.w);
//#endif
}

fn store_b(row: u32, quad: u32, v: vec4<f32>) {
    let at = (row * PITCH_B + quad * 4u) / UNIT;
//#if HALF_QUADS
    tile_b[at] = vec4<f16>(v);
//#else
    tile_b[at] = f16(v.x);
    tile_b[at + 1u] = f16(v.y);
    tile_b[at + 2u] = f16(v.z);
    tile_b[at + 3u] = f16(v.w);
//#endif
}

// The pitch that matrix loads want counts what the array holds. (coopLoadT reads rows, coopLoad columns.)
fn load_a(m: u32, k: u32) -> MatrixA {
//#if A_TRANSPOSED
    return coopLoad<MatrixA>(&tile_a[(k * PITCH_A + m) / UNIT], PITCH_A / UNIT);
//#else
    return coopLoadT<MatrixA>(&tile_a[(m * PITCH_A + k) / UNIT], PITCH_A / UNIT);
//#endif
}

fn load_b(k: u32, n: u32) -> MatrixB {
    return coopLoadT<MatrixB>(&tile_b[(k * PITCH_B + n) / UNIT], PITCH_B / UNIT);
}

// Adds the product of the staged tiles to the sums of a subgroup whose part of the tile begins at (m, n).
fn multiply_part(m: u32, n: u32, sums: ptr<function, Sums>) {
    for (var k = 0u; k < STEP_K; k += MATRIX) {
        let b0 = load_b(k, n);
        let b1 = load_b(k, n + MATRIX);
        let a0 = load_a(m, k);
        (*sums)[0] = coopMultiplyAdd(a0, b0, (*sums)[0]);
        (*sums)[1] = coopMultiplyAdd(a0, b1, (*sums)[1]);
        let a1 = load_a(m + MATRIX, k);
        (*sums)[2] = coopMultiplyAdd(a1, b0, (*sums)[2]);
        (*sums)[3] = coopMultiplyAdd(a1, b1, (*sums)[3]);
        let a2 = load_a(m + 2u * MATRIX, k);
        (*sums)[4] = coopMultiplyAdd(a2, b0, (*sums)[4]);
        (*sums)[5] = coopMultiplyAdd(a2, b1, (*sums)[5]);
        let a3 = load_a(m + 3u * MATRIX, k);
        (*sums)[6] = coopMultiplyAdd(a3, b0, (*sums)[6]);
        (*sums)[7] = coopMultiplyAdd(a3, b1, (*sums)[7]);
    }
}

fn multiply(lane: Lane, sums: ptr<function, Sums>) {
    if subgroup_of(lane) < SUBGROUPS {
        multiply_part(subgroup_of(lane) / SUBGROUPS_N * ROWS, subgroup_of(lane) % SUBGROUPS_N * COLUMNS, sums);
    }
}

// Eight rows of one quad of tile_c, from element `at` on.
//#if HALF_QUADS
fn quad_of(at: u32) -> vec4<f32> {
    return tile_c[at / 4u];
}
//#else
fn quad_of(at: u32) -> vec4<f32> {
    return vec4<f32>(tile_c[at], tile_c[at + 1u], tile_c[at + 2u], tile_c[at + 3u]);
}
//#endif

// Writes row `row` of every subgroup's matrices.
fn finish_matrices(
    place: Place, first_m: u32, first_quad: u32, lane: Lane, row: u32, left: MatrixC, right: MatrixC,
) {
    // What was there before has been read.
    workgroupBarrier();
    if subgroup_of(lane) < SUBGROUPS {
        let at = subgroup_of(lane) * SIZE_C;
        coopStoreT(left, &tile_c[at / UNIT], PITCH_C / UNIT);
        coopStoreT(right, &tile_c[(at + MATRIX) / UNIT], PITCH_C / UNIT);
    }
    workgroupBarrier();
    const QUADS: u32 = COLUMNS / 4u;
    const ITEMS: u32 = MATRIX / 8u * QUADS;
    for (var item = lane.index; item < SUBGROUPS * ITEMS; item += THREADS) {
        let subgroup = item / ITEMS;
        let m = item % ITEMS / QUADS * 8u;
        let quad = item % QUADS;
        let at = subgroup * SIZE_C + m * PITCH_C + quad * 4u;
        let rows = Rows(
            quad_of(at), quad_of(at + PITCH_C), quad_of(at + 2u * PITCH_C), quad_of(at + 3u * PITCH_C),
            quad_of(at + 4u * PITCH_C), quad_of(at + 5u * PITCH_C), quad_of(at + 6u * PITCH_C),
            quad_of(at + 7u * PITCH_C),
        );
        finish_rows(
            place,
            first_m + subgroup / SUBGROUPS_N * ROWS + row * MATRIX + m,
            first_quad + subgroup % SUBGROUPS_N * QUADS + quad,
            rows,
        );
    }
}

fn finish_tile(place: Place, first_m: u32, first_quad: u32, lane: Lane, sums: Sums) {
    finish_matrices(place, first_m, first_quad, lane, 0u, sums[0], sums[1]);
    finish_matrices(place, first_m, first_quad, lane, 1u, sums[2], sums[3]);
    finish_matrices(place, first_m, first_quad, lane, 2u, sums[4], sums[5]);
    finish_matrices(place, first_m, first_quad, lane, 3u, sums[6], sums[7]);
}
