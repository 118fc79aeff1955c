//! Every kernel against its naive float64 statement, on the CPU, on the GPU with naga's checks and
//! without them, with sentinels around every buffer.
//!
//! The tests are plain functions in lists, so that the test `kernels` (`main.rs`) and the benchmarks'
//! executable are made of the same: a machine without Rust can run them.

/// Lists the tests of a file. One that is missing here is dead code, which the compiler reports.
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        pub const TESTS: super::Tests = &[$((stringify!($name), $name)),+];
    };
}

/// The files of tests, with their names. One that is missing here has dead code.
macro_rules! files {
    ($($file:ident),+ $(,)?) => { &[$((stringify!($file), $file::TESTS)),+] };
}

mod adam;
mod adapter;
mod ascent;
mod average_pool;
mod average_pool_gradient;
mod batch_gather;
mod binary;
mod candidates;
mod conv2d;
mod conv2d_input_gradient;
mod conv2d_weight_gradient;
mod cooperative;
mod copy;
mod device;
mod drift;
mod errors;
mod fill;
mod functional;
mod gather_labels;
mod gradients;
mod graph_cases;
mod graph_function;
mod graph_half;
mod graph_mistakes;
mod graph_network;
mod graph_properties;
mod graph_reference;
mod graph_update;
mod harness;
mod head;
mod leaky_relu_gradient;
mod logit_loss;
mod logit_loss_gradient;
mod logsumexp;
mod matmul;
mod mismatches;
mod moments;
mod moments_combine;
mod momentum;
mod moving_average;
mod narrow;
mod normalise;
mod normalise_gradient;
mod normalise_sums;
mod normalise_sums_combine;
mod portability;
mod random_bits;
mod reduce;
mod reference;
mod reference_random;
mod replay_gather;
mod replay_scatter;
mod scatter_labels;
mod sgld;
mod sign_mask;
mod softmax;
mod tick;
mod unary;
mod uniform_fill;
mod winograd_input;
mod winograd_output;
mod winograd_product;
mod winograd_weights;

use libtest_mimic::{Arguments, Conclusion, Trial};

/// Tests with their names.
pub type Tests = &'static [(&'static str, fn())];

/// All files of tests that need nothing but a device.
pub const FILES: &[(&str, Tests)] = files![
    adam,
    ascent,
    average_pool,
    average_pool_gradient,
    batch_gather,
    binary,
    candidates,
    conv2d,
    conv2d_input_gradient,
    conv2d_weight_gradient,
    cooperative,
    copy,
    device,
    drift,
    errors,
    fill,
    functional,
    gather_labels,
    gradients,
    graph_function,
    graph_half,
    graph_mistakes,
    graph_network,
    graph_update,
    graph_properties,
    head,
    leaky_relu_gradient,
    logit_loss,
    logit_loss_gradient,
    logsumexp,
    matmul,
    mismatches,
    moments,
    moments_combine,
    momentum,
    moving_average,
    narrow,
    normalise,
    normalise_gradient,
    normalise_sums,
    normalise_sums_combine,
    portability,
    random_bits,
    reduce,
    replay_gather,
    replay_scatter,
    scatter_labels,
    sgld,
    sign_mask,
    softmax,
    tick,
    unary,
    uniform_fill,
    winograd_input,
    winograd_output,
    winograd_product,
    winograd_weights,
];

/// Runs the tests of `files` in parallel, as `arguments` says; if there are `filters`, those alone whose name
/// contains one of them. A test's name is `file::test`.
pub fn run(files: &[(&str, Tests)], arguments: &Arguments, filters: &[String]) -> Conclusion {
    let mut trials = Vec::new();
    for (file, tests) in files {
        for &(test, body) in *tests {
            let name = format!("{file}::{test}");
            let asked =
                |filter: &String| if arguments.exact { name == *filter } else { name.contains(filter) };
            if filters.is_empty() || filters.iter().any(asked) {
                trials.push(Trial::test(name, move || {
                    body();
                    Ok(())
                }));
            }
        }
    }
    libtest_mimic::run(arguments, trials)
}
