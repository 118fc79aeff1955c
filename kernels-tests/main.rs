//! Every kernel against its naive float64 statement, on the CPU, on the GPU with naga's checks and
//! without them, with sentinels around every buffer.

mod conv2d;
mod conv2d_input_gradient;
mod conv2d_weight_gradient;
mod harness;
mod reference;
mod unary;
