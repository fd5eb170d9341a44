"""Walks over a cluster: what the verbs do, on any driver."""
