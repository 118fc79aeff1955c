// uniform_fill
