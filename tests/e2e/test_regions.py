"""The strongest regions of the pool as patches in the App's grid, in the order of their ranks."""

from __future__ import annotations

import pytest

import unseen
from unseen.dataset.appearance import save_workspace

RANK = "unseen_regions.rank"


@pytest.fixture(scope="module")
def dataset(make_dataset):
    """A scored pool with some regions in every image."""
    made = make_dataset("regions")
    unseen.split_dataset(made, initial=6)
    unseen.reveal_labels(made)
    unseen.train_unet(made, steps=60)
    unseen.score_samples(made, region_quantile=0.97)
    save_workspace(made)
    return made


def patches_shown(app, dataset, count):
    """Wait until the grid shows the ranks 1 to `count`, and return the ids of their regions."""

    def ranks():
        view = app.shown_view(dataset)
        return view.values(RANK) if view._is_patches else []

    app.wait(lambda: ranks() == list(range(1, count + 1)), f"the ranks up to {count}")
    app.wait_until_shown(count)
    app.page.locator("[data-cy=looker]").first.wait_for()
    return app.shown_view(dataset).values("unseen_regions.id")


def test_ranked_regions_are_in_front_and_can_be_ranked_again(app, dataset, picture):
    app.open("regions")
    app.browse("Rank the regions")
    app.fill(count=12)
    app.execute()
    first = patches_shown(app, dataset, 12)
    app.settle()
    picture("patches")
    # While the grid shows the patches of before.
    app.browse("Rank the regions")
    app.fill(count=5)
    app.execute()
    assert patches_shown(app, dataset, 5) == first[:5]
    app.settle()
    picture("again")
    dataset.reload()
    assert dataset.count("unseen_regions.detections.rank") == 5


def test_the_saved_view_opens_in_rank_order(app, dataset, picture):
    unseen.rank_regions(dataset, count=9)
    expected = dataset.load_saved_view("top_regions").values("unseen_regions.id")
    app.open("regions")
    app.page.locator("[data-cy=saved-views-selection]").click()
    app.page.locator("#menu-").get_by_text("top_regions").click()
    app.wait_until_shown(9)
    app.settle()
    picture("view")
    assert patches_shown(app, dataset, 9) == expected
