//! Every kernel against its naive float64 statement, on the CPU, on the GPU with naga's checks and
//! without them, with sentinels around every buffer.

mod adam;
mod average_pool;
mod average_pool_gradient;
mod batch_gather;
mod binary;
mod completeness;
mod conv2d;
mod conv2d_input_gradient;
mod conv2d_weight_gradient;
mod copy;
mod device;
mod fill;
mod gather_labels;
mod harness;
mod head;
mod leaky_relu_gradient;
mod logit_loss;
mod logit_loss_gradient;
mod logsumexp;
mod matmul;
mod momentum;
mod portability;
mod random_bits;
mod reduce;
mod reference;
mod reference_random;
mod replay_gather;
mod replay_scatter;
mod scatter_labels;
mod sgld;
mod sign_mask;
mod softmax;
mod tick;
mod unary;
mod uniform_fill;
