"""Batch norms of a network that several processes train."""

import copy

import pytest

torch = pytest.importorskip("torch")

from amodal.training.statistics import Statistics  # noqa: E402


def test_batch_statistics_are_those_of_one_process():
    """Three processes make a pass each, and one all three in order: the batch norms are the same, calls twice a pass too."""
    torch.manual_seed(0)
    start = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3, momentum=0.3))
    batches = [torch.randn(4, 3, 5, 5) * (k + 1) + k for k in range(3)]
    alone, many = copy.deepcopy(start), [copy.deepcopy(start) for _ in batches]
    sets = [Statistics(network, process, 3) for process, network in enumerate(many)]
    for _ in range(2):
        for batch in batches:
            alone(alone(batch))
        for statistics, network, batch in zip(sets, many, batches, strict=True):
            statistics.begin()
            network(network(batch))
        total = sum(statistics.part() for statistics in sets)
        for statistics in sets:
            statistics.end(total)
    for network in many:
        for name, value in alone.state_dict().items():
            assert torch.allclose(network.state_dict()[name], value, rtol=1e-5), name
