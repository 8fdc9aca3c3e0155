"""The networks as torch modules; the engine runs the same ones from a model file."""
