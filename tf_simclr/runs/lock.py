"""One run, one process: a file in the run folder says which, and that it is still there."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import socket
import threading
import time
import uuid
import weakref
from collections.abc import Iterator
from pathlib import Path

from etils import epath

from tf_simclr.errors import UsageError
from tf_simclr.files import write_whole

NAME = "lock.json"
BEAT, STALE = 15, 60  # seconds
TURNS = 50


@dataclasses.dataclass(frozen=True)
class Owner:
    """Who holds a lock. `started` tells a process from a later one of the same number, on one machine."""

    host: str
    pid: int
    started: str
    folder: str
    token: str
    heartbeat: float

    @property
    def gone(self) -> bool:
        """Whether it is dead; of another machine, whether it has been silent for long."""
        if self.host != _host():
            return time.time() - self.heartbeat > STALE
        return _started(self.pid) != self.started


class Lock:
    """Holds a run folder until `release`, the end of the process, or until nobody refers to it.

    The folder is a process's: a second lock within it is the first one. Object stores have no way to make a
    file only if it is not there: of two starts at the same moment both may pass, and the next `require` of
    one of them fails.

    Raises:
        UsageError: another process holds it.
    """

    def __init__(self, folder: epath.Path, *, force: bool = False) -> None:
        self._path = folder / NAME
        own = Owner(_host(), os.getpid(), _started(os.getpid()), _real(folder), uuid.uuid4().hex, 0.0)
        with _alone(folder):
            other = _read(self._path)
            if other is not None and not force and not _left_behind(other, own):
                raise UsageError(_refusal(folder, other))
            _write(self._path, own)
        self._token = own.token
        stop = threading.Event()
        heart = threading.Thread(target=_beat, args=(self._path, own, stop), daemon=True)
        heart.start()
        self._release = weakref.finalize(self, _remove, self._path, own, stop, heart)

    def require(self) -> None:
        """UsageError where another process has taken the folder over."""
        other = _read(self._path)
        if other is not None and other.token != self._token:
            raise UsageError(
                f"--model_dir={self._path.parent}: process {other.pid} on {_name(other)} has taken this run "
                "over; what it saved stands, and this process stops"
            )

    def release(self) -> None:
        self._release()


_held: weakref.WeakValueDictionary[str, Lock] = weakref.WeakValueDictionary()


def hold(folder: epath.Path, *, force: bool = False) -> Lock:
    """The lock of `folder`, which this process may hold already."""
    key = _real(folder)
    held = _held.get(key)
    if held is None or not held._release.alive:
        held = _held[key] = Lock(folder, force=force)
    return held


def release_all() -> None:
    """Gives every folder free; for the end of a command, and of a process that ends without ceremony."""
    for held in list(_held.values()):
        held.release()


def _refusal(folder: epath.Path, other: Owner) -> str:
    age = max(time.time() - other.heartbeat, 0)
    here = "this machine" if other.host == _host() else _name(other)
    when = "" if other.host == _host() else f", which was heard of {age:.0f} s ago"
    return (
        f"--model_dir={folder} is in use by process {other.pid} on {here}{when}; wait for its end, or give "
        "--force_unlock if you know that it is gone"
    )


def _left_behind(other: Owner, own: Owner) -> bool:
    """Whether the owner is gone, is this process, or holds the folder that this is a copy of."""
    copied = other.host == own.host and other.folder != own.folder
    return other.gone or copied or (other.host, other.pid) == (own.host, own.pid)


def _beat(path: epath.Path, own: Owner, stop: threading.Event) -> None:
    while not stop.wait(BEAT):
        with contextlib.suppress(Exception), _alone(path.parent):  # a full disk, a store out of reach
            other = _read(path)
            if other is not None and other.token != own.token:
                return
            if not stop.is_set():
                _write(path, own)


def _remove(path: epath.Path, own: Owner, stop: threading.Event, heart: threading.Thread) -> None:
    stop.set()
    if os.getpid() != own.pid:
        return  # a child of the process
    if heart is not threading.current_thread():
        heart.join(timeout=STALE)  # a beat that is being written would come after the removal
    with contextlib.suppress(Exception), _alone(path.parent):
        other = _read(path)
        if other is not None and other.token == own.token:
            path.unlink()


def _write(path: epath.Path, own: Owner) -> None:
    content = dataclasses.asdict(dataclasses.replace(own, heartbeat=time.time()))
    write_whole(path, json.dumps(content, indent=2) + "\n")


def _read(path: epath.Path) -> Owner | None:
    """None where there is none, or one that says nothing."""
    try:
        return Owner(**json.loads(path.read_text())) if path.exists() else None
    except (FileNotFoundError, ValueError, TypeError):
        return None


@contextlib.contextmanager
def _alone(folder: epath.Path) -> Iterator[None]:
    """Lets processes of one machine take turns, where the file system can.

    It waits for a second at most: garbage may be collected, and a lock with it, while its own heart beats.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # no local folder
        yield
        return
    try:
        for _ in range(TURNS):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(1 / TURNS)
            except OSError:  # no such thing here
                break
        yield
    finally:
        os.close(descriptor)


def _host() -> str:
    """The machine's name and, since containers share names, the space that its processes are numbered in."""
    with contextlib.suppress(OSError):
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    return socket.gethostname()


def _name(owner: Owner) -> str:
    return owner.host.split(" ")[0]


def _started(pid: int) -> str:
    """When a process of this machine began, in its own terms; empty where it is gone."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state in "ZX" else rest[18]
    except FileNotFoundError:
        return "" if Path("/proc/self/stat").exists() else _alive(pid)


def _alive(pid: int) -> str:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "some time ago"


def _real(folder: epath.Path) -> str:
    text = str(folder)
    return text if "://" in text else os.path.realpath(text)
