import os
import subprocess
import sys

import pytest
import torch

from unseen.arrays.devices import resolve_device, resolve_precision, seeded
from unseen.errors import ConfigError

CPU = torch.device("cpu")


def test_auto_is_a_device_of_this_machine_and_the_cpu_always_is_one():
    assert resolve_device(str(resolve_device("auto"))) == resolve_device("auto")
    assert resolve_device("cpu") == CPU


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "", "meta", "cpu:7"])
def test_an_absent_device_is_named_with_what_is_there(name):
    with pytest.raises(ConfigError, match=r"device='.*' is not available; this machine has cpu"):
        resolve_device(name)


def test_fp32_means_no_autocast_and_auto_follows_the_processor(monkeypatch):
    assert resolve_precision("fp32", CPU) is None
    assert resolve_precision("bf16", CPU) is torch.bfloat16
    for is_native, dtype in ((False, None), (True, torch.bfloat16)):
        monkeypatch.setattr("unseen.arrays.devices._cpu_multiplies_bf16", lambda v=is_native: v)
        assert resolve_precision("auto", CPU) is dtype


def test_bf16_is_not_chosen_where_onednn_emulates_it_or_is_absent(monkeypatch):
    command = "import torch; from unseen.arrays.devices import *"
    command += "; print(resolve_precision('auto', torch.device('cpu')))"
    held_back = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    run = subprocess.run(
        [sys.executable, "-c", command],
        env=held_back,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "None"
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert resolve_precision("auto", CPU) is None


@pytest.mark.parametrize(("precision", "device"), [("fp16", "cpu"), ("bf16", "mps")])
def test_unknown_precision_and_bf16_on_another_device_are_refused(precision, device):
    with pytest.raises(ConfigError, match=precision):
        resolve_precision(precision, torch.device(device))


def test_a_seeded_block_repeats_and_leaves_the_global_state_untouched_even_when_it_fails():
    before, drawn = torch.get_rng_state(), []

    def draw_and_fail(seed):
        with seeded(seed):
            drawn.append(torch.rand(5))
            raise ValueError("stop")

    for seed in (7, 7, 8):
        with pytest.raises(ValueError, match="stop"):
            draw_and_fail(seed)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(before, torch.get_rng_state())
