"""What can be known to fail is said before anything is sent or written, and can be mended."""

from __future__ import annotations

import builtins
import getpass
import http.server
import re
import threading
from pathlib import Path

import fiftyone as fo
import pytest
from cvat_double import CvatDouble
from cvat_traces import frames_of, ranked_names, state_of
from PIL import Image

import unseen
from unseen.errors import AnnotationError, LabelError, ServerError, UnseenError

pytestmark = pytest.mark.fiftyone


@pytest.fixture(autouse=True)
def _nobody_is_asked(monkeypatch):
    def fail(*_: object, **__: object) -> str:
        pytest.fail("somebody was asked for input")

    monkeypatch.setattr(builtins, "input", fail)
    monkeypatch.setattr(getpass, "getpass", fail)


@pytest.fixture
def other_server():
    """A factory of HTTP servers that are no CVAT: every request gets the same answer."""
    running = []

    def serve(status: int, body: str = "<h1>It works</h1>", kind="text/html", **headers: str):
        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response(status)
                for name, value in {"Content-Type": kind, **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            do_GET = do_POST = answer

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        running.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield serve
    for server in running:
        server.shutdown()
        server.server_close()


def refused(dataset, cvat, match: str, error=AnnotationError, **settings: object) -> None:
    """The request is refused and leaves no trace; without its fault it works."""
    before, tasks = state_of(dataset), set(cvat.tasks)
    with pytest.raises(error, match=match):
        unseen.request_annotations(dataset, **settings)
    assert state_of(dataset) == before
    assert set(cvat.tasks) == tasks


# the server


def test_a_server_that_is_not_there(cvat, batch, monkeypatch):
    dataset = batch(2)
    url = "http://no-such-host.invalid"
    refused(dataset, cvat, "no-such-host.invalid cannot be reached .*unknown host", url=url)
    monkeypatch.setenv("FIFTYONE_CVAT_URL", "http://127.0.0.1:9")
    refused(dataset, cvat, r"http://127.0.0.1:9 cannot be reached .*connection refused.*check")
    monkeypatch.delenv("FIFTYONE_CVAT_URL")
    refused(dataset, cvat, "no CVAT server given; set FIFTYONE_CVAT_URL")
    for bad in ("localhost:8080", "ftp://host", "http://", "http://host:port", "http://host:99999"):
        refused(dataset, cvat, "cannot be used; expected http", url=bad)
    assert unseen.request_annotations(dataset, url=cvat.url).sent == 2


def test_servers_that_are_no_cvat(cvat, batch, other_server):
    dataset, page, data = batch(2), "text/html", "application/json"
    for status, body, kind, match in [
        (200, "<h1>It works</h1>", page, "no JSON object; expected the address of a CVAT server"),
        (200, "[1]", data, "no JSON object; expected the address of a CVAT server"),
        (200, "{}", data, "does not tell a CVAT version"),
        (404, "<h1>Not found</h1>", page, "answered 404 to the login; expected the address"),
        (501, "<h1>What?</h1>", page, "answered 501 to the login; expected the address"),
        (503, "<h1>Down</h1>", page, "answered 503 .*Down; .*run this again"),
    ]:
        refused(dataset, cvat, match, url=other_server(status, body, kind))


def test_a_server_that_redirects_is_named_without_what_its_address_holds(cvat, batch, other_server):
    to = "https://user:word@cvat.example:8443/api/auth/login?secret=1"
    url = other_server(301, Location=to)
    dataset = batch(2)
    with pytest.raises(AnnotationError) as found:
        unseen.request_annotations(dataset, url=url)
    assert "redirects to https://cvat.example:8443; use that address" in str(found.value)
    assert not re.search("word|secret", str(found.value))
    refused(
        dataset,
        cvat,
        "redirects .*; expected the address",
        url=other_server(302, Location="/login"),
    )


def test_a_version_that_does_not_keep_the_order(batch, monkeypatch, cvat):
    with CvatDouble("2.4.5") as old:
        monkeypatch.setenv("FIFTYONE_CVAT_PASSWORD", old.password)
        refused(batch(2), old, r"has version 2\.4\.5; expected 2\.4\.6 or newer", url=old.url)


# who


def test_a_wrong_password_is_refused_without_telling_it(cvat, batch, monkeypatch):
    dataset = batch(2)
    monkeypatch.setenv("FIFTYONE_CVAT_PASSWORD", "wrong-one")
    refused(dataset, cvat, "refused the login of user 'fo_user'; check FIFTYONE_CVAT_USERNAME")
    monkeypatch.setenv("FIFTYONE_CVAT_PASSWORD", cvat.password)
    assert unseen.request_annotations(dataset).sent == 2


def test_missing_credentials(cvat, batch, monkeypatch):
    dataset = batch(2)
    monkeypatch.delenv("FIFTYONE_CVAT_PASSWORD")
    refused(dataset, cvat, "FIFTYONE_CVAT_PASSWORD not set.*FIFTYONE_CVAT_ACCESS_TOKEN")
    monkeypatch.delenv("FIFTYONE_CVAT_USERNAME")
    refused(dataset, cvat, "FIFTYONE_CVAT_USERNAME and FIFTYONE_CVAT_PASSWORD not set")


def test_an_unknown_organization_and_one_of_others(cvat, batch):
    dataset = batch(2)
    refused(dataset, cvat, "'nope' cannot be used.*slug.*belongs to", organization="nope")
    cvat.add_organization("fab", ["somebody"])
    cvat.add_user("somebody")
    refused(dataset, cvat, "'fab' cannot be used", organization="fab")
    assert unseen.request_annotations(dataset).sent == 2


def test_unknown_assignees_are_all_named(cvat, batch):
    cvat.add_user("annabel")
    dataset = batch(2)
    refused(
        dataset,
        cvat,
        "knows no user 'anna', 'bob'; expected their exact user names",
        assignees=("annabel", "anna"),
        task_assignee="bob",
    )
    cvat.add_organization("fab", [cvat.username])
    refused(
        dataset,
        cvat,
        "no user 'annabel' in organization 'fab'",
        assignees=("annabel",),
        organization="fab",
    )
    assert unseen.request_annotations(dataset, assignees=("annabel",)).sent == 2


def test_no_permission_leaves_nothing(cvat, batch, monkeypatch):
    cvat.add_user("reader", read_only=True)
    dataset = batch(2)
    monkeypatch.setenv("FIFTYONE_CVAT_USERNAME", "reader")
    monkeypatch.setenv("FIFTYONE_CVAT_PASSWORD", "a-Secret")
    refused(
        dataset, cvat, "answered 403 to POST /api/tasks: You do not have permission.*Nothing was"
    )
    refused(dataset, cvat, "answered 403 to POST /api/projects", project="wafers")
    assert cvat.projects == {}


# classes


def test_classes_that_cannot_be(cvat, batch):
    dataset = batch(2)
    for name, match in [
        ("unseen", "'unseen' has a name that the ranking uses itself"),
        ("Background", "'Background' has a name that"),
        (" ", "' ' is blank"),
        ("pit ", "'pit ' is blank or has blanks around it"),
        ("x" * 65, "has 65 characters; CVAT takes 64"),
        ("particle", "twice"),
    ]:
        refused(dataset, cvat, match, UnseenError, classes=("particle", "scratch", name))
    longest = ("particle", "scratch", "x" * 64)
    assert unseen.request_annotations(dataset, classes=longest).sent == 2


def test_a_dataset_without_classes(cvat, make_wafers):
    dataset = make_wafers(4, labelled=0, test=0)
    unseen.split_dataset(dataset, initial=2, test_count=1)
    refused(dataset, cvat, "no class yet; pass classes=", LabelError, images="initial")
    assert unseen.request_annotations(dataset, images="initial", classes=("pit",)).sent == 2


def test_labels_that_are_sent_must_be_among_the_classes(cvat, batch):
    dataset = batch(2)
    match = "labels of class .*particle.*, which is not among the classes"
    refused(dataset, cvat, match, LabelError, images="test", classes=("pit",))
    sample = dataset.match_tags("test").first()
    sample.ground_truth.detections[0].label = None
    sample.save()
    refused(dataset, cvat, "boxes to be sent have no class", LabelError, images="test")


# images


def turned(path: Path) -> None:
    with Image.open(path) as image:
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(path, exif=exif)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda path: path.write_bytes(b"no image at all"), "cannot be read as an image"),
        (lambda path: path.write_bytes(path.read_bytes()[:-900]), "cannot be read as an image"),
        (lambda path: path.write_bytes(b""), "cannot be read as an image"),
        (Path.unlink, "no such file"),
        (turned, "has an EXIF orientation"),
    ],
    ids=["broken", "truncated", "empty", "missing", "turned"],
)
def test_an_image_that_the_server_could_not_use(cvat, batch, spoil, match):
    dataset = batch(3)
    path = Path(dataset.match_tags("batch_01").skip(1).first().filepath)
    content = path.read_bytes()
    spoil(path)
    refused(dataset, cvat, rf"1 of 3 images cannot be sent: .*{path.name}.*{match}")
    path.write_bytes(content)
    assert unseen.request_annotations(dataset).sent == 3


def test_files_that_are_no_images_by_their_names(cvat, batch):
    dataset = batch(4)
    names = ("image", "image.dat", "image.svg", "image.txt")
    renamed = {}
    for sample, name in zip(dataset.match_tags("batch_01"), names, strict=True):
        target = Path(sample.filepath).with_name(name)
        target.write_bytes(Path(sample.filepath).read_bytes())
        renamed[sample.id] = str(target)
    dataset.set_values("filepath", renamed, key_field="id")
    match = "4 of 4 images .*CVAT knows images by their extension, and not '.dat'"
    refused(dataset, cvat, match)


def test_the_usual_kinds_of_images_go_through(cvat, batch):
    dataset = batch(6)
    suffixes = ("jpg", "jpeg", "bmp", "tif", "webp", "PNG")
    for sample, suffix in zip(dataset.match_tags("batch_01"), suffixes, strict=True):
        target = Path(sample.filepath).with_suffix(f".{suffix}")
        with Image.open(sample.filepath) as image:
            image.save(target)
        sample.filepath = str(target)
        sample.save()
    unseen.request_annotations(dataset)
    assert frames_of(cvat) == ranked_names(dataset)


def test_many_bad_images_are_counted_and_a_few_named(cvat, batch):
    dataset = batch(8)
    for path in dataset.match_tags("batch_01").values("filepath"):
        Path(path).unlink()
    refused(dataset, cvat, r"8 of 8 images cannot be sent: .*and 3 more.*screen_images")


# names


def test_project_names_that_cannot_be(cvat, batch):
    dataset = batch(1)
    for name, match in [("x" * 257, "CVAT takes 256"), (" ", "is blank"), ("a ", "blanks around")]:
        refused(dataset, cvat, match, project=name)


def test_a_dataset_with_a_long_name_gets_a_task_of_256_characters(cvat, batch):
    dataset = batch(1)
    dataset.name = "w" * 300
    unseen.request_annotations(dataset)
    assert len(cvat.tasks[1].name) == 256
    assert "unseen_batch_01 1-1 [" in cvat.tasks[1].name


def test_an_annotation_run_of_somebody_else_is_left_alone(cvat, batch):
    dataset = batch(1)
    dataset.match_tags("batch_01").annotate(
        "unseen_batch_01",
        label_field="other",
        label_type="detections",
        classes=["a"],
        url=cvat.url,
        username=cvat.username,
        password=cvat.password,
    )
    refused(dataset, cvat, "exists and was not made by request_annotations")


def test_a_field_of_somebody_else_is_left_alone(cvat, batch):
    dataset = batch(1)
    dataset.add_sample_field("unseen_annotation_url", fo.StringField)
    refused(dataset, cvat, "was not made by this package", UnseenError)


# what only the server knows


@pytest.mark.parametrize("version", ["2.15.0", "2.40.0"])
def test_an_image_that_the_server_cannot_read_is_told_in_its_words(
    cvat, batch, monkeypatch, version
):
    with CvatDouble(version) as server:
        monkeypatch.setenv("FIFTYONE_CVAT_URL", server.url)
        monkeypatch.setenv("FIFTYONE_CVAT_PASSWORD", server.password)
        dataset = batch(2)
        server.creation_error = "Traceback:\n  ...\nPIL.Error: cannot identify 005.png"
        match = "images of task 1: PIL.Error: cannot identify 005.png; repair or.*Nothing was sent"
        refused(dataset, server, match, ServerError)
        server.creation_error = None
        assert unseen.request_annotations(dataset).sent == 2


def test_frames_that_get_lost_are_noticed(cvat, batch):
    dataset = batch(3)
    cvat.drop_files = 1
    refused(dataset, cvat, "has 2 of the 3 images of task 1.*Nothing was sent", ServerError)
    assert unseen.request_annotations(dataset).sent == 3


def test_jobs_that_never_appear_end_in_an_error(cvat, batch):
    dataset = batch(2)
    cvat.never_creates_jobs = True
    match = "did not make the jobs of task 1 within 1 s; it last said 'started: Media files are"
    refused(dataset, cvat, match, ServerError, timeout=1)
    cvat.never_creates_jobs = False
    assert unseen.request_annotations(dataset).sent == 2
