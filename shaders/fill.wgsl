// fill
