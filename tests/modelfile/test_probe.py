"""A model cut at a value computes that value, in the file and on the fly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import claude_flow as cf
from claude_flow import _core, export, modelfile, nets
from claude_flow.errors import InputError
from claude_flow.modelfile import Op, layout, probe

CONFIGS = {
    "coordination": ({"width": 30, "heads": 3, "feed_forward": [37, 50], "output_width": 18}, (3, 9, 512)),
    "optimization": ({"hidden": [33, 70, 33]}, (5, 256)),
    "prediction": ({"width": 19, "layers": 2}, (3, 7, 128)),
}


@pytest.fixture(scope="module", params=list(CONFIGS))
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    torch.manual_seed(0)
    config, shape = CONFIGS[request.param]
    module = nets.create(request.param, config).eval()
    path = tmp_path_factory.mktemp("probe") / f"{request.param}.safetensors"
    export.save(module, path)
    return module, path, np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_every_value_is_what_torch_computes_there(saved) -> None:
    """Linear layers by their names: the engine's value is what the module of that name returns."""
    module, path, x = saved
    file = modelfile.read(path)
    program = file.parse()
    seen: dict[str, np.ndarray] = {}
    hooks = [
        part.register_forward_hook(lambda _, __, y, name=name: seen.__setitem__(name, y.detach().numpy()))
        for name, part in module.named_modules()
        if isinstance(part, torch.nn.Linear | torch.nn.LayerNorm)
    ]
    with torch.no_grad():
        module(torch.from_numpy(x))
    for hook in hooks:
        hook.remove()
    compared = 0
    for code, o in program.ops:
        name = program.tensor_names(o).get("weight", "").removesuffix(".weight")
        # Where the engine fuses an activation or a residual into the layer, torch has no module of that value.
        if name in seen and (code is Op.LAYER_NORM or (o.get("activation"), o.get("residual")) == (0, -1)):
            if code is Op.LINEAR and o["column"] != 0:
                continue
            y = probe.run(file, o["target"], x)
            if y.shape == seen[name].shape:
                assert np.abs(y - seen[name]).max() <= 1e-4 * np.abs(seen[name]).max(), name
                compared += 1
    assert compared > 0


def test_a_cut_file_holds_the_way_there_alone(saved, tmp_path: Path) -> None:
    _, path, x = saved
    file = modelfile.read(path)
    program = file.parse()
    middle = program.ops[len(program.ops) // 2][1]["target"]
    part = probe.cut(file, middle)
    assert part.parse().target == middle
    assert len(part.parse().ops) < len(program.ops)
    assert set(part.program_tensors) < set(file.program_tensors)
    assert set(part.tensors) - set(part.program_tensors) == set(file.tensors) - set(file.program_tensors)
    modelfile.write(tmp_path / "part.safetensors", part)
    want = probe.run(file, middle, x)
    assert np.array_equal(cf.load(tmp_path / "part.safetensors").run(x), want)
    assert np.array_equal(probe.run(part, middle, x), want)
    whole = probe.cut(file, program.target)
    assert (whole.program, whole.program_tensors) == (file.program, file.program_tensors)


def test_prepacked_files_are_cut_too(saved) -> None:
    _, path, x = saved
    file = modelfile.read(path)
    packed = layout.pack(file, layout.Layout(_core.selected(), *_core.layout("auto")))
    target = file.parse().ops[0][1]["target"]
    assert np.array_equal(probe.run(packed, target, x), probe.run(file, target, x))


def test_inputs_come_back_and_what_no_op_writes_is_refused(saved) -> None:
    _, path, x = saved
    file = modelfile.read(path)
    assert probe.run(file, file.parse().source, x) is x
    for value in (file.parse().source, -1, 10**6):
        with pytest.raises(InputError, match=f"value {value}: it cannot be cut there"):
            probe.cut(file, value)
