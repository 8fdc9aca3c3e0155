"""Coordination: which agent should take which task."""
