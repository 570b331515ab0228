"""Choosing labelled examples: class-balanced fractions and held-out splits, both seeded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tf_simclr.errors import UsageError


def choose_labelled(
    labels: np.ndarray,
    *,
    fraction: float | None = None,
    per_class: int | None = None,
    num_classes: int | None = None,
    class_names: Sequence[str] = (),
    seed: int,
) -> np.ndarray:
    """Class-balanced choice of examples (App. B.5): equal counts a class, as far as a class has them.

    A larger choice of a seed contains the smaller one.

    Args:
      labels: int [n]; -1 marks examples without a label, which are never chosen.
      fraction: share of the labelled examples, in (0, 1]; give this or `per_class`.
      per_class: examples of each class.
      num_classes: classes that must be there; by default the largest label plus 1.
      class_names: what mistakes call the classes; by default their numbers.

    Returns:
      Sorted indices into `labels`, int64.

    Raises:
      UsageError: a label out of range, a class that would have no example or fewer than `per_class`.
    """
    if (fraction is None) == (per_class is None):
        raise UsageError("give either --label_fraction or --labels_per_class")
    members = _members(labels, num_classes, np.random.default_rng(seed))
    sizes = np.array([len(indices) for indices in members])
    if per_class is not None:
        _require(per_class >= 1, f"--labels_per_class={per_class} must be at least 1")
        poorest = int(sizes.argmin())
        _require(
            sizes[poorest] >= per_class,
            f"--labels_per_class={per_class}: class {_called(poorest, class_names)} has {sizes[poorest]} "
            "labelled examples",
        )
        quotas = np.full(len(members), per_class)
    else:
        assert fraction is not None
        _require(0 < fraction <= 1, f"--label_fraction={fraction} must be in (0, 1]")
        quotas = _balanced_quotas(sizes, round(fraction * sizes.sum()))
        poorest = int(quotas.argmin())
        _require(
            quotas[poorest] >= 1,
            f"--label_fraction={fraction}: class {_called(poorest, class_names)} would have no example of "
            f"its {sizes[poorest]}" + ("; raise it" if sizes[poorest] else ""),
        )
    chosen = [indices[:quota] for indices, quota in zip(members, quotas, strict=True)]
    return np.sort(np.concatenate(chosen))


def split_validation(
    labels: np.ndarray, *, fraction: float = 0.1, num_classes: int | None = None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Holds out a stratified share of the labelled examples.

    Each class gives `fraction` of its examples, rounded, at least 1 when it has 2 or more.

    Returns:
      (indices to train on, indices to validate on), sorted, int64, disjoint.

    Raises:
      UsageError: a label out of range, or no class has two examples.
    """
    _require(0 < fraction < 1, f"the validation fraction {fraction} must be in (0, 1)")
    members = _members(labels, num_classes, np.random.default_rng(seed))
    held = [min(max(round(fraction * len(indices)), 1), max(len(indices) - 1, 0)) for indices in members]
    _require(
        sum(held) > 0,
        "--train_split: no class has two labelled examples, so none can be held out to choose by",
    )
    validation = np.concatenate([indices[:count] for indices, count in zip(members, held, strict=True)])
    training = np.concatenate([indices[count:] for indices, count in zip(members, held, strict=True)])
    return np.sort(training), np.sort(validation)


def require_labels(labels: np.ndarray, num_classes: int, what: str) -> None:
    """UsageError unless every label is in [0, num_classes); `what` names the data in the message."""
    bad = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if bad.size:
        found = "no label" if labels[bad[0]] < 0 else f"label {labels[bad[0]]}"
        _require(False, f"{what}: example {bad[0]} has {found}; labels must be 0 to {num_classes - 1}")


def require_every_class(labels: np.ndarray, class_names: Sequence[str], what: str) -> None:
    """UsageError unless every class has an example; `what` names the data in the message."""
    counts = np.bincount(labels[labels >= 0], minlength=len(class_names))
    missing = [repr(class_names[number]) for number in np.flatnonzero(counts == 0)]
    if missing:
        others = f", nor have {', '.join(missing[1:5])}" if len(missing) > 1 else ""
        raise UsageError(
            f"{what}: class {missing[0]} has no example to train on{others}; add some or leave the class out"
        )


def _called(number: int, class_names: Sequence[str]) -> str:
    return repr(class_names[number]) if class_names else str(number)


def _members(labels: np.ndarray, num_classes: int | None, rng: np.random.Generator) -> list[np.ndarray]:
    """Indices of each class's examples, each in random order."""
    labels = np.asarray(labels)
    _require(bool((labels >= 0).any()), "--train_split: there are no labelled examples to choose from")
    count = int(labels.max()) + 1 if num_classes is None else num_classes
    if labels.max() >= count:
        raise UsageError(
            f"--train_split: label {labels.max()} is out of range: there are {count} classes, counted from 0"
        )
    return [rng.permutation(np.flatnonzero(labels == label)) for label in range(count)]


def _balanced_quotas(sizes: np.ndarray, total: int) -> np.ndarray:
    """Spreads `total` over classes as evenly as their sizes allow; a rest goes to the largest classes."""
    quotas = np.zeros_like(sizes)
    while (left := total - quotas.sum()) > 0:
        open_classes = np.flatnonzero(quotas < sizes)
        share = left // len(open_classes)
        if share == 0:
            largest_first = open_classes[np.argsort(-sizes[open_classes], kind="stable")]
            quotas[largest_first[:left]] += 1
        else:
            quotas[open_classes] = np.minimum(quotas[open_classes] + share, sizes[open_classes])
    return quotas


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)
