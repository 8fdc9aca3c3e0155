"""Algorithm selection on ASlib scenarios."""
