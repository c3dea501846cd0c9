"""Synthetic wafer images with complete labels, for demonstrations, tests and benchmarks."""
