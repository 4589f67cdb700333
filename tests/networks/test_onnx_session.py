"""Sessions are opened once, and beside other work."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

import amodal
from amodal.core.errors import WeightsError
from amodal.networks import onnx_session
from amodal.networks.onnx_session import open_session
from amodal.weights.catalogue import embedded


def test_threads_that_ask_at_once_share_one_session():
    together = Barrier(4)

    def ask(_):
        together.wait()
        return open_session(str(embedded("pocket-segmenter-head")), 3)

    with ThreadPoolExecutor(4) as pool:
        sessions = list(pool.map(ask, range(4)))
    assert len({id(session) for session in sessions}) == 1


def test_a_file_that_was_no_network_is_tried_again(tmp_path):
    file = tmp_path / "network.onnx"
    file.write_bytes(b"no network")
    for _ in range(2):
        with pytest.raises(WeightsError, match="no ONNX network"):
            open_session(str(file))
    assert not any(path == str(file) for path, *_ in onnx_session._OPENED)


def test_warming_up_opens_what_an_object_needs_and_leaves_errors_to_its_use(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_session, "_OPENED", {})
    amodal.load().warm_up(ask=False).join()
    opened = {path.rpartition("/")[2] for path, *_ in onnx_session._OPENED}
    assert opened >= {"image-encoder.onnx", "painter.onnx"} and "pocket-segmenter-head.onnx" not in opened

    absent = amodal.load(inpainter_options={"weights": str(tmp_path / "absent.onnx")})
    absent.warm_up(ask=False).join()
    with pytest.raises(WeightsError, match="there is no file"):
        absent.painter.warm_up()
