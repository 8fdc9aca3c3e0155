"""Action: the integration layer and the decision engine, from the other networks' outputs to a command."""
