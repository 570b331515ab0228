"""KerasCV's layers, imported at first use (it takes 1 to 2 seconds) and without its greeting."""

from __future__ import annotations

import contextlib
import io
from types import ModuleType


def keras_cv_layers() -> ModuleType:
    """The module `keras_cv.layers`; what its import prints on stdout does not reach the user."""
    with contextlib.redirect_stdout(io.StringIO()):
        from keras_cv import layers
    return layers
