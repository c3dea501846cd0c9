"""The panel "Curation": what it does on an event. layout.py says what it looks like."""

from __future__ import annotations

import uuid
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from unseen.dataset.appearance import PANEL, look
from unseen.dataset.locks import DONE, FAILED, RUNNING, Run, claim, forget, last_run, stop
from unseen.loop import overview
from unseen.loop.facts import stamp

from . import layout, run_box, sections
from .comparison import ComparisonEvents
from .grid import GridEvents
from .operators.inputs import entries
from .operators.run_step import cvat_secrets, short
from .operators.step_operator import follow
from .sections import Shown

_URI = "@unseen/curation/"
#: Milliseconds between two looks at what was done elsewhere.
_EVERY = 3000
#: The section and the axis chosen last, by page: an event may know older ones.
_asked: dict[str, dict[str, str]] = {}


class CurationPanel(GridEvents, ComparisonEvents):
    """Where the loop stands, how far to trust the ranking, how good the detector is, when to stop."""

    @property
    def config(self) -> foo.PanelConfig:
        return foo.PanelConfig(
            name=PANEL,
            label="Curation",
            icon="insights",
            category=foo.Categories.CURATE,
            surfaces="grid",
            help_markdown="What to label next, and whether it is worth it. "
            "*Now*: the next step. *Ranking*: the pool and the batch. *Progress*: the detector per "
            "iteration. *When to stop*: a recommendation with its figures.",
        )

    @property
    def risk_level(self) -> types.RiskLevel:
        """It reads, and opens the operators' forms; 1.22 takes a panel without it as dangerous."""
        return types.RiskLevel.LOW

    # --- events: what one returns is drawn, the others lead elsewhere ----------------------------
    def on_load(self, ctx: Any) -> Shown | None:
        run = last_run(ctx.dataset)
        if run is not None and run.request is not None:  # it may have ended while this was opened
            self._say_end(ctx, run)
        return self._read(ctx, is_new=True)

    def on_change_dataset(self, ctx: Any) -> Shown | None:
        return self._read(ctx)

    def follow(self, ctx: Any) -> Shown | None:
        """Show what was done elsewhere: by another operator, a worker or Python."""
        run, was = last_run(ctx.dataset), ctx.panel.state.run or {}
        if run_box.facts(run) == ctx.panel.state.run:
            if run is not None and run.state == RUNNING:  # and has written something
                ctx.panel.set_data(run_box.moving(run))
                return None
            if stamp(ctx.dataset) == ctx.panel.state.stamp:
                return None
        before, now = ctx.panel.state.look, look(ctx.dataset)
        is_over = run is not None and run.state != RUNNING and was.get("state") == RUNNING
        if ctx.current_sample is None:  # not while somebody draws
            if is_over or (before and now != before):
                ctx.ops.reload_dataset()
            if before and now != before:
                follow(ctx, before)
        if run is not None and (is_over or run.request is not None):
            self._say_end(ctx, run)
        return self._read(ctx)

    def stop(self, ctx: Any) -> Shown | None:
        """Stop what runs, wherever it was started, at its next unit of work."""
        stop(ctx.dataset)
        return self._read(ctx)

    def dismiss(self, ctx: Any) -> Shown | None:
        """Hide how the last run ended."""
        forget(ctx.dataset)
        return self._read(ctx)

    def refresh(self, ctx: Any) -> Shown | None:
        """Read again, and ask the annotation server too."""
        with cvat_secrets(ctx):
            return self._read(ctx, ask_server=True)

    def after_action(self, ctx: Any) -> Shown | None:
        """An operator that was started from here is done, or goes on in the background."""
        run, given = last_run(ctx.dataset), ctx.params.get("original_params") or {}
        if run is not None and run.state == FAILED and run.request == entries(given):
            ctx.prompt(_URI + run.step, params=run.request, on_success=self.after_action)
        else:
            ctx.ops.reload_dataset()
        return self._read(ctx)

    def choose(self, ctx: Any) -> Shown | None:
        """Show another section, or curves over another axis."""
        # First of all: two events of quick clicks may overtake each other in what follows.
        page, names = ctx.panel.state.page, ("tab", "against")
        chosen = {name: ctx.params[name] for name in names if name in ctx.params}
        _asked[page] = _asked.get(page, {}) | chosen
        return self._read(ctx)

    def act(self, ctx: Any) -> None:
        """Open the form of an operator, filled in for what is due next."""
        operator = ctx.params["operator"]
        uri = operator if "/" in operator else _URI + operator
        if foo.operator_exists(uri):
            ctx.prompt(
                uri,
                params=ctx.params.get("form") or {},
                on_success=self.after_action,
                skip_prompt=not ctx.params.get("has_form", True),
            )
        else:
            text = f"The operator {uri} is not installed; add its plugin, or use Python."
            ctx.ops.notify(text, variant="warning")

    def execute(self, ctx: Any) -> None:
        """Run an event, and draw what it has read; 1.22 would draw after every event."""
        method = ctx.params.get("__method__") or "on_startup"
        shown = getattr(self, method)(ctx)
        if shown is not None:
            ctx.ops.show_panel_output(self._layout(ctx, shown))

    # --- layout ----------------------------------------------------------------------------------
    def _layout(self, ctx: Any, shown: Shown) -> types.Property:
        panel = types.Object()
        run_box.draw(panel, ctx.panel.state.run, self)
        tabs = {name: name for name in layout.TABS}
        layout.choice(panel, "tab", tabs, shown["tab"], self.choose)
        layout.section(panel, shown["tab"], shown, self)
        panel.view("clock", types.TimerView(interval=_EVERY, on_interval=self.follow))
        # A plain root: a grid as root squeezes the plots (1.22).
        return types.Property(panel, view=layout.ROOT)

    # --- helpers ---------------------------------------------------------------------------------
    def _read(self, ctx: Any, *, ask_server: bool = False, is_new: bool = False) -> Shown | None:
        """What the open section shows.

        Traces and tables become the panel's data, which the browser keeps and gets when they have
        changed (`is_new`: it has none). All goes in one operation each for state and data, because
        the App (1.22) draws the whole panel after every one. None = another section was chosen
        while this one was read: whichever answer came last would be drawn.
        """
        before = ctx.panel.state
        page = uuid.uuid4().hex if is_new else before.page
        asked, run = _asked.get(page, {}), last_run(ctx.dataset)
        tab = asked.get("tab") or before.tab or layout.TABS[0]
        against = asked.get("against") or before.against or layout.AXES[0]
        known = stamp(ctx.dataset)
        now = (overview.now_with_server if ask_server else overview.now)(ctx.dataset)
        section, its_data = sections.read(ctx.dataset, tab, against, known)
        if _asked.get(page, {}) != asked:
            return None
        sent = {} if is_new else dict(before.sent or {})
        data = run_box.moving(run) if run is not None and run.state == RUNNING else {}
        if sent.get(tab) != [known, against]:
            sent[tab] = [known, against]
            data |= its_data
        drawn = {"tab": tab, "against": against, "stamp": known, "look": look(ctx.dataset)}
        ctx.panel.set_state({**drawn, "run": run_box.facts(run), "sent": sent, "page": page})
        if data:
            ctx.panel.set_data(data)
        return {"tab": tab, "now": now.to_dict(), **section}

    def _say_end(self, ctx: Any, run: Run) -> None:
        """Say how a run ended and show what it made, unless another panel or its form has."""
        if not claim(run, ctx.dataset):
            return
        ctx.ops.notify(short(run_box.sentence(run)), variant=run_box.VARIANTS[run.state])
        if run.state == DONE and run.request is not None and ctx.current_sample is None:
            foo.get_operator(_URI + run.step).refresh(ctx, {"view": run.view})
