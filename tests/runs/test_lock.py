"""One run, one process: who holds a folder, and who may take it."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from etils import epath

from tf_simclr.errors import UsageError
from tf_simclr.runs import lock


@pytest.fixture
def folder(tmp_path: Path) -> epath.Path:
    return epath.Path(tmp_path)


def hold_as(where: epath.Path, **changes: Any) -> None:
    """Writes the lock of another process of this machine, or of what `changes` says."""
    own = lock.Owner(
        lock._host(), os.getppid(), lock._started(os.getppid()), str(where), "theirs", time.time()
    )
    (where / lock.NAME).write_text(json.dumps(dataclasses.asdict(dataclasses.replace(own, **changes))))


def test_a_folder_is_held_until_it_is_released(folder: epath.Path) -> None:
    held = lock.hold(folder)
    content = json.loads((folder / lock.NAME).read_text())
    assert (content["pid"], content["host"].split()[0]) == (os.getpid(), os.uname().nodename)
    assert abs(content["heartbeat"] - time.time()) < 60
    assert lock.hold(folder) is held  # the process has it
    held.release()
    assert not list(folder.iterdir())
    assert lock.hold(folder) is not held


def test_it_is_free_when_nobody_refers_to_it(folder: epath.Path) -> None:
    held = lock.hold(folder)
    del held
    gc.collect()
    assert not list(folder.iterdir())


def test_another_living_process_is_refused_in_a_line_that_names_it(folder: epath.Path) -> None:
    hold_as(folder)
    before = (folder / lock.NAME).read_text()
    with pytest.raises(
        UsageError, match=rf"in use by process {os.getppid()} on this machine.*--force_unlock"
    ):
        lock.hold(folder)
    assert (folder / lock.NAME).read_text() == before


def test_a_dead_process_of_this_machine_is_followed_at_once(folder: epath.Path) -> None:
    process = subprocess.Popen(["sleep", "60"])
    hold_as(folder, pid=process.pid, started=lock._started(process.pid))
    with pytest.raises(UsageError, match="in use"):
        lock.hold(folder)
    process.kill()
    process.wait()
    held = lock.hold(folder)
    assert json.loads((folder / lock.NAME).read_text())["pid"] == os.getpid()
    held.release()
    hold_as(folder, started="1")  # a later process has its number
    assert lock.hold(folder)


def test_a_process_that_nobody_has_waited_for_is_dead(folder: epath.Path) -> None:
    process = subprocess.Popen(["sleep", "60"])
    hold_as(folder, pid=process.pid, started=lock._started(process.pid))
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert lock.hold(folder)
    process.wait()


def test_another_machine_is_believed_while_it_is_heard_of(folder: epath.Path) -> None:
    hold_as(folder, host="elsewhere pid:[1]", pid=1, heartbeat=time.time() - lock.STALE / 2)
    with pytest.raises(UsageError, match="process 1 on elsewhere, which was heard of 30 s ago"):
        lock.hold(folder)
    hold_as(folder, host="elsewhere pid:[1]", pid=1, heartbeat=time.time() - lock.STALE - 1)
    assert lock.hold(folder)


def test_a_copy_of_a_folder_in_use_is_free(folder: epath.Path) -> None:
    hold_as(folder, folder="/where/it/was/copied/from")
    assert lock.hold(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 3}'])
def test_a_lock_that_says_nothing_holds_nothing(folder: epath.Path, content: str) -> None:
    (folder / lock.NAME).write_text(content)
    assert lock.hold(folder)


def test_who_is_forced_out_stops_before_it_saves(folder: epath.Path) -> None:
    held = lock.hold(folder)
    held.require()
    hold_as(folder)
    with pytest.raises(UsageError, match=rf"process {os.getppid()} .* has taken this run over"):
        held.require()
    held.release()
    assert (folder / lock.NAME).exists()  # theirs
    taken = lock.hold(folder, force=True)
    taken.require()


def test_a_lock_that_is_dropped_while_its_heart_beats_is_released(folder: epath.Path) -> None:
    """As when garbage is collected within: nobody waits for himself."""
    held = lock.hold(folder)
    with lock._alone(folder):
        began = time.perf_counter()
        held.release()
    assert time.perf_counter() - began < 10
    assert not list(folder.iterdir())


def test_the_heart_beats(folder: epath.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.01)
    held = lock.hold(folder)
    first = json.loads((folder / lock.NAME).read_text())["heartbeat"]
    until = time.time() + 30
    while json.loads((folder / lock.NAME).read_text())["heartbeat"] == first:
        assert time.time() < until
        time.sleep(0.01)
    held.release()
    time.sleep(0.1)
    assert not list(folder.iterdir())


def test_a_beat_that_is_being_written_does_not_outlast_the_lock(
    folder: epath.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk so slow that nobody waits for its turn."""
    write, writing = lock._write, threading.Event()

    def slow(path: epath.Path, own: lock.Owner) -> None:
        writing.set()
        time.sleep(1.5)
        write(path, own)

    monkeypatch.setattr(lock, "BEAT", 0.01)
    held = lock.hold(folder)
    monkeypatch.setattr(lock, "_write", slow)
    assert writing.wait(30)
    held.release()
    time.sleep(2)
    assert not list(folder.iterdir())
