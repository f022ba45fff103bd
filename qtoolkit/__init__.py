"""Quantization and Deep Compression for torch, complete and readable."""
