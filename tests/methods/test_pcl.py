"""PCL against its equations, by loops; its special values; its clusters, kept and resumed; two replicas."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.methods.method_test import run_method_test
from tests.processes import finish, start, workers
from tests.small_runs import TINY
from tf_simclr import inputs, pretrain
from tf_simclr.checks import parity
from tf_simclr.config import Config
from tf_simclr.errors import UsageError
from tf_simclr.methods import pcl
from tf_simclr.methods.pcl import PCL
from tf_simclr.models import Pretraining

WORKER = Path(__file__).with_name("neighbour_worker.py")
OPTIONS = {"queue_size": 16, "num_clusters": "6,9", "negative_prototypes": 0, "info_nce_epochs": 0}
IMAGES, P = 40, 6


@pytest.mark.slow
@pytest.mark.parametrize("negatives", [0, 8])
def test_pcl_stands_what_every_method_must(negatives: int, tmp_path: Path) -> None:
    """All prototypes are candidates; or those of the 32 images of a step, and some of the others."""
    options = {"queue_size": 96, "num_clusters": "5,8", "negative_prototypes": 0}
    if negatives:
        options = {"queue_size": 96, "num_clusters": "60,80", "negative_prototypes": negatives}
    run_method_test("pcl", tmp_path, info_nce_epochs=0, **options)


@pytest.mark.slow
def test_clusters_are_kept_and_a_run_that_was_cut_within_an_epoch_finds_the_same(tmp_path: Path) -> None:
    config = Config("pretrain").replace(
        **{**TINY, "train_batch_size": 480, "train_steps": 7},
        method="pcl",
        queue_size=960,
        num_clusters="5,8",
        negative_prototypes=0,
        info_nce_epochs=1,
        model_dir=str(tmp_path),
    )
    pretrain.pretrain(config)
    first, whole = (_stored(tmp_path, step) for step in (3, 7))
    assert np.all(first["clustering_5/cluster_of"] >= 0)  # epochs have 2 steps: of the second one's begin
    assert np.any(first["clustering_5/cluster_of"] != whole["clustering_5/cluster_of"])
    for path in (tmp_path / "checkpoints").glob("ckpt-[67].*"):
        path.unlink()
    pretrain.pretrain(config)
    for name, value in _stored(tmp_path, 7).items():
        np.testing.assert_array_equal(value, whole[name], err_msg=name)


def _stored(folder: Path, step: int) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(folder / "checkpoints" / f"ckpt-{step}"))
    prefix, suffix = "model/state/", "/.ATTRIBUTES/VARIABLE_VALUE"
    names = (name for name in reader.get_variable_to_shape_map() if name.startswith(prefix))
    return {name.removeprefix(prefix).removesuffix(suffix): reader.get_tensor(name) for name in names}


@pytest.mark.parametrize("negatives", [0, 3])
def test_the_loss_is_the_equation(negatives: int) -> None:
    method = PCL(**{**OPTIONS, "num_clusters": "16,21", "negative_prototypes": negatives}, temperature=0.3)
    model, index = _clustered(method), tf.constant([3, 39, 0, 17, 3], tf.int64)
    q, keys = _unit(5, 1), _unit(5, 2)
    loss, figures = method.loss(model, tf.constant(3 * q), tf.constant(keys), {"index": index})
    rows = model.state["queue"].rows.numpy()
    info_nce = np.mean([_cross_entropy([q[i] @ keys[i], *(rows @ q[i])], 0, 0.3) for i in range(5)])
    proto_nce = np.mean([_by_loops(q, index.numpy(), c, negatives) for c in _clusterings(model)])
    assert float(figures["info_nce"]) == pytest.approx(info_nce, rel=1e-5)
    if not negatives:
        assert float(figures["proto_nce"]) == pytest.approx(proto_nce, rel=1e-5)
    assert float(loss) == pytest.approx(float(figures["info_nce"] + figures["proto_nce"]), rel=1e-6)


def _by_loops(q: np.ndarray, index: np.ndarray, clustering: Any, negatives: int) -> float:
    """-log e^(v c_s / phi_s) / (e^(v c_s / phi_s) + sum over the other prototypes of e^(v c_j / phi_j))."""
    prototypes, phi = clustering.prototypes.numpy(), clustering.concentrations.numpy()
    own = clustering.cluster_of.numpy()[index]
    return float(np.mean([_cross_entropy(prototypes @ v / phi, s, 1.0) for v, s in zip(q, own, strict=True)]))


def _cross_entropy(similarities: Any, place: int, temperature: float) -> float:
    powers = np.exp(np.asarray(similarities, np.float64) / temperature)
    return -math.log(powers[place] / powers.sum())


def test_drawn_negatives_are_prototypes_of_no_image_of_the_batch() -> None:
    present = tf.constant([3, 1, 3, 7], tf.int64)
    drawn = [pcl._absent(present, 9, 4, tf.constant([0, -1 - step])).numpy() for step in range(50)]
    assert {len(set(draw)) for draw in drawn} == {4}
    assert set(np.concatenate(drawn)) == {0, 2, 4, 5, 6, 8}


def test_with_drawn_negatives_candidates_are_the_batchs_prototypes_and_those() -> None:
    """The authors' B + r ways: the second image of a cluster brings its prototype as a negative."""
    method = PCL(**{**OPTIONS, "num_clusters": "16", "negative_prototypes": 3}, temperature=0.3)
    model, index = _clustered(method), tf.constant([3, 39, 0, 17, 3], tf.int64)
    (clustering,) = _clusterings(model)
    q, own = _unit(5, 1), tf.gather(clustering.cluster_of, index).numpy()
    drawn = pcl._absent(tf.constant(own), 16, 3, method._key(model, 0)).numpy()
    candidates = [*own, *drawn]
    prototypes, phi = clustering.prototypes.numpy()[candidates], clustering.concentrations.numpy()[candidates]
    expected = np.mean([_cross_entropy(prototypes @ v / phi, i, 1.0) for i, v in enumerate(q)])
    _, figures = method.loss(model, tf.constant(q), tf.constant(q), {"index": index})
    assert float(figures["proto_nce"]) == pytest.approx(expected, rel=1e-5)


def test_before_the_first_clustering_it_is_info_nce() -> None:
    method = PCL(**OPTIONS)
    model = _model(method)
    loss, figures = method.loss(model, _unit(4, 1), _unit(4, 2), {"index": tf.range(4, dtype=tf.int64)})
    assert float(figures["proto_nce"]) == float(figures["prototype_accuracy"]) == 0
    assert float(loss) == float(figures["info_nce"]) > 0


@pytest.mark.parametrize("negatives", [0, 4])
def test_collapsed_it_is_the_logarithms_of_the_numbers_of_candidates(negatives: int) -> None:
    method = PCL(**{**OPTIONS, "num_clusters": "12", "negative_prototypes": negatives})
    model, ones = _model(method), np.tile(np.eye(1, P, dtype=np.float32), [IMAGES, 1])
    model.state["queue"].rows.assign(ones[:16])
    (clustering,) = _clusterings(model)
    cluster_of = np.arange(IMAGES) % 12
    phi = pcl.concentrations(ones, ones[:12], cluster_of, method.temperature)
    np.testing.assert_array_equal(phi, np.full(12, method.temperature))
    clustering.prototypes.assign(ones[:12])
    clustering.concentrations.assign(phi)
    clustering.cluster_of.assign(cluster_of)
    _, figures = method.loss(model, ones[:5], ones[:5], {"index": tf.range(5, dtype=tf.int64)})
    assert float(figures["info_nce"]) == pytest.approx(math.log(16 + 1), rel=1e-5)
    assert float(figures["proto_nce"]) == pytest.approx(math.log(5 + 4 if negatives else 12), rel=1e-5)


def test_with_a_cluster_an_image_it_is_info_nce_over_the_data_set() -> None:
    method = PCL(**{**OPTIONS, "num_clusters": str(IMAGES)}, temperature=0.3)
    features = _unit(IMAGES, 4)
    centroids, cluster_of = method._k_means(features, IMAGES, seed=0)
    assert sorted(cluster_of) == list(range(IMAGES))
    phi = pcl.concentrations(features, centroids, cluster_of, 0.3)
    np.testing.assert_allclose(phi, np.full(IMAGES, 0.3))
    model = _model(method)
    (clustering,) = _clusterings(model)
    clustering.prototypes.assign(centroids)
    clustering.concentrations.assign(phi)
    clustering.cluster_of.assign(cluster_of)
    q, index = _unit(5, 1), [7, 0, 31, 9, 22]
    _, figures = method.loss(model, q, q, {"index": tf.constant(index, tf.int64)})
    expected = np.mean([_cross_entropy(features @ v, i, 0.3) for v, i in zip(q, index, strict=True)])
    assert float(figures["proto_nce"]) == pytest.approx(expected, rel=1e-5)


def test_concentrations_are_the_equations() -> None:
    """Sec. 3.3, clipped and scaled as in the authors' code; clusters of one image or none are the widest."""
    rng = np.random.default_rng(0)
    features, centroids = _unit(60, 5), 0.8 * _unit(12, 6)
    cluster_of = rng.choice([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 59)  # cluster 11 is empty
    cluster_of = np.append(cluster_of, 10)  # and that of one
    expected = np.zeros(12)
    for cluster in range(10):
        own = features[cluster_of == cluster]
        distances = [math.dist(v, centroids[cluster]) for v in own]
        expected[cluster] = sum(distances) / (len(own) * math.log(len(own) + 10))
    expected[10:] = max(expected)
    low, high = np.percentile(expected, 10), np.percentile(expected, 90)
    expected = np.array([min(max(value, low), high) for value in expected])
    phi = pcl.concentrations(features, centroids, cluster_of, 0.2)
    np.testing.assert_allclose(phi, 0.2 * expected / expected.mean(), rtol=1e-6)
    assert phi.mean() == pytest.approx(0.2, rel=1e-12)
    assert phi[10] == phi[11] == phi.max()


@pytest.mark.parametrize("kmeans", ["lloyd", "minibatch"])
def test_prototypes_are_those_of_the_key_encoders_features(kmeans: str) -> None:
    """Three kinds of images; the encoder and its average differ."""
    method = PCL(**{**OPTIONS, "num_clusters": "3"}, temperature=0.3, kmeans=kmeans)
    model = _model(method)
    for variable in model.encoder.trainable_variables:
        variable.assign(-variable)
    method.between_epochs(model, _pictures, 4)
    (clustering,) = _clusterings(model)
    cluster_of = clustering.cluster_of.numpy()
    assert all(len(set(cluster_of[kind::3])) == 1 for kind in range(3))
    assert set(cluster_of) == {0, 1, 2}
    images = np.concatenate([batch["image"] for batch in _pictures()])
    features = tf.math.l2_normalize(model.state["key_encoder"](images), axis=1).numpy()
    for cluster in range(3):
        mean = features[cluster_of == cluster].mean(axis=0)
        near = 1e-5 if kmeans == "lloyd" else 0.05  # the latter's are means over its random batches
        np.testing.assert_allclose(clustering.prototypes[cluster], mean / np.linalg.norm(mean), atol=near)
    assert float(tf.reduce_mean(clustering.concentrations)) == pytest.approx(0.3, rel=1e-5)
    before = [variable.numpy() for variable in clustering.variables]
    method.between_epochs(model, _pictures, 5)
    for variable, value in zip(clustering.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_an_epoch_of_the_warm_up_clusters_nothing() -> None:
    method = PCL(**{**OPTIONS, "info_nce_epochs": 3})
    model = _model(method)
    method.between_epochs(model, _never, 2)
    assert np.all(model.state["clustering_6"].cluster_of.numpy() == -1)


def test_batches_have_the_index_that_clusters_are_kept_by() -> None:
    config = Config("pretrain").replace(**{**TINY, "method": "pcl", "train_batch_size": 7})
    source = inputs.train_source(config)
    batch = next(iter(inputs.pretraining_batches(config, source, 2)(0)))
    np.testing.assert_array_equal(source.labels()[batch["index"].numpy()], batch["label"])


def test_gradient_reaches_queries_alone() -> None:
    method = PCL(**OPTIONS)
    model = _clustered(method)
    images = tf.random.stateless_uniform([8, 8, 8, 3], [1, 2])
    batch = {"index": tf.range(4, dtype=tf.int64)}
    with tf.GradientTape() as tape:
        for part in model.state.values():
            tape.watch(part.variables)
        keys = method.targets(model, images, training=True)
        _, q = method.outputs(model, images, training=True)
        loss, _ = method.loss(model, q, keys, batch)
    state = [variable for name in model.state for variable in model.state[name].variables]
    found = tape.gradient(loss, [*model.trainable_variables, *model.state["key_encoder"].variables])
    trained = len(model.trainable_variables)
    assert all(gradient is not None for gradient in found[:trained])
    assert all(gradient is None for gradient in found[trained:])
    assert not {id(v) for v in state} & {id(v) for v in model.trainable_variables}


def test_key_encoder_and_queue_after_steps_by_hand() -> None:
    method = PCL(**OPTIONS, key_momentum=0.8)
    model = _model(method)
    model.compile(tf.keras.optimizers.SGD(0.5))
    average = [variable.numpy() for variable in model.encoder.trainable_variables]
    rows = model.state["queue"].rows.numpy()
    for step in range(3):
        views = tf.random.stateless_uniform([8, 2, 8, 8, 3], [step, 2])
        both = tf.concat([views[:, 0], views[:, 1]], axis=0)
        rows[8 * step % 16 :][:8] = method.targets(model, both, training=True)  # of view b, as of now
        batch = {"views": views, "index": tf.range(8, dtype=tf.int64)}
        model.fit(tf.data.Dataset.from_tensors(batch), verbose=0)
        now = model.encoder.trainable_variables
        average = [0.8 * old + 0.2 * new.numpy() for old, new in zip(average, now, strict=True)]
        np.testing.assert_allclose(model.state["queue"].rows, rows, rtol=1e-4, atol=1e-6)
    copies = model.state["key_encoder"].layers[0].trainable_variables
    for variable, value in zip(copies, average, strict=True):
        np.testing.assert_allclose(variable, value, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_two_replicas_train_as_one_and_mistakes_are_seen() -> None:
    output = finish(start([str(WORKER), "pcl"]))
    print(output)
    assert output.count("differs") == 6


@pytest.mark.slow
def test_all_workers_take_the_first_ones_clusters(tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.npz" for i in range(2)]
    for process in workers([[str(WORKER), "worker", str(file)] for file in files]):
        finish(process)
    one, other = (np.load(file) for file in files)
    for name in one.files:
        np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"queue_size": 20}, "--queue_size=20: must be a multiple of the 8 images of a step"),
        (
            {"num_clusters": "20,12", "negative_prototypes": 5},
            "--negative_prototypes=5: the 8 images of a step may leave 4 of 12 clusters",
        ),
        (
            {"num_clusters": "5", "negative_prototypes": 1},
            "--negative_prototypes=1: the 8 images of a step may leave 0 of 5 clusters",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        PCL(**{**OPTIONS, **options}).check(4, 2)
    assert "\n" not in str(error.value)


def test_more_clusters_than_images_are_refused(tmp_path: Path) -> None:
    PCL(num_clusters="5,40").check_data(40)
    with pytest.raises(UsageError, match="--num_clusters=5,41: there are no 41 clusters in 40 images"):
        PCL(num_clusters="5,41").check_data(40)
    config = Config("pretrain").replace(**TINY, method="pcl", model_dir=str(tmp_path))
    with pytest.raises(UsageError, match="there are no 100,000 clusters in 1,437 images"):
        pretrain.pretrain(config)


@pytest.mark.parametrize("text", ["", "0", "5,", "5,5", "a"])
def test_numbers_of_clusters_are_whole_and_different(text: str) -> None:
    with pytest.raises(UsageError, match="--num_clusters="):
        Config("pretrain").replace(method="pcl", num_clusters=text).method.check_data(40)


def test_a_model_that_does_not_know_its_images_is_refused() -> None:
    with pytest.raises(UsageError, match="num_images"):
        _model(PCL(**OPTIONS), num_images=0)


def test_its_sizes_are_those_of_its_state() -> None:
    model = _model(PCL(**OPTIONS))
    weights = 4 * sum(v.shape.num_elements() for v in model.state["key_encoder"].variables if v.trainable)
    floats = 16 * P + (6 + 9) * P
    sizes = PCL(**OPTIONS).sizes(4, 8, P, weights=weights, replicas=2)
    assert sizes.state == weights + 4 * floats
    assert sizes.exchanged > 0


def _model(method: PCL, num_images: int = IMAGES) -> Pretraining:
    tf.keras.utils.set_random_seed(0)
    head = parity.model(method=method).projection_head
    model = Pretraining(method, parity.small_encoder(), head, num_images=num_images)
    model.compile(tf.keras.optimizers.SGD(0.1))
    return model


def _clustered(method: PCL) -> Pretraining:
    """With clusters at random, whose concentrations differ."""
    model = _model(method)
    for number, clustering in enumerate(_clusterings(model)):
        count = clustering.prototypes.shape[0]
        rng = np.random.default_rng(number)
        clustering.prototypes.assign(_unit(count, 10 + number))
        clustering.concentrations.assign(rng.uniform(0.2, 0.6, count))
        clustering.cluster_of.assign(rng.integers(0, count, IMAGES))
    return model


def _clusterings(model: Pretraining) -> list[Any]:
    return list(model.method._clusterings(model))


def _pictures() -> tf.data.Dataset:
    """40 images of three colours in turn, nearly."""
    colours = np.eye(3)[np.arange(IMAGES) % 3][:, None, None]
    noise = np.random.default_rng(0).uniform(0, 0.02, [IMAGES, 8, 8, 3])
    images = (0.9 * colours + noise).astype(np.float32)
    return tf.data.Dataset.from_tensor_slices({"image": images}).batch(16)


def _never() -> tf.data.Dataset:
    raise AssertionError("read")


def _unit(rows: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=[rows, P]).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)
