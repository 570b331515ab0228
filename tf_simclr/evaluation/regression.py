"""Numbers read from features by ridge regression, and what of raw pixels has as many dimensions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_PENALTIES = np.logspace(-4, 4, 17)


class Fit(NamedTuple):
    """Of each target, on the features to test on: R^2, and root of the mean squared error in its unit."""

    r2: list[float]
    rmse: list[float]


def ridge(train: np.ndarray, test: np.ndarray, targets: np.ndarray, asked: np.ndarray) -> Fit:
    """Fits `targets` [n, T] on features `train` [n, D], scaled, and predicts `asked` [m, T] from `test`.

    The penalty of each target is the best of 17 by leave-one-out. R^2 of a target that does not vary in
    `asked` is not defined: NaN.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), RidgeCV(_PENALTIES, alpha_per_target=True))
    error = np.mean(np.square(model.fit(train, targets).predict(test) - asked), axis=0)
    variance = asked.var(axis=0)
    share = np.divide(error, variance, out=np.full_like(error, np.nan), where=variance > 0)
    return Fit((1 - share).tolist(), np.sqrt(error).tolist())


def principal_components(
    train: np.ndarray, test: np.ndarray, width: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The first `width` principal components of `train` [n, D], as coordinates of it and of `test`.

    Fewer where there are fewer images or numbers.
    """
    from sklearn.decomposition import PCA

    count = min(width, *train.shape)
    components = PCA(count, svd_solver="randomized", random_state=seed).fit(train)
    return components.transform(train), components.transform(test)
