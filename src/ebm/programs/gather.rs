//! Collects the images of an iteration: from the data set, and chains from the replay buffer.

use super::layout::{BatchLayout, BatchPart};
use super::{
    CHAIN_INDICES, COUNTER_WORDS, DATA, DATA_INDICES, FRESH_CHAINS, LABELLED_INDICES, REPLAY, STARTS,
};
use crate::device::{Program, ProgramBuilder, View};
use crate::ebm::{ChainStart, Recipe};
use crate::kernels::batch_gather::BatchGather;
use crate::kernels::copy::StridedCopy;
use crate::kernels::replay_gather::ReplayGather;
use crate::kernels::tick::COUNTERS;
use crate::nn::optimizer;
use crate::nn::parameters::ParameterLayout;

/// Fills the batch from a data set of `data_images` images and from the replay buffer; keeps the parameters of `layout`
/// that are not trained, for `undo`.
pub(super) fn program(
    recipe: &Recipe,
    layout: &ParameterLayout,
    batch: BatchLayout,
    data_images: usize,
) -> Program {
    let mut builder = ProgramBuilder::new("gather");
    optimizer::keep_untrained(&mut builder, layout);
    let counters = builder.external(COUNTER_WORDS, COUNTERS);
    let parts =
        [(DATA_INDICES, BatchPart::Data, recipe.augment_p_x), (LABELLED_INDICES, BatchPart::Labelled, true)];
    for (stream, (slot, role, augmented)) in parts.into_iter().enumerate() {
        let count = batch.images_of(role).len();
        if count == 0 {
            continue;
        }
        let kernel = BatchGather {
            batch: count,
            h: batch.height,
            w: batch.width,
            c: batch.channels,
            images: data_images,
            pad: if augmented { recipe.pad } else { 0 },
            flip: augmented && recipe.flip,
            noise: if augmented { recipe.input_noise } else { 0.0 },
            stream: stream as u32,
            shard_words: BatchGather::SHARD_WORDS,
        };
        let data = builder.external(DATA, kernel.data_words());
        let indices = builder.external(slot, count);
        let out = batch.view(&mut builder, role);
        let mut shards = kernel.data_parts().into_iter().map(|(first, words)| data.part(first, words));
        let mut views: Vec<View> = shards.next().into_iter().collect();
        views.extend([indices, counters, out]);
        views.extend(shards);
        builder.dispatch(slot.name(), kernel, &views);
    }
    if batch.samples > 0 {
        let image = batch.image();
        let n = batch.samples * image;
        let kernel = ReplayGather {
            batch: batch.samples,
            size: recipe.buffer,
            image,
            reinitialise: recipe.reinitialise,
            fresh: recipe.start == ChainStart::Gaussian,
        };
        let replay = builder.external(REPLAY, recipe.buffer * image);
        let indices = builder.external(CHAIN_INDICES, batch.samples);
        let out = batch.view(&mut builder, BatchPart::Samples);
        let mut views = vec![replay, indices, counters, out];
        if kernel.fresh {
            views.push(builder.external(FRESH_CHAINS, n));
        }
        builder.dispatch("chains", kernel, &views);
        let starts = builder.external(STARTS, n);
        let copy = StridedCopy { shape: [1, 1, 1, n], strides: [0, 0, 0, 1], offset: 0 };
        builder.dispatch("chain starts", copy, &[out, starts]);
    }
    builder.finish()
}
