// average_pool
