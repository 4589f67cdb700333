"""What whole objects are for: recognising them and lifting them to 3-D."""
