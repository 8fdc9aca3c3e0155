"""One training loop and one data module per network."""
