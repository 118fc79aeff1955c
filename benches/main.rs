//! Measures a device, with its kernel tests, in one executable that needs no source tree.
//!
//! `cargo bench --bench gpu -- --help` lists the options; `scripts/portable-bench` makes an executable for machines
//! without Rust. Figures are reliable only on a machine that does nothing else.

#[macro_use]
#[path = "../kernels-tests/mod.rs"]
mod kernels_tests;

mod build;
mod ceilings;
mod facts;
mod gate;
mod kernels;
mod launch;
mod measure;
mod options;
mod profile;
mod registers;
mod replay;
mod report;
mod scaling;
mod steps;
mod tests;

use ceilings::Ceilings;
use clap::Parser;
use options::{Arguments, Options, Section, Setting};
use report::Report;
use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    jem::self_test::serve();
    let options = Options::parse();
    match options.section.clone() {
        Some(Section::TestHere { filter, skip }) => tests::run_here(filter, skip),
        Some(Section::Measure(asked)) => return measure::main(&asked, &options.arguments.measure()),
        _ => {}
    }
    if let Some(Section::ProbeHere { size }) = options.section {
        return end(ceilings::probe_here(&options.arguments, size).map(|()| 0).map_err(Into::into));
    }
    end(run(&options))
}

/// The exit status of a run that counted this many errors or could not start; prints which.
fn end(result: Result<usize, Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(0) => ExitCode::SUCCESS,
        Ok(errors) => {
            say(&format!("error: {errors} of the measurements failed"));
            ExitCode::FAILURE
        }
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints a line of errors. A closed terminal is no reason to panic.
fn say(message: &str) {
    let _ = writeln!(std::io::stderr(), "{message}");
}

/// Runs the requested measurements; returns the number of errors on the way.
fn run(options: &Options) -> Result<usize, Box<dyn Error>> {
    let arguments = &options.arguments;
    let setting = Setting::new(arguments)?;
    let mut report = Report::new(arguments.out.as_deref(), facts::facts(&setting))?;
    let everything = || {
        let kernels = Section::Kernels { filter: String::new() };
        let first = [Section::Test { filter: None }, Section::Ceilings, Section::Launch, kernels];
        first.into_iter().chain([Section::Steps, Section::Profile, Section::Scaling]).collect()
    };
    let mut ceilings = None;
    for section in options.section.clone().map_or_else(everything, |section| vec![section]) {
        if let Err(message) = measure(&section, &setting, arguments, &mut ceilings, &mut report) {
            report.error(&message);
        }
        // After each section, so that a crash keeps the results so far.
        report.write()?;
    }
    Ok(report.errors())
}

/// Measures one section. Those that say how near they come to the ceilings measure these first.
fn measure(
    section: &Section,
    setting: &Setting,
    arguments: &Arguments,
    ceilings: &mut Option<Ceilings>,
    report: &mut Report,
) -> Result<(), String> {
    let needs_ceilings = match section {
        Section::Ceilings | Section::Kernels { .. } | Section::Steps => true,
        // Without timestamps it reports only the time of the whole, and the ceilings would be an error.
        Section::Profile => setting.has_timestamps(),
        _ => false,
    };
    if ceilings.is_none() && needs_ceilings {
        *ceilings = Some(Ceilings::measure(setting, report).map_err(|error| format!("ceilings: {error}"))?);
    }
    match (section, ceilings) {
        (Section::Test { filter }, _) => tests::run(setting, filter.as_deref(), report)?,
        (Section::Kernels { filter }, Some(ceilings)) => {
            kernels::run(setting, ceilings, filter, report)?;
            ceilings.again(setting, report)?;
        }
        (Section::Steps, Some(ceilings)) => {
            steps::run(setting, arguments, ceilings, report);
            ceilings.again(setting, report)?;
        }
        (Section::Gate, _) => gate::run(setting, arguments, report)?,
        (Section::Profile, ceilings) => {
            profile::run(setting, ceilings.as_ref(), report);
            if let Some(ceilings) = ceilings {
                ceilings.again(setting, report)?;
            }
        }
        (Section::Launch, _) => launch::run(setting, report)?,
        (Section::Scaling, _) => scaling::run(setting, report),
        (Section::Registers, _) => registers::run(setting, report)?,
        _ => {}
    }
    Ok(())
}
