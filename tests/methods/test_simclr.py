"""SimCLR behind the seam; its oracles are those of NT-Xent and of the train step."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

from tests.methods.method_test import run_method_test
from tf_simclr import methods
from tf_simclr.errors import UsageError
from tf_simclr.methods.simclr import SimCLR


@pytest.mark.slow
def test_simclr_stands_what_every_method_must(tmp_path: Path) -> None:
    run_method_test("simclr", tmp_path, temperature=0.5)


def test_a_method_is_found_by_file_or_by_module_and_class() -> None:
    assert methods.find("simclr") is SimCLR
    assert methods.find("tf_simclr.methods.simclr:SimCLR") is SimCLR
    assert methods.name_of(SimCLR()) == "simclr"
    assert "method" not in methods.names()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("simclrr", "--method=simclrr: give one of .*simclr.* or MODULE:CLASS"),
        ("no_such_module:Method", "--method=no_such_module:Method: cannot be imported"),
        ("tf_simclr.methods.simclr:NoSuch", "cannot be imported"),
        ("math:pi", "is no class of tf_simclr.methods.Method"),
        ("tf_simclr.methods.method:Method", "is no class of tf_simclr.methods.Method"),
        (".relative:Method", "--method=.relative:Method: cannot be imported"),
        (":Method", "--method=:Method: cannot be imported"),
    ],
)
def test_what_is_no_method_is_refused_in_one_line(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        methods.find(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"loss_block_size": 9}, "--loss_block_size=9 does not fit: a replica has 8 images"),
        ({"objective": "nt_exent"}, "--objective=nt_exent: give one of .*nt_xent.* or MODULE:FUNCTION"),
        ({"objective": "builtins:abs", "loss_block_size": 2}, "--objective=builtins:abs has no blocks"),
        ({"objective": "math:pi"}, "--objective=math:pi: is no function"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        SimCLR(**options).check(8)


def test_an_objective_of_the_users_own_is_minimised(monkeypatch: pytest.MonkeyPatch) -> None:
    method = SimCLR(objective=f"{__name__}:apart", temperature=0.25)
    z = tf.random.stateless_normal([8, 3], [1, 2])
    loss, figures = method.loss(None, z, None, {})
    assert float(loss) == pytest.approx(0.25 * float(tf.reduce_sum(z)))
    assert list(figures) == list(SimCLR.figures)
    with pytest.raises(UsageError, match="must return loss, contrastive accuracy and entropy"):
        SimCLR(objective="builtins:abs").loss(None, z, None, {})


def apart(projections: tf.Tensor, temperature: float) -> tuple[tf.Tensor, ...]:
    return temperature * tf.reduce_sum(projections), tf.zeros([]), tf.zeros([])
