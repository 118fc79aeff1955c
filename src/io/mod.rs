//! Files: checkpoints, arrays, pictures and TensorBoard events, and the layouts they hold.

mod archive;
pub mod atomic;
pub mod checkpoint;
pub mod elements;
pub mod events;
pub mod gif;
pub mod npy;
pub mod npz;
pub mod pack;
pub mod png;
pub mod safetensors;
pub mod state_file;
pub mod torch;
