//! Files: checkpoints, arrays, pictures and TensorBoard events, and the layouts they hold.

mod archive;
pub mod atomic;
pub mod checkpoint;
pub mod elements;
pub mod events;
pub mod gif;
pub mod journal;
pub mod npy;
pub mod npz;
pub mod pack;
pub mod png;
pub mod safetensors;
pub mod state_file;
pub mod torch;
pub(crate) mod user;

/// A message as one printable line of at most 1000 characters, whatever it quotes of a file.
fn one_line(message: String) -> String {
    let printable = |c: char| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() };
    message.chars().take(1000).map(printable).collect()
}
