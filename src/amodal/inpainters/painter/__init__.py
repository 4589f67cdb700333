"""The painter: a small feed-forward network that gives occluded pixels texture, trained here, shipped in the package."""
