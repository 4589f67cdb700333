"""What an occluded object is: CLIP and its labels."""
