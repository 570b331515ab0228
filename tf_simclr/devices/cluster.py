"""Which worker of a job this process is, by TF_CONFIG; read without TensorFlow."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from typing import Any

from tf_simclr.config.groups import Devices
from tf_simclr.errors import UsageError

_SHAPE = 'give {"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'


@dataclasses.dataclass(frozen=True)
class Worker:
    """One of `count` workers; the chief alone writes the run folder."""

    index: int = 0
    count: int = 1

    @property
    def is_chief(self) -> bool:
        return self.index == 0


def this_worker(devices: Devices) -> Worker:
    """The worker that TF_CONFIG says, where the strategy is for several; else the only one.

    Raises:
        UsageError: --strategy=multi_worker without TF_CONFIG, or a TF_CONFIG that cannot be used.
    """
    if devices.strategy not in ("auto", "multi_worker"):
        return Worker()
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        if devices.strategy == "multi_worker":
            raise UsageError(f"--strategy=multi_worker needs TF_CONFIG in the environment: {_SHAPE}")
        return Worker()
    try:
        return _parse(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"TF_CONFIG cannot be used ({type(error).__name__}: {error}); {_SHAPE}") from error


def _parse(config: Any) -> Worker:
    cluster, task = config["cluster"], config["task"]
    if any(not isinstance(hosts, list) for hosts in cluster.values()):
        raise ValueError("a cluster holds lists of HOST:PORT")
    for host in (host for hosts in cluster.values() for host in hosts):
        if not re.fullmatch(r".+:\d+", str(host)):
            raise ValueError(f"{host} is no HOST:PORT")
    members = [(kind, i) for kind in ("chief", "worker") for i in range(len(cluster.get(kind, [])))]
    own = (task["type"], int(task["index"]))
    if own not in members:
        raise ValueError(f"task {own[0]} {own[1]} is not in the cluster")
    return Worker(members.index(own), len(members))
