"""Key material: what a key is, which keys belong together, and how they lie on disk. Knows nothing of the gateway."""
