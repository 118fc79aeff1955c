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

mod adapter;
mod candidates;
mod cooperative;
mod device;
mod device_limits;
mod drift;
mod errors;
mod functional;
mod gradients;
mod graph_cases;
mod graph_choices;
mod graph_ends;
mod graph_function;
mod graph_half;
mod graph_mistakes;
mod graph_network;
mod graph_properties;
mod graph_reference;
mod graph_update;
mod harness;
mod portability;
mod reference;
mod reference_elementwise;
mod reference_logits;
mod reference_random;
mod relu;

use libtest_mimic::{Arguments, Conclusion, Trial};

/// Tests with their names.
pub type Tests = &'static [(&'static str, fn())];

macro_rules! kernel_files {
    ($($file:ident: $kernel:ident,)+) => {
        $(mod $file;)+

        /// The files of tests of one kernel each.
        const KERNELS: &[(&str, Tests)] = files![$($file),+];
    };
}

jem::for_each_kernel!(kernel_files);

/// The other files of tests.
const OTHERS: &[(&str, Tests)] = files![
    candidates,
    cooperative,
    device,
    device_limits,
    drift,
    errors,
    functional,
    gradients,
    graph_choices,
    graph_ends,
    graph_function,
    graph_half,
    graph_mistakes,
    graph_network,
    graph_update,
    graph_properties,
    portability,
    relu,
];

/// All files of tests that need nothing but a device.
pub fn files() -> Vec<(&'static str, Tests)> {
    [KERNELS, OTHERS].concat()
}

/// Runs the tests of `files` in parallel, as `arguments` says. With `filters`, runs only the tests whose name contains
/// one of them. A test's name is `file::test`.
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
