// average_pool_gradient
