"""An annotation backend as a user would add one to FiftyOne; its server is a few variables here."""

from __future__ import annotations

from typing import Any, ClassVar

import fiftyone.utils.annotations as foua


class ToolBackendConfig(foua.AnnotationBackendConfig):
    def __init__(self, name, label_schema, url=None, api_key=None, **kwargs):
        super().__init__(name, label_schema, **kwargs)
        self.url = url
        self._api_key = api_key  # not written into the run

    @property
    def api_key(self):
        return self._api_key

    @api_key.setter
    def api_key(self, value):
        self._api_key = value

    def load_credentials(self, url=None, api_key=None):
        self._load_parameters(url=url, api_key=api_key)


class ToolBackend(foua.AnnotationBackend):
    supported_media_types = ("image",)
    supported_label_types = ("detections",)
    supported_scalar_types = ()
    supported_attr_types = ()
    supports_keyframes = False
    supports_video_sample_fields = False
    requires_label_schema = True

    def _connect_to_api(self):
        return ToolAPI(self.config)

    def upload_annotations(self, samples, anno_key, launch_editor=False):
        self.connect_to_api()
        Tool.sent = samples.values("id")
        if Tool.failure == "upload":
            raise RuntimeError("disk full " + "x" * 1000)
        held = {}
        for field in self.config.label_schema:
            if samples.has_field(field):
                ids = samples.values([f"{field}.detections.id"])[0]
                held[field] = {s: i for s, i in zip(Tool.sent, ids, strict=True) if i}
        Tool.held = held
        return ToolBackendResults(samples, self.config, anno_key, held, backend=self)

    def download_annotations(self, results):
        self.connect_to_api()
        [field] = results.config.label_schema
        return {field: {Tool.kind: Tool.answer}}


class ToolBackendResults(foua.AnnotationResults):
    @classmethod
    def _from_dict(cls, d, samples, config, anno_key):
        return cls(samples, config, anno_key, d["id_map"])


class ToolAPI(foua.AnnotationAPI):
    def __init__(self, config):
        if config.api_key is None:
            self._prompt_api_key("tool")
        if config.api_key != "right":
            raise PermissionError(f"401 at {config.url}")


class Tool:
    """What the server holds."""

    sent: ClassVar[list[str]] = []
    held: ClassVar[dict[str, Any]] = {}  # ids of the boxes that came along
    answer: ClassVar[dict[str, Any]] = {}  # sample id -> label id -> label
    kind: ClassVar[str] = "detections"
    failure: ClassVar[str | None] = None
