"""What goes on inside a model: activations and gradients on its own data."""
