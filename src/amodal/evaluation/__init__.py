"""Evaluation: metrics (pure functions), runs (rows, resume), reports (tables, pictures)."""

from .compare import compare
from .predictions import Predictions, evaluate_predictions, score
from .report import Report
from .run import evaluate

__all__ = ["Predictions", "Report", "compare", "evaluate", "evaluate_predictions", "score"]
