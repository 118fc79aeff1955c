//! The kernel tests under `cargo test`, with those that read the source tree.

#[macro_use]
#[path = "mod.rs"]
mod kernels_tests;

mod completeness;

use clap::Parser;
use kernels_tests::{Tests, files, run};
use libtest_mimic::Arguments;

/// The flags of Rust's own harness.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    arguments: Arguments,
    /// More filters: a test that contains one of them is run
    more: Vec<String>,
}

fn main() {
    jem::self_test::serve();
    let Options { mut arguments, more: mut filters } = Options::parse();
    filters.extend(arguments.filter.take());
    let files = [files(), files![completeness].to_vec()].concat();
    run(&files, &arguments, &filters).exit();
}
