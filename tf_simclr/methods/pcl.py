"""PCL (Li et al., 2021): a query finds its key and, at several granularities, the prototype of its cluster.

The clusters are of the key encoder's features of all training images, found anew before every epoch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from etils import epy

from tf_simclr.errors import UsageError
from tf_simclr.methods.method import Method, Sizes
from tf_simclr.options import LONGEST, TEMPERATURES, option
from tf_simclr.progress import progress_bar

with epy.lazy_imports():
    import tensorflow as tf

    from tf_simclr.methods import state as states
    from tf_simclr.objectives import unit
    from tf_simclr.replicas import gather, traffic

_FLOAT = 4  # bytes
_SMOOTHING = 10  # alpha of the concentrations (Sec. 3.3)
_KMEANS_ITERATIONS, _KMEANS_STARTS = 20, 5  # authors' code


@dataclasses.dataclass(frozen=True)
class PCL(Method):
    """View a's query is drawn to view b's key, and to the prototype of the cluster that its image is in.

    Negatives are old keys, and other prototypes; a prototype's temperature is its cluster's concentration.
    """

    citation: ClassVar[str] = (
        "Li, Zhou, Xiong, Hoi. Prototypical Contrastive Learning of Unsupervised Representations. ICLR 2021, "
        "arXiv:2005.04966."
    )
    figures: ClassVar[tuple[str, ...]] = ("contrastive_loss", "info_nce", "proto_nce", "prototype_accuracy")
    defaults: ClassVar[Mapping[str, Any]] = {"proj_batch_norm": "none"}  # v2's head (authors' code)
    needs_index: ClassVar[bool] = True

    temperature: float = option(0.2, "temperature of InfoNCE, mean one of the prototypes", **TEMPERATURES)
    queue_size: int = option(
        16384, "keys of earlier steps that are negatives (authors' --pcl-r)", minimum=1, maximum=LONGEST
    )
    key_momentum: float = option(0.999, "share that the key encoder keeps at a step", minimum=0, maximum=1)
    num_clusters: str = option(
        "25000,50000,100000",
        "clusters of each clustering (ImageNet's: 51, 26 and 13 images a cluster)",
        form=(r"[1-9]\d{0,8}(,[1-9]\d{0,8})*", "whole numbers with commas"),
        distinct=True,
    )
    negative_prototypes: int = option(
        16384,
        "prototypes drawn from the clusters that no image of the batch is in (authors' --pcl-r); "
        "0: all prototypes, each once",
        minimum=0,
    )
    info_nce_epochs: int = option(20, "epochs by InfoNCE alone, before the first clustering", minimum=0)
    kmeans: str = option(
        "lloyd",
        "k-means on all features at once, or on batches of them for millions of images",
        choices=["lloyd", "minibatch"],
    )

    def check(self, own_images: int, replicas: int = 1) -> None:
        batch = own_images * replicas
        if self.queue_size % batch:
            raise UsageError(
                f"--queue_size={self.queue_size}: must be a multiple of the {batch} images of a step"
            )
        fewest = min(self._counts)
        if self.negative_prototypes and self.negative_prototypes + batch > fewest:
            raise UsageError(
                f"--negative_prototypes={self.negative_prototypes}: the {batch} images of a step may "
                f"leave {max(fewest - batch, 0)} of {fewest} clusters; give 0 for all prototypes"
            )

    def check_data(self, num_images: int) -> None:
        if max(self._counts) > num_images:
            raise UsageError(
                f"--num_clusters={self.num_clusters}: there are no {max(self._counts):,} clusters in "
                f"{num_images:,} images"
            )

    def state(self, model: Any, image: tf.Tensor) -> dict[str, Any]:
        if not model.num_images:
            raise UsageError("num_images: PCL keeps the cluster of every image; tell Pretraining how many")
        encoder = states.Average([model.encoder, model.projection_head], image)
        z = unit.unit(encoder(image))
        made = {"key_encoder": encoder}
        made["queue"] = states.Queue(self.queue_size, z.shape[-1], seed=model.seed, dtype=z.dtype)
        for count in self._counts:
            made[f"clustering_{count}"] = _no_clustering(count, z, model.num_images)
        return made

    def targets(self, model: Any, views: tf.Tensor, training: bool) -> tf.Tensor:
        """Keys [n, P] of view b."""
        _, view_b = tf.split(views, 2)
        return tf.stop_gradient(unit.unit(model.state["key_encoder"](view_b, training=training)))

    def outputs(self, model: Any, views: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """h and queries of view a."""
        view_a, _ = tf.split(views, 2)
        return super().outputs(model, view_a, training)

    def loss(
        self, model: Any, outputs: tf.Tensor, targets: tf.Tensor, batch: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, Mapping[str, tf.Tensor]]:
        q = unit.unit(outputs)  # [n, P]
        info_nce = tf.reduce_mean(self._info_nce(q, targets, model.state["queue"].rows))
        everyones = gather.gather_replicas(batch["index"])  # [N]
        found = [
            self._proto_nce(q, batch["index"], everyones, clustering, self._key(model, number))
            for number, clustering in enumerate(self._clusterings(model))
        ]
        proto_nce, accuracy = (tf.reduce_mean(tf.stack(parts)) for parts in zip(*found, strict=True))
        loss = info_nce + proto_nce  # ProtoNCE (Sec. 3.2), the authors' name for both
        figures = (loss, info_nce, proto_nce, accuracy)
        return gather.replica_share(loss), dict(zip(self.figures, figures, strict=True))

    def _info_nce(self, q: tf.Tensor, keys: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """[n] losses of finding the key among those of the queue (Sec. 3.1)."""
        positive = tf.reduce_sum(q * keys, axis=1, keepdims=True)
        negatives = tf.matmul(q, tf.convert_to_tensor(rows), transpose_b=True)
        logits = tf.concat([positive, negatives], axis=1) / self.temperature  # [n, 1 + Q]
        return tf.reduce_logsumexp(logits, axis=1) - logits[:, 0]

    def _proto_nce(
        self, q: tf.Tensor, index: tf.Tensor, everyones: tf.Tensor, clustering: tf.Module, key: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean loss of finding the own prototype (Sec. 3.2), and the share found; 0 while there are none.

        Args:
            q: this replica's queries, unit vectors [n, P].
            index: of their images, [n].
            everyones: of the images of all replicas, [N].
            clustering: of all training images.
            key: of what is drawn, [2].
        """
        cluster_of = tf.convert_to_tensor(clustering.cluster_of)
        own = tf.gather(cluster_of, index)  # [n]
        known = tf.cast(own >= 0, q.dtype)
        if self.negative_prototypes:  # authors' code: another image of the same cluster brings a negative
            present = tf.maximum(tf.gather(cluster_of, everyones), 0)
            drawn = _absent(present, clustering.prototypes.shape[0], self.negative_prototypes, key)
            candidates = tf.concat([present, drawn], axis=0)  # [N + r]
            images = tf.shape(index, tf.int64)[0]
            places = tf.range(images) + tf.cast(gather.replica_id(), tf.int64) * images
        else:
            candidates = tf.range(clustering.prototypes.shape[0], dtype=tf.int64)  # [K]
            places = tf.maximum(own, 0)
        prototypes = tf.gather(tf.convert_to_tensor(clustering.prototypes), candidates)
        phi = tf.gather(tf.convert_to_tensor(clustering.concentrations), candidates)
        logits = tf.matmul(q, prototypes, transpose_b=True) / phi
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=places, logits=logits)
        found = tf.gather(candidates, tf.argmax(logits, axis=1)) == own
        return tf.reduce_mean(known * losses), tf.reduce_mean(known * tf.cast(found, q.dtype))

    def after_step(
        self, model: Any, outputs: tf.Tensor, targets: tf.Tensor, batch: Mapping[str, tf.Tensor]
    ) -> None:
        """Moves the key encoder and the queue.

        The authors' code moves the encoder at the start of a step, by the weights that the last one left: it
        makes the same keys.
        """
        model.state["key_encoder"].update(self.key_momentum)
        model.state["queue"].push(targets)

    def between_epochs(self, model: Any, images: Callable[[], tf.data.Dataset], epoch: int) -> None:
        """Clusters the features that the key encoder has of all images (Alg. 1)."""
        if epoch < self.info_nce_epochs:
            return
        features = _features(model.state["key_encoder"], images())
        for number, clustering in enumerate(self._clusterings(model)):
            centroids, cluster_of = self._k_means(features, self._counts[number], model.seed + number)
            phi = concentrations(features, centroids, cluster_of, self.temperature)
            unit = centroids / np.linalg.norm(centroids, axis=1, keepdims=True)  # authors' code
            variables = (clustering.prototypes, clustering.concentrations, clustering.cluster_of)
            for variable, value in zip(variables, _of_first_replica([unit, phi, cluster_of]), strict=True):
                variable.assign(tf.cast(value, variable.dtype))

    def _k_means(self, features: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Centroids [K, P], and the cluster of each of the features [N, P].

        A function of its arguments to the last bit: sums in one thread's order, and no stop by a sum of many.
        """
        from sklearn import cluster
        from threadpoolctl import threadpool_limits

        options = {"n_clusters": count, "init": "random", "random_state": seed}
        if self.kmeans == "lloyd":
            means = cluster.KMeans(n_init=_KMEANS_STARTS, max_iter=_KMEANS_ITERATIONS, **options)
        else:
            means = cluster.MiniBatchKMeans(
                n_init=1, batch_size=max(4096, count), max_iter=5, max_no_improvement=None, **options
            )
        with threadpool_limits(1, "openmp"):
            cluster_of = means.fit_predict(features)
        return means.cluster_centers_, cluster_of

    def sizes(self, own: int, images: int, dim: int, weights: int, replicas: int) -> Sizes:
        """Similarities to queue and prototypes; a second encoder, queue and prototypes.

        The clusters of the training images, 8 bytes an image and clustering, come on top.
        """
        candidates = [
            images + self.negative_prototypes if self.negative_prototypes else k for k in self._counts
        ]
        return Sizes(
            loss=_FLOAT * (2 * own * (self.queue_size + 1 + sum(candidates)) + 4 * own * dim),
            state=weights + _FLOAT * dim * (self.queue_size + sum(self._counts)),
            exchanged=traffic.all_reduce(_FLOAT * images * dim + 8 * images, replicas),
        )

    @property
    def encoded_views(self) -> int:
        return 1

    @property
    def _counts(self) -> Sequence[int]:
        if not self.num_clusters:
            raise UsageError("--num_clusters=: give whole numbers with commas")
        return [int(count) for count in self.num_clusters.split(",")]

    def _clusterings(self, model: Any) -> Iterator[tf.Module]:
        return (model.state[f"clustering_{count}"] for count in self._counts)

    def _key(self, model: Any, number: int) -> tf.Tensor:
        """For what clustering `number` draws at this step; negative, as no key of the augmentations is."""
        step = tf.cast(model.optimizer.iterations, tf.int64)
        return tf.stack([tf.cast(model.seed, tf.int64), -1 - (step * len(self._counts) + number)])


def concentrations(
    features: np.ndarray, centroids: np.ndarray, cluster_of: np.ndarray, temperature: float
) -> np.ndarray:
    """phi [K] of the clusters (Sec. 3.3): the smaller, the denser; their mean is the temperature.

    Args:
        features: unit vectors [N, P].
        centroids: [K, P].
        cluster_of: each feature's, [N].
        temperature: tau.
    """
    distances = np.linalg.norm(features - centroids[cluster_of], axis=1)
    sums = np.bincount(cluster_of, distances, minlength=len(centroids))
    sizes = np.bincount(cluster_of, minlength=len(centroids))
    phi = np.where(sizes > 1, sums / (np.maximum(sizes, 1) * np.log(sizes + _SMOOTHING)), 0)
    phi = np.where(sizes > 1, phi, phi.max())  # this and the clipping: authors' code
    phi = np.clip(phi, *np.percentile(phi, [10, 90]))
    return temperature * (phi / phi.mean() if phi.any() else np.ones_like(phi))


def _no_clustering(count: int, z: tf.Tensor, num_images: int) -> tf.Module:
    """Variables for prototypes [K, P], their concentrations [K], and every image's cluster: -1, none yet."""
    clustering = tf.Module(name="clustering")
    clustering.prototypes = tf.Variable(tf.zeros([count, z.shape[-1]], z.dtype), trainable=False)
    clustering.concentrations = tf.Variable(tf.ones([count], z.dtype), trainable=False)
    clustering.cluster_of = tf.Variable(tf.fill([num_images], tf.constant(-1, tf.int64)), trainable=False)
    return clustering


def _absent(present: tf.Tensor, count: int, drawn: int, key: tf.Tensor) -> tf.Tensor:
    """Numbers below `count`, `drawn` different ones, that `present` does not hold: int64 [drawn]."""
    lots = tf.random.stateless_uniform([count], key)
    lots = tf.tensor_scatter_nd_update(lots, present[:, tf.newaxis], -tf.ones_like(present, lots.dtype))
    return tf.cast(tf.math.top_k(lots, drawn).indices, tf.int64)


def _features(encoder: states.Average, batches: tf.data.Dataset) -> np.ndarray:
    """Unit vectors [N, P] of all images, by moving statistics."""
    bar = progress_bar(batches, "clusters", leave=False, delay=5, unit=" batches")
    return np.concatenate([unit.unit(encoder(batch["image"])).numpy() for batch in bar])


def _of_first_replica(values: Sequence[np.ndarray]) -> Sequence[tf.Tensor]:
    """The values that the first of all workers has found: others may round theirs otherwise."""
    strategy = tf.distribute.get_strategy()

    def own() -> list[tf.Tensor]:
        first = gather.replica_id() == 0
        return [gather.sum_replicas(tf.where(first, value, tf.zeros_like(value))) for value in values]

    return [strategy.experimental_local_results(value)[0] for value in strategy.run(tf.function(own))]
