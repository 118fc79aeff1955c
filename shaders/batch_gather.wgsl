// batch_gather
