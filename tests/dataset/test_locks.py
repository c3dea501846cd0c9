import contextlib
import datetime
import os
import threading

import pytest

from unseen.dataset import locks
from unseen.dataset.locks import exclusive
from unseen.errors import Cancelled, LockedError

pytestmark = pytest.mark.fiftyone


@pytest.fixture
def dataset(fiftyone_database):
    import fiftyone as fo

    dataset = fo.Dataset()
    yield dataset
    dataset.delete()


@pytest.fixture
def stored(dataset):
    """The lock's document: read it, or change it as another process would."""
    import fiftyone.core.odm as foo

    collection, key = foo.get_db_conn()[locks.COLLECTION], {"_id": str(dataset._doc.id)}

    def document(**changes):
        if changes:
            collection.update_one(key, {"$set": changes})
        return collection.find_one(key)

    yield document
    collection.delete_one(key)


def in_another_thread(dataset):
    """The error that another run gets, or None."""
    errors = []

    def run():
        try:
            with exclusive(dataset, "select_batch"):
                pass
        except LockedError as error:
            errors.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return errors[0] if errors else None


def test_one_run_at_a_time_and_its_own_steps_share_the_lock(dataset, stored):
    with exclusive(dataset, "simulate"):
        with exclusive(dataset, "train_unet"):
            locks.check(dataset)
        refusal = in_another_thread(dataset)
        assert f"dataset {dataset.name!r} is in use: simulate has been running since" in refusal
        assert f"process {os.getpid()} on {stored()['host']}" in refusal
    assert in_another_thread(dataset) is None


@pytest.mark.parametrize(
    ("error", "state", "text"),
    [
        (None, locks.DONE, "all of it"),
        (LockedError("no way"), locks.FAILED, "no way"),
        (ValueError(), locks.FAILED, "ValueError"),
        (KeyboardInterrupt(), locks.STOPPED, ""),
        (Cancelled("enough"), locks.STOPPED, ""),
    ],
)
def test_everybody_sees_what_runs_and_how_it_ended(dataset, stored, error, state, text):
    assert locks.last_run(dataset) is None
    with (
        pytest.raises(type(error)) if error else contextlib.nullcontext(),
        exclusive(dataset, "train_unet", {"steps": 3}) as lock,
        exclusive(dataset, "score_samples") as shared,
    ):
        assert shared is lock
        lock.tell(0.25, "$training: 25%")
        lock.tell(0.5, "too soon after the first")
        run = locks.last_run(dataset)
        assert (run.step, run.state, run.share, run.text) == (
            "train_unet",
            locks.RUNNING,
            0.25,
            "$training: 25%",
        )
        assert run.where == f"process {os.getpid()} on {stored()['host']}"
        locks.forget(dataset)  # not while it goes on
        assert not locks.claim(run, dataset)
        lock.text, lock.view = "all of it", "$batch"
        if error:
            raise error
    run = locks.last_run(dataset)
    assert (run.step, run.state, run.text, run.request) == ("train_unet", state, text, {"steps": 3})
    assert run.view == "$batch"
    assert 0 <= run.seconds < 60
    assert [locks.claim(run, dataset) for _ in range(2)] == [True, False]
    locks.forget(dataset)
    assert locks.last_run(dataset) is None


def test_a_run_is_stopped_from_elsewhere_at_its_next_report(dataset):
    locks.stop(dataset)  # nothing runs
    with exclusive(dataset, "train_unet") as lock:
        lock.tell(0, "begins")
        locks.stop(dataset)
        assert locks.last_run(dataset).is_stopping
        lock._told -= locks.TELL
        with pytest.raises(Cancelled):
            lock.tell(0.1, "goes on")
    with exclusive(dataset, "train_unet") as lock:  # the wish was for the other run
        lock.tell(0, "begins")


def test_a_killed_run_shows_as_interrupted_and_old_ends_are_forgotten(dataset, stored, monkeypatch):
    with exclusive(dataset, "train_unet"):
        stored(**expired(stored))
        assert locks.last_run(dataset).state == locks.INTERRUPTED
    stored(ended=stored()["ended"] - datetime.timedelta(days=locks.KEPT, seconds=1))
    monkeypatch.setattr(locks, "LEASE", 0.04)
    with exclusive(dataset.clone(), "train_unet"):
        for _ in range(500):
            threading.Event().wait(0.01)
            if stored() is None:
                return
    pytest.fail("it is remembered for ever")


@pytest.mark.parametrize("minutes", [-3, 3])
def test_clocks_that_differ_do_not_matter(dataset, stored, monkeypatch, minutes):
    shift = datetime.timedelta(minutes=minutes)

    class Other(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.datetime.now(tz) + shift

    clock = locks.time.time
    with exclusive(dataset, "simulate"):
        monkeypatch.setattr(locks, "datetime", Other, raising=False)
        monkeypatch.setattr(locks.time, "time", lambda: clock() + shift.total_seconds())
        assert in_another_thread(dataset) is not None
        locks.check(dataset)
    # Nor does a killed holder whose clock was ahead keep the lock for longer.
    with exclusive(dataset, "simulate"):
        pass
    assert in_another_thread(dataset) is None


def expired(stored):
    return {"expires": stored()["expires"] - datetime.timedelta(seconds=locks.LEASE + 1)}


@pytest.mark.parametrize(
    ("holder", "is_taken"),
    [
        ({"space": "another boot or container"}, False),
        ({"host": "another machine"}, False),
        ({}, True),  # no such process here
        ({"pid": os.getpid(), "born": 1}, True),  # its process id has come back
        ({"pid": os.getpid()}, False),
    ],
)
def test_a_lock_is_taken_over_only_from_a_process_that_is_known_to_be_gone(
    dataset, stored, holder, is_taken
):
    gone = {"pid": 2**22 + 1, "born": 1, "token": "of the killed run"}  # above Linux's highest pid
    with exclusive(dataset, "simulate"):
        stored(**{**gone, "born": stored()["born"] if holder.get("pid") else 1, **holder})
        assert (in_another_thread(dataset) is None) == is_taken
        if not is_taken:  # after its time it is free all the same
            stored(**expired(stored))
            assert in_another_thread(dataset) is None


def test_of_two_runs_at_once_one_gets_an_expired_lock(dataset, stored):
    start, begun, inside = threading.Barrier(8), threading.Event(), []
    refused = []

    def run():
        start.wait()
        try:
            with exclusive(dataset, "train_unet"):
                inside.append(1)
                begun.wait(10)
        except LockedError:
            refused.append(1)
            if len(refused) == 7:
                begun.set()

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(inside), len(refused)) == (1, 7)


def test_a_run_that_stood_still_and_lost_its_lock_does_not_write_on(dataset, stored, monkeypatch):
    from unseen.dataset.loop import Loop

    start = locks._now()
    with exclusive(dataset, "score_samples"):
        stored(**expired(stored))
        monkeypatch.setattr(locks, "_now", lambda: start + locks.LEASE + 1)
        locks.check(dataset)  # nobody came: it goes on
        stored(token="another run", step="select_batch", pid=1, host="elsewhere")
        monkeypatch.setattr(locks, "_now", lambda: start + 2 * locks.LEASE + 2)
        for write in (locks.check, lambda d: Loop(d).write_entry(0, "score_samples", {})):
            with pytest.raises(
                LockedError, match=r"no longer holds the lock.*select_batch has been"
            ):
                write(dataset)
    assert Loop(dataset).records() == {}
    assert stored()["token"] == "another run"  # and the other's lock stays


def test_the_renewal_notices_that_the_lock_is_lost(dataset, stored, monkeypatch):
    monkeypatch.setattr(locks, "LEASE", 0.04)
    with exclusive(dataset, "score_samples"):
        stored(token="another run")
        deadline = threading.Event()
        for _ in range(500):
            deadline.wait(0.01)
            try:
                locks.check(dataset)
            except LockedError:
                return
    pytest.fail("the loss was not noticed")
