"""Scoring beside other programs: every turn runs, the numbers agree."""

import pytest

from benchmarks import scoring


@pytest.mark.slow
def test_a_second_turn_runs_as_the_first():
    pytest.importorskip("pycocotools")
    found = scoring.run(objects=40, times=2)
    assert all(found[what]["runs"] == 2 and found[what]["median_s"] > 0 for what in ("loop", "ours", "whole"))
