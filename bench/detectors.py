"""Drift detectors, ours and others', as functions of (reference, stream, seed) with rows [n, features]."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import statistics
from claude_flow.watch import drift
from claude_flow.watch.samples import Column, Sample

__all__ = ["DEFAULTS", "STATISTICS", "STREAMS", "Array", "ours", "there"]

Array = NDArray[np.float64]
Alarm = Callable[[Array, Array, int], bool]
Statistic = Callable[[Array, Array, int], float]


def there(name: str) -> bool:
    """Whether the library of a detector is installed."""
    library = {"river": "river", "Evidently": "evidently"}.get(name.split(",")[0].split()[0])
    return library is None or find_spec(library) is not None


def sample(values: Array) -> Sample:
    columns = {f"f{i}": Column(column) for i, column in enumerate(np.ascontiguousarray(values.T))}
    return Sample(columns, np.full(len(values), np.nan), "rows")


def ours(method: str) -> Alarm:
    def alarm(one: Array, other: Array, seed: int) -> bool:
        return bool(drift.compare(sample(one), sample(other), method, seed=seed)["verdict"] == "drift")

    return alarm


def _ours(one: Array, other: Array, seed: int) -> float:
    """The smallest corrected p of what is large enough."""
    found = drift.compare(sample(one), sample(other), "kolmogorov-smirnov", seed=seed)
    tests = [*found["features"], found["joint"]]
    return min((float(test["p_corrected"]) for test in tests if test["effect"] >= test["threshold"]), default=1.0)


def _bare(one: Array, other: Array, seed: int) -> float:
    return min(statistics.kolmogorov_smirnov(one[:, i], other[:, i])[1] for i in range(one.shape[1]))


def _adwin(one: Array, other: Array, seed: int) -> float:
    """The smallest delta of a row of them at which any feature's detector alarms in the stream."""
    from river import drift as river

    for delta in (1e-9, 1e-7, 1e-6, 1e-5, 1e-4, 5e-4, 0.002, 0.01, 0.05):
        for i in range(one.shape[1]):
            detector = river.ADWIN(delta=delta)
            for value in one[:, i].tolist():
                detector.update(value)
            for value in other[:, i].tolist():
                detector.update(value)
                if detector.drift_detected:
                    return delta
    return 1.0


def _river_kswin(**options: Any) -> Any:
    """river's KSWIN, its test read from a table: two times 30 values have 31 distances, each with one exact p.

    SciPy takes 0.7 ms for every value, a minute for three families; the window, the samples and the limits are river's.
    """
    from river.drift import kswin

    kswin.stats = SimpleNamespace(ks_2samp=ks_of_equals)
    return kswin.KSWIN(**options)


def ks_of_equals(one: list[float], other: list[float], method: str) -> tuple[float, float]:
    """SciPy's ``ks_2samp`` of two samples of one size, exact."""
    size = len(one)
    first, second, pooled = sorted(one), sorted(other), (*one, *other)
    most = max(abs(bisect_right(first, value) - bisect_right(second, value)) for value in pooled)
    return most / size, _exact(size, most)


@cache
def _exact(size: int, most: int) -> float:
    from scipy import stats

    low = np.arange(size)  # above all of them lie ``most`` values of the other sample: the distance is most / size
    return float(stats.ks_2samp(low, low + most, method="exact").pvalue)


def _kswin(one: Array, other: Array, seed: int) -> float:
    """The smallest p that any feature's detector saw in the stream; its own limit keeps it from starting anew."""
    lowest = 1.0
    for i in range(one.shape[1]):
        detector = _river_kswin(alpha=1e-300, seed=seed)
        for value in one[-detector.window_size :, i].tolist():  # older values leave its window
            detector.update(value)
        for value in other[:, i].tolist():
            detector.update(value)
            lowest = min(lowest, float(detector.p_value))
    return lowest


def _evidently(one: Array, other: Array, seed: int) -> dict[str, Any]:
    """Its report of a pair; the latest are kept, since two detectors read them."""
    key = hash((one.tobytes(), other.tobytes()))
    if key not in _reports:
        if len(_reports) >= 200:
            _reports.clear()
        _reports[key] = _report(one, other)
    return _reports[key]


_reports: dict[int, dict[str, Any]] = {}


def _report(one: Array, other: Array) -> dict[str, Any]:
    import pandas
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics.column_statistics import ValueDriftCalculation
    from evidently.presets import DataDriftPreset

    # its drawings take nine tenths of the time, and say nothing more
    ValueDriftCalculation._render = DataDriftPreset.render = lambda *_, **__: []  # type: ignore[method-assign]
    names = [f"f{i}" for i in range(one.shape[1])]
    about = DataDefinition(numerical_columns=names)
    pair = [Dataset.from_pandas(pandas.DataFrame(part, columns=names), data_definition=about) for part in (other, one)]
    found: dict[str, Any] = Report([DataDriftPreset()]).run(*pair).dict()
    return found


def _columns(found: dict[str, Any]) -> list[float]:
    """The score of every column."""
    return [float(m["value"]) for m in found["metrics"] if isinstance(m["value"], (int, float))]


def _evidently_lowest(one: Array, other: Array, seed: int) -> float:
    """Its p of the column that differs most; up to 1,000 rows its default is Kolmogorov and Smirnov's test."""
    return min(_columns(_evidently(one, other, seed)))


def _evidently_any(one: Array, other: Array, seed: int) -> bool:
    values = _columns(_evidently(one, other, seed))
    # up to 1,000 rows of reference a p below 0.05, beyond that Wasserstein's distance of 0.1 standard deviations
    return min(values) < 0.05 if len(one) <= 1000 else max(values) >= 0.1


def _evidently_half(one: Array, other: Array, seed: int) -> bool:
    counted = next(m for m in _evidently(one, other, seed)["metrics"] if isinstance(m["value"], dict))
    return bool(counted["value"]["share"] >= 0.5)


#: name -> a statistic of a family, the smaller the surer; and the limit at which each alarms by itself
STATISTICS: dict[str, Statistic] = {
    "ours, kolmogorov-smirnov": _ours,
    "bare Kolmogorov-Smirnov, p < 0.05": _bare,
    "river ADWIN": _adwin,
    "river KSWIN": _kswin,
    "Evidently, any column": _evidently_lowest,
}
DEFAULTS = dict(zip(STATISTICS, (0.02, 0.05, 0.002, 0.005, 0.05), strict=True))


def _river(name: str) -> Alarm:
    def alarm(one: Array, other: Array, seed: int) -> bool:
        from river import drift as river

        for i in range(one.shape[1]):
            detector = river.ADWIN() if name == "ADWIN" else _river_kswin(seed=seed)
            read = one[-(2000 if name == "ADWIN" else detector.window_size) :, i]  # older values leave KSWIN's window
            for value in read.tolist():
                detector.update(value)
            for value in other[:, i].tolist():
                detector.update(value)
                if detector.drift_detected:
                    return True
        return False

    return alarm


#: name -> whether a window of a stream alarms, beside the reference
STREAMS: dict[str, Alarm] = {
    "ours, kolmogorov-smirnov": ours("kolmogorov-smirnov"),
    "ours, psi": ours("psi"),
    "bare Kolmogorov-Smirnov, p < 0.05": lambda one, other, seed: _bare(one, other, seed) < 0.05,
    "river ADWIN": _river("ADWIN"),
    "river KSWIN": _river("KSWIN"),
    "Evidently, any column": _evidently_any,
    "Evidently, half of the columns": _evidently_half,
}
