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
from cvat_double import NEW, OLD, CvatDouble
from cvat_fixtures import running, shorten_pauses
from cvat_traces import frames_of, ranked_names, state_of
from PIL import Image

import unseen
from unseen.annotation.cvat.checks import check_images
from unseen.errors import AnnotationError, LabelError, ServerError, UnseenError

pytestmark = pytest.mark.fiftyone


@pytest.fixture(scope="module")
def cvat():
    """One double for all tests: what is refused leaves nothing on it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        shorten_pauses(monkeypatch)
        with running(monkeypatch) as server:
            yield server


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
                length = str(len(body))
                for item in {"Content-Type": kind, "Content-Length": length, **headers}.items():
                    self.send_header(*item)
                self.end_headers()
                self.wfile.write(body.encode())

            do_GET = do_POST = answer

            def log_message(self, *_: object) -> None:
                pass

        running.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=running[-1].serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{running[-1].server_address[1]}"

    yield serve
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def configured(other_server, monkeypatch):
    """Another server, for which the credentials are configured."""

    def configure(*answer, **headers):
        monkeypatch.setenv("FIFTYONE_CVAT_URL", other_server(*answer, **headers))

    return configure


@pytest.fixture(scope="module")
def pair(batch_template, cvat):
    """A dataset with a batch of two; every refusal leaves it as it is, and then it can be sent."""
    dataset = batch_template(2, True, 0).clone()
    yield dataset
    assert unseen.request_annotations(dataset).sent == 2
    dataset.delete()


def refused(dataset, cvat, match: str, error=AnnotationError, **settings: object) -> None:
    """The request is refused and leaves no trace."""
    before, tasks, projects = state_of(dataset), set(cvat.tasks), set(cvat.projects)
    with pytest.raises(error, match=match):
        unseen.request_annotations(dataset, **settings)
    assert state_of(dataset) == before
    assert (set(cvat.tasks), set(cvat.projects)) == (tasks, projects)


# the server


def test_a_server_that_is_not_there(cvat, pair, monkeypatch):
    monkeypatch.setenv("FIFTYONE_CVAT_URL", "http://no-such-host.invalid")
    refused(pair, cvat, "no-such-host.invalid cannot be reached .*unknown host")
    monkeypatch.setenv("FIFTYONE_CVAT_URL", "http://127.0.0.1:9")
    refused(pair, cvat, r"http://127.0.0.1:9 cannot be reached .*connection refused.*check")
    monkeypatch.delenv("FIFTYONE_CVAT_URL")
    refused(pair, cvat, "no CVAT server given; set FIFTYONE_CVAT_URL")


PAGE, DATA = "text/html", "application/json"


@pytest.mark.parametrize(
    ("status", "body", "kind", "match"),
    [
        (200, "<h1>It works</h1>", PAGE, "no JSON object; expected the address of a CVAT server"),
        (200, "[1]", DATA, "no JSON object; expected the address of a CVAT server"),
        (200, "{}", DATA, "does not tell a CVAT version"),
        (404, "<h1>Not found</h1>", PAGE, "answered 404 to the login; expected the address"),
        (501, "<h1>What?</h1>", PAGE, "answered 501 to the login; expected the address"),
        (503, "<h1>Down</h1>", PAGE, "answered 503 .*Down; .*run this again"),
    ],
)
def test_a_server_that_is_no_cvat(cvat, pair, configured, status, body, kind, match):
    configured(status, body, kind)
    refused(pair, cvat, match)


def test_a_server_that_redirects_is_named_without_what_its_address_holds(cvat, pair, configured):
    to = "https://user:word@cvat.example:8443/api/auth/login?secret=1"
    configured(301, Location=to)
    with pytest.raises(AnnotationError) as error:
        unseen.request_annotations(pair)
    assert "redirects to https://cvat.example:8443; use that address" in str(error.value)
    assert not re.search("word|secret", str(error.value))
    configured(302, Location="/login")
    refused(pair, cvat, "redirects .*; expected the address")
    cvat.clear_requests()
    configured(307, Location=f"{cvat.url}/api/auth/login")
    refused(pair, cvat, "redirects to")
    assert cvat.requests == []  # credentials go nowhere else


def test_a_version_that_does_not_keep_the_order(pair, monkeypatch):
    with CvatDouble("2.4.5") as old:
        monkeypatch.setenv("FIFTYONE_CVAT_URL", old.url)
        refused(pair, old, r"has version 2\.4\.5; expected 2\.4\.6 or newer")


# who


@pytest.mark.parametrize(
    ("variables", "match"),
    [
        (
            {"PASSWORD": "wrong-one"},
            "refused the login of user 'fo_user'; check FIFTYONE_CVAT_USERNAME",
        ),
        ({"PASSWORD": ""}, "FIFTYONE_CVAT_PASSWORD not set.*FIFTYONE_CVAT_ACCESS_TOKEN"),
        (
            {"USERNAME": "", "PASSWORD": ""},
            "FIFTYONE_CVAT_USERNAME and FIFTYONE_CVAT_PASSWORD not set",
        ),
    ],
)
def test_wrong_and_missing_credentials(cvat, pair, monkeypatch, variables, match):
    for name, value in variables.items():
        monkeypatch.setenv(f"FIFTYONE_CVAT_{name}", value)
    refused(pair, cvat, match)


def test_unknown_organizations_and_people(cvat, pair):
    refused(pair, cvat, "'nope' cannot be used.*slug.*belongs to", organization="nope")
    for name in ("somebody", "annabel"):
        cvat.add_user(name)
    cvat.add_organization("theirs", ["somebody"])
    cvat.add_organization("fab", [cvat.username])
    refused(pair, cvat, "'theirs' cannot be used", organization="theirs")
    both = "shows 'fo_user' no user 'anna', 'bob'; expected their exact user names"
    refused(pair, cvat, both, assignees=("annabel", "anna"), task_assignee="bob")
    cvat.state.user_named(cvat.username).is_admin = False
    alone = "'annabel'; .* to administrators alone: pass organization="
    refused(pair, cvat, alone, assignees=("annabel",))
    outside = "no user 'annabel' in organization 'fab'"
    refused(pair, cvat, outside, assignees=("annabel",), organization="fab")


@pytest.mark.parametrize(
    ("what", "match"),
    [
        ({}, "answered 403 to POST /api/tasks: You do not have permission.*Nothing was"),
        ({"project": "wafers"}, "answered 403 to POST /api/projects"),
    ],
)
def test_no_permission_leaves_nothing(cvat, pair, monkeypatch, what, match):
    if cvat.state.user_named("reader") is None:
        cvat.add_user("reader", read_only=True)
    monkeypatch.setenv("FIFTYONE_CVAT_USERNAME", "reader")
    monkeypatch.setenv("FIFTYONE_CVAT_PASSWORD", "a-Secret")
    refused(pair, cvat, match, **what)


# names


ADDRESSES = ("localhost:8080", "ftp://host", "http://", "http://host:port", "http://host:99999")


@pytest.mark.parametrize(
    ("setting", "value", "match"),
    [
        *[("url", url, "cannot be used; expected http") for url in ADDRESSES],
        ("classes", "unseen", "'unseen' has a name that the ranking uses itself"),
        ("classes", "Background", "'Background' has a name that"),
        ("classes", " ", "' ' is blank"),
        ("classes", "pit ", "'pit ' is blank or has blanks around it"),
        ("classes", "x" * 65, "has 65 characters; CVAT takes 64"),
        ("classes", "particle", "twice"),
        ("project", "x" * 257, "CVAT takes 256"),
        ("project", " ", "is blank"),
        ("project", "a ", "blanks around"),
    ],
)
def test_settings_that_cannot_be(cvat, pair, setting, value, match):
    value = ("particle", "scratch", value) if setting == "classes" else value
    refused(pair, cvat, match, UnseenError, **{setting: value})


def test_the_longest_names_go_through(cvat, batch):
    dataset = batch(1)
    dataset.name = "w" * 300
    longest = ("particle", "scratch", "x" * 64)
    assert unseen.request_annotations(dataset, classes=longest).sent == 1
    name = cvat.tasks[max(cvat.tasks)].name
    assert len(name) == 256
    assert "unseen_batch_01 1-1 [" in name


def test_a_dataset_without_classes(cvat, make_wafers):
    dataset = make_wafers(4, labelled=0, test=0)
    unseen.split_dataset(dataset, initial=2, test_count=1)
    refused(dataset, cvat, "no class yet; name in 'classes'", LabelError, images="initial")
    assert unseen.request_annotations(dataset, images="initial", classes=("pit",)).sent == 2


def test_labels_that_are_sent_must_be_among_the_classes(cvat, batch):
    dataset = batch(2)
    match = "labels of class .*particle.*, which is not among the classes"
    refused(dataset, cvat, match, LabelError, images="test", classes=("pit",))
    sample = dataset.match_tags("test").first()
    sample.ground_truth.detections[0].label = None
    sample.save()
    refused(dataset, cvat, "boxes to be sent have no class", LabelError, images="test")


def test_runs_and_fields_of_somebody_else_are_left_alone(cvat, batch):
    dataset = batch(1)
    account = {name: getattr(cvat, name) for name in ("url", "username", "password")}
    dataset.match_tags("batch_01").annotate(
        "unseen_batch_01", label_field="o", label_type="detections", classes=["a"], **account
    )
    refused(dataset, cvat, "exists and is not in the records")
    dataset = batch(1)
    dataset.add_sample_field("unseen_annotation_url", fo.StringField)
    refused(dataset, cvat, "was not made by this package", UnseenError)


# images


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda path: path.write_bytes(b"no image at all"), "cannot be read as an image"),
        (lambda path: path.write_bytes(path.read_bytes()[:-900]), "cannot be read as an image"),
        (lambda path: path.write_bytes(b""), "cannot be read as an image"),
        (Path.unlink, "no such file"),
    ],
    ids=["broken", "truncated", "empty", "missing"],
)
def test_an_image_that_the_server_could_not_use(cvat, batch, spoil, match):
    dataset = batch(3)
    path = Path(dataset.match_tags("batch_01").skip(1).first().filepath)
    content = path.read_bytes()
    spoil(path)
    refused(dataset, cvat, rf"1 of 3 images cannot be sent: .*{path.name}.*{match}")
    path.write_bytes(content)
    assert unseen.request_annotations(dataset).sent == 3


def test_a_turned_photograph_is_sent_as_it_is_shown(cvat, batch):
    dataset = batch(3)
    path = Path(dataset.match_tags("batch_01").first().filepath)
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(path) as image:
        image.crop((0, 0, 40, 20)).save(path, exif=exif)
    sizes = {"id": (20, 40)}
    assert check_images({"id": str(path)}, progress=lambda done: None) == (sizes, set())
    assert unseen.request_annotations(dataset).sent == 3


def renamed(dataset, names) -> None:
    """Point the batch's samples to copies of other names, or to nothing where it says "gone"."""
    paths = {}
    for sample, name in zip(dataset.match_tags("batch_01"), names, strict=True):
        target = Path(sample.filepath).with_name(name)
        paths[sample.id] = str(target)
        if "gone" not in name:
            target.write_bytes(Path(sample.filepath).read_bytes())
    dataset.set_values("filepath", paths, key_field="id")


def test_bad_images_are_counted_and_a_few_named(cvat, batch):
    dataset = batch(8)
    renamed(dataset, [f"gone-{i}.png" for i in range(8)])
    refused(dataset, cvat, r"8 of 8 images cannot be sent: .*and 3 more.*screen_images")
    dataset = batch(4)
    renamed(dataset, ("image", "image.dat", "image.svg", "image.txt"))
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
    assert frames_of(cvat)[-6:] == ranked_names(dataset)


# what only the server knows


@pytest.mark.parametrize("version", [OLD, NEW])
def test_what_the_server_notices_is_told_in_its_words(batch, monkeypatch, version):
    with running(monkeypatch, version) as server:
        dataset = batch(3)
        server.creation_error = "Traceback:\n  ...\nPIL.Error: cannot identify 005.png"
        match = "images of task 1: PIL.Error: cannot identify 005.png; repair or.*Nothing was sent"
        refused(dataset, server, match, ServerError)
        server.creation_error, server.drop_files = None, 1
        match = r"has 2 of the 3 images of task \d.*Nothing was sent"
        refused(dataset, server, match, ServerError)
        assert unseen.request_annotations(dataset).sent == 3


def test_jobs_that_never_appear_end_in_an_error(cvat, batch, monkeypatch):
    dataset = batch(2)
    monkeypatch.setattr(cvat, "never_creates_jobs", True)
    match = r"did not make the jobs of task \d+ within 1 s; it last said 'started: Media files are"
    refused(dataset, cvat, match, ServerError, timeout=1)
    cvat.never_creates_jobs = False
    assert unseen.request_annotations(dataset).sent == 2
