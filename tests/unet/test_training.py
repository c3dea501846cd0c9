from dataclasses import replace

import numpy as np
import pytest
import torch

from unseen.arrays.illumination import fitted_plane
from unseen.errors import TrainingError
from unseen.progress import silent
from unseen.steps.train_unet import TrainUnetConfig
from unseen.unet.crops import CropSampler, LabelledImages
from unseen.unet.inference import infer
from unseen.unet.network import UNetSpec
from unseen.unet.outlier_exposure import IGNORE
from unseen.unet.training import AdamW, fit_unet, one_cycle

QUICK = TrainUnetConfig(
    steps=12, batch_size=2, crop_size=48, channels=(6, 8, 10), box_margin=3, precision="fp32"
)


def make_wafers(rng, sizes=((64, 64),) * 4, channels=1):
    images, boxes = [], []
    for height, width in sizes:
        image = rng.normal(0.5, 0.03, (height, width, channels)).astype(np.float32)
        y, x = rng.integers(0, height // 2), rng.integers(0, width // 2)
        image[y : y + 8, x : x + 8] += 0.3
        images.append(image.clip(0, 1))
        boxes.append([[x, y, x + 8, y + 8]])
    return images, boxes, [[0]] * len(images)


@pytest.fixture
def wafers(rng):
    return make_wafers(rng)


def fit(
    images, boxes, labels, *, mode="recommended", loss="mse", scale=1.0, progress=silent, **config
):
    channels = np.shape(images[0])[2] if len(images) else 1
    spec = UNetSpec(mode, loss, (6, 8, 10), ("dot", "never seen"), channels)
    config = replace(QUICK, **config)
    return fit_unet(images, boxes, labels, spec=spec, config=config, scale=scale, progress=progress)


def test_without_images_there_is_nothing_to_train_on():
    with pytest.raises(TrainingError, match="label some"):
        fit([], [], [])


@pytest.mark.parametrize(
    ("mode", "loss"), [("recommended", "mse"), ("paper", "mse"), ("paper", "bce")]
)
def test_a_few_steps_lower_the_loss(wafers, mode, loss):
    trained = fit(*wafers, mode=mode, loss=loss, steps=60)
    assert len(trained.losses) == 60
    assert np.mean(trained.losses[-20:]) < 0.75 * np.mean(trained.losses[:3])
    assert not trained.model.training
    # 8 px boxes with 3 px on each side, partly cut off at the image's border
    assert len(trained.mean_areas) == (1 if mode == "paper" else 2)
    assert all(121 <= area <= 196 for area in trained.mean_areas)


def test_training_is_reproducible_and_leaves_the_global_random_state_alone(wafers):
    state = torch.get_rng_state()
    first = fit(*wafers)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    second = fit(*wafers)
    assert first.losses == second.losses
    states = first.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert fit(*wafers, seed=1).losses != first.losses


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_any_size_with_and_without_boxes(rng, channels):
    images, boxes, labels = make_wafers(rng, ((64, 90), (17, 200), (9, 9), (30, 31)), channels)
    images.append(rng.uniform(0, 1, (1, 1, channels)).astype(np.float32))
    trained = fit(images, [*boxes, []], [*labels, []], scale=0.5)
    assert np.isfinite(trained.losses).all()
    assert fit(images, [[]] * 5, [[]] * 5, steps=2).mean_areas == [1.0, 1.0]
    inferred = infer(trained.model, torch.from_numpy(images[1].transpose(2, 0, 1))[None])
    assert inferred.maps.unseen.shape == (1, 17, 200)


def test_mean_is_the_images_and_standard_deviation_that_of_the_evenly_lit_images(rng):
    images, boxes, labels = make_wafers(rng, channels=3)
    model = fit(images, boxes, labels, steps=1).model
    pixels = np.stack(images)
    np.testing.assert_allclose(model.mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-4)
    residual = torch.from_numpy(pixels.transpose(0, 3, 1, 2))
    residual = residual - fitted_plane(residual)
    expected = (residual**2).mean(dim=(0, 2, 3)).sqrt()
    np.testing.assert_allclose(model.std, expected, rtol=1e-4)
    ramp = np.linspace(0, 0.2, 64, dtype=np.float32)[:, None]
    lit = [image + shift + ramp for image, shift in zip(images, (0, 0.1, 0.2, 0.3), strict=True)]
    np.testing.assert_allclose(fit(lit, boxes, labels, steps=1).model.std, expected, rtol=1e-3)


def test_a_loss_that_is_not_finite_stops_the_training(wafers):
    images, boxes, labels = wafers
    images[0] = np.full_like(images[0], np.nan)
    with pytest.raises(TrainingError, match="lower learning_rate"):
        fit(images, boxes, labels)


def test_progress_is_reported_after_every_step_and_may_stop_the_training(wafers):
    def listen(done, total, label):
        assert (total, label) == (3, "train UNet")
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(*wafers, steps=3, progress=listen)


def test_the_learning_rate_rises_once_and_falls_once():
    rates = [one_cycle(step, 300) for step in range(300)]
    assert max(rates) == pytest.approx(1)
    assert 0 < min(rates) < 0.01
    assert int(np.argmax(rates)) == 44
    assert rates[:44] == sorted(rates[:44])
    assert rates[44:] == sorted(rates[44:], reverse=True)
    assert one_cycle(0, 1) == 1


def test_the_optimiser_is_that_of_torch():
    torch.manual_seed(0)
    ours, theirs = torch.nn.Linear(5, 3), torch.nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    optimiser = AdamW(ours.parameters(), weight_decay=0.1, most_norm=2.0)
    reference = torch.optim.AdamW(theirs.parameters(), weight_decay=0.1)
    for rate in (0.1, 0.01, 0.3):
        reference.param_groups[0]["lr"] = rate
        x = torch.rand(7, 5)
        reference.zero_grad()
        for model in (ours, theirs):
            model(x).square().sum().backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 2.0)
        optimiser.step(rate)
        reference.step()
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    assert not any(weight.grad.any() for weight in ours.parameters())


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
        cropped = np.sort(crop[0][target == 1].numpy())
        assert np.corrcoef(cropped, inside)[0, 1] > 0.95
