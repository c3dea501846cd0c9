"""The loop in the App as an animated picture: one turn, from a trained UNet to the next batch."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

#: Width of the film, px, and quality of its pictures (WebP).
WIDTH, QUALITY = 1080, 75
#: Milliseconds: a picture that is to be read, and one of a movement.
LONG, SHORT = 1800, 350
#: Milliseconds between two looks at a run, and how many there are at most.
EVERY, MOST = 4000, 150
#: The mouse, which a screenshot does not have.
POINTER = """
addEventListener('DOMContentLoaded', () => {
  const dot = document.createElement('div');
  dot.style.cssText = `position: fixed; z-index: 99999; width: 22px; height: 22px; margin: -11px;
    border-radius: 50%; background: rgba(255, 255, 255, .55); border: 2px solid #000;
    pointer-events: none; left: -50px`;
  document.body.append(dot);
  addEventListener('mousemove', e => { dot.style.left = e.clientX + 'px'; dot.style.top = e.clientY + 'px'; }, true);
});
"""


class Film:
    """Screenshots of a page, each with the time for which it is shown."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self._pictures: list[tuple[bytes, int]] = []

    def take(self, milliseconds: int = LONG) -> None:
        """Take a picture; one that equals the last makes that longer."""
        picture = self.app.page.screenshot()
        if self._pictures and self._pictures[-1][0] == picture:
            milliseconds += self._pictures.pop()[1]
        self._pictures.append((picture, milliseconds))

    def click(self, place: Any) -> None:
        """Move the mouse to a place, show it there, and click."""
        place.scroll_into_view_if_needed()
        box = place.bounding_box()
        self.app.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        self.take(2 * SHORT)
        place.click()

    def store(self, path: Path) -> None:
        """Write the film as an animated WebP."""
        from PIL import Image

        frames = []
        for png, _ in self._pictures:
            with Image.open(io.BytesIO(png)) as image:
                size = (WIDTH, round(image.height * WIDTH / image.width))
                frames.append(image.convert("RGB").resize(size, Image.Resampling.LANCZOS))
        times = [milliseconds for _, milliseconds in self._pictures]
        frames[0].save(
            path,
            save_all=True,
            append_images=frames[1:],
            duration=times,
            loop=0,
            quality=QUALITY,
            method=6,
        )


def play(film: Film, dataset: str) -> None:
    """Score the pool, choose the next batch, look at the ranking, the progress and an image."""
    app, page = film.app, film.app.page
    app.open(dataset)
    app.says("Next:")
    page.wait_for_timeout(2000)
    film.take()
    _run(film, "Score the pool", until="is scored.")
    page.wait_for_timeout(4000)  # nothing says when the heatmaps are drawn
    film.take()
    whole = app.shown()
    _run(film, "Next batch", until="not sent")
    app.wait(lambda: app.shown() < whole, "the batch in the grid")
    page.wait_for_timeout(4000)
    film.take(2 * LONG)
    for tab in ("Ranking", "Progress"):
        film.click(app.panel.get_by_role("tab", name=tab, exact=True))
        app.settle()
        page.wait_for_timeout(2000)
        film.take(2 * LONG)
    film.click(page.locator("[data-cy=looker]").first)
    page.locator("[data-cy=modal]").wait_for()
    page.mouse.move(5, 5)
    page.wait_for_timeout(4000)
    film.take(3 * LONG)


def _run(film: Film, label: str, *, until: str) -> None:
    """Press a button of the panel, run its form as it is, and show how far the run is."""
    app = film.app
    film.click(app.panel.get_by_role("button", name=label, exact=True).first)
    app.wait_for_form(label)
    app.wait(app.execute_button.is_enabled, "the form")
    film.take()
    film.click(app.execute_button)
    app.form.wait_for(state="detached")
    app.page.mouse.move(5, 5)  # or it shows what lies below
    for _ in range(MOST):
        if until in app.panel.inner_text():
            return
        film.take(SHORT)
        app.page.wait_for_timeout(EVERY)
    raise AssertionError(f"{label}: waited in vain for {until!r}")
