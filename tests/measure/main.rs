//! The run that measures a device (`jem-bench measure`): its parts, and complete runs in which steps crash and hang.

#[path = "../../benches/measure/mod.rs"]
#[allow(dead_code, reason = "the bench uses what the tests do not")]
mod measure;

#[path = "../../kernels-tests/adapter.rs"]
mod adapter;
#[path = "../fake_driver/mod.rs"]
mod fake_driver;

mod begin;
mod children;
mod driver;
mod figures;
mod journal;
mod orders;
mod pack;
mod page;
mod scratch;
mod share;
mod whole;
