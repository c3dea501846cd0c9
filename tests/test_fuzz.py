"""Whatever a step, an operator or a verb is given, it works or ends in an error of this package.

A few examples of each by default; UNSEEN_FUZZ=1000 asks for that many.
"""

from __future__ import annotations

import json
import os
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import unseen
from unseen import cli
from unseen.errors import Cancelled, ConfigError, UnseenError
from unseen.parameters import from_mapping, parameters
from unseen.steps.catalogue import catalogue

EXAMPLES = int(os.environ.get("UNSEEN_FUZZ", "0"))
#: Those that are run, not only configured: all with UNSEEN_FUZZ.
RUN = list(catalogue())[:: 1 if EXAMPLES else 6]

#: What makes each step as quick as it can be.
SMALL = {
    "train_unet": {"steps": 1, "batch_size": 1, "crop_size": 32, "channels": (4, 8)},
    "train_detector": {"architecture": "small", "steps": 1, "batch_size": 1, "image_size": 64},
    "score_samples": {"heatmap_size": 16},
    "select_batch": {"budget": 2, "strategy": "random"},
    "compare_iterations": {"pictures": False},
    "prepare_dataset": {"screen": False, "initial_order": "directory"},
    "simulate": {
        **{"series": "other", "label_field": "simulated", "hidden_field": "hidden_truth"},
        **{"strategies": ("sequential",), "iterations": 1, "budget": 2, "initial": 3},
        **{"detector": False, "screen": False},
    },
}
# Numbers that are allowed and huge take their time, as was asked for.
TEXTS = st.one_of(
    st.text(max_size=20),
    st.text(st.characters(), max_size=8),  # with halves of surrogate pairs
    st.text(string.printable, max_size=12),
    st.sampled_from(
        [
            *("", " ", "\0", "a\0b", "$x", "a.b", ".", "_id", "id", "filepath", "tags", "metadata"),
            *("ground_truth", "hidden_truth", "test", "initial", "excluded", "batch_01", "unseen"),
            *("~nobody-at-all/x", "/proc/x", "/dev/null", "x" * 300, "x" * 5000, "../..", "nan"),
            *("划痕", "é", "😀", "\udcff", "<b>", "{}", "%s", "cuda:99", "cpu:-1", "meta"),
        ]
    ),
)
NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.floats(),
    st.sampled_from([2**31, 2**53 + 2, 2**64, -(2**63), 10**400, 1e308, -0.0, 1e-320]),
)
PLAIN = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
ANYTHING = st.one_of(
    PLAIN, st.lists(PLAIN, max_size=3), st.dictionaries(TEXTS, PLAIN, max_size=2), st.binary()
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 2**70), st.floats(), TEXTS),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(TEXTS, one, max_size=2),
    max_leaves=4,
)
fuzz = settings(
    max_examples=EXAMPLES or 25,
    deadline=None,
    derandomize=not EXAMPLES,
    suppress_health_check=list(HealthCheck),
)


def speaks(error, *words):
    """The message says something about each of the words, and is no dump."""
    text = str(error)
    assert len(text) < 3000
    assert all(word in text for word in words), text


def few(parameter):
    """Values of a parameter's own kind that leave a step quick."""
    kind = parameter.item or parameter.kind
    if parameter.choices:
        one = st.sampled_from(parameter.choices)
    elif kind is bool:
        one = st.booleans()
    elif kind is str:
        one = TEXTS
    else:
        low = parameter.minimum if parameter.minimum is not None else -1
        one = st.sampled_from([kind(low), kind(low) + 1, kind(min(parameter.maximum or 3, 3))])
    return st.lists(one, max_size=3) if parameter.kind is tuple else one


def is_huge(value):
    values = value if isinstance(value, (list, tuple)) else [value]
    return any(isinstance(v, (int, float)) and abs(v) > 100 for v in values if v == v)


@pytest.mark.parametrize("step", catalogue())
def test_a_config_takes_a_value_or_says_what_was_expected(step):
    config = catalogue()[step].config

    @fuzz
    @given(name=st.sampled_from(parameters(config)), value=ANYTHING)
    def check(name, value):
        try:
            made = from_mapping(config, {name.name: value})
        except ConfigError as error:
            speaks(error, name.name)
            return
        json.dumps(made.to_dict(), allow_nan=False).encode()
        assert from_mapping(config, made.to_dict()) == made

    check()


@pytest.mark.fiftyone
@pytest.mark.parametrize("step", RUN)
def test_a_step_works_or_says_why_not(step, make_module_wafers, tmp_path_factory, monkeypatch):
    for name in [n for n in os.environ if n.startswith("FIFTYONE_CVAT_")]:
        monkeypatch.delenv(name)
    folder = tmp_path_factory.mktemp("fuzz")
    monkeypatch.chdir(folder)
    dataset = make_module_wafers(6, labelled=3, test=2)
    declared = {p.name: p for p in parameters(catalogue()[step].config)}
    # Waits for servers and workers that do not exist.
    wanted = [p for n, p in declared.items() if n not in ("url", "address", "engine", "workers")]
    changes = st.lists(st.sampled_from(wanted), min_size=1, max_size=2, unique_by=lambda p: p.name)
    count = {"max_examples": EXAMPLES or 4}

    @settings(fuzz, **count)
    @given(data=st.data())
    def check(data):
        given = {"model_dir": str(folder), **SMALL.get(step, {})}
        given = {k: v for k, v in given.items() if k in declared}
        for parameter in data.draw(changes):
            value = data.draw(few(parameter))
            if not is_huge(value):
                given[parameter.name] = value
        target = data.draw(st.sampled_from([dataset, dataset.limit(0), dataset.limit(3)]))
        try:
            result = getattr(unseen, step)(target, **given)
        except UnseenError as error:
            speaks(error)
        else:
            json.dumps(result.to_dict()).encode()
            assert isinstance(result.summary(), str)

    check()


@pytest.mark.fiftyone
@given(step=st.sampled_from(unseen.STEPS), collection=ANYTHING)
@fuzz
def test_what_is_no_dataset_is_refused(fiftyone_database, step, collection):
    with pytest.raises(UnseenError) as caught:
        getattr(unseen, step)(collection)
    speaks(caught.value, "expected" if not isinstance(collection, str) else "")


@pytest.mark.fiftyone
@pytest.mark.parametrize("step", RUN)
def test_an_operator_opens_its_form_and_answers_any_request(
    step, make_module_wafers, monkeypatch, request_of
):
    import fiftyone.operators as foo

    dataset = make_module_wafers(2, labelled=1, test=1)
    operator = foo.get_operator(f"@unseen/curation/{step}")
    names = [p.name for p in parameters(catalogue()[step].config)]
    # What the step does with valid values is tested above.
    monkeypatch.setitem(vars(unseen), step, lambda *_, **__: (_ for _ in ()).throw(Cancelled()))

    @fuzz
    @given(params=st.dictionaries(st.sampled_from([*names, "advanced", "x"]), JSON, max_size=3))
    def check(params):
        ctx = request_of(dataset, step, params)
        json.dumps(operator.resolve_type(ctx, "inputs").to_json())
        try:
            for _ in operator.execute(request_of(dataset, step, params)):
                pass
        except UnseenError as error:
            speaks(error)
        except Cancelled:
            pass

    check()


@pytest.fixture
def request_of(fiftyone_database):
    from fiftyone.operators.executor import ExecutionContext, Executor

    def request_of(dataset, step, params):
        uri = f"@unseen/curation/{step}"
        request = {"operator_uri": uri, "dataset_name": dataset.name, "params": params}
        request["selected"] = [dataset.first().id]
        return ExecutionContext(request, executor=Executor(), operator_uri=uri)

    return request_of


@pytest.mark.fiftyone
@given(
    verb=st.sampled_from([*(s.command for s in catalogue().values()), "import-coco", "app"]),
    words=st.lists(st.one_of(TEXTS, NUMBERS.map(lambda n: str(n)[:30])), max_size=2),
    data=st.data(),
)
@fuzz
def test_a_verb_ends_with_an_answer(fiftyone_database, verb, words, data):
    steps = {s.command: s for s in catalogue().values()}
    options = parameters(steps[verb].config) if verb in steps else []
    if options:
        one = data.draw(st.sampled_from(options))
        words = [*words, f"--{one.name.replace('_', '-')}", data.draw(TEXTS)]
    try:
        code = cli.main([verb, *words])
    except SystemExit as stop:
        code = stop.code
    assert code in (0, 2)
