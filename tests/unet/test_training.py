import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from unseen.arrays.illumination import fitted_plane
from unseen.errors import ShapeError, TrainingError
from unseen.steps.train_unet import TrainUnetConfig
from unseen.unet.crops import CropSampler, LabelledImages
from unseen.unet.inference import infer
from unseen.unet.network import UNetSpec
from unseen.unet.outlier_exposure import IGNORE
from unseen.unet.training import fit_unet, one_cycle, unet_loss

QUICK = TrainUnetConfig(
    steps=12, batch_size=2, crop_size=48, channels=(6, 8, 10), box_margin=3, precision="fp32"
)
MODES = [("recommended", "mse"), ("paper", "mse"), ("paper", "bce")]


def _wafers(rng, sizes=((64, 64),) * 4, channels=1):
    images, boxes, labels = [], [], []
    for height, width in sizes:
        image = rng.normal(0.5, 0.03, (height, width, channels)).astype(np.float32)
        y, x = rng.integers(0, height // 2), rng.integers(0, width // 2)
        image[y : y + 8, x : x + 8] += 0.3
        images.append(image.clip(0, 1))
        boxes.append([[x, y, x + 8, y + 8]])
        labels.append([0])
    return images, boxes, labels


def _spec(mode="recommended", loss="mse", **options):
    return UNetSpec(mode, loss, (6, 8, 10), ("dot", "never seen"), **options)


def test_without_images_there_is_nothing_to_train_on():
    with pytest.raises(TrainingError, match="label some"):
        fit_unet([], [], [], spec=_spec(), config=QUICK)


@pytest.mark.parametrize(("mode", "loss"), MODES)
def test_a_few_steps_lower_the_loss(rng, mode, loss):
    config = replace(QUICK, steps=60)
    trained = fit_unet(*_wafers(rng), spec=_spec(mode, loss), config=config)
    assert len(trained.losses) == 60
    assert np.mean(trained.losses[-20:]) < 0.75 * np.mean(trained.losses[:3])
    assert not trained.model.training
    # 8 px boxes with 3 px on each side, partly cut off at the image's border
    assert len(trained.mean_areas) == (1 if mode == "paper" else 2)
    assert all(121 <= area <= 196 for area in trained.mean_areas)


def test_training_is_reproducible_and_leaves_the_global_random_state_alone(rng):
    wafers = _wafers(rng)
    state = torch.get_rng_state()
    first = fit_unet(*wafers, spec=_spec(), config=QUICK)
    torch.rand(5)
    np.random.default_rng().random()
    second = fit_unet(*wafers, spec=_spec(), config=QUICK)
    assert first.losses == second.losses
    for a, b in zip(
        first.model.state_dict().values(), second.model.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)
    torch.set_rng_state(state)
    fit_unet(*wafers, spec=_spec(), config=replace(QUICK, steps=1))
    assert torch.equal(torch.get_rng_state(), state)
    other = fit_unet(*wafers, spec=_spec(), config=replace(QUICK, seed=1))
    assert other.losses != first.losses


def test_near_misses_are_pasted_where_they_are_asked_for(rng):
    wafers = _wafers(rng)

    def losses(mode, **options):
        config = replace(QUICK, steps=4, patch_share=1.0, **options)
        return fit_unet(*wafers, spec=_spec(mode), config=config).losses

    assert losses("recommended") == losses("recommended", near_misses=False)
    assert losses("recommended") != losses("recommended", near_misses=True)
    assert losses("paper") == losses("paper", near_misses=True)


def test_the_default_number_of_steps_is_that_of_the_mode():
    assert TrainUnetConfig().optimiser_steps == 300
    assert TrainUnetConfig(near_misses=True).optimiser_steps == 400
    assert TrainUnetConfig(mode="paper").optimiser_steps == 600
    assert TrainUnetConfig(steps=7).optimiser_steps == 7


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_any_size_with_and_without_boxes(rng, channels):
    images, boxes, labels = _wafers(rng, ((64, 90), (17, 200), (9, 9), (30, 31)), channels)
    images.append(rng.uniform(0, 1, (1, 1, channels)).astype(np.float32))
    boxes.append([])
    labels.append([])
    trained = fit_unet(
        images, boxes, labels, spec=_spec(in_channels=channels), config=QUICK, scale=0.5
    )
    assert np.isfinite(trained.losses).all()
    found = infer(trained.model, torch.from_numpy(images[1].transpose(2, 0, 1))[None])
    assert found.maps.unseen.shape == (1, 17, 200)


def test_no_boxes_at_all_still_train(rng):
    images, _, _ = _wafers(rng)
    trained = fit_unet(images, [[]] * 4, [[]] * 4, spec=_spec(), config=QUICK)
    assert trained.mean_areas == [1.0, 1.0]


def test_mean_is_the_images_and_standard_deviation_that_of_the_evenly_lit_images(rng):
    images, boxes, labels = _wafers(rng, channels=3)
    config = replace(QUICK, steps=1)
    model = fit_unet(images, boxes, labels, spec=_spec(in_channels=3), config=config).model
    pixels = np.stack(images)
    np.testing.assert_allclose(model.mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-4)
    residual = torch.from_numpy(pixels.transpose(0, 3, 1, 2))
    residual = residual - fitted_plane(residual)
    expected = (residual**2).mean(dim=(0, 2, 3)).sqrt()
    np.testing.assert_allclose(model.std, expected, rtol=1e-4)
    ramp = np.linspace(0, 0.2, 64, dtype=np.float32)[:, None]
    lit = [image + shift + ramp for image, shift in zip(images, (0, 0.1, 0.2, 0.3), strict=True)]
    again = fit_unet(lit, boxes, labels, spec=_spec(in_channels=3), config=config).model
    np.testing.assert_allclose(again.std, expected, rtol=1e-3)


def test_a_loss_that_is_not_finite_stops_the_training(rng):
    images, boxes, labels = _wafers(rng)
    images[0] = np.full_like(images[0], np.nan)
    with pytest.raises(TrainingError, match="lower learning_rate"):
        fit_unet(images, boxes, labels, spec=_spec(), config=QUICK)


def test_wrong_arguments_are_refused(rng):
    images, boxes, labels = _wafers(rng)
    with pytest.raises(ShapeError, match="4 images have 3"):
        fit_unet(images, boxes[:3], labels, spec=_spec(), config=QUICK)
    with pytest.raises(ShapeError, match="expected 0 to 1"):
        fit_unet(images, boxes, [[7]] * 4, spec=_spec(), config=QUICK)
    with pytest.raises(ShapeError, match=r"\(h, w, 1\)"):
        fit_unet([*images[:3], images[3][:, :, 0]], boxes, labels, spec=_spec(), config=QUICK)


def test_progress_is_reported_after_every_step_and_may_stop_the_training(rng):
    seen = []
    fit_unet(
        *_wafers(rng),
        spec=_spec(),
        config=replace(QUICK, steps=3),
        progress=lambda *report: seen.append(report),
    )
    assert seen == [(1, 3, "train UNet"), (2, 3, "train UNet"), (3, 3, "train UNet")]

    def stop(done, total, label):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_unet(*_wafers(rng), spec=_spec(), config=QUICK, progress=stop)


def test_losses_in_closed_form():
    target = torch.tensor([[[0, 1, IGNORE]]])
    logits = torch.zeros(1, 4, 1, 3)
    assert float(unet_loss(logits, target, _spec())) == pytest.approx(math.log(4))
    two = torch.tensor([[[[0.5, 0.5, 9.0]], [[0.0, 0.5, 9.0]]]])
    # pixel 0: (0.5 - 1)^2, 0^2; pixel 1: 0.5^2, (0.5 - 1)^2
    assert float(unet_loss(two, target, _spec("paper"))) == pytest.approx((0.125 + 0.25) / 2)
    even = torch.zeros(1, 2, 1, 3)
    assert float(unet_loss(even, target, _spec("paper", "bce"))) == pytest.approx(math.log(2))


@pytest.mark.parametrize(("mode", "loss"), MODES)
def test_the_loss_of_ignored_pixels_is_zero_with_zero_gradient(mode, loss):
    spec = _spec(mode, loss)
    logits = torch.randn(1, len(spec.maps), 3, 3, requires_grad=True)
    value = unet_loss(logits, torch.full((1, 3, 3), IGNORE), spec)
    value.backward()
    assert float(value.detach()) == 0
    assert float(logits.grad.abs().max()) == 0


def test_the_learning_rate_rises_once_and_falls_once():
    rates = [one_cycle(step, 300) for step in range(300)]
    assert max(rates) == pytest.approx(1)
    assert 0 < min(rates) < 0.01
    peak = int(np.argmax(rates))
    assert peak == 44
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert one_cycle(0, 1) == 1


def test_crops_hold_the_image_and_its_labels_and_ignore_what_is_beyond(rng):
    image = rng.uniform(0, 1, (20, 30, 1)).astype(np.float32)
    data = LabelledImages.of([image], [[[4, 4, 9, 9]]], [[0]], class_count=1, scale=1.0, margin=0.0)
    sampler = CropSampler(data, size=32, patches=None, patch_share=0.0, rng=rng)
    images, targets = sampler.batch(8)
    assert images.shape == (8, 1, 32, 32)
    assert targets.shape == (8, 32, 32)
    assert ((targets == 1).sum(dim=(1, 2)) == 25).all()
    assert ((targets == IGNORE).sum(dim=(1, 2)) == 32 * 32 - 20 * 30).all()
    # Jitter is linear in brightness and place, so the labelled pixels stay alike.
    inside = np.sort(image[4:9, 4:9].reshape(-1))
    for crop, target in zip(images, targets, strict=True):
        found = np.sort(crop[0][target == 1].numpy())
        assert np.corrcoef(found, inside)[0, 1] > 0.95


def test_the_dice_loss_is_added_by_its_weight():
    from unseen.unet.dice import generalised_dice_loss

    spec = UNetSpec(classes=("a",))
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, len(spec.maps), 8, 8, generator=generator)
    target = torch.randint(0, 2, (2, 8, 8), generator=generator)
    plain, half = unet_loss(logits, target, spec), unet_loss(logits, target, spec, dice=0.5)
    assert float(half - plain) == pytest.approx(
        0.5 * float(generalised_dice_loss(logits, target)), abs=1e-6
    )
