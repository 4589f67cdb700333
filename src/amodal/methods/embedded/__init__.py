"""The default: one compact network, trained and shipped by this project, after Zhan et al.'s OccAmodal."""
