//! The list of kernels, from which modules, shaders, tests and benches are made.

/// Calls the macro `$then` with every kernel: the module, whose name is also the stem of the shader, the test and the
/// bench, and the type, as in `adam: Adam, ascent: Ascent,`.
#[macro_export]
macro_rules! for_each_kernel {
    ($then:ident) => {
        $then! {
            adam: Adam,
            argmax: ArgMax,
            ascent: Ascent,
            average_pool: AveragePool,
            average_pool_gradient: AveragePoolGradient,
            batch_gather: BatchGather,
            binary: Binary,
            conv2d: Conv2d,
            conv2d_input_gradient: Conv2dInputGradient,
            conv2d_weight_gradient: Conv2dWeightGradient,
            copy: StridedCopy,
            fill: Fill,
            gather_labels: GatherLabels,
            head: Head,
            leaky_relu_gradient: LeakyReluGradient,
            logit_loss: LogitLoss,
            logit_loss_gradient: LogitLossGradient,
            logsumexp: LogSumExp,
            matmul: Matmul,
            max_pool: MaxPool,
            max_pool_gradient: MaxPoolGradient,
            mismatches: Mismatches,
            moments: Moments,
            moments_combine: MomentsCombine,
            momentum: Momentum,
            moving_average: MovingAverage,
            narrow: Narrow,
            normalise: Normalise,
            normalise_gradient: NormaliseGradient,
            normalise_sums: NormaliseSums,
            normalise_sums_combine: NormaliseSumsCombine,
            paste: Paste,
            random_bits: RandomBits,
            reduce: Reduce,
            replay_gather: ReplayGather,
            replay_scatter: ReplayScatter,
            scatter_labels: ScatterLabels,
            sgld: Sgld,
            sign_mask: SignMask,
            softmax: Softmax,
            tick: Tick,
            unary: Unary,
            uniform_fill: UniformFill,
            winograd_input: WinogradInput,
            winograd_output: WinogradOutput,
            winograd_product: WinogradProduct,
            winograd_weights: WinogradWeights,
        }
    };
}
