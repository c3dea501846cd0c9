"""The panel "Curation": what its buttons, plots and tables do. layout.py says what they look like."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone import ViewField as F
from fiftyone.operators import types

from unseen.dataset.appearance import PANEL, PREDICTIONS, look
from unseen.dataset.locks import DONE, FAILED, RUNNING, Run, claim, forget, last_run, stop
from unseen.loop import overview
from unseen.loop.facts import stamp
from unseen.report import plots

from . import layout, run_box
from .operators.inputs import entries
from .operators.run_step import cvat_secrets, short
from .operators.step_operator import follow

_URI = "@unseen/curation/"
_EVALUATION = "model_evaluation_panel_builtin"
#: Milliseconds between two looks at what was done elsewhere.
_EVERY = 3000

#: What the open section shows, as `layout` takes it.
Shown = dict[str, Any]


class CurationPanel(foo.Panel):
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
    def on_load(self, ctx: Any) -> Shown:
        run = last_run(ctx.dataset)
        if run is not None and run.request is not None:  # it may have ended while this was opened
            self._say_end(ctx, run)
        return self._read(ctx, is_new=True)

    def on_change_dataset(self, ctx: Any) -> Shown:
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

    def stop(self, ctx: Any) -> Shown:
        """Stop what runs, wherever it was started, at its next unit of work."""
        stop(ctx.dataset)
        return self._read(ctx)

    def dismiss(self, ctx: Any) -> Shown:
        """Hide how the last run ended."""
        forget(ctx.dataset)
        return self._read(ctx)

    def refresh(self, ctx: Any) -> Shown:
        """Read again, and ask the annotation server too."""
        with cvat_secrets(ctx):
            return self._read(ctx, ask_server=True)

    def after_action(self, ctx: Any) -> Shown:
        """An operator that was started from here is done, or goes on in the background."""
        run, given = last_run(ctx.dataset), ctx.params.get("original_params") or {}
        if run is not None and run.state == FAILED and run.request == entries(given):
            ctx.prompt(_URI + run.step, params=run.request, on_success=self.after_action)
        else:
            ctx.ops.reload_dataset()
        return self._read(ctx)

    def change_tab(self, ctx: Any) -> Shown | None:
        return self._change(ctx, "tab")

    def change_axis(self, ctx: Any) -> Shown | None:
        return self._change(ctx, "against")

    def change_newer(self, ctx: Any) -> None:
        self._choose(ctx, "newer")

    def change_older(self, ctx: Any) -> None:
        self._choose(ctx, "older")

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

    # --- what leads into the grid ----------------------------------------------------------------
    def show_bars(self, ctx: Any) -> None:
        """The images of the bar of the histogram that was clicked, or of the selected ones."""
        ranking = overview.ranking(ctx.dataset)
        points = [ctx.params] if "x" in ctx.params else ctx.params.get("data") or []
        values = [float(p["x"]) for p in points if p.get("x") is not None]
        if ranking.histogram is None or not values:
            return
        edges, value = ranking.histogram.edges, F(ranking.field)
        low, high = (_bin_of(x, edges) for x in (min(values), max(values)))
        inside = value >= edges[low]
        if high < len(edges) - 2:  # the last bin is open
            inside = inside & (value < edges[high + 1])
        view = overview.counted(ctx.dataset).match(inside)
        ctx.ops.set_view(view=view.sort_by(ranking.field, reverse=True))

    def open_row(self, ctx: Any) -> None:
        """The sample of a row of the batch, in the modal."""
        row = ctx.params["row"]
        sample_id = overview.ranking(ctx.dataset).rows[row].sample_id
        # 1.22: the App breaks down over a sample that the grid's view does not hold.
        if ctx.params.get("again") or len(ctx.view.select(sample_id)):
            ctx.ops.open_sample(id=sample_id)
            return
        if not self._show_batch(ctx):
            ctx.ops.clear_view()
        self._then(ctx, "open_row", row=row, again=True)

    def show_batch(self, ctx: Any) -> None:
        """The batch in rank order."""
        self._show_batch(ctx)

    def show_hits(self, ctx: Any) -> None:
        self._show_matches(ctx, "tp")

    def show_false(self, ctx: Any) -> None:
        self._show_matches(ctx, "fp")

    def show_missed(self, ctx: Any) -> None:
        self._show_matches(ctx, "fn")

    def show_errors(self, ctx: Any) -> None:
        """The boxes of the kind of errors whose bar was clicked."""
        progress = overview.progress(ctx.dataset)
        kinds = {k.name: k.kind for k in progress.mistakes.kinds} if progress.mistakes else {}
        kind, point = kinds.get(ctx.params.get("y")), progress.newest
        if kind is None or point is None or point.eval_key is None:
            return
        if kind == "missed":
            self._show_boxes(ctx, point.gt_field, F(point.eval_key) == "fn")
        else:
            self._show_boxes(ctx, point.predictions, F("error") == kind)

    # Three events put two evaluations side by side in FiftyOne's Model Evaluation (1.22): a panel
    # that is mounted loads itself and would fall back to its overview, so it is held, shown, told.
    def compare(self, ctx: Any) -> None:
        """Open FiftyOne's Model Evaluation on the two chosen evaluations."""
        if self._chosen(ctx) is None:
            text = "Choose two different iterations; both need an evaluation that still exists."
            ctx.ops.notify(text, variant="warning")
        elif (panel := evaluation_panel(ctx)) is not None:
            hold(ctx, panel, is_held=True)
            self._then(ctx, "compare_open")
        elif not ctx.params.get("again"):
            ctx.ops.open_panel(_EVALUATION, is_active=False)
            self._then(ctx, "compare", again=True)

    def compare_open(self, ctx: Any) -> None:
        """Bring the held panel to the front."""
        ctx.ops.open_panel(_EVALUATION)
        self._then(ctx, "compare_show")

    def compare_show(self, ctx: Any) -> None:
        """Say what the panel shows, and let it load."""
        panel, chosen = evaluation_panel(ctx), self._chosen(ctx)
        if panel is None:
            return
        if chosen is not None:
            ctx.ops.patch_panel_state(comparison(ctx.dataset, *chosen), panel_id=panel)
        hold(ctx, panel, is_held=False)

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
        layout.tabs(panel, shown["tab"], self.change_tab)
        layout.section(panel, shown["tab"], shown, self)
        panel.view("clock", types.TimerView(interval=_EVERY, on_interval=self.follow))
        # A plain root: a grid as root squeezes the plots (1.22).
        return types.Property(panel, view=layout.ROOT)

    # --- helpers ---------------------------------------------------------------------------------
    def _read(
        self, ctx: Any, *, ask_server: bool = False, is_new: bool = False, **chosen: str
    ) -> Shown:
        """What the open tab shows; `chosen` is another tab or axis.

        Traces and tables become the panel's data, which the browser keeps and gets when they have
        changed (`is_new`: it has none). All goes in one operation each for state and data, because
        the App (1.22) draws the whole panel after every one.
        """
        before, run = ctx.panel.state, last_run(ctx.dataset)
        tab = chosen.get("tab") or before.tab or layout.TABS[0]
        against = chosen.get("against") or before.against or layout.AXES[0]
        now = (overview.now_with_server if ask_server else overview.now)(ctx.dataset)
        shown: Shown = {"tab": tab, "now": now.to_dict()}
        figures, tables = {}, {}
        if tab == layout.RANKING:
            ranking = overview.ranking(ctx.dataset)
            shown["ranking"] = layout.ranking_facts(ranking)
            figures = {"histogram": plots.ranking_histogram(ranking)}
            tables = {"rows": layout.batch_table(ranking)}
        elif tab == layout.PROGRESS:
            progress = overview.progress(ctx.dataset)
            shown["progress"] = {**layout.progress_facts(progress), "against": against}
            figures = {
                "f1": plots.learning_curve(progress, against=against),
                "classes": plots.class_curves(progress, against=against),
                "ap": plots.learning_curve(progress, against=against, metric="ap"),
                "balance": plots.class_balance(progress),
                **plots.mistakes(progress),
            }
            tables = {"table": layout.progress_table(progress)}
        elif tab == layout.STOP:
            progress, ranking = overview.progress(ctx.dataset), overview.ranking(ctx.dataset)
            shown["advice"] = overview.stopping(progress, ranking, now).to_dict()
        plain = {name: _plain(figure.to_plotly_json()) for name, figure in figures.items()}
        shown["layouts"] = {name: figure["layout"] for name, figure in plain.items()}
        known = stamp(ctx.dataset)
        sent = {} if is_new else dict(before.sent or {})
        data = run_box.moving(run) if run is not None and run.state == RUNNING else {}
        if sent.get(tab) != [known, against]:
            sent[tab] = [known, against]
            data |= {**tables, **{name: figure["data"] for name, figure in plain.items()}}
        drawn = {"tab": tab, "against": against}
        state = {"stamp": known, "look": look(ctx.dataset), "run": run_box.facts(run), "sent": sent}
        ctx.panel.set_state({**drawn, **state, "drawn": drawn})
        if data:
            ctx.panel.set_data(data)
        return shown

    def _change(self, ctx: Any, name: str) -> Shown | None:
        """Read again if a choice has changed.

        1.22 sets the state before it sends an event, sends it twice, and sends the default of a
        choice as a change; what counts is what was read last.
        """
        if ctx.params["value"] == (ctx.panel.state.drawn or {}).get(name):
            return None
        return self._read(ctx, **{name: ctx.params["value"]})

    def _choose(self, ctx: Any, name: str) -> None:
        """Remember a choice, which the App (1.22) sends several times, and draws the panel for."""
        if ctx.params["value"] != ctx.panel.get_state(name):
            ctx.panel.set_state(name, ctx.params["value"])

    def _show_batch(self, ctx: Any) -> bool:
        """Show the batch in rank order; False if there is none."""
        batch = overview.ranking(ctx.dataset).batch
        if batch is None or not ctx.dataset.has_saved_view(batch.name):
            return False
        ctx.ops.set_view(view=ctx.dataset.load_saved_view(batch.name))
        return True

    def _say_end(self, ctx: Any, run: Run) -> None:
        """Say how a run ended and show what it made, unless another panel or its form has."""
        if not claim(run, ctx.dataset):
            return
        ctx.ops.notify(short(run_box.sentence(run)), variant=run_box.VARIANTS[run.state])
        if run.state == DONE and run.request is not None and ctx.current_sample is None:
            foo.get_operator(_URI + run.step).refresh(ctx, {"view": run.view})

    def _then(self, ctx: Any, method: str, **params: Any) -> None:
        """Run another of this panel's events after this one."""
        ctx.prompt(self.method_to_uri(method), params=params, skip_prompt=True)

    def _chosen(self, ctx: Any) -> tuple[str, str] | None:
        """The newer and the older evaluation, as chosen or the newest two; None = not two."""
        progress = overview.progress(ctx.dataset)
        newer, older = progress.comparison or ("", "")
        newer, older = ctx.panel.state.newer or newer, ctx.panel.state.older or older
        is_pair = {newer, older} <= set(progress.eval_keys) and newer != older
        return (newer, older) if is_pair else None

    def _show_matches(self, ctx: Any, kind: str) -> None:
        """The boxes behind a row of the table that are `tp`, `fp` or `fn`, and their images."""
        row = layout.cells(overview.progress(ctx.dataset))[ctx.params["row"]]
        if row.point.eval_key is None:
            ctx.ops.notify("The evaluation of this iteration is gone.", variant="warning")
            return
        wanted = F(row.point.eval_key) == kind
        if row.label is not None:
            wanted = wanted & (F("label") == row.label)
        self._show_boxes(ctx, row.point.gt_field if kind == "fn" else row.point.predictions, wanted)

    def _show_boxes(self, ctx: Any, field: str, wanted: Any) -> None:
        """Some boxes of a field, and their images."""
        ctx.ops.set_view(view=ctx.dataset.filter_labels(field, wanted))
        curves = overview.progress(ctx.dataset).curves
        others = {point.predictions for curve in curves for point in curve.points} - {field}
        shown = [path for path in ctx.active_fields or () if path not in (*others, field)]
        ctx.ops.set_active_fields([*shown, field])
        known = look(ctx.dataset)
        if field not in {entry.get("path") for entry in known["colours"]}:
            own = {"path": field, "fieldColor": PREDICTIONS}
            ctx.trigger("set_color_scheme", {"fields": [*known["colours"], own]})


def evaluation_panel(ctx: Any) -> str | None:
    """The id of the Model Evaluation panel among the open ones, or None."""
    nodes = [ctx.spaces] if ctx.spaces is not None else []
    while nodes:
        node = nodes.pop()
        if getattr(node, "type", None) == _EVALUATION:
            panel: str = node.component_id
            return panel
        nodes += getattr(node, "children", None) or []
    return None


def hold(ctx: Any, panel: str, *, is_held: bool) -> None:
    """Keep a panel from loading itself when it is mounted, or let it load (App internals, 1.22)."""
    params = {"panel_id": panel, "data": {"loaded": is_held}, "full_merge": True}
    ctx.trigger("patch_panel_data", params)


def comparison(dataset: fo.Dataset, newer: str, older: str) -> dict[str, Any]:
    """The state with which Model Evaluation shows one evaluation beside another (1.22)."""
    runs = dataset._doc.evaluations
    evaluations = []
    for key in dataset.list_evaluations():
        config = dataset.get_evaluation_info(key).config
        kind = {"type": config.type, "method": config.method}
        evaluations.append({"key": key, "id": str(runs[key].id), **kind})
    # "init" keeps the panel's own loading from going back to the overview.
    view = {"page": "evaluation", "key": newer, "id": str(runs[newer].id), "init": True}
    return {"view": {**view, "compareKey": older}, "evaluations": evaluations}


def _plain(value: Any) -> Any:
    """Lists for tuples: state and data travel as JSON."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


def _bin_of(x: float, edges: list[float]) -> int:
    """The last bin that begins at or below `x`; values outside belong to the outer bins."""
    return min(max(bisect_right(edges, x) - 1, 0), len(edges) - 2)
