"""What runs on nodes: two packages of the standard library only, sent as one bundle."""
