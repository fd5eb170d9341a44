"""Proofs: right answers through every pair of endpoints, and KV that moved."""
