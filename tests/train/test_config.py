"""Training configurations: every field is checked, by name, type and range, before anything is loaded."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import claude_flow
from claude_flow import networks
from claude_flow.errors import InputError
from claude_flow.train import config


@pytest.mark.parametrize(
    ("network", "section", "message"),
    [
        ("prediction", {"network": {"hiden": 32}}, "network.hiden: no such field: did you mean hidden?"),
        (
            "prediction",
            {"network": {"hidden": "32"}},
            "network.hidden must be a whole number from 0 to 65536, not ",
        ),
        ("prediction", {"network": {"layers": -1}}, "network.layers must be a whole number from 0 to 64, not -1"),
        ("prediction", {"network": {"targets": 9}}, "network.targets must be 8, since"),
        ("prediction", {"network": {"width": True}}, "network.width must be a whole number"),
        ("coordination", {"network": {"feed-forward": 128}}, "network.feed-forward must be a list of widths, not "),
        ("coordination", {"network": {"feed-forward": [0]}}, "network.feed-forward[0] must be a whole number from 1"),
        ("coordination", {"network": {"feed-forward": []}}, "network.feed-forward is empty"),
        ("coordination", {"network": {"input_width": 64}}, "network.input_width must be 512, since"),
        ("coordination", {"network": {"commands": ["wait"]}}, "network.commands must be ['defer', 'split', "),
        ("coordination", {"network": {"width": 60}}, "network.width 60 is not a multiple of network.heads 8"),
        ("coordination", {"network": {"width": 10**9}}, "network.width must be a whole number from 1 to 65536"),
        ("optimization", {"network": {"output_width": 64}}, "network.output_width must be 128, since"),
        ("optimization", {"data": {"forgt": 0.2}}, "data.forgt: no such field"),
        ("prediction", {"data": {"forgt": 0.2}}, "data.forgt: no such field: did you mean forget?"),
        ("prediction", {"data": {"forget": 2}}, "data.forget must be a number from 0 to 1, not 2"),
        (
            "prediction",
            {"learning-rate": 0.001},
            "learning-rate must be an object with initial, schedule",
        ),
        ("prediction", {"learning-rate": {"inital": 1}}, "learning-rate.inital: no such field: did you mean initial?"),
        (
            "prediction",
            {"attention-config": {"num-heads": 2}},
            "attention-config.num-heads: prediction has no use",
        ),
        (
            "prediction",
            {"sequence-length": 99, "network": {"max_tokens": 64}},
            "sequence-length 99 is above ",
        ),
        (
            "prediction",
            {"early-stopping": {"monitor": "validation-duration-mea-log"}},
            "early-stopping.monitor must be one of validation-loss, ",
        ),
    ],
)
def test_a_mistyped_field_is_named(network, section, message):
    with pytest.raises(InputError) as caught:
        config.parse({f"{network}-training": section}, network, "c.json")
    assert str(caught.value).startswith(f"c.json: {network}-training.{message}")


def test_a_mistyped_monitor_has_its_near_match():
    section = {"early-stopping": {"monitor": "validation-duration-mea-log"}}
    with pytest.raises(InputError, match=r"did you mean validation-duration-mae-log"):
        config.parse({"prediction-training": section}, "prediction")


@pytest.mark.parametrize("monitor", ["validation-regret", "validation-measured-regret"])
def test_a_monitor_may_be_of_a_part_of_the_data(monitor):
    section = {"early-stopping": {"monitor": monitor}}
    assert config.parse({"coordination-training": section}, "coordination").monitor == monitor


@pytest.mark.parametrize("network", networks.NETWORKS)
def test_sizes_and_their_specification_are_one(network):
    row = networks.NETWORKS[network]
    written = row.config()
    fields = {name: getattr(written, name) for name in row.sizes.fields}
    plain = {name: list(v) if isinstance(v, tuple) else v for name, v in fields.items()}
    assert row.config(plain) == written
    parsed = config.parse({f"{network}-training": {"network": plain}}, network)
    assert row.config(parsed.network) == written
    assert set(row.part("config").FIXED) <= set(fields)


def test_the_shipped_configurations_are_valid():
    for file in (Path(claude_flow.__file__).parent / "configs").glob("*.json"):
        network = re.match(r"[a-z]+", file.name)[0]
        assert config.read(file, network).source == json.loads(file.read_text())


def test_a_longest_sequence_follows_from_the_network():
    section = {"network": {"max_tokens": 64}}
    assert config.parse({"prediction-training": section}, "prediction").sequence_length == 64


def test_a_configuration_is_checked_before_torch_loads():
    code = (
        "import sys; from claude_flow.train import config\n"
        "try: config.parse({'prediction-training': {'network': {'hiden': 1}}}, 'prediction')\n"
        "except ValueError: print('torch' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
def test_a_byte_order_mark_is_no_part_of_it(tmp_path, mark):
    (tmp_path / "c.json").write_bytes(mark + b'{"prediction-training": {"epochs": 3}}')
    assert config.read(tmp_path / "c.json", "prediction").epochs == 3
