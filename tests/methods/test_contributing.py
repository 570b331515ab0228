"""The method that CONTRIBUTING.md adds stands what every method must."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.methods.method_test import run_method_test
from tf_simclr import methods

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that holds the code of CONTRIBUTING.md, for this process and those it starts."""
    code = re.search(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    assert code
    (tmp_path / "align_uniform.py").write_text(code.group(1))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    yield "align_uniform"
    sys.modules.pop("align_uniform", None)


@pytest.mark.slow
def test_it_stands_what_every_method_must(module: str, tmp_path: Path) -> None:
    run_method_test(f"{module}:AlignUniform", tmp_path)


def test_it_is_wang_and_isolas(module: str) -> None:
    method = methods.find(f"{module}:AlignUniform")(uniformity_weight=0.5)
    z = np.random.default_rng(0).normal(size=[8, 3]).astype(np.float32)
    a, b = np.split(z / np.linalg.norm(z, axis=1, keepdims=True), 2)
    alignment = np.mean(np.sum((a - b) ** 2, axis=1))
    potentials = [
        np.log(np.mean([[np.exp(-2 * np.sum((x - y) ** 2)) for x in view] for y in view])) for view in (a, b)
    ]
    loss, figures = method.loss(None, tf.constant(z), None, {})
    assert float(loss) == pytest.approx(alignment + 0.5 * np.mean(potentials), rel=1e-5)
    assert float(figures["uniformity"]) == pytest.approx(np.mean(potentials), rel=1e-5)
