"""What is installed is known to the byte, and what is known against it is explained."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
HASHED = (ROOT / "requirements-hashed.txt").read_text()
FOUND = [{"id": "PYSEC-1", "fix_versions": ["9.9"], "aliases": [], "description": "bad"}]


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_hashes_are_of_the_versions_that_constraints_pin(audit: ModuleType, python: str) -> None:
    constraints = (ROOT / "constraints.txt").read_text()
    pinned = set(audit.pins("\n".join(line.split("#")[0] for line in constraints.splitlines()), python))
    hashed = set(audit.pins(HASHED, python))
    assert {"tensorflow==2.15.1", "tensorflow==2.21.0"} & hashed
    assert hashed <= pinned


def test_every_pin_has_a_hash() -> None:
    lines = HASHED.splitlines()
    pins = [number for number, line in enumerate(lines) if "==" in line and line[0] not in " #"]
    assert len(pins) > 80
    assert all(lines[number].endswith("\\") for number in pins)
    assert all(lines[number + 1].strip().startswith("--hash=sha256:") for number in pins)


@pytest.mark.parametrize(
    ("package", "code", "says"),
    [
        (
            {"name": "numpy", "version": "1", "vulns": FOUND},
            1,
            "PYSEC-1 numpy 1 (mended in 9.9): NOT",
        ),
        ({"name": "numpy", "version": "1", "vulns": []}, 0, "0 findings"),
        ({"name": "numpy", "skip_reason": "not found"}, 75, "nothing is audited"),
    ],
)
def test_a_finding_without_an_explanation_fails_and_silence_is_no_all_clear(
    audit: ModuleType, tmp_path: Path, package: dict, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = tmp_path / "answers.py"
    answers.write_text(f"print({json.dumps(json.dumps({'dependencies': [package]}))})")
    assert audit.main([sys.executable, str(answers)]) == code
    assert says in capsys.readouterr().out


def test_explanations_are_a_line_each(audit: ModuleType) -> None:
    known = audit.explanations("# about\n\nPYSEC-1 only where foreign files are read\n")
    assert known == {"PYSEC-1": "only where foreign files are read"}
    assert all(audit.explanations((ROOT / ".ci" / "audit-known.txt").read_text()).values())
