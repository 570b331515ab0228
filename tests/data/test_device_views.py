"""Views made of images in the device's memory are the host's, batch by batch."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.data.pictures import images_of_several_sizes as memory_source
from tf_simclr.data import Sampling, Source, cached, pretraining_batches
from tf_simclr.data.crops import crop_batches
from tf_simclr.data.device_views import DeviceViews
from tf_simclr.data.records import StreamSource
from tf_simclr.data.resident import decode_all

SAMPLING = Sampling(image_size=(8, 10), batch_size=4, seed=3, shuffle_buffer=4)


@pytest.fixture(params=["memory", "stream", "cached", "part", "grey"])
def source(request: pytest.FixtureRequest) -> Source:
    whole = memory_source()
    if request.param == "stream":
        return StreamSource("toy", "train", "1", whole.class_names, stream=whole.records(), num_examples=7)
    if request.param == "cached":
        return cached(whole, (8, 10))
    if request.param == "part":
        return whole.subset(np.array([0, 2, 3, 5]))
    whole.channels = 1 if request.param == "grey" else 3
    return whole


def both(source: Source, sampling: Sampling, **options: Any) -> tuple[list[Any], list[Any]]:
    """Batches of the host and of the device; `views` of the latter made from what the host sent."""
    of_host = pretraining_batches(source, sampling, num_uniforms=2, with_index=True, **options)
    images = decode_all(source)
    assert images is not None
    of_device = crop_batches(source, sampling, images, num_uniforms=2, **options)
    assert "views" not in of_device.element_spec
    views = tf.function(DeviceViews(images, sampling.image_size))
    made = [views(batch) for batch in of_device.take(4)]
    return list(of_host.take(4).as_numpy_iterator()), [
        {name: value.numpy() for name, value in batch.items()} for batch in made
    ]


def assert_same(of_host: list[Any], of_device: list[Any]) -> None:
    for host, device in zip(of_host, of_device, strict=True):
        for name in ("index", "label", "uniforms"):
            np.testing.assert_array_equal(device[name], host[name], err_msg=name)
        assert device["views"].dtype == np.uint8
        difference = np.abs(device["views"].astype(int) - host["views"])
        assert difference.max() <= 1
        assert difference.mean() < 0.01


def test_views_are_the_hosts_to_a_grey_level(source: Source) -> None:
    assert_same(*both(source, SAMPLING))


@pytest.mark.parametrize(
    "changes", [{"shared_crop": True}, {"flip": False}, {"crop_area_min": 1.0}, {"image_size": 24}]
)
def test_views_follow_every_setting_of_the_sampling(changes: dict[str, Any]) -> None:
    assert_same(*both(memory_source(), dataclasses.replace(SAMPLING, **changes)))


def test_views_of_any_number_from_any_step_for_any_worker() -> None:
    assert_same(*both(memory_source(), SAMPLING, num_views=3, start_step=5, worker=1, num_workers=2))


def test_a_batch_with_views_stays_as_it_is() -> None:
    images = decode_all(memory_source())
    assert images is not None
    batch = {"views": tf.zeros([1, 2, 8, 10, 3])}
    assert DeviceViews(images, 8)(batch) is batch


def test_decoding_stops_where_the_images_do_not_fit() -> None:
    shapes = []

    def fits(shape: tuple[int, int, int]) -> bool:
        shapes.append(shape)
        return False

    assert decode_all(memory_source(), fits) is None
    assert shapes == [(40, 31, 3)]


def test_replicas_make_the_views_of_their_shares(replicated: dict[str, np.ndarray]) -> None:
    shares, whole = replicated["fed/shares"], replicated["fed/whole"]  # [2, B / 2, ...] and [B, ...]
    np.testing.assert_array_equal(shares.reshape(whole.shape), whole)
