"""Evaluation: metrics (pure functions), runs (rows, resume), reports (tables, pictures), comparisons."""

from .compare import compare
from .matrix import matrix
from .predictions import Predictions, evaluate_predictions, score
from .report import Report
from .run import evaluate

__all__ = ["Predictions", "Report", "compare", "evaluate", "evaluate_predictions", "matrix", "score"]
