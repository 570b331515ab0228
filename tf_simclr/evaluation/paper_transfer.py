"""The twelve transfer data sets of App. B.8: splits, metrics and the paper's own figures."""

from __future__ import annotations

import dataclasses

from tf_simclr.evaluation.metrics import Metric


@dataclasses.dataclass(frozen=True)
class PaperDataset:
    """One data set of Table 8.

    Attributes:
      title: the paper's name.
      dataset: what `--dataset` takes: a TFDS name, or "" where TFDS has none and a folder is needed.
      metric: the paper's metric.
      train: split to train on.
      validation: split that chooses l2; "" where the paper holds out a part of `train`.
      test: split to test on (TFDS names that of Food-101 "validation").
      linear_1x: the paper's linear evaluation of ResNet-50, percent (Table B.5).
      linear_4x: the same at width 4 (Table 8).
    """

    title: str
    dataset: str
    metric: Metric
    train: str
    validation: str
    test: str
    linear_1x: float
    linear_4x: float


# title, dataset, metric, train, validation, test, 1x, 4x
PAPER_DATASETS = (
    PaperDataset("Food-101", "food101", "top1", "train", "", "validation", 68.4, 76.9),
    PaperDataset("CIFAR-10", "cifar10", "top1", "train", "", "test", 90.6, 95.3),
    PaperDataset("CIFAR-100", "cifar100", "top1", "train", "", "test", 71.6, 80.2),
    PaperDataset("Birdsnap", "", "top1", "train", "", "test", 37.4, 48.4),
    # The first split. TFDS's "validation" holds all images outside it; its images have at most 120,000 px.
    PaperDataset("SUN397", "sun397/standard-part1-120k", "top1", "train", "", "test", 58.8, 65.9),
    PaperDataset("Cars", "cars196", "top1", "train", "", "test", 50.3, 60.0),
    PaperDataset("Aircraft", "", "mean_per_class", "train", "validation", "test", 50.3, 61.2),
    PaperDataset("VOC 2007", "voc/2007", "voc_map", "train", "validation", "test", 80.5, 84.2),
    PaperDataset("DTD", "dtd", "top1", "train", "validation", "test", 74.5, 78.9),  # TFDS has the first split
    PaperDataset("Pets", "oxford_iiit_pet", "mean_per_class", "train", "", "test", 83.6, 89.2),
    PaperDataset("Caltech-101", "caltech101", "mean_per_class", "train", "", "test", 90.3, 93.9),
    PaperDataset("Flowers", "oxford_flowers102", "mean_per_class", "train", "validation", "test", 91.2, 95.0),
)

DEFAULT_CONFIGS = {"voc": "voc/2007"}  # what TFDS takes for the bare name; that of sun397 is a random split


def paper_dataset(dataset: str) -> PaperDataset | None:
    """The paper's data set of that `--dataset`, a version (`name:1.2.3`) apart.

    What TFDS lacks is known by its folder's name: folder:ANYWHERE/aircraft, folder:ANYWHERE/birdsnap.
    """
    if dataset.startswith("folder:"):
        folder = dataset.rstrip("/").replace(":", "/").rpartition("/")[2].lower()
        return next((k for k in PAPER_DATASETS if not k.dataset and k.title.lower() == folder), None)
    name = dataset.split(":", maxsplit=1)[0]
    name = DEFAULT_CONFIGS.get(name, name)
    return next((known for known in PAPER_DATASETS if known.dataset == name != ""), None)
