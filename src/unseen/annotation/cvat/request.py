"""The whole way of a batch to CVAT: connect, check everything, register the run, send."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import fiftyone.core.view as fov

from unseen.annotation import sendings, truth
from unseen.annotation.cvat import checks
from unseen.annotation.cvat.api import Api
from unseen.annotation.cvat.backend import BackendConfig
from unseen.annotation.cvat.boxes_out import boxes_to_send, within, without_unknown
from unseen.annotation.cvat.credentials import find
from unseen.annotation.cvat.making import Order, Outgoing
from unseen.annotation.cvat.projects import delete_if_empty, prepare_project
from unseen.annotation.cvat.sending import Sender, forget_tasks
from unseen.annotation.cvat.shapes_out import label_specs
from unseen.annotation.guide import MARKER, task_guide
from unseen.annotation.sendings import Sending
from unseen.dataset import reading, scope, writing
from unseen.dataset.fields import LOADED, REGION_LABEL, REMOVED
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError, DatasetError
from unseen.progress import Progress

if TYPE_CHECKING:
    from unseen.steps.request_annotations import RequestConfig


@dataclass(frozen=True)
class Plan:
    """A checked request: nothing of it has been written or sent."""

    api: Api
    sending: Sending
    images: list[Outgoing]  #: that are not with the annotators yet
    labels: list[dict[str, Any]]
    missing_labels: list[Mapping[str, Any]]  #: that an existing project lacks and may be given
    users: checks.Users

    def boxes(self) -> Counter[str]:
        """Boxes to be sent by kind: suggestion, prediction, label."""
        return Counter(box.kind for image in self.images for box in image.boxes)


def plan(
    loop: Loop,
    config: RequestConfig,
    anno_key: str,
    iteration: int,
    ids: Sequence[str],
    classes: Sequence[str],
    progress: Progress,
) -> Plan:
    """Connect and check everything that can be known to fail; change nothing.

    Args:
        loop: the loop.
        config: how to send.
        anno_key: key of the annotation run.
        iteration: number of the batch.
        ids: the images in rank order.
        classes: what annotators can choose.
        progress: told in images.

    Raises:
        AnnotationError: something would fail; the message says what and what to do.
    """
    earlier = sendings.read_sending(loop, anno_key)
    if earlier is None and loop.dataset.has_annotation_run(anno_key):
        raise AnnotationError(
            f"annotation run {anno_key!r} exists and was not made by request_annotations; remove it "
            f"with dataset.delete_annotation_run({anno_key!r})"
        )
    checks.check_classes(classes, ())
    _check_fields(loop)
    if config.structure and loop.dataset.get_field(loop.names.structure) is None:
        raise AnnotationError(
            "structure=True, but no image has known structure; run mark_structure first, or leave "
            "structure out"
        )
    if config.regions_only and loop.dataset.get_field(loop.names.regions) is None:
        raise AnnotationError(
            "regions_only=True, but no image has unseen regions; run train_unet and score_samples "
            "first, or leave regions_only out"
        )
    server = config.url or (earlier.url if earlier else None)
    api = Api(find(server), config.organization or (earlier.organization if earlier else None))
    if earlier is not None and earlier.live_tasks and earlier.url != api.base_url:
        raise AnnotationError(
            f"{anno_key} was begun on {earlier.url}; send the rest there, and not to {api.base_url}"
        )

    there = _with_annotators(loop, api, earlier) if earlier else set()
    ranked = [(rank, i) for rank, i in enumerate(ids, start=1) if i not in there]
    paths = _paths(loop.dataset, [i for _, i in ranked])
    boxes = boxes_to_send(loop, config, paths)
    checks.check_classes(classes, {b.label for f in boxes.values() for b in f if b.kind == "label"})
    boxes = without_unknown(boxes, classes)
    scopes = scope.asked_for(loop, config, list(paths))
    boxes = {i: within(found, scopes.get(i)) for i, found in boxes.items()}
    labels = label_specs(classes, REGION_LABEL if config.suggestions else None)
    users = checks.check_users(api, config)
    sending = earlier or Sending(
        anno_key=anno_key,
        images=config.images,
        iteration=iteration,
        backend="cvat",
        label_field=loop.names.label_field,
        classes=list(classes),
        parameters=config.to_dict(),
        token=secrets.token_hex(4),
        started_at=sendings.now(),
    )
    sending.url, sending.server_version = api.base_url, str(api.server_version)
    sending.organization = config.organization or sending.organization
    # Annotators have had the earlier classes, and may have used them.
    sending.classes = list(dict.fromkeys([*sending.classes, *classes]))
    # What is sent anew is asked for anew.
    earlier_scopes = {i: s for i, s in sending.scopes.items() if i not in paths}
    sending.scopes = {**earlier_scopes, **scopes}
    missing = _find_project(api, config, sending, labels)
    sizes = checks.check_images(paths, progress=lambda n: progress(n, len(paths), "check images"))
    images = [
        Outgoing(i, paths[i], paths[i], sizes[i], rank, boxes.get(i, [])) for rank, i in ranked
    ]
    return Plan(api, sending, images, labels, missing, users)


def _check_fields(loop: Loop) -> None:
    """The fields of the annotation are free or ours; they are made with the first task."""
    ours = writing.own_fields(loop.dataset, loop.names.prefix)
    for field in (
        loop.names.annotation,
        loop.names.annotation_url,
        loop.names.annotation_base,
        loop.names.scope,
    ):
        if loop.dataset.get_field(field) is not None and field not in ours:
            raise DatasetError(
                f"field {field!r} exists in dataset {loop.dataset.name!r} and was not made by this "
                "package; rename it, or pass another prefix= or series="
            )


def _with_annotators(loop: Loop, api: Api, sending: Sending) -> set[str]:
    """The images that need not be sent: on the server, or back from it before a task was deleted."""
    for task in sending.live_tasks:
        task.gone = api.task(task.task_id) is None
    lost = [i for task in sending.tasks if task.gone for i in task.sample_ids]
    held = truth.read(loop, sending.anno_key, lost)
    back = {i for i, t in held.items() if t.base is not None and t.state in (LOADED, REMOVED)}
    return back | set(sending.sent_ids())


def _find_project(
    api: Api, config: RequestConfig, sending: Sending, labels: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Set the sending's project, where it exists; the labels that it lacks."""
    name = config.project or sending.parameters.get("project")
    if name is None:
        return []
    same = name == sending.parameters.get("project")
    begun = sending.project_id if same else None
    if begun is not None and not api.has_project(begun):
        begun = None
    sending.parameters = {**sending.parameters, "project": name}
    sending.project_id, missing = checks.check_project(
        api, name, labels, extend=config.extend_project, project_id=begun
    )
    sending.own_project = sending.own_project and begun is not None
    return missing


def carry_out(
    loop: Loop,
    config: RequestConfig,
    ready: Plan,
    media: Mapping[str, str],
    progress: Progress,
) -> None:
    """Register the run and send; an error leaves complete tasks and no trace of anything else.

    Args:
        loop: the loop.
        config: how to send.
        ready: the checked plan.
        media: sample id -> file to upload instead of the original.
        progress: told in images.
    """
    sending, api = ready.sending, ready.api
    images = [replace(i, media_path=media.get(i.sample_id, i.filepath)) for i in ready.images]
    sender = None
    try:
        # The record comes first: it is what a killed run is known by.
        sendings.write_sending(loop, sending)
        results = _register(loop, config, sending, [i.sample_id for i in images])
        results.use_api(api)
        prepare_project(loop, api, sending, ready.labels, ready.missing_labels)
        guide = _guide_of(loop, config, sending) if config.guide else None
        if guide is not None and sending.project_id is not None:
            api.renew_guide(guide(images, whole=True), sending.project_id, MARKER)
            guide = None
        order = Order(config, ready.users, ready.labels, guide)
        sender = Sender(loop, api, sending, results, order)
        sender.send(images, progress)
    except BaseException:
        if not sending.tasks and (sender is None or sender.is_clean):
            delete_if_empty(api, sending)
            sendings.delete_sending(loop, sending.anno_key)
        raise
    sending.complete = True
    sending.closed = False
    sendings.write_sending(loop, sending)


def _paths(dataset: Any, ids: Sequence[str]) -> dict[str, str]:
    found = dict(zip(*reading.ids_and_paths(dataset.select(ids)), strict=True))
    return {i: found[i] for i in ids}


def _register(loop: Loop, config: RequestConfig, sending: Sending, ids: Sequence[str]) -> Any:
    """FiftyOne's annotation run, new or as it was left."""
    if loop.dataset.has_annotation_run(sending.anno_key):
        results = loop.dataset.load_annotation_results(sending.anno_key, cache=False)
        if results is not None:
            forget_tasks(results, sending)
            return results
        loop.dataset.delete_annotation_run(
            sending.anno_key
        )  # killed before its results were stored
    fields: dict[str, Any] = {
        loop.names.label_field: {"type": "detections", "classes": sending.classes, "attributes": {}}
    }
    if loop.dataset.get_field(loop.names.regions) is not None and config.suggestions:
        fixed = dict.fromkeys(("additions", "deletions", "label_edits", "spatial_edits"), False)
        fields[loop.names.regions] = {
            "type": "detections",
            "classes": [REGION_LABEL],
            "attributes": {},
            **{f"allow_{what}": allowed for what, allowed in fixed.items()},
        }
    view: fov.DatasetView = loop.dataset.select(ids, ordered=True)
    return view.annotate(
        sending.anno_key,
        label_schema=fields,
        attributes=False,
        backend="cvat",
        config_cls=BackendConfig,
        url=sending.url,
        organization=sending.organization,
        task_size=config.task_size,
        segment_size=config.segment_size,
        image_quality=config.image_quality,
        media_field=loop.names.overlay
        if config.overlay or config.structure or config.regions_only
        else "filepath",
    )


def _guide_of(loop: Loop, config: RequestConfig, sending: Sending) -> Any:
    counts = loop.label_facts()["class_counts"]

    def guide(images: Sequence[Outgoing], *, whole: bool = False) -> str:
        return task_guide(
            dataset=loop.dataset.name,
            batch=sending.anno_key,
            images=None if whole else len(images),
            first_rank=images[0].rank,
            classes={c: counts.get(c, 0) for c in sending.classes},
            suggestions=any(b.kind == "suggestion" for i in images for b in i.boxes),
            overlay=config.overlay,
            structure=config.structure,
            regions_only=any(i.sample_id in sending.scopes for i in images),
            predictions=any(b.kind == "prediction" for i in images for b in i.boxes),
            instructions=config.instructions,
        )

    return guide
