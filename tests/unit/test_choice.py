"""`ModelChoice`: from names and options to a model."""

from amodal.pipeline.choice import ModelChoice


def test_options_reach_the_parts_as_they_are():
    """A pair of numbers set by an ablation is not a value that JSON knows; warnings are errors in tests."""
    choice = ModelChoice().model_copy(update={"method": "tuning-free", "options": {"leak": (0.0, 1.0)}})
    assert choice.load("cpu").method.options.leak == (0.0, 1.0)
