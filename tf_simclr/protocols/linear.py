"""Linear evaluation (App. B.6): a linear classifier on a frozen encoder, and the proof that it was frozen."""

from __future__ import annotations

from tf_simclr import inputs
from tf_simclr.config import Config
from tf_simclr.config.flags import Command
from tf_simclr.devices.strategies import set_up
from tf_simclr.evaluation.features import encoder_sha256
from tf_simclr.inputs import labelled
from tf_simclr.inputs.batch_size import with_fitting_batch
from tf_simclr.protocols import on_features, outcome
from tf_simclr.runs import build
from tf_simclr.runs.folder import RunFolder
from tf_simclr.runs.loading import initialize_encoder
from tf_simclr.training.fit import fit
from tf_simclr.training.plan import print_plan


def linear_eval(config: Config, command: Command) -> None:
    """Trains the classifier on h, or on the head layer of --ft_proj_selector, and tests it.

    Raises:
        outcome.FrozenEncoderMoved: encoder or projection head are not what they were.
    """
    strategy = set_up(config)
    train, test = inputs.train_and_test_sources(config)
    train = inputs.labelled_subset(config, train)
    labelled.require_classes(train)
    config = with_fitting_batch(config, train.num_examples)
    run = RunFolder.open(config, command)
    steps = config.steps(train.num_examples)
    with strategy.scope():
        kind = None if config.labels.augment else on_features.FeatureClassifier
        model = build.classifier(config, train.num_classes, kind)
        model.freeze_encoder()
        build.compiled(model, config, steps)
    initialize_encoder(model, config)
    run.write_data(train)
    if config.labels.labels_per_class or config.labels.label_fraction < 1:
        run.write_labelled_ids(train)
    print_plan(run, train, steps, model, strategy)

    before, head_before = encoder_sha256(model.encoder), encoder_sha256(model.projection_head)
    if config.labels.augment:
        batches = inputs.training_batches(config, train)
    else:
        batches = on_features.training_batches(run, model, train)
    speed = fit(model, batches, steps, run)
    accuracy = outcome.evaluate_linear(run, model, test)
    after = encoder_sha256(model.encoder)
    outcome.require_unchanged(before, after)
    outcome.require_unchanged(head_before, encoder_sha256(model.projection_head), "projection head")
    outcome.conclude(
        run,
        steps.total,
        speed,
        encoder_sha256_before=before,
        encoder_sha256_after=after,
        projection_head_sha256=head_before,
        num_labels=train.num_examples,
        **accuracy,
    )
