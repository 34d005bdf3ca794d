"""pgref."""
