"""A request in, an answer out: what ``claude-flow neural infer`` does, as functions."""
