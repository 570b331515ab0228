"""What a process does on SIGTERM and SIGINT while it trains."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from tf_simclr.runs import lock

STOPS = (signal.SIGTERM, signal.SIGINT)
ENDED = 130


class Signals:
    """The first asks to stop, a SIGINT that follows it ends the process at once.

    It may come while TensorFlow writes a checkpoint, where Python's handlers wait for the end of that: a
    thread hears it. What is being written then is no checkpoint yet.
    """

    def __init__(self) -> None:
        self.came = False
        self._before: dict[int, Any] = {}
        self._wakeup, self._writing = -1, -1

    def take(self) -> None:
        """Nothing where it is not the main thread: whoever runs us handles signals."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in STOPS:
            self._before[number] = signal.signal(number, self.note)
        reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._wakeup = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        threading.Thread(target=_listen, args=(reading,), daemon=True).start()

    def give_back(self) -> None:
        if not self._before:
            return
        while self._before:
            signal.signal(*self._before.popitem())
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._writing)

    def note(self, number: int, frame: Any) -> None:
        self.came = True


def _listen(reading: int) -> None:
    """Until the other end is closed."""
    came = False
    with os.fdopen(reading, "rb", buffering=0) as file:
        while byte := file.read(1):
            if came and byte[0] == signal.SIGINT:
                _end()
            came = came or byte[0] in STOPS


def _end() -> None:
    lock.release_all()
    os.write(2, b"interrupted again: what was not saved is lost; the folder is whole\n")
    os._exit(ENDED)
