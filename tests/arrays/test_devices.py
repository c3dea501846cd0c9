import pytest
import torch

from unseen.arrays.devices import available_devices, resolve_device, resolve_precision, seeded
from unseen.errors import ConfigError


def test_auto_is_a_device_of_this_machine():
    assert resolve_device("auto").type in {name.split(":")[0] for name in available_devices()}


def test_every_available_name_resolves_to_itself():
    assert [str(resolve_device(name)) for name in available_devices()] == available_devices()


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "", "meta", "cpu:7"])
def test_an_absent_device_is_named_with_what_is_there(name):
    with pytest.raises(ConfigError, match=r"device='.*': not available; here there are cpu"):
        resolve_device(name)


def test_fp32_means_no_autocast_and_bf16_is_honoured():
    cpu = torch.device("cpu")
    assert resolve_precision("fp32", cpu) is None
    assert resolve_precision("bf16", cpu) is torch.bfloat16
    assert resolve_precision("auto", cpu) in (None, torch.bfloat16)


def test_auto_is_fp32_where_the_processor_would_emulate_bf16(monkeypatch):
    monkeypatch.setattr("unseen.arrays.devices._cpu_multiplies_bf16", lambda: False)
    assert resolve_precision("auto", torch.device("cpu")) is None


def test_unknown_precision_and_bf16_on_another_device_are_errors():
    with pytest.raises(ConfigError, match="fp16"):
        resolve_precision("fp16", torch.device("cpu"))
    with pytest.raises(ConfigError, match="bf16"):
        resolve_precision("bf16", torch.device("mps"))


def test_a_seeded_block_repeats_and_leaves_the_global_state_untouched():
    before = torch.get_rng_state()
    with seeded(7):
        first = torch.rand(5)
    with seeded(7):
        second = torch.rand(5)
    with seeded(8):
        other = torch.rand(5)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_the_global_state_is_untouched_when_the_block_fails():
    def fail():
        with seeded(7):
            torch.rand(3)
            raise ValueError("stop")

    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="stop"):
        fail()
    assert torch.equal(before, torch.get_rng_state())
