"""Open the FiftyOne App with the plugin loaded and the newest batch in front."""

from __future__ import annotations

import os
from collections.abc import Callable

from unseen.cli.plugin_folder import PLUGIN, find_source, installed_plugin, other_version
from unseen.errors import DatasetError

#: How the demo names its datasets; a number follows from the second one on.
DEMO_DATASET = "unseen-demo"


def open_app(
    dataset: str | None,
    *,
    port: int | None,
    remote: bool,
    browser: bool,
    say: Callable[[str], None],
) -> None:
    """Open the App on a dataset (default: the newest demo) and wait until it is closed.

    `remote` lets other machines connect; it and `browser=False` open no browser. Raises a
    DatasetError if there is no such dataset.
    """
    # 1.22: without it the App's server offers no "Schedule" for long steps.
    os.environ.setdefault("FIFTYONE_ALLOW_LEGACY_ORCHESTRATORS", "true")
    import fiftyone as fo

    from unseen.dataset.appearance import enlarge_thumbnails, save_workspace
    from unseen.dataset.loop import Loop
    from unseen.dataset.reading import open_collection
    from unseen.dataset.writing import renew_look

    _provide_plugin(say)
    opened = open_collection(dataset or _newest_demo())
    views = [tag for tag in Loop(opened).batches().values() if opened.has_saved_view(tag)]
    batch = views[-1] if views else None
    workspace = save_workspace(opened)
    renew_look(opened)
    config = fo.app_config.copy()
    enlarge_thumbnails(config)
    session = fo.launch_app(
        opened,
        view=opened.load_saved_view(batch) if batch else None,
        spaces=opened.load_workspace(workspace),
        port=port,
        address="0.0.0.0" if remote else "127.0.0.1",
        remote=remote or not browser,  # 1.22: a "remote" session only opens no browser
        config=config,
    )
    if remote:
        say(
            "Warning: every machine that reaches this one can open the App, which has no login, "
            "and read and change all datasets. Without --remote only this machine can; `ssh -L` "
            "brings it to another."
        )
    front = f"batch {batch} in front" if batch else "no batch selected yet"
    url = f"http://localhost:{session.server_port}/datasets/{opened.slug}"
    say(f"{opened.name}: {front}. The App is at {url}; Ctrl-C ends it.")
    session.wait(-1)


def _newest_demo() -> str:
    import fiftyone as fo

    demos = [
        info
        for info in fo.list_datasets(f"{DEMO_DATASET}*", info=True)
        if info["name"] == DEMO_DATASET or info["name"].startswith(f"{DEMO_DATASET}-")
    ]
    if not demos:
        raise DatasetError(
            "there is no demo dataset yet; run `make demo` first, or name a dataset: "
            "`unseen app DATASET`"
        )
    newest: str = max(demos, key=lambda info: info["created_at"])["name"]
    return newest


def _provide_plugin(say: Callable[[str], None]) -> None:
    """Make FiftyOne find the plugin, for this process only, if it is not installed."""
    import fiftyone as fo

    if installed_plugin() is not None:
        if problem := other_version():
            say("\n".join(problem))
        return
    source = find_source()
    if source is None:
        say(f"FiftyOne finds no plugin {PLUGIN}; `unseen install-plugin` says what to do.")
        return
    # Both: this process reads the config, the App's server inherits the environment.
    os.environ["FIFTYONE_PLUGINS_DIR"] = str(source)
    fo.config.plugins_dir = str(source)
    say(
        f"The plugin {PLUGIN} is not installed in FiftyOne; this session loads it from {source}, "
        "without other plugins. `unseen install-plugin` installs it."
    )
