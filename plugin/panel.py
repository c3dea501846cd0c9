"""The panel "Curation": what its buttons, plots and tables do. What they look like is in layout.py."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone import ViewField as F
from fiftyone.operators import types

from unseen.annotation.cvat.credentials import SECRETS, supply
from unseen.dataset.workspace import PANEL
from unseen.loop import overview
from unseen.report import plots

from . import layout

_URI = "@unseen/curation/"
_EVALUATION = "model_evaluation_panel_builtin"


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

    # --- events ----------------------------------------------------------------------------------
    def on_load(self, ctx: Any) -> None:
        ctx.panel.state.tab = ctx.panel.state.tab or layout.TABS[0]
        self._read(ctx)

    def on_change_dataset(self, ctx: Any) -> None:
        self._read(ctx)

    def refresh(self, ctx: Any) -> None:
        """Read again, and ask the annotation server too."""
        found = {name: ctx.secrets.get(name) for name in SECRETS}
        with supply({name: getattr(v, "value", v) for name, v in found.items()}):
            self._read(ctx, ask_server=True)

    def after_action(self, ctx: Any) -> None:
        """An operator that was started from here is done."""
        ctx.ops.reload_dataset()
        self._read(ctx)

    # 1.22 puts a new value into the state before it tells, tells it twice, and tells the default of a
    # choice as a change: what counts is what was read last.
    def change_tab(self, ctx: Any) -> None:
        if ctx.params["value"] != self._read_last(ctx, "tab"):
            ctx.panel.state.tab = ctx.params["value"]
            self._read(ctx)

    def change_axis(self, ctx: Any) -> None:
        if ctx.params["value"] != self._read_last(ctx, "against"):
            ctx.panel.state.against = ctx.params["value"]
            self._read(ctx)

    def change_newer(self, ctx: Any) -> None:
        ctx.panel.state.newer = ctx.params["value"]

    def change_older(self, ctx: Any) -> None:
        ctx.panel.state.older = ctx.params["value"]

    def act(self, ctx: Any) -> None:
        """Open the form of an operator; what is due next is filled in."""
        operator = ctx.params["operator"]
        uri = operator if "/" in operator else _URI + operator
        if not foo.operator_exists(uri):
            text = (
                f"The operator {uri} is not installed; add its plugin, or do this step in Python."
            )
            ctx.ops.notify(text, variant="warning")
            return
        ctx.prompt(uri, params=ctx.params.get("form") or {}, on_success=self.after_action)

    # --- what leads into the grid ------------------------------------------------------------------
    def show_bin(self, ctx: Any) -> None:
        """The images of one bar of the histogram."""
        found = overview.ranking(ctx.dataset)
        if found.histogram is None:
            return
        edges = found.histogram.edges
        self._show_values(ctx, found, *_clicked(ctx.params, edges))

    def show_lasso(self, ctx: Any) -> None:
        """The images of the bars inside a selection."""
        found = overview.ranking(ctx.dataset)
        values = [p["x"] for p in ctx.params.get("data") or [] if p.get("x") is not None]
        if found.histogram is None or not values:
            return
        edges = found.histogram.edges
        low = _bin_of(min(values), edges)
        high = _bin_of(max(values), edges)
        self._show_values(ctx, found, edges[low], _upper(edges, high))

    def open_row(self, ctx: Any) -> None:
        """The sample of a row of the batch, in the modal."""
        row = ctx.params["row"]
        found = overview.ranking(ctx.dataset)
        sample_id = found.rows[row].sample_id
        # 1.22: the App breaks down over a sample that the grid's view does not hold.
        if not ctx.params.get("again") and not holds(ctx.view, sample_id):
            if found.batch is not None and ctx.dataset.has_saved_view(found.batch.name):
                ctx.ops.set_view(view=ctx.dataset.load_saved_view(found.batch.name))
            else:
                ctx.ops.clear_view()
            self._then(ctx, "open_row", row=row, again=True)
        else:
            ctx.ops.open_sample(id=sample_id)

    def show_batch(self, ctx: Any) -> None:
        """The batch in rank order."""
        batch = overview.ranking(ctx.dataset).batch
        if batch is not None and ctx.dataset.has_saved_view(batch.name):
            ctx.ops.set_view(view=ctx.dataset.load_saved_view(batch.name))

    def show_hits(self, ctx: Any) -> None:
        self._show_matches(ctx, "tp")

    def show_false(self, ctx: Any) -> None:
        self._show_matches(ctx, "fp")

    def show_missed(self, ctx: Any) -> None:
        self._show_matches(ctx, "fn")

    # Three events put two evaluations side by side in FiftyOne's Model Evaluation (1.22): a panel that
    # is mounted loads itself and would fall back to its overview, so it is held, shown, and told.
    def compare(self, ctx: Any) -> None:
        """Open FiftyOne's Model Evaluation on the two evaluations that are chosen."""
        chosen = self._chosen(ctx)
        if chosen is None:
            text = "Choose two different iterations; both need an evaluation that is still there."
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
        if panel is not None:
            if chosen is not None:
                state = comparison(ctx.dataset, *chosen)
                ctx.ops.patch_panel_state(state, panel_id=panel)
            hold(ctx, panel, is_held=False)

    def _then(self, ctx: Any, method: str, **params: Any) -> None:
        """Run another of this panel's events after this one."""
        ctx.prompt(self.method_to_uri(method), params=params, skip_prompt=True)

    def _chosen(self, ctx: Any) -> tuple[str, str] | None:
        """The newer and the older evaluation, as chosen or the newest two; None = not two."""
        keys = overview.progress(ctx.dataset).eval_keys
        newer, older = layout.pair(keys, ctx.panel.state.newer, ctx.panel.state.older)
        return (newer, older) if {newer, older} <= set(keys) and newer != older else None

    # --- layout ------------------------------------------------------------------------------------
    def render(self, ctx: Any) -> types.Property:
        panel = types.Object()
        shown = ctx.panel.state.shown or {}
        layout.tabs(panel, ctx.panel.state.tab, self.change_tab)
        layout.section(panel, ctx.panel.state.tab, shown, self)
        # A plain root: a grid as root squeezes the plots (1.22).
        return types.Property(panel)

    # --- helpers -----------------------------------------------------------------------------------
    def _read(self, ctx: Any, *, ask_server: bool = False) -> None:
        """Put what the open tab shows into the panel's state and data."""
        tab = ctx.panel.state.tab
        now = (overview.now_with_server if ask_server else overview.now)(ctx.dataset)
        against = ctx.panel.state.against or layout.AXES[0]
        shown: dict[str, Any] = {"tab": tab, "against": against, "now": now.to_dict()}
        if tab == layout.RANKING:
            ranking = overview.ranking(ctx.dataset)
            shown["ranking"] = layout.ranking_facts(ranking)
            self._draw(ctx, shown, {"histogram": plots.ranking_histogram(ranking)})
            ctx.panel.data.rows = layout.batch_table(ranking)
        elif tab == layout.PROGRESS:
            progress = overview.progress(ctx.dataset)
            shown["progress"] = {**layout.progress_facts(progress), "against": against}
            figures = {
                "f1": plots.learning_curve(progress, against=against),
                "classes": plots.class_curves(progress, against=against),
                "ap": plots.learning_curve(progress, against=against, metric="ap"),
                "balance": plots.class_balance(progress),
            }
            self._draw(ctx, shown, figures)
            ctx.panel.data.table = layout.progress_table(progress)
        elif tab == layout.STOP:
            advice = overview.stopping(
                overview.progress(ctx.dataset), overview.ranking(ctx.dataset), now
            )
            shown["advice"] = advice.to_dict()
        ctx.panel.state.shown = shown

    def _read_last(self, ctx: Any, name: str) -> Any:
        return (ctx.panel.state.shown or {}).get(name)

    def _draw(self, ctx: Any, shown: dict[str, Any], figures: dict[str, Any]) -> None:
        """Traces are data, which the browser keeps; layouts go with the state."""
        shown["layouts"] = {}
        for name, figure in figures.items():
            plain = figure.to_plotly_json()
            ctx.panel.set_data(name, _plain(plain["data"]))
            shown["layouts"][name] = _plain(plain["layout"])

    def _show_values(self, ctx: Any, ranking: Any, low: float, high: float | None) -> None:
        value = F(ranking.field)
        inside = value >= low if high is None else (value >= low) & (value < high)
        view = ctx.dataset.match(inside).sort_by(ranking.field, reverse=True)
        ctx.ops.set_view(view=view)

    def _show_matches(self, ctx: Any, kind: str) -> None:
        """The boxes behind a cell of the table: found, false or missed, in one iteration."""
        progress = overview.progress(ctx.dataset)
        row = layout.cells(progress)[ctx.params["row"]]
        if row.eval_key is None:
            ctx.ops.notify("The evaluation of this iteration is gone.", variant="warning")
            return
        ctx.ops.set_view(view=matches(ctx.dataset, row, kind))


def matches(dataset: fo.Dataset, row: Any, kind: str) -> fo.DatasetView:
    """The boxes of one class and evaluation that are `tp`, `fp` or `fn`, and their images."""
    field = row.gt_field if kind == "fn" else row.predictions
    wanted = F(row.eval_key) == kind
    if row.label is not None:
        wanted = wanted & (F("label") == row.label)
    return dataset.filter_labels(field, wanted)


def holds(view: Any, sample_id: str) -> bool:
    """Whether a sample is in a view."""
    return bool(len(view.select(sample_id)))


def evaluation_panel(ctx: Any) -> str | None:
    """The id of the Model Evaluation panel among the open ones, or None."""
    waiting = [ctx.spaces] if ctx.spaces is not None else []
    while waiting:
        node = waiting.pop()
        if getattr(node, "type", None) == _EVALUATION:
            found: str = node.component_id
            return found
        waiting += getattr(node, "children", None) or []
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
    inside = [i for i in range(len(edges) - 1) if edges[i] <= x]
    return inside[-1] if inside else 0


def _upper(edges: list[float], index: int) -> float | None:
    """The end of a bin; the last one has none."""
    return None if index >= len(edges) - 2 else edges[index + 1]


def _clicked(params: dict[str, Any], edges: list[float]) -> tuple[float, float | None]:
    index = _bin_of(float(params["x"]), edges)
    return edges[index], _upper(edges, index)
