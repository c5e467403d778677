"""What a network learned: which pixels a layer discards, and from that how many concepts it holds."""
