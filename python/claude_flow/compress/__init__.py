"""Models made smaller or faster: quantized, pruned, distilled, compared; ``prepack``, for one target."""
