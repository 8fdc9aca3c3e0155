"""Configuration tuning: which knobs of a database to set how, judged on measured configurations."""
