"""A laboratory for whole clients: hosts on a network of their own, a tracker, and drivers.

The interop tests and the benchmarks stand on it; `swarm` never imports it.
"""
