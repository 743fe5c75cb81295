"""From a tree to Python's own ``ast``; ``nodes`` has the theory of operation."""
