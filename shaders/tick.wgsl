// tick
