"""Prediction: when a task will be done, and how sure that is."""
