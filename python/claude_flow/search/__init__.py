"""Architecture search: sizes of a network that learn as well and run faster, measured on the engine."""
