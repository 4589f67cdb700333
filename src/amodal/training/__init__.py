"""Training: one plain loop for all of the project's networks, a recipe file and a task for each. Needs torch."""
