"""Optimization: what to change to remove the bottleneck."""
