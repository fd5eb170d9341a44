"""vLLM-Ascend: vLLM with a plugin for Ascend NPUs."""
