"""How many directions a layer of the projection head keeps (Fig. B.3)."""

from __future__ import annotations

import numpy as np


def squared_spectrum(kernel: np.ndarray) -> tuple[str, np.ndarray]:
    """What stands for a kernel [D, P], and its squares, the largest first: float64 [min(D, P)].

    "eigenvalues" of a square one, their real parts, as Fig. B.3 has of the W in g(h) = W h; of another one
    "singular values", whose squares are the eigenvalues of W^T W.
    """
    kernel = np.asarray(kernel, np.float64)
    if kernel.shape[0] == kernel.shape[1]:
        kind, values = "eigenvalues", np.linalg.eigvals(kernel).real
    else:
        kind, values = "singular values", np.linalg.svd(kernel, compute_uv=False)
    return kind, np.sort(values**2)[::-1]
