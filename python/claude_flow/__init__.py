"""Small neural networks that run a swarm of coding agents."""

__version__ = "2.0.0"
