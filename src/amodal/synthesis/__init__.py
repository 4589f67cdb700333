"""What makes data: composites, rooms, pairs, ground truth from 3-D scenes, and its review."""
