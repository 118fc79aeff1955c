//! The numbers of a file that PyTorch made.

use jem::io::checkpoint::Checkpoint;
use jem::io::elements::Elements;

/// The values of a tensor of floats.
#[track_caller]
pub fn floats<'a>(numbers: &'a Checkpoint, name: &str) -> &'a [f32] {
    match numbers.tensors.iter().find(|tensor| tensor.0 == name) {
        Some((_, _, Elements::F32(values))) => values,
        _ => panic!("no floats {name}"),
    }
}
