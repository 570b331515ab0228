"""Episodes of random policies: stacks of three frames, and the state that each ends in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from tf_simclr.control import environments
from tf_simclr.errors import UsageError

STACK = 3
_BIAS = 0.1  # deviation of a policy's preference, beside 1 of its weights

Act = Callable[[np.ndarray], Any]


class Moment(NamedTuple):
    """`stack` uint8 [S, S, 3]: the last three frames, grey, the newest last; its state is `state`."""

    step: int
    stack: np.ndarray
    state: np.ndarray


@dataclasses.dataclass(frozen=True)
class Episodes:
    """How episodes are played.

    Each has a policy of its own, linear in the observation, with normal weights: uniform actions alone would
    end all episodes alike. Some of the actions are uniform all the same. Episode n of a split is a function
    of the seed, the split's number and n.
    """

    environment: Any
    steps: int
    frame_size: int
    random_actions: float
    start_spread: float
    seed: int

    def play(self, split: int, number: int) -> Iterator[Moment]:
        """The episode from its third frame on, until it ends or has `steps` steps."""
        rng = np.random.default_rng([self.seed, split, number])
        observation = self._start(rng)
        policy = _policy(self.environment, rng)
        frames = [self._frame()]
        for step in range(1, self.steps + 1):
            uniform = step == 1 or rng.random() < self.random_actions  # a spread start is not observed yet
            action = self.environment.action_space.sample() if uniform else policy(observation)
            observation, _, terminated, truncated, _ = self.environment.step(action)
            frames = [*frames[1 - STACK :], self._frame()]
            if len(frames) == STACK:
                yield Moment(step, np.stack(frames, axis=-1), np.asarray(observation, np.float64))
            if terminated or truncated:
                return

    def _start(self, rng: np.random.Generator) -> np.ndarray:
        observation, _ = self.environment.reset(seed=int(rng.integers(2**31)))
        self.environment.action_space.seed(int(rng.integers(2**31)))
        if not self.start_spread:
            return observation
        bare = self.environment.unwrapped
        state = getattr(bare, "state", None)
        if state is None:
            name = self.environment.spec.id
            raise UsageError(f"--start_spread={self.start_spread}: {name} has no state to set; leave it out")
        moved = np.array(state, np.float64)
        moved[0] += rng.uniform(-self.start_spread, self.start_spread)
        bare.state = moved
        return observation

    def _frame(self) -> np.ndarray:
        return environments.frame(self.environment, self.frame_size)


def _policy(environment: Any, rng: np.random.Generator) -> Act:
    """A random linear policy: the action it prefers or, of a vector of actions, tanh within the bounds."""
    space, width = environment.action_space, environment.observation_space.shape[0]
    outputs = int(space.n) if hasattr(space, "n") else int(np.prod(space.shape))
    weights, bias = rng.normal(size=[width, outputs]), _BIAS * rng.normal(size=outputs)
    if hasattr(space, "n"):
        return lambda observation: int(space.start + np.argmax(observation @ weights + bias))
    middle, half = (space.high + space.low) / 2, (space.high - space.low) / 2

    def act(observation: np.ndarray) -> np.ndarray:
        share = np.tanh(observation @ weights + bias).reshape(space.shape)
        return (middle + half * share).astype(space.dtype)

    return act
