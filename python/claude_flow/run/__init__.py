"""Many requests: files of them, machines, servers."""
