"""Labelling in other tools that FiftyOne talks to: Label Studio, Labelbox, a backend of the user's.

FiftyOne does the work; this module avoids traps of its version 1.22. It registers a run before it
connects, so that a failure leaves a run that can neither be repeated nor loaded, and it asks for
missing credentials on the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import fiftyone.utils.annotations as foua

from unseen.annotation.cvat.credentials import origin
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError, ServerError, UnseenError

#: What the configs of FiftyOne's backends call their credentials.
_CREDENTIALS = ("url", "username", "password", "api_key")
#: FiftyOne's default address of Label Studio is its product page, not a server.
_NOT_A_SERVER = ("https://labelstud.io",)
#: Backends that take no field with labels: they get a new one, which is loaded into the real one.
_NEW_FIELDS_ONLY = ("labelbox",)
#: Packages that the built-in backends import when they connect.
_PACKAGES = {"labelstudio": "label-studio-sdk lxml", "labelbox": "labelbox"}


def send(
    loop: Loop,
    ids: Sequence[str],
    anno_key: str,
    backend: str,
    classes: Sequence[str],
    settings: Mapping[str, Any],
) -> None:
    """Send samples, with the boxes that they hold, to an annotation backend of FiftyOne.

    `settings` are the backend's parameters, such as `url` or `project_name`; the rest comes from
    FiftyOne's annotation config and the variables FIFTYONE_<BACKEND>_*. Labelbox takes no boxes.

    Raises AnnotationError for missing credentials or a missing package, and ServerError if the
    server fails; then there is no run.
    """
    dataset, field = loop.dataset, loop.names.label_field
    with _server_errors(backend, "connecting", "Nothing was sent"):
        config = foua._parse_config(backend, None, **settings)
        _need_credentials(backend, config)
        config.build().connect_to_api()
    if backend in _NEW_FIELDS_ONLY:
        field = f"{field}__{anno_key}"
    try:
        with _server_errors(backend, "sending", "Look there for a project that was left over"):
            dataset.select(ids, ordered=True).annotate(
                anno_key,
                backend=backend,
                label_field=field,
                label_type="detections",
                classes=list(classes),
                attributes=False,
                launch_editor=False,
                **settings,
            )
    except BaseException:
        if dataset.has_annotation_run(anno_key):
            dataset.delete_annotation_run(anno_key)
        raise


def load(dataset: Any, anno_key: str) -> None:
    """Merge the annotators' boxes of a run into the labels; a failure may leave half of them.

    FiftyOne cannot tell which images are finished. Label Studio's answer omits images on which
    nothing was drawn, so they stay unlabelled; boxes that are gone on the server are deleted.

    Raises AnnotationError if the run was never finished, credentials are missing or those of another
    server, and ServerError if the server fails or its answer cannot be read.
    """
    config = dataset.get_annotation_info(anno_key).config
    backend = config.name
    _check_server(backend, getattr(config, "url", None))
    # Otherwise FiftyOne would use the configured server instead of that of the run.
    server = {"url": config.url} if getattr(config, "url", None) else {}
    with _server_errors(backend, "loading", "Nothing was changed"):
        config.load_credentials(**server)
        _need_credentials(backend, config)
        results = dataset.load_annotation_results(anno_key, cache=False, **server)
        if results is None:
            raise AnnotationError(
                f"annotation run {anno_key!r} was never sent completely; remove it with "
                f"dataset.delete_annotation_run({anno_key!r}) and send again"
            )
        results.backend.connect_to_api()
        dataset.load_annotations(
            anno_key,
            dest_field={f: f.removesuffix(f"__{anno_key}") for f in config.label_schema},
            unexpected="ignore",  # the default asks on the terminal
            cleanup=False,
            progress=False,
            **server,
        )


def _check_server(backend: str, url: str | None) -> None:
    """Raise if the configured credentials are not for the server that a run names."""
    configured = getattr(foua._parse_config(backend, None), "url", None)
    if url and origin(url) != origin(configured or ""):
        raise AnnotationError(
            f"the annotation run is on {backend} at {url}, which gets no credentials: those of the "
            f"configuration are for {configured or 'no server'}. If you trust {url}, set "
            f"FIFTYONE_{backend.upper()}_URL to it, with what is valid there, before FiftyOne is "
            "imported"
        )


def _need_credentials(backend: str, config: Any) -> None:
    """Raise where FiftyOne would ask on the terminal."""
    missing = [
        name
        for name in _CREDENTIALS
        if hasattr(config, name) and getattr(config, name) in (None, "", *_NOT_A_SERVER)
    ]
    if missing:
        variables = " and ".join(f"FIFTYONE_{backend.upper()}_{n.upper()}" for n in missing)
        raise AnnotationError(
            f"{backend} needs {' and '.join(missing)}; set {variables} before FiftyOne is imported, "
            "or enter them in FiftyOne's annotation config"
        )


@contextmanager
def _server_errors(backend: str, doing: str, aftermath: str) -> Iterator[None]:
    """Turn whatever the vendors' libraries raise into one of our errors."""
    try:
        yield
    except UnseenError:
        raise
    except Exception as error:  # each vendor has its own errors
        brief = " ".join(str(error).split())[:300]  # some messages hold whole requests
        if isinstance(error, ImportError):
            packages = _PACKAGES.get(backend, "the package it names")
            raise AnnotationError(
                f"{doing} with {backend} needs another package ({brief}); pip install {packages}"
            ) from error
        raise ServerError(
            f"{doing} with {backend} failed ({type(error).__name__}: {brief}). {aftermath}; check "
            "the address, the credentials and the server's own log, then try again"
        ) from error
