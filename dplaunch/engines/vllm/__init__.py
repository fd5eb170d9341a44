"""vLLM, and what every plugin of it has in common with it."""
