"""OccAmodal (Zhan et al., section 4.1): an occluder predictor and an amodal predictor, trained and shipped by this project."""
