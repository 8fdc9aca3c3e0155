"""A network of nothing but a line or two per part: what the recipe docs/contributing/add_a_network.md makes."""
