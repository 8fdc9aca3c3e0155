"""SWF, ASlib and SWE-bench Pro on small files written here."""

from __future__ import annotations

import gzip
import json
from datetime import datetime, timezone

import pytest

from claude_flow.data.collect import collect
from claude_flow.data.tables import read_table
from claude_flow.errors import InputError

SWF = """\
; Version: 2.2
; UnixStartTime: 1000000000
; Note: made up
; Note: twice
   1   10   5   60  4  50 2048  4  100 4096  1  7  2  9  1  3 -1 -1
   2   20  -1   60  4  -1   -1  4  100   -1  0  8  2  9  1  3 -1 -1

   3   30  -1    0 -1  -1   -1 -1   -1   -1  5 -1 -1 -1 -1 -1 -1 -1
   4   40   1    2  3
   5   50   1   6x  4  50 2048  4  100 4096  1  7  2  9  1  3 -1 -1
"""


def test_swf(tmp_path, gather):
    path = tmp_path / "small.swf.gz"
    path.write_bytes(gzip.compress(SWF.encode()))
    found, log = gather(path)
    first, second, third = found["Run"]
    assert (first.run_id, first.group, first.agent, first.user, first.user_group) == ("small/1", "small", "7", "7", "2")
    assert (first.executable, first.queue, first.partition, first.task_type) == ("9", "1", "3", "9")
    assert first.submitted == datetime.fromtimestamp(1_000_000_010, timezone.utc)
    assert (first.start - first.submitted).total_seconds() == first.queue_s == 5
    assert (first.end - first.start).total_seconds() == first.duration_s == 60
    assert (first.cpu_s, first.memory_mb, first.requested_memory_mb) == (200, 8, 16)
    assert (first.processors, first.requested_processors, first.requested_s) == (4, 4, 100)
    assert (first.status, first.success) == ("completed", True)
    # Without a waiting time the start is that of submission, and the wait is unknown.
    assert (second.start, second.queue_s, second.cpu_s, second.success) == (second.submitted, None, None, False)
    assert (third.status, third.duration_s, third.agent) == ("killed", 0, None)
    assert [(r["line"], r["reason"]) for r in log.rejected] == [
        (9, "18 numbers are wanted"),
        (10, "18 numbers are wanted"),
    ]
    assert log.header["small"]["Note"] == "made up; twice"


def test_swf_by_its_content_when_the_name_does_not_tell(tmp_path, gather):
    path = tmp_path / "workload.txt"
    path.write_text("".join(f"{n} {n} 5 60 4 50 20 4 100 40 1 7 2 9 1 3 -1 -1\n" for n in range(50)))
    found, log = gather(path)
    assert (len(found["Run"]), log.rejected_total) == (50, 0)


@pytest.mark.parametrize(
    "header", ["; MaxJobs: 1", "; UnixStartTime: UNKNOWN", "; UnixStartTime: -1", "; UnixStartTime: 0"]
)
def test_swf_without_a_clock_keeps_order_and_waits(tmp_path, header):
    jobs = "".join(f"{n} {100 * n} {n} 60 4 50 20 4 100 40 1 7 2 9 1 3 -1 -1\n" for n in range(1, 5))
    path = tmp_path / "x.swf"
    path.write_text(f"{header}\n{jobs}")
    manifest = collect([path], tmp_path / "d")
    assert manifest["notes"] == {"logs without a start time (their times count from 1970)": 1}
    runs = read_table(tmp_path / "d", "runs").to_pylist()
    assert [(r["submitted"].timestamp(), r["queue_s"], r["end"].timestamp()) for r in runs] == [
        (100.0 * n, n, 100.0 * n + n + 60) for n in range(1, 5)
    ]


def test_swf_with_more_columns_reads_the_18(tmp_path):
    path = tmp_path / "x.swf"
    line = " 1 10 5 60 4 50 20 4 100 40 1 7 2 9 1 3 -1 -1"
    path.write_text(f"; UnixStartTime: 1000000000 (Sun Sep 9)\n{line} {{7,7}} q_long 1:ppn=4:cl_x\n{line}\t-1\n")
    manifest = collect([path], tmp_path / "d", quality_filter="none")
    assert manifest["notes"] == {"logs with more than 18 columns (the others are not read)": 1}
    (run,) = read_table(tmp_path / "d", "runs").to_pylist()  # the second has the same number
    assert (run["submitted"].timestamp(), run["partition"], run["duration_s"]) == (1_000_000_010, "3", 60)


@pytest.mark.parametrize("change", [("10", "-10"), ("10", "1e300"), ("60", "1e300"), ("60", "nan")])
def test_swf_values_out_of_range_are_rejected(tmp_path, gather, change):
    path = tmp_path / "x.swf"
    path.write_text("; UnixStartTime: 1\n 1 10 5 60 4 50 20 4 99 40 1 7 2 9 1 3 -1 -1\n".replace(*change))
    found, log = gather(path)
    assert (found["Run"], log.rejected_total) == ([], 1)


@pytest.fixture
def scenario(tmp_path):
    folder = tmp_path / "TOY"
    folder.mkdir()
    runs = (
        "@RELATION runs\n@ATTRIBUTE instance_id STRING\n@ATTRIBUTE repetition NUMERIC\n@ATTRIBUTE algorithm STRING\n"
        "@ATTRIBUTE {time} NUMERIC\n@ATTRIBUTE runstatus {{ok, timeout, memout}}\n\n@DATA\n"
        "i1,1,fast,2.5,ok\ni1,1,slow,100,timeout\ni2,1,fast,100,ok\n% a comment\n'i 3, x',1,slow,7,memout\n"
        "i4,1,slow,ok\n"
    )
    (folder / "algorithm_runs.arff").write_text(runs.format(time="runtime"))
    (folder / "par10.arff").write_text(runs.format(time="PAR10").replace(",100,timeout", ",1000,timeout"))
    (folder / "feature_values.arff").write_text(
        "@relation f\n@attribute instance_id string\n@attribute repetition numeric\n@attribute 'n vars' numeric\n"
        "@attribute density numeric\n@data,\ni1,1,10,0.5\ni1,2,11,0.5\ni2,1,?,0.25\n"
    )
    (folder / "feature_costs.arff").write_text(
        "@relation c\n@attribute instance_id string\n@attribute repetition numeric\n@attribute a numeric\n"
        "@attribute b numeric\n@data\ni1,1,0.5,0.25\ni2,1,?,1\n"
    )
    (folder / "cv.arff").write_text(
        "@relation cv\n@attribute instance_id string\n@attribute repetition numeric\n@attribute fold numeric\n@data\n"
        "i1,1,1\ni2,1,2\n"
    )
    (folder / "description.txt").write_text(
        "scenario_id: TOY-1\nalgorithm_cutoff_time: 50\nperformance_measures:\n- runtime\n"
        "feature_steps:\n  a:\n    x: 1\n"
    )
    return folder


@pytest.mark.parametrize("kind", ["runtime", "par10"])
def test_aslib(scenario, gather, kind):
    if kind == "par10":
        (scenario / "par10.arff").replace(scenario / "algorithm_runs.arff")
    found, log = gather(scenario)
    told = {(r.task, r.agent): (r.success, r.status, r.duration_s) for r in found["Run"]}
    assert told == {
        ("i1", "fast"): (True, "completed", 2.5),
        ("i1", "slow"): (False, "timeout", 50),
        ("i2", "fast"): (False, "timeout", 50),  # ok, but not below the cutoff
        ("i 3, x", "slow"): (False, "failed", 7),
    }
    assert [run.utility for run in found["Run"]] == [1 - 2.5 / 500, 0, 0, 0]
    assert {run.requested_s for run in found["Run"]} == {50.0}
    assert [(t.task, t.feature_cost_s, t.features) for t in found["Task"]] == [
        ("i1", 0.75, {"n vars": 10.0, "density": 0.5}),
        ("i2", 1.0, {"n vars": None, "density": 0.25}),
    ]
    assert [(f.task, f.fold) for f in found["Fold"]] == [("i1", 1), ("i2", 2)]
    assert [r["reason"] for r in log.rejected] == ["5 cells are wanted, here are 4"]
    assert log.header["TOY-1"]["performance_measures"] == "runtime"


QUALITY = """\
@RELATION runs
@ATTRIBUTE instance_id STRING
@ATTRIBUTE repetition NUMERIC
@ATTRIBUTE algorithm STRING
@ATTRIBUTE {measure} NUMERIC
@ATTRIBUTE other NUMERIC
@ATTRIBUTE runstatus {{ok,timeout,crash}}
@DATA
i1,1,tree,0.75,9,ok
i1,1,forest,-3,9,ok
i2,1,tree,0.5,9,timeout
i2,1,forest,?,9,crash
i3,1,tree,?,9,ok
"""


@pytest.mark.parametrize(
    ("described", "sign"),
    [
        (
            "performance_measures:\n- acc\n- x\nmaximize:\n- true\n- false\nperformance_type:\n- solution_quality\n",
            1,
        ),
        ("performance_measures: [acc, other]\nmaximize: [true, false]\nperformance_type: [solution_quality]\n", 1),
        ("performance_measures: acc\nmaximize: false\nperformance_type: solution_quality\n", -1),
        ("performance_measures: another name\nperformance_type: Solution_Quality\n", -1),
    ],
)
def test_aslib_solution_quality(scenario, gather, described, sign):
    (scenario / "algorithm_runs.arff").write_text(QUALITY.format(measure="acc"))
    (scenario / "description.txt").write_text("scenario_id: Q\nalgorithm_cutoff_time: 0\n" + described)
    found, log = gather(scenario)
    assert [(r.task, r.agent, r.utility, r.status, r.success, r.duration_s) for r in found["Run"]] == [
        ("i1", "tree", 0.75 * sign, "completed", None, None),
        ("i1", "forest", -3 * sign, "completed", None, None),
        ("i2", "tree", 0.5 * sign, "timeout", False, None),
        ("i2", "forest", None, "failed", False, None),
    ]
    assert [r["reason"] for r in log.rejected] == ["a run that ended well has no acc"]
    assert {r.requested_s for r in found["Run"]} == {None}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("algorithm_runs.arff", "@relation x\n@attribute instance_id string\n", "no @data section"),
        ("algorithm_runs.arff", QUALITY.format(measure="acc"), "the runs have no column runtime or par10"),
        ("cv.arff", "@relation x\n@data\n", "the attribute instance_id is missing"),
    ],
)
def test_one_odd_scenario_leaves_the_others_readable(tmp_path, scenario, name, content, said):
    (scenario / "par10.arff").unlink()
    odd = tmp_path / "ODD"
    odd.mkdir()
    for file in scenario.iterdir():
        (odd / file.name).write_text(content if file.name == name else file.read_text().replace("TOY-1", "ODD"))
    manifest = collect([tmp_path], tmp_path / "d", quality_filter="none", bad_line_share=0.5)
    assert set(read_table(tmp_path / "d", "runs").column("group").to_pylist()) == {"TOY-1"}
    assert [(found["file"], said in found["reason"]) for found in manifest["left_out"]] == [(str(odd), True)]


def test_scenarios_with_different_features_share_one_table(tmp_path, scenario):
    other = tmp_path / "OTHER"
    other.mkdir()
    for file in scenario.iterdir():
        changed = file.read_text().replace("TOY-1", "OTHER").replace("density", "depth")
        (other / file.name).write_text(changed.replace("i4,1,slow,ok\n", ""))
    (scenario / "algorithm_runs.arff").write_text((other / "algorithm_runs.arff").read_text())
    manifest = collect([tmp_path], tmp_path / "out", quality_filter="none")
    assert manifest["tables"]["tasks"]["columns"][5:] == ["x:n vars", "x:depth", "x:density"]
    tasks = read_table(tmp_path / "out", "tasks").to_pylist()
    assert [(t["group"], t["x:depth"], t["x:density"]) for t in tasks] == [
        ("OTHER", 0.5, None),
        ("OTHER", 0.25, None),
        ("TOY-1", None, 0.5),
        ("TOY-1", None, 0.25),
    ]


def test_feature_columns_that_appear_after_a_row_group(tmp_path):
    lines = [{"event": "task", "task": f"t{n}", "features": {"a": n}} for n in range(16_390)]
    lines.append({"event": "task", "task": "last", "features": {"b": 1}})
    path = tmp_path / "e.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    collect([path], tmp_path / "d")
    tasks = read_table(tmp_path / "d", "tasks")
    assert tasks.num_rows == 16_391
    assert tasks.column("x:a").to_pylist()[16_388:] == [16_388, 16_389, None]
    assert tasks.column("x:b").null_count == 16_390


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("algorithm_runs.arff", "@RELATION x\n@ATTRIBUTE instance_id STRING\n", "no @data section"),
        ("algorithm_runs.arff", "@relation x\n@attribute instance_id string\n@data\ni1\n", "repetition is missing"),
        ("cv.arff", "@relation x\n@data\n", "instance_id is missing"),
    ],
)
def test_aslib_headers_that_lack_something(tmp_path, scenario, name, content, said):
    (scenario / name).write_text(content)
    with pytest.raises(InputError, match=said):
        collect([scenario], tmp_path / "d")


@pytest.fixture
def bench(tmp_path):
    folder = tmp_path / "runs"
    (folder / "swebench_pro_eval_results").mkdir(parents=True)
    tasks = [f"instance_acme__web-shop-{letter * 40}-vnan" for letter in "abc"]
    rows = [
        "agent_run_id,metadata.instance_id,metadata.model_name,metadata.resolved,metadata.turns,tag,created_at",
        f'r1,{tasks[0]},GPT-5 - 10132025,true,3,,"Oct 1, 2025"',
        f"r2,{tasks[0]},Kimi - paper,false,51,,x",
        f"r3,{tasks[1]},Kimi - paper,maybe,5,,x",
        f"r4,{tasks[1]},Kimi - paper,,,,x",
        "r5,,,true,1,,x",
    ]
    (folder / "swebench_pro_agent_runs_data.csv").write_text("\n".join(rows) + "\n")
    stats = {"instance_cost": 1.5, "tokens_sent": 100, "tokens_received": 10}
    metrics = {"steps": 3, "model_stats": stats, "tool_time": {"total_seconds": 4.5}}
    (folder / "swebench_pro_run_metrics.json").write_text(json.dumps([{"instance_id": tasks[0], "gpt5": metrics}]))
    walks = {
        "high_level_letter": {"read": "R", "edit": "E"},
        "char_to_low_level_intent": {"a": "read-file", "b": "edit-file"},
        "rows": [
            {
                "model": "gpt5",
                "task": tasks[0],
                "steps": 3,
                "exit_status": "submitted",
                "high_seq": "REX",
                "low_seq": "abz",
            },
            {
                "model": "gpt5",
                "task": tasks[2],
                "steps": 1,
                "exit_status": "exit_context",
                "high_seq": "R",
                "low_seq": None,
            },
        ],
    }
    (folder / "swebench_pro_trajectory_sequences.json").write_text(json.dumps(walks))
    info = {"instance_id": tasks[0], "repo": "acme/web-shop", "n_test_files": 2, "test_files": '["a.js", "b.js"]'}
    info["problem_statement"] = "The cart loses items"
    (folder / "swebench_pro_instance_info.jsonl").write_text(json.dumps(info) + "\n")
    verdicts = {tasks[0]: True, tasks[1]: False, tasks[2]: None}
    (folder / "swebench_pro_eval_results" / "kimi-k2-instruct-10132025.json").write_text(json.dumps(verdicts))
    return folder


def test_swebench_pro(bench, gather):
    found, log = gather(bench)
    runs = {run.run_id: run for run in found["Run"]}
    walked = runs["r1"]
    assert (walked.success, walked.utility, walked.steps, walked.cost, walked.tokens) == (True, 1.0, 3, 1.5, 110)
    assert (walked.tool_s, walked.group, walked.agent_type) == (4.5, "swebench-pro/250-turns", "GPT-5")
    assert (walked.task_type, walked.start) == ("acme/web-shop", None)
    assert (runs["r2"].success, runs["r2"].group, runs["r2"].cost) == (False, "swebench-pro/paper", None)
    assert (runs["r4"].success, runs["r4"].utility, runs["r4"].steps) == (None, None, None)
    unknown = next(run for run in found["Run"] if run.run_id.startswith("GPT-5"))
    assert (unknown.success, unknown.status, unknown.steps) == (None, "failed", 1)
    assert [(s.run_id, s.action, s.detail) for s in found["Step"]][:3] == [
        ("r1", "read", "read-file"),
        ("r1", "edit", "edit-file"),
        ("r1", "X", "z"),
    ]
    task = found["Task"][0]
    # Nobody knows before a run how many hidden tests will judge it.
    assert (task.description, task.features) == (
        "The cart loses items",
        {"words": 4.0, "lines": 1.0, "code_words": 0.0},
    )
    assert [r["line"] for r in log.rejected] == [4, 6]
    assert log.notes == {
        "runs that eval_results judges differently": 2,
        "runs of eval_results that agent_runs_data lacks (left out)": 1,
    }


def test_swebench_pro_parts_alone(bench, gather):
    found, _ = gather(bench / "swebench_pro_eval_results")
    assert [(r.agent, r.success, r.utility) for r in found["Run"]] == [
        ("Kimi - paper", True, 1.0),
        ("Kimi - paper", False, 0.0),
        ("Kimi - paper", None, None),
    ]
    found, _ = gather(bench / "swebench_pro_instance_info.jsonl")
    assert (len(found["Run"]), len(found["Task"])) == (0, 1)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("agent_runs_data.csv", "a,b\n1,2\n", "the column agent_run_id is missing"),
        ("run_metrics.json", '{"a": 1}', "a list of tasks is wanted"),
        ("run_metrics.json", "[1, 2", "line 1 column 6: not JSON"),
        ("trajectory_sequences.json", "[]", "an object with rows is wanted"),
    ],
)
def test_swebench_pro_documents_that_cannot_be_used(tmp_path, bench, name, content, said):
    (bench / f"swebench_pro_{name}").write_text(content)
    with pytest.raises(InputError, match=said):
        collect([bench], tmp_path / "d")
