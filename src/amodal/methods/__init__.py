"""Methods: image and visible mask to the whole object. The pipeline reaches them through the registry; they never import each other."""
