"""Where encoders of several modalities start: latent semantic directions of each, laid onto each other by pairs.

Latent semantic analysis is the singular value decomposition of the items' words (Deerwester et al. 1990). Canonical
correlation finds the directions in which spaces are most alike (Hotelling 1936; with a ridge, Vinod 1976; of more than
two, Kettenring 1971, "maximum variance"), Procrustes the rotation that brings one onto another (Schönemann 1966).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.errors import require
from claude_flow.modalities import features

__all__ = ["Matrix", "canonical", "directions", "procrustes", "projected"]

_RIDGE = 0.1  # of the mean variance
_SVD_ROWS = 20_000
Matrix = NDArray[np.float64]


def canonical(*spaces: Matrix, ridge: float = _RIDGE) -> tuple[Matrix, ...]:
    """Ridge canonical correlation of paired rows: a map of each space, and the correlations, the largest first.

    With C_ii = (X_i'X_i + r I) / N: the eigenvectors of the correlations of the whitened X_i C_ii^-1/2 side by side,
    whose eigenvalue is 1 + (spaces - 1) correlation. Each is scaled by the root of its correlation, so that directions
    which say nothing of another modality weigh little.

    >>> x = np.random.default_rng(0).normal(size=(500, 3))
    >>> canonical(x, x @ np.diag([1.0, 2.0, 3.0]), ridge=0.0)[2].round(6).tolist()
    [1.0, 1.0, 1.0]
    """
    centred = [space - space.mean(axis=0) for space in spaces]
    roots = []
    for part in centred:
        covariance = part.T @ part / len(part)
        covariance += ridge * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        values, vectors = np.linalg.eigh(covariance)
        roots.append(vectors / np.sqrt(np.maximum(values, 1e-12)) @ vectors.T)
    white = np.hstack([part @ root for part, root in zip(centred, roots, strict=True)])
    correlations = white.T @ white / len(white)
    ends = np.cumsum([len(root) for root in roots])
    for first, last in zip(ends - [len(root) for root in roots], ends, strict=True):
        correlations[first:last, first:last] = np.eye(last - first)  # with a ridge it would be less
    values, vectors = np.linalg.eigh(correlations)
    order = np.argsort(-values)[: min(len(root) for root in roots)]
    shared = np.maximum((values[order] - 1) / (len(roots) - 1), 0.0)
    blocks = np.split(vectors[:, order] * np.sqrt(len(roots) * shared), ends[:-1])
    return (*(root @ block for root, block in zip(roots, blocks, strict=True)), shared)


def procrustes(x: Matrix, y: Matrix) -> tuple[Matrix, Matrix]:
    """Maps of x and of y: both scaled to a mean length of 1, and y rotated onto x.

    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    >>> a, b = procrustes(x, x @ turn)
    >>> bool(np.allclose(x @ a, x @ turn @ b))
    True
    """
    sizes = [float(np.sqrt((part**2).sum(axis=1).mean())) for part in (x, y)]
    u, _, vt = np.linalg.svd(y.T @ x)
    return np.eye(x.shape[1]) / sizes[0], u @ vt / sizes[1]


def directions(bags: features.Bags, width: int, seed: int) -> NDArray[np.float32]:
    """The leading directions [buckets and pixels, width] of scaled items: latent semantic analysis.

    Where there are fewer than ``width``, the rest is zeros.
    """
    sparse = require("scipy.sparse", "train")
    svd = require("sklearn.utils.extmath", "multimodal").randomized_svd
    bags = bags.take(np.arange(min(len(bags), _SVD_ROWS)))
    matrix = _sparse(bags)
    pixels = bags.pictures.shape[1]
    if pixels:
        # Pictures weigh as much as a tenth of the words: all of them look alike.
        scale = 0.1**0.5 / max(1e-9, float(np.linalg.norm(bags.pictures, axis=1).mean()))
        matrix = sparse.hstack([matrix, sparse.csr_matrix(bags.pictures * scale)]).tocsr()
    fit = min(width, min(matrix.shape) - 1)
    _, _, vt = svd(matrix, n_components=fit, n_iter=2, random_state=seed)
    found = np.zeros((features.BUCKETS + pixels, width), np.float32)
    found[:, :fit] = vt.T
    if pixels:
        found[features.BUCKETS :] *= scale
    return found


def projected(bags: features.Bags, to: NDArray[np.float32]) -> Matrix:
    """Scaled items in the space of ``to`` [N, width]."""
    found: Matrix = np.asarray(_sparse(bags) @ to[: features.BUCKETS], np.float64)
    return found + bags.pictures @ to[features.BUCKETS :] if bags.pictures.shape[1] else found


def _sparse(bags: features.Bags) -> Any:
    matrix = require("scipy.sparse", "train").csr_matrix
    return matrix((bags.weights, bags.ids, bags.starts), shape=(len(bags), features.BUCKETS))
