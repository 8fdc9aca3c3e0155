"""Models made smaller or faster: ``prepack``, for one target."""
