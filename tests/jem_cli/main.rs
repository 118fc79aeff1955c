//! `jem` as a user runs it: the files and output of each command, and its errors.

mod ablate;
#[path = "../../kernels-tests/adapter.rs"]
mod adapter;
mod data;
mod devices;
mod errors;
mod eval;
mod foreign;
mod images;
mod metadata;
mod models;
mod sample;
mod score;
mod sets;
mod shaders;
mod silence;
#[path = "../common/small.rs"]
mod small;
mod support;
mod terminal;
mod train;
mod train_data;
mod tune;
