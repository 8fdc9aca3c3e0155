"""The WebAssembly tests run the modules that `make wasm` built; where nothing was built they are skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from claude_flow.wasm.modules import ISAS, available


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [isa for isa in ISAS if isa not in available()]
    if missing:
        skip = pytest.mark.skip(reason=f"{missing[0]}.wasm is not built: run  make wasm")
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The three networks at the spec's sizes, with random weights."""
    torch = pytest.importorskip("torch")
    from claude_flow import export, nets

    folder = tmp_path_factory.mktemp("models")
    for network in nets.NETWORKS:
        torch.manual_seed(7)
        export.save(nets.create(network).eval(), folder / f"{network}.safetensors")
    return {network: folder / f"{network}.safetensors" for network in nets.NETWORKS}


@pytest.fixture(scope="session")
def int8_files(files: dict[str, Path]) -> dict[str, Path]:
    """The same networks with 8-bit weights."""
    from claude_flow import modelfile
    from claude_flow.quantize import quantize

    quantized = {network: path.with_name(f"{network}-int8.safetensors") for network, path in files.items()}
    for network, path in files.items():
        modelfile.write(quantized[network], quantize(modelfile.read(path)))
    return quantized
