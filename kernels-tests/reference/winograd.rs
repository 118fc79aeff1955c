//! Winograd's matrices, made in float64 from the points by Toom's and Cook's construction.

use jem::compute::winograd::Winograd;

/// Rows of a matrix.
pub type Matrix = Vec<Vec<f64>>;

/// The three transforms of F(m x m, 3 x 3).
pub struct Matrices {
    /// `B^T`.
    pub input: Matrix,
    /// `G`.
    pub weights: Matrix,
    /// `A^T`.
    pub output: Matrix,
}

impl Matrices {
    /// The matrices of a size, with the points that the kernels take.
    pub fn of(size: Winograd) -> Self {
        let (near, far) = (0.5_f64.sqrt(), 2_f64.sqrt());
        let points = match size {
            Winograd::F2 => vec![0.0, 1.0, -1.0],
            Winograd::F4 => vec![0.0, near, -near, far, -far],
        };
        let t = points.len() + 1;
        let others = |j: usize| points.iter().enumerate().filter(move |&(k, _)| k != j).map(|(_, &a)| a);
        let mut input: Matrix = (0..t - 1).map(|j| polynomial(others(j), t)).collect();
        input.push(polynomial(points.iter().copied(), t));
        let weights_row = |(j, &a): (usize, &f64)| {
            let f: f64 = others(j).map(|b| a - b).product();
            vec![1.0 / f, a / f, a * a / f]
        };
        let mut weights: Matrix = points.iter().enumerate().map(weights_row).collect();
        weights.push(vec![0.0, 0.0, 1.0]);
        let output_row = |i: usize| {
            let infinity = f64::from(u8::from(i + 1 == size.outputs()));
            points.iter().map(|a| a.powi(i as i32)).chain([infinity]).collect()
        };
        let output = (0..size.outputs()).map(output_row).collect();
        Self { input, weights, output }
    }
}

/// The coefficients of `Π (x - root)`, lowest first, zeros up to `length`.
fn polynomial(roots: impl Iterator<Item = f64>, length: usize) -> Vec<f64> {
    let mut coefficients = vec![0.0; length];
    coefficients[0] = 1.0;
    for root in roots {
        for i in (0..length).rev() {
            let lower = if i == 0 { 0.0 } else { coefficients[i - 1] };
            coefficients[i] = lower - root * coefficients[i];
        }
    }
    coefficients
}

/// `matrix x matrix^T` of a row-major square `x`.
pub fn transform(matrix: &Matrix, x: &[f64]) -> Vec<f64> {
    let n = matrix[0].len();
    let mut y = Vec::new();
    for left in matrix {
        for right in matrix {
            y.push((0..n * n).map(|at| left[at / n] * x[at] * right[at % n]).sum());
        }
    }
    y
}
