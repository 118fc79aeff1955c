//! The run that measures a device (`jem-bench measure`): its parts, and a whole one in which steps crash and hang.

#[path = "../../benches/measure/mod.rs"]
#[allow(dead_code, reason = "the bench uses what the tests do not")]
mod measure;

#[path = "../common/cargo.rs"]
mod cargo;

mod children;
mod figures;
mod journal;
mod orders;
mod page;
mod share;
mod whole;
