// random_bits
