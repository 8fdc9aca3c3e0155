"""Public benchmarks: a protocol each, with the learners that only they need, and the simulated suite."""
