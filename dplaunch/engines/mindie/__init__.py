"""MindIE LLM: the model library's own script as a job, and the service."""
