"""A script of the user's own."""
