"""From logs to tables to tensors."""
