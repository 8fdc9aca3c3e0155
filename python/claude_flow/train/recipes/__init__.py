"""Ways to train that start from more than one log: each hangs its part on the one loop as a hook."""
