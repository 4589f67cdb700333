"""Building blocks of networks that several methods share. The modules here import torch; import them inside functions."""
