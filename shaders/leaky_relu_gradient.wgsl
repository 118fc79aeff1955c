// leaky_relu_gradient
