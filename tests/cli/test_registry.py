"""The workspace: look-up order, versions, near matches, atomic writes, the lock."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from claude_flow import registry
from claude_flow.errors import ClaudeFlowError, InputError
from claude_flow.files import atomic_write


@pytest.fixture
def model_file(tmp_path):
    file = tmp_path / "some.safetensors"
    file.write_bytes(b"weights")
    return file


def test_versions_follow_one_another_and_the_latest_is_the_highest(model_file):
    first = registry.add_model("coordination-v3", None, model_file, {"network": "coordination"})
    assert first.parent.name == "1.0.0"
    registry.add_model("coordination-v3", "3.9.0", model_file, {"network": "coordination"})
    latest = registry.add_model("coordination-v3", None, model_file, {"network": "coordination"})
    assert latest.parent.name == "3.10.0"  # by number, not by letter
    assert registry.model_path("coordination-v3") == latest
    assert registry.model_path("coordination-v3/1.0.0") == first
    assert registry.model_card(latest) == {"network": "coordination"}
    with pytest.raises(InputError, match="already"):
        registry.add_model("coordination-v3", "3.9.0", model_file, {})
    with pytest.raises(InputError, match=r"no version '2\.0\.0': it has 1\.0\.0, 3\.9\.0, 3\.10\.0"):
        registry.model_path("coordination-v3/2.0.0")


def test_a_path_wins_over_a_name(model_file, tmp_path, monkeypatch):
    registry.add_model("here", None, model_file, {})
    monkeypatch.chdir(tmp_path)
    Path("here").write_bytes(b"other weights")
    assert registry.model_path("here") == Path("here")
    assert registry.model_path(str(model_file)) == model_file


def test_an_unknown_model_names_the_near_ones_and_how_to_make_one(model_file):
    registry.add_model("coordination-v3", None, model_file, {})
    make = "claude-flow neural train prediction --config prediction-v2-large --output prediction-v2-large"
    with pytest.raises(InputError, match=f"'prediction-v2-large' is not made yet.*{make}"):
        registry.model_path("prediction-v2-large")  # a configuration ships, its model does not
    with pytest.raises(InputError, match=r"did you mean coordination-v3.*claude-flow neural train") as caught:
        registry.model_path("cordination-v3")
    assert len(str(caught.value).splitlines()) == 1


def test_the_newest_model_of_a_network(model_file):
    with pytest.raises(InputError, match="train one"):
        registry.newest_model("no-such-network")
    registry.add_model("z", None, model_file, {"network": "prediction"})
    newest = registry.add_model("a", None, model_file, {"network": "prediction"})
    registry.add_model("b", None, model_file, {"network": "coordination"})
    assert registry.newest_model("prediction") == newest


@pytest.mark.parametrize("name", ["../evil", "a/b", "/tmp/evil", ".hidden", ""])
@pytest.mark.parametrize("look_up", [registry.model_path, registry.dataset_path, registry.config_path])
def test_no_name_leads_out_of_the_workspace(look_up, name, model_file, tmp_path):
    (tmp_path / "workspace" / "models").mkdir(parents=True)
    with pytest.raises(InputError):
        registry.add_model(name, None, model_file, {})
    with pytest.raises(InputError):
        look_up(name)


@pytest.mark.parametrize("version", ["1", "1.2", "1.2.x", "../1.2.3", "1.2.3.4", "-1.2.3", ""])
def test_malformed_versions(version, model_file):
    with pytest.raises(InputError, match="three numbers"):
        registry.add_model("m", version, model_file, {})


def test_datasets_and_configurations(tmp_path, monkeypatch):
    folder = tmp_path / "workspace" / "datasets" / "swarm-training-data"
    atomic_write(folder / "manifest.json", "{}")
    assert registry.dataset_path("swarm-training-data") == folder
    assert registry.dataset_path(str(folder)) == folder
    with pytest.raises(InputError, match="did you mean swarm-training-data"):
        registry.dataset_path("swarm-traning-data")
    with pytest.raises(InputError, match=r"no manifest\.json"):
        registry.dataset_path(str(tmp_path))
    atomic_write(tmp_path / "workspace" / "configs" / "big.json", "{}")
    assert registry.config_path("big") == registry.config_path("big.json")
    with pytest.raises(InputError, match="did you mean big"):
        registry.config_path("bigg")


def test_the_lock_is_between_processes(environment):
    hold = "\n".join(
        [
            "import time",
            "from claude_flow import registry",
            "with registry.locked():",
            "    print('held', flush=True)",
            "    time.sleep(60)",
        ]
    )
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, env=environment) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(ClaudeFlowError, match="holds this lock"), registry.locked(timeout=0.1):
            pass
        holder.kill()
    with registry.locked(timeout=5):  # a killed process lets go
        pass


def test_concurrent_processes_get_versions_of_their_own(model_file, environment):
    add = (
        "import pathlib, sys; from claude_flow import registry;"
        "registry.add_model('m', None, pathlib.Path(sys.argv[1]), {})"
    )
    command = [sys.executable, "-c", add, str(model_file)]
    processes = [subprocess.Popen(command, env=environment) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert len(os.listdir(registry.workspace() / "models" / "m")) == 4


def test_look_up_is_quick(model_file):
    for index in range(20):
        registry.add_model(f"m{index}", None, model_file, {})
    start = time.perf_counter()
    for index in range(20):
        registry.model_path(f"m{index}")
    assert (time.perf_counter() - start) / 20 < 0.005


def test_a_newest_model_without_its_file_is_said(model_file):
    for _ in range(2):
        registry.add_model("m", None, model_file, {"network": "coordination"})
    assert registry.passed_over("coordination") == []
    newest = registry.newest_model("coordination")
    newest.unlink()
    assert registry.model_name(registry.newest_model("coordination")) == "m/1.0.0"
    assert registry.passed_over("coordination") == ["m/1.1.0 has no model.safetensors: m/1.0.0 answers"]
    assert registry.passed_over("prediction") == []


@pytest.mark.parametrize("damage", ["{", "[]", '{"network": 3}', "\udcff"])
def test_a_damaged_card_hides_its_own_model_alone(model_file, damage):
    registry.add_model("good", None, model_file, {"network": "coordination"})
    bad = registry.add_model("bad", None, model_file, {"network": "coordination"})
    (bad.parent / "card.json").write_bytes(damage.encode("utf-8", "surrogateescape"))
    assert registry.model_name(registry.newest_model("coordination")) == "good/1.0.0"
    (note,) = registry.passed_over("coordination")
    assert note.startswith("bad/1.0.0 is passed over: its card cannot be read (")
    with pytest.raises(InputError, match=r"card\.json: "):
        registry.model_card(bad)
