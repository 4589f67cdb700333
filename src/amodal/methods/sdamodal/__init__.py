"""SDAmodal (Zhan et al., "Amodal Ground Truth and Completion in the Wild", CVPR 2024, section 4.2)."""
