//! Every kernel against its naive float64 statement, on the CPU, on the GPU with naga's checks and
//! without them, with sentinels around every buffer.

mod average_pool;
mod average_pool_gradient;
mod binary;
mod completeness;
mod conv2d;
mod conv2d_input_gradient;
mod conv2d_weight_gradient;
mod copy;
mod fill;
mod gather_labels;
mod harness;
mod leaky_relu_gradient;
mod logsumexp;
mod matmul;
mod portability;
mod reduce;
mod reference;
mod scatter_labels;
mod sign_mask;
mod softmax;
mod unary;
