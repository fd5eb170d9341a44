"""Values → rich renderables and JSON. The only room that prints; it imports values, errors and folding."""
