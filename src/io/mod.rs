//! Files: checkpoints, arrays, pictures and TensorBoard events, and the layouts they hold.

pub mod atomic;
pub mod checkpoint;
pub mod elements;
pub mod events;
pub mod npy;
pub mod pack;
pub mod png;
