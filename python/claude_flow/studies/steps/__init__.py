"""How a run of an agent goes on, forecast from its first steps."""
