//! Every kernel against its naive float64 statement, on the CPU, on the GPU with naga's checks and
//! without them, with sentinels around every buffer.

mod harness;
mod unary;
