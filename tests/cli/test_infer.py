"""``neural infer`` as a user runs it: the specification's three requests, and what goes wrong."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.guide import walk

from claude_flow import cli, networks, registry, requests
from claude_flow.model import load_for

SWARM = {
    "current-agents": [{"id": "a", "type": "coder"}, {"id": "b", "type": "tester"}],
    "pending-tasks": [{"id": "t", "type": "implementation"}],
}


EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "swarm.json"


def spec_words(network: str) -> list[str]:
    """The words after ``claude-flow`` of the guide's line for ``network``; of one without, on its swarm."""
    swarm = ["neural", "infer", network, "--input", f"@{EXAMPLE}"]
    return next((line.words[1:] for line in walk.lines() if line.name == f"infer {network}"), swarm)


@pytest.fixture
def models(small_models: dict[str, Path]) -> dict[str, Path]:
    """The small models, in the workspace as NETWORK-v9."""
    return {
        network: registry.add_model(f"{network}-v9", None, file, {"network": network})
        for network, file in small_models.items()
    }


def one_line(done: subprocess.CompletedProcess[str], code: int = 2) -> str:
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"current-agents": [}', "line 1 column 21: not JSON"),
        ('{"current-agents": [],\n "current-agents": []}', "line 2 column 2"),
        ('{"system-state": {"cpu-usage": NaN}}', "line 1 column 32: NaN"),
        ("[1, 2]", "a json object is wanted here, not a list"),
        ("@no-such-file.json", "no-such-file.json: No such file"),
        ("swarm.jsn", "neither JSON nor a file"),
    ],
)
def test_input_that_is_no_json_object(run, text, message):
    assert message in one_line(run("neural", "infer", "coordination", "--input", text))


@pytest.mark.parametrize("network", ["coordination", "action"])
def test_a_swarm_that_is_not_given(run, network):
    assert "Missing option '--input'" in one_line(run("neural", "infer", network))


@pytest.mark.parametrize("threshold", ["1.5", "NaN", "high"])
def test_a_threshold_is_a_share(run, threshold):
    words = ["neural", "infer", "coordination", "--input", json.dumps(SWARM), "--confidence-threshold", threshold]
    assert "not a share" in one_line(run(*words))


def test_an_unknown_model_names_the_near_one(run, models):
    words = ["neural", "infer", "coordination", "--input", json.dumps(SWARM), "--model", "cordination-v9"]
    assert "did you mean coordination-v9" in one_line(run(*words))


HEADER = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"junk",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", len(HEADER)) + HEADER,  # cut off before its data
        struct.pack("<Q", len(HEADER)) + HEADER + bytes(8),  # whole, but not one of ours
    ],
    ids=["empty", "junk", "huge", "nothing", "truncated", "foreign"],
)
def test_a_file_that_is_no_model(run, tmp_path, content):
    (tmp_path / "m.safetensors").write_bytes(content)
    words = ["neural", "infer", "coordination", "--input", json.dumps(SWARM), "--model", "m.safetensors"]
    assert "m.safetensors" in one_line(run(*words))


# The specification's three requests ---------------------------------------------------------------------------------


def test_the_coordination_request_of_the_specification(run, models):
    done = run(*spec_words("coordination"))
    assert done.returncode == 0, done.stderr
    alone = "the network alone: the workspace has no log (claude-flow neural data collect)"
    assert done.stdout.startswith(f"Assignments by {alone} (coordination-v9/1.0.0)\ntask ")
    found = json.loads(run(*spec_words("coordination"), "--format", "json").stdout)
    assert found["network"] == "coordination"
    assert [entry["task"] for entry in found["assignments"]] == ["task-001", "task-002"]
    assert found["confidence_threshold"] == 0.8
    for entry in found["assignments"]:
        assert (entry["confidence"] < 0.8) == (entry["decision"] == "withheld")
        assert entry["explanation"]


def test_the_optimization_request_of_the_specification(run, models):
    done = run(*spec_words("optimization"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Recommendations: reduce-latency, improve-throughput (optimization-v9/1.0.0)\n")
    found = json.loads(run(*spec_words("optimization"), "--top", "3", "--format", "json").stdout)
    assert len(found["recommendations"]) == 3
    sure = ["--confidence-threshold", "100%", "--explain-decision", "--format", "json"]
    withheld = json.loads(run(*spec_words("optimization"), *sure).stdout)
    assert len(withheld["withheld"]) == 5
    assert withheld["recommendations"] == []


SHIPPED = sorted((Path(registry.__file__).parent / "models").glob("*.safetensors"))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_the_models_that_ship_answer_the_specification(run, file):
    network = file.stem.partition("-")[0]
    newest = max(other.stem for other in SHIPPED if other.stem.startswith(network))
    for words, model in (([], newest), (["--model", file.stem], file.stem)):
        found = json.loads(run(*spec_words(network), *words, "--format", "json").stdout)
        assert found["network"] == network
        assert found["model"] == model


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--current-performance", "{}", "current-performance"),
        ("--current-performance", '{"latncy": 120}', "did you mean latency"),
        ("--current-performance", '{"latency": NaN}', "NaN"),
        ("--current-performance", "45.2", "not a number"),
        ("--constraints", '{"max-memory": "16 bananas"}', "max-memory"),
        ("--constraints", "[1]", "a json object is wanted here, not a list"),
        ("--optimization-targets", "[]", "the list is empty"),
        ("--optimization-targets", "reduce-latncy", "did you mean reduce-latency"),
        ("--optimization-targets", '{"reduce-latency": -1}', "reduce-latency"),
        ("--top", "0", "--top"),
    ],
)
def test_an_optimization_that_cannot_be_advised(run, models, option, value, message):
    given_ = {"--current-performance": '{"latency": 120}', option: value}
    assert message in one_line(
        run("neural", "infer", "optimization", *(word for pair in given_.items() for word in pair))
    )


def test_the_prediction_request_of_the_specification(run, models):
    done = run(*spec_words("prediction"))
    assert done.returncode == 0, done.stderr
    title = done.stdout.splitlines()[0]
    assert title.startswith("Forecast by the model's prior alone, ")
    assert title.endswith(" (prediction-v9/1.0.0)")
    assert done.stdout.splitlines()[1].split()[:5] == ["median", "80", "%", "95", "%"]
    found = json.loads(run(*spec_words("prediction"), "--format", "json").stdout)
    time = found["predictions"]["duration"]
    wide, narrow = time["intervals"]["0.95"], time["intervals"]["0.8"]
    assert wide[0] <= narrow[0] <= time["median"] <= narrow[1] <= wide[1]
    assert "no dataset swarm-training-data" in found["history"]["note"]  # said, not hidden
    only = json.loads(run(*spec_words("prediction"), "--uncertainty-quantification=false", "--format", "json").stdout)
    assert "intervals" not in only["predictions"]["duration"]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--task-description", " ", "task-description"),
        ("--historical-context", "no-such-dataset", "there is no dataset 'no-such-dataset'"),
        ("--current-team-capacity", '{"available-agent": 4}', "did you mean available-agents"),
        ("--current-team-capacity", '{"available-agents": 1e999}', "1e999"),
        ("--confidence-intervals", "80,95", "not a share"),
        ("--confidence-intervals", "99%", "at most 0.95"),
        ("--uncertainty-quantification", "perhaps", "neither true nor false"),
        ("--requested-time", "-5m", "not a duration"),
        ("--processors", "inf", "not a finite number"),
        ("--decision-time", "yesterday", "ISO 8601"),
    ],
)
def test_a_prediction_that_cannot_be_made(run, models, option, value, message):
    words = ["neural", "infer", "prediction", "--task-description", "implement it"]
    assert message in one_line(run(*words, f"{option}={value}"))


def test_a_model_of_another_network(run, models):
    words = ["neural", "infer", "coordination", "--input", json.dumps(SWARM), "--model", "prediction-v9"]
    assert "is a prediction model" in one_line(run(*words))


def test_model_version_backend_isa_and_threads(run, models):
    words = ["neural", "infer", "coordination", "--input", json.dumps(SWARM), "--format", "json"]
    answers = [
        json.loads(run(*words, *more).stdout)["assignments"]
        for more in (
            [],
            ["--model", "coordination-v9"],
            ["--model", "coordination-v9/1.0.0", "--threads", "2"],
            ["--model", str(models["coordination"]), "--isa", "scalar"],
            ["--backend", "torch"],
        )
    ]
    for answer in answers[1:]:
        assert [entry["agent"] for entry in answer] == [entry["agent"] for entry in answers[0]]
    assert "avx9000" in one_line(run(*words, "--isa", "avx9000"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"current-agents": []}, "current-agents"),
        ({"pending-tasks": []}, "pending-tasks"),
        ({"pending-task": []}, "pending-task"),
        ({"current-agents": [{"id": "a", "type": "coder"}] * 2}, "a"),
        ({"current-agents": [{"id": "a", "type": "coder", "load": "heavy"}]}, "load"),
        ({"pending-tasks": [{"id": f"t{i}", "type": "testing"} for i in range(127)]}, "12"),
    ],
    ids=["no agents", "no tasks", "unknown field", "duplicate id", "a word for a number", "130 tokens"],
)
def test_a_swarm_that_cannot_be_answered_for(run, models, change, message):
    assert message in one_line(run("neural", "infer", "coordination", "--input", json.dumps({**SWARM, **change})))


# Fuzz: no request, however odd, is an internal error -----------------------------------------------------------------

ODD = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.lists(st.text(max_size=4) | st.integers(), max_size=3)
    | st.dictionaries(st.text(max_size=4), st.integers(), max_size=2)
)


def places(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """The paths of everything inside a JSON value."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, child in children for found in [(*path, key), *places(child, (*path, key))]]


@st.composite
def varied(draw: st.DrawFn, template: dict[str, object]) -> object:
    """A request of the specification with a value or two replaced, dropped, doubled or renamed."""
    request = json.loads(json.dumps(template))
    for _ in range(draw(st.integers(1, 2))):
        *path, last = draw(st.sampled_from(places(template)))
        with contextlib.suppress(
            AttributeError, KeyError, IndexError, TypeError
        ):  # an earlier change took the place away
            inside = request
            for step in path:
                inside = inside[step]
            how = draw(st.sampled_from(["replace", "replace", "drop", "double", "rename"]))
            value = inside.pop(last)
            if isinstance(inside, list):
                inside[last:last] = {"replace": [draw(ODD)], "drop": [], "double": [value] * 2}.get(how, [value])
            elif how != "drop":
                inside[draw(st.text(max_size=6)) if how == "rename" else last] = (
                    draw(ODD) if how == "replace" else value
                )
    return request


def fuzz(options: dict[str, object], words: list[str], model: Path) -> None:
    told, shown = io.StringIO(), io.StringIO()
    for option, value in options.items():
        words = [*words, option, json.dumps(value)]
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(shown):
        code = cli.main([*words, "--model", str(model), "--format", "json"])
    assert code in (0, 2), told.getvalue()
    assert "internal error" not in told.getvalue()
    assert (code == 0) == bool(shown.getvalue())


FUZZ = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
SPEC_SWARM = json.loads(spec_words("coordination")[4])


@FUZZ
@given(request=varied(SPEC_SWARM))
def test_fuzz_coordination(small_models, request):
    fuzz({"--input": request}, ["neural", "infer", "coordination"], small_models["coordination"])


@FUZZ
@given(capacity=varied(json.loads(spec_words("prediction")[8])), words=st.text(max_size=20))
def test_fuzz_prediction(small_models, capacity, words):
    start = ["neural", "infer", "prediction", f"--task-description={words}"]
    fuzz({"--current-team-capacity": capacity}, start, small_models["prediction"])


@FUZZ
@given(
    performance=varied(json.loads(spec_words("optimization")[4])),
    constraints=varied(json.loads(spec_words("optimization")[6])),
)
def test_fuzz_optimization(small_models, performance, constraints):
    options = {"--current-performance": performance, "--constraints": constraints}
    fuzz(options, ["neural", "infer", "optimization"], small_models["optimization"])


def test_where_there_is_a_workspace_requests_are_logged_and_can_be_saved(run, models, environment, tmp_path):
    swarm = ["--input", json.dumps(SWARM), "--model", "coordination-v9"]
    task = ["--task-description", "fix it", "--confidence-intervals", "80%", "--requested-time", "2h"]
    saved = ["--save-request", "asked.jsonl"]
    said = run("neural", "infer", "coordination", *swarm, *saved, "--format", "json")
    assert said.returncode == run("neural", "infer", "prediction", *task, *saved).returncode == 0, said.stderr
    assert run("neural", "infer", "coordination", *swarm, "--log-request", "false").returncode == 0
    off = {**environment, "CLAUDE_FLOW_LOG_REQUESTS": "false"}
    assert run("neural", "infer", "coordination", *swarm, env=off).returncode == 0
    assert run("neural", "infer", "coordination", "--input", "{}").returncode == 2  # no answer, nothing to log

    first, second = requests.logged()
    assert (first.network, first.input, first.model) == ("coordination", SWARM, "coordination-v9")
    assert first.answer == json.loads(said.stdout)
    assert second.input["task-description"] == "fix it"
    again = [request for _, request in requests.read(tmp_path / "asked.jsonl")]
    assert [(request.network, request.input) for request in again] == [
        (request.network, request.input) for request in (first, second)
    ]
    answers = networks.get("prediction").answer  # what was saved can be asked again
    assert answers.answer(load_for("prediction"), again[1].input)["task"] == "fix it"


def test_without_a_workspace_nothing_is_written(run, small_models, environment):
    words = ["--input", json.dumps(SWARM), "--model", str(small_models["coordination"])]
    assert run("neural", "infer", "coordination", *words).returncode == 0
    assert not Path(environment["CLAUDE_FLOW_HOME"]).exists()


def test_a_log_that_cannot_be_written_does_not_cost_the_answer(run, models, environment):
    Path(environment["CLAUDE_FLOW_HOME"], "requests").write_text("a file in its place")
    done = run("neural", "infer", "coordination", "--input", json.dumps(SWARM))
    assert done.returncode == 0
    assert "Assignments" in done.stdout
    assert done.stderr.startswith("warning: the request was not logged: ")
