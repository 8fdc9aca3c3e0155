"""Smaller and faster models with a guarantee: quantize, prune, distill, compare; and ``prepack``, for one target."""
