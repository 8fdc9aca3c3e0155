"""Requests and records to network inputs: one implementation for training and inference, numpy only."""
