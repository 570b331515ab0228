"""pip-audit over what requirements-hashed.txt installs, by `make audit`: 1 where a finding is not explained.

.ci/audit-known.txt explains findings, a line each: an identifier and, behind it, how far it reaches here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = {"TensorFlow 2.15 (Python 3.11)": "3.11", "TensorFlow 2.21 (Python 3.13)": "3.13"}
UNANSWERED = 75


def main(audit: Iterable[str]) -> int:
    """Runs the command `audit` on the pins of each stack."""
    known = explanations((ROOT / ".ci" / "audit-known.txt").read_text())
    unexplained = 0
    for stack, python in PYTHONS.items():
        report = audited(pins((ROOT / "requirements-hashed.txt").read_text(), python), audit)
        if all("skip_reason" in package for package in report):
            print(f"{stack}: no advisory was read, the service does not answer here; nothing is audited")
            return UNANSWERED
        found = dict(findings(report))
        print(f"{stack}: {len(report)} packages, {len(found)} findings")
        for name, package in found.items():
            print(f"  {name} {package}: {known.get(name, 'NOT EXPLAINED in .ci/audit-known.txt')}")
        unexplained += len(found.keys() - known.keys())
    return 1 if unexplained else 0


def pins(text: str, python: str) -> list[str]:
    """NAME==VERSION of what the hashed requirements install on a Python, under Linux."""
    where = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    read = [
        Requirement(line.rstrip("\\ ")) for line in text.splitlines() if "==" in line and line[0] not in " #"
    ]
    return [f"{pin.name}{pin.specifier}" for pin in read if not pin.marker or pin.marker.evaluate(where)]


def audited(wanted: Iterable[str], audit: Iterable[str]) -> list[dict[str, Any]]:
    """What pip-audit says of each pin; nothing is installed or resolved."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(wanted))
        file.flush()
        words = [*audit, "--no-deps", "--disable-pip", "--format=json", f"--requirement={file.name}"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    if not done.stdout:
        raise SystemExit(f"pip-audit: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)["dependencies"]


def findings(report: Iterable[dict[str, Any]]) -> Iterable[tuple[str, str]]:
    """(identifier, package and the versions without it) of each finding."""
    for package in report:
        for one in package.get("vulns", []):
            mended = ", ".join(one["fix_versions"]) or "no version"
            yield one["id"], f"{package['name']} {package['version']} (mended in {mended})"


def explanations(text: str) -> dict[str, str]:
    """{identifier: reason}."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {name: reason for name, _, reason in (line.partition(" ") for line in lines)}


if __name__ == "__main__":
    sys.exit(main([sys.executable, "-m", "pip_audit"]))
