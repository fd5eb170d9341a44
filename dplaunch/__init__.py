"""dplaunch: one cluster file up, watched and stopped."""

__version__ = "0.2.0"
