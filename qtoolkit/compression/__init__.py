"""Deep Compression: prune, share, index, entropy-code, and write the network as one real file (Han, Mao, Dally 2016)."""
