"""Log streams of the nodes: followed, and read for what failed first or took long."""
