"""Proof on held-out data: each protocol scores our networks and the baselines on the same splits in one run.

:mod:`claude_flow.studies.protocols` lists the protocols; each is a module with ``DATA`` (what it reads, one line),
``detect(path)`` and ``run(path, seeds=..., quick=..., progress=...)``, which returns a
:class:`claude_flow.evaluate.result.Result`. :mod:`claude_flow.statistics` compares contenders.
"""
