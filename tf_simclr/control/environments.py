"""gymnasium's environments: made, asked for frames and states; nothing else knows the package."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from PIL import Image

from tf_simclr.errors import UsageError

REQUIREMENTS = "pip install -r requirements-control.txt"
STATES = {  # what the numbers of an observation are
    "CartPole": ("position", "velocity", "angle", "angular_velocity"),
    "Pendulum": ("cos_angle", "sin_angle", "angular_velocity"),
    "MountainCar": ("position", "velocity"),
    "MountainCarContinuous": ("position", "velocity"),
    "Acrobot": ("cos_1", "sin_1", "cos_2", "sin_2", "angular_velocity_1", "angular_velocity_2"),
}


def make(name: str) -> Any:
    """The environment, drawn without a screen.

    Raises:
        UsageError: gymnasium is missing, there is no such environment, it shows no pixels, or its
            observations are no vector.
    """
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import gymnasium
    except ImportError as error:
        raise UsageError(f"--environment={name}: needs gymnasium: {REQUIREMENTS}") from error
    try:
        modes = gymnasium.make(name).metadata.get("render_modes", [])
        if "rgb_array" not in modes:
            raise UsageError(f"--environment={name}: shows no pixels (render mode rgb_array); give another")
        made = gymnasium.make(name, render_mode="rgb_array")
    except UsageError:
        raise
    except Exception as error:  # a package that it needs is missing, or whatever its own code raises
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"--environment={name}: cannot be made ({reason})") from error
    if not isinstance(made.observation_space, gymnasium.spaces.Box) or len(made.observation_space.shape) != 1:
        raise UsageError(f"--environment={name}: its observations are no vector of numbers; give another")
    if not isinstance(made.action_space, gymnasium.spaces.Discrete | gymnasium.spaces.Box):
        raise UsageError(f"--environment={name}: its actions are neither numbered nor a vector; give another")
    return made


def state_names(environment: Any) -> tuple[str, ...]:
    """What the numbers of an observation are called."""
    count = environment.observation_space.shape[0]
    known = STATES.get(environment.spec.name, ())
    return known if len(known) == count else tuple(f"observation_{i}" for i in range(count))


def frame(environment: Any, size: int) -> np.ndarray:
    """What it shows, in grey and shrunk: uint8 [size, size]."""
    shown = Image.fromarray(np.asarray(environment.render(), np.uint8))
    return np.asarray(shown.convert("L").resize((size, size), Image.Resampling.BOX))
