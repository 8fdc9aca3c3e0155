"""Production: drift, alarms, retraining, the record of experiments."""
