"""A run's report shows all that its folder holds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from etils import epath

from tf_simclr.reports.run_report import write_run_report


def test_lists_are_tables_and_every_data_set_has_its_predictions(tmp_path: Path) -> None:
    result = {
        "command": "transfer",
        "dataset": "a,b",
        "per_seed": [81.0, 82.345],
        "num_eval_examples": 360,
        "top1": None,
        "left_out": [],
        "knn": {"k20_weighted": 81.5},
        "versions": {"tf_simclr": "0.1.0"},
        "transfer": [
            {"dataset": "a", "test": 91.5, "l2": 1e-6, "paper_1x": 90.6},
            {"dataset": "b", "test": 50.0, "l2": 0.1, "test_std": None},
        ],
    }
    (tmp_path / "result.json").write_text(json.dumps(result))
    (tmp_path / "flags.cfg").write_text("# repeats it\n--seed=0\n--encoder=m:f(a='b=c')\n")
    labels = np.array([0, 1, 1])
    for name in "ab":
        np.savez(
            tmp_path / f"predictions_{name}.npz",
            label=labels,
            prediction=labels[::-1],
            class_names=[f"{name} cat", f"{name} dog"],
        )
    page = write_run_report(epath.Path(tmp_path)).read_text()
    for shown in ("<h2>Transfer</h2>", "<th>paper 1x</th>", "1e-06", "90.60", "81.00, 82.34"):
        assert shown in page
    for words, value in (("Images tested on", 360), ("Top-1 % of k-NN: k20 weighted", "81.50")):
        assert f'<td>{words}</td><td class="number">{value}</td>' in page
    assert "<td>Version: tf_simclr</td><td>0.1.0</td>" in page
    assert "Top-1," not in page, "there is none"
    assert "Left out" not in page
    assert "<th></th>" not in page
    assert "test std" not in page, "no row has one"
    assert page.count("&ndash;") == 1  # what the second row lacks
    flags = "<tr><td>seed</td><td>0</td></tr>\n<tr><td>encoder</td><td>m:f(a=&#x27;b=c&#x27;)</td></tr>"
    assert f"<thead><tr><th>flag</th><th>value</th></tr></thead>\n<tbody>\n{flags}\n</tbody>" in page
    for name in "ab":
        assert f"<h2>Predictions: {name}</h2>" in page


def test_names_of_mistakes_are_text_and_older_predictions_have_none(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps({"command": "evaluate", "dataset": "x"}))
    (tmp_path / "flags.cfg").write_text("")
    (tmp_path / "data.json").write_text(json.dumps({"class_names": ["<b>cat", "dog & co"]}))
    older = {"id": np.array(["<i>.png", "b.png"]), "label": np.array([0, 1]), "prediction": np.array([1, 1])}
    np.savez(tmp_path / "predictions.npz", **older)
    assert "mistakes" not in write_run_report(epath.Path(tmp_path)).read_text()
    np.savez(tmp_path / "predictions.npz", **older, probability=np.array([[0.875, 0.125], [0.6, 0.4]]))
    page = write_run_report(epath.Path(tmp_path)).read_text()
    row = '<td>&lt;i&gt;.png</td><td>&lt;b&gt;cat</td><td>dog &amp; co</td><td class="number">0.875</td>'
    assert f"<tbody>\n<tr>{row}</tr>\n</tbody>" in page.split("Most confident mistakes")[1]
