"""OccAmodal as published (Zhan et al., section 4.1): an occluder predictor, then an amodal predictor; for weights of one's own."""
