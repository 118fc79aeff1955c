// conv2d_weight_gradient
