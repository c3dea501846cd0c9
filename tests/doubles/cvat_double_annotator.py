"""A person who works on a job in CVAT's editor, without HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cvat_double_annotations import completed, shown
from cvat_double_state import CvatState
from cvat_double_things import Job, Label


class Annotator:
    """Edits one job. Frames are absolute to the task; points are in px.

    Every edit bumps `updated_date` of job and task. With `reissue_ids` an edited shape gets a new
    id; the methods return the id that holds.
    """

    def __init__(self, state: CvatState, job: Job, reissue_ids: bool = False) -> None:
        self._state = state
        self._reissue_ids = reissue_ids
        self.job = job

    def shapes(self, frame: int | None = None) -> list[dict]:
        """Copies, as a GET gives them, plus `label` (name) and `values` (attribute name: value)."""
        shapes = []
        with self._state.lock:
            for shape in shown(self.job.task, [self.job])["shapes"]:
                if frame is None or shape["frame"] == frame:
                    label = self._label_of(shape)
                    names = {each.id: each.name for each in label.attributes}
                    values = {names[a["spec_id"]]: a["value"] for a in shape["attributes"]}
                    shapes.append({**shape, "label": label.name, "values": values})
        return shapes

    def draw(
        self,
        frame: int,
        label: str,
        points: Sequence[float],
        type: str = "rectangle",
        *,
        values: Mapping[str, str] | None = None,
        **more: object,
    ) -> int:
        """Add a shape; `values` are its attributes by name. Returns its id."""
        known = self.job.task.label(label)
        shape = {
            "type": type,
            "label_id": known.id,
            "points": [float(number) for number in points],
            "attributes": _attributes(known, values or {}),
            **more,
        }
        return self._add("shapes", frame, shape)

    def move(self, shape_id: int, points: Sequence[float]) -> int:
        return self._edit(shape_id, points=[float(number) for number in points])

    def relabel(self, shape_id: int, label: str) -> int:
        """Give another class; the values of attributes of the same name stay."""
        with self._state.lock:
            shape, known = self._shape(shape_id), self.job.task.label(label)
            names = {each.id: each.name for each in self._label_of(shape).attributes}
            values = {names[a["spec_id"]]: a["value"] for a in shape["attributes"]}
            return self._edit(shape_id, label_id=known.id, attributes=_attributes(known, values))

    def delete(self, shape_id: int) -> None:
        with self._state.lock:
            self.job.shapes.remove(self._shape(shape_id))
            self._state.touch(self.job)

    def copy(self, shape_id: int, frame: int) -> int:
        """Paste a copy with all attributes on `frame`; returns the copy's id."""
        return self._add("shapes", frame, {**self._shape(shape_id), "id": None})

    def tag(self, frame: int, label: str) -> int:
        return self._add("tags", frame, {"label_id": self.job.task.label(label).id})

    def track(self, label: str, points: Mapping[int, Sequence[float]]) -> int:
        """Add a track of rectangles, {frame: points}."""
        shapes = [
            {"type": "rectangle", "frame": frame, "points": [float(n) for n in numbers]}
            for frame, numbers in sorted(points.items())
        ]
        track = {"label_id": self.job.task.label(label).id, "shapes": shapes}
        return self._add("tracks", min(points), track)

    def delete_frame(self, frame: int) -> None:
        self._set_removed(frame, True)

    def restore_frame(self, frame: int) -> None:
        self._set_removed(frame, False)

    def _set_removed(self, frame: int, is_removed: bool) -> None:
        self._check_frame(frame)
        with self._state.lock:
            removed = set(self.job.task.deleted_frames) & set(self.job.frames)
            removed = removed | {frame} if is_removed else removed - {frame}
            self.job.task.remove_frames(self.job.frames, list(removed))

    def set(self, state: str | None = None, stage: str | None = None) -> None:
        with self._state.lock:
            self.job.state = state or self.job.state
            self.job.stage = stage or self.job.stage
            self._state.touch(self.job)

    def _add(self, kind: str, frame: int, item: dict) -> int:
        self._check_frame(frame)
        with self._state.lock:
            made = completed(self._state, kind, {**item, "frame": frame})
            getattr(self.job, kind).append(made)
            self._state.touch(self.job)
            return made["id"]

    def _shape(self, shape_id: int) -> dict:
        return {shape["id"]: shape for shape in self.job.shapes}[shape_id]

    def _label_of(self, shape: dict) -> Label:
        return next(label for label in self.job.task.labels if label.id == shape["label_id"])

    def _edit(self, shape_id: int, **changes: object) -> int:
        with self._state.lock:
            shape = self._shape(shape_id)
            shape.update(changes)
            if self._reissue_ids:
                shape["id"] = self._state.next_id("shape")
            self._state.touch(self.job)
            return shape["id"]

    def _check_frame(self, frame: int) -> None:
        if frame not in self.job.frames:
            raise ValueError(f"frame {frame} is outside of job {self.job.id}, {self.job.frames}")


def _attributes(label: Label, values: Mapping[str, str]) -> list[dict]:
    return [
        {"spec_id": each.id, "value": values.get(each.name, each.default_value)}
        for each in label.attributes
    ]
