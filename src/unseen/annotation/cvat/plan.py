"""A checked request: what goes to CVAT, with nothing written or sent yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bson import ObjectId

from unseen.annotation import truth
from unseen.annotation.agreement import GOLDEN
from unseen.annotation.cvat import checks, references, repeats
from unseen.annotation.cvat.api import Api
from unseen.annotation.cvat.credentials import find
from unseen.annotation.merge import Kind, KnownBox
from unseen.annotation.sendings import Sending
from unseen.annotation.shapes import SCORE, clip_box
from unseen.dataset import scope, writing
from unseen.dataset.fields import LOADED, REGION_LABEL, REMOVED
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError, DatasetError
from unseen.progress import Progress

if TYPE_CHECKING:
    from unseen.steps.request_annotations import RequestConfig

#: Colour of the suggestions, unlike those that CVAT gives to classes.
SUGGESTION_COLOUR = "#ff8c00"


@dataclass(frozen=True)
class Outgoing:
    """One image on its way to the annotators."""

    sample_id: str
    filepath: str  #: the original, which gives the name
    media_path: str  #: what is uploaded: the original or a copy with an overlay
    size: tuple[int, int]  #: (width, height) px
    rank: int  #: in the batch, from 1
    boxes: Sequence[KnownBox]
    on_server: str | None = None  #: the server's own file, to be named instead of uploaded
    is_float: bool = False  #: CVAT shows pixels that are floats as black
    repeat: str = ""  #: shown for comparison only: GOLDEN or SECOND


@dataclass(frozen=True)
class Plan:
    """A checked request."""

    api: Api
    config: RequestConfig
    sending: Sending
    images: list[Outgoing]  #: those that are not with the annotators yet
    labels: list[dict[str, Any]]  #: of a new task or project
    missing_labels: list[dict[str, Any]]  #: to be added to an existing project
    users: Mapping[str, int]  #: user name -> id
    reference: references.Reference | None  #: where the server has the images itself
    golden: list[Outgoing]  #: labelled test images that are shown to compare the answers
    seconds: list[str]  #: sample ids of the images that a second person gets too

    def boxes(self) -> Counter[str]:
        """Boxes to be sent, by kind."""
        return Counter(box.kind for image in self.images for box in image.boxes)


def make_plan(
    loop: Loop,
    config: RequestConfig,
    sending: Sending,
    ids: Sequence[str],
    classes: Sequence[str],
    progress: Progress,
) -> Plan:
    """Sign in and check whatever can be checked; write nothing.

    `sending` is new or as an earlier run left it, and is brought up to date; `ids` are the images in
    rank order. Raises AnnotationError, LabelError or DatasetError.
    """
    reference = references.parse(config.by_reference) if config.by_reference else None
    checks.check_classes(classes, ())
    _check_fields(loop, config)
    credentials = find(config.url or sending.url, confirmed=config.url is not None)
    api = Api(credentials, config.organization or sending.organization)
    api.check_may_write()
    if sending.live_tasks and sending.url != api.base_url:
        raise AnnotationError(
            f"{sending.anno_key} was begun on {sending.url}; send the rest there, not to "
            f"{api.base_url}"
        )

    sent = _with_annotators(loop, api, sending)
    ranked = [(rank, i) for rank, i in enumerate(ids, start=1) if i not in sent]
    golden = repeats.pick_golden(loop, config, len(ranked), sending)
    seconds = repeats.pick_second(loop, config, [i for _, i in ranked])
    wanted = loop.dataset.select([*(i for _, i in ranked), *golden], ordered=True)
    paths = dict(zip(*wanted.values(["id", "filepath"]), strict=True))
    boxes = _boxes_to_send(loop, config, wanted, blank=golden)
    used = {box.label for image in boxes.values() for box in image if box.kind == "label"}
    checks.check_classes(classes, used)
    scopes = scope.asked_for(loop, config, [i for _, i in ranked])
    labels = _labels(classes, suggestions=config.suggestions)
    assignees = [*config.assignees, *filter(None, [config.task_assignee])]
    users = checks.find_users(api, assignees, api.organization)
    sending.url, sending.server_version = api.base_url, str(api.version)
    sending.organization = config.organization or sending.organization
    if config.predictions or config.auto_labels:
        sending.predictions = _predictions_field(loop, config)
    # Annotators had the earlier classes, and may have used them.
    sending.classes = list(dict.fromkeys([*sending.classes, *classes]))
    sending.scopes = {i: s for i, s in sending.scopes.items() if i not in paths} | scopes
    missing = _find_project(api, config, sending, labels)
    there: dict[str, str] = {}
    if reference is not None:
        there = references.server_names(
            api, reference, paths, lambda n: progress(n, len(paths), "find images on the server")
        )
    sizes, floats = checks.check_images(
        paths, progress=lambda n: progress(n, len(paths), "check images")
    )

    def outgoing(rank: int, i: str, repeat: str = "") -> Outgoing:
        # Annotators cannot choose the class of an unlisted prediction.
        known = [b for b in boxes[i] if b.kind != "prediction" or b.label in classes]
        if i in scopes:
            reaching = scope.reaches([b.box for b in known], scopes[i])
            known = [b for b, is_in in zip(known, reaching, strict=True) if is_in]
        place = (paths[i], paths[i], sizes[i], rank)
        return Outgoing(i, *place, known, there.get(i), i in floats, repeat)

    images = [outgoing(rank, i) for rank, i in ranked]
    extra = [outgoing(0, i, GOLDEN) for i in golden]
    return Plan(api, config, sending, images, labels, missing, users, reference, extra, seconds)


def _check_fields(loop: Loop, config: RequestConfig) -> None:
    """What is to be drawn exists; the annotation fields are free or ours."""
    for is_wanted, field, message in (
        (
            config.structure,
            loop.names.structure,
            "structure=True, but no image has known structure; run mark_structure first, or leave "
            "structure out",
        ),
        (
            config.regions_only,
            loop.names.regions,
            "regions_only=True, but no image has unseen regions; run train_unet and score_samples "
            "first, or leave regions_only out",
        ),
    ):
        if is_wanted and loop.dataset.get_field(field) is None:
            raise AnnotationError(message)
    names = loop.names
    ours = writing.own_fields(loop)
    for field in (names.annotation, names.annotation_url, names.annotation_base, names.scope):
        if loop.dataset.get_field(field) is not None and field not in ours:
            raise DatasetError(
                f"field {field!r} exists in dataset {loop.dataset.name!r} and was not made by this "
                "package; rename it, or pass another prefix= or series="
            )


def _with_annotators(loop: Loop, api: Api, sending: Sending) -> set[str]:
    """The images on the server, and those that came back before their task was deleted."""
    for task in sending.live_tasks:
        task.gone = api.task(task.task_id) is None
    lost = [i for task in sending.tasks if task.gone for i in task.own.values()]
    held = truth.read(loop, sending.anno_key, lost)
    back = {i for i, t in held.items() if t.base is not None and t.state in (LOADED, REMOVED)}
    return back | set(sending.sent_ids())


def _find_project(
    api: Api, config: RequestConfig, sending: Sending, labels: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Set the sending's project if it exists; returns the labels that it lacks."""
    before = sending.parameters.get("project")
    name = config.project or before
    if name is None:
        return []
    begun = sending.project_id if name == before else None
    if begun is not None and api.find(f"projects/{begun}") is None:
        begun = None
    sending.parameters = {**sending.parameters, "project": name}
    sending.project_id, missing = checks.check_project(
        api, name, labels, extend=config.extend_project, project_id=begun
    )
    sending.own_project = sending.own_project and begun is not None
    return missing


def _labels(classes: Sequence[str], *, suggestions: bool) -> list[dict[str, Any]]:
    """The labels of a task or project.

    Boxes carry no id of ours: CVAT would show it over the image. Their shapes' own ids tell them.
    """
    score = {"name": SCORE, "input_type": "number", "mutable": True, "values": ["0", "100", "1"]}
    labels: list[dict[str, Any]] = [{"name": name, "attributes": []} for name in classes]
    if suggestions:
        scores = [{**score, "default_value": "0"}]
        labels.append({"name": REGION_LABEL, "color": SUGGESTION_COLOUR, "attributes": scores})
    return labels


def _boxes_to_send(
    loop: Loop, config: RequestConfig, view: Any, blank: Sequence[str]
) -> dict[str, list[KnownBox]]:
    """Sample id -> its labels, else predictions, and suggestions, cut to the image.

    Images in `blank` go without their labels, as if they had none.
    """
    boxes: dict[str, list[KnownBox]] = {i: [] for i in view.values("id")}
    labelled = set()

    def add(kind: Kind, sample_id: str, detection: Any, box_id: str) -> None:
        box = None if detection.bounding_box is None else clip_box(detection.bounding_box)
        if box is not None:  # a box outside its image cannot be drawn
            label = REGION_LABEL if kind == "suggestion" else detection.label or ""
            known = KnownBox(kind, box_id, None, None, label, box, in_truth=kind == "label")
            if kind == "suggestion":
                score = round(100 * min(max(detection.confidence or 0, 0), 1))
                known = replace(known, attributes={SCORE: str(score)})
            boxes[sample_id].append(known)

    if loop.has_labels:
        for i, detections in _detections(view.exclude(blank), loop.names.label_field):
            labelled.add(i)
            for detection in detections:
                add("label", i, detection, detection.id)
    if config.predictions or config.auto_labels:
        least = 0 if config.auto_labels else config.min_confidence  # those were chosen already
        for i, detections in _detections(view, _predictions_field(loop, config)):
            for detection in detections:
                if i not in labelled and (detection.confidence or 0) >= least:
                    # A new id: the label that it may become is no prediction any more.
                    add("prediction", i, detection, str(ObjectId()))
    if config.suggestions and loop.dataset.get_field(loop.names.regions) is not None:
        for i, detections in _detections(view, loop.names.regions):
            # CVAT lists shapes in the order of their ids.
            for detection in sorted(detections, key=lambda d: -(d.confidence or 0)):
                add("suggestion", i, detection, detection.id)
    return boxes


def _detections(view: Any, field: str) -> list[tuple[str, Any]]:
    """(sample id, detections) of the samples that have a value in this field."""
    ids, values = view.values(["id", f"{field}.detections"])
    return [(i, v) for i, v in zip(ids, values, strict=True) if v is not None]


def _predictions_field(loop: Loop, config: RequestConfig) -> str:
    if config.auto_labels:
        if loop.dataset.get_field(loop.names.auto_labels) is None:
            raise AnnotationError(
                "there are no automatic labels to send; run auto_label first, or leave auto_labels "
                "out"
            )
        return str(loop.names.auto_labels)
    iteration = loop.newest_with("train_detector")
    field = None if iteration is None else loop.names.predictions(iteration)
    if field is None or loop.dataset.get_field(field) is None:
        raise AnnotationError(
            "there are no predictions to send; run train_detector and apply_detector on the batch, "
            "or leave predictions out"
        )
    return field
