"""What a model costs on this machine: its limits, the time of every op, latency, throughput."""
