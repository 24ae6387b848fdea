"""Pictures of a found law for each dataset: its tree beside the data; its fit, residuals, and the front."""

import io
import math
from pathlib import Path

import numpy as np
from PIL import Image

from envs.symbolic.datasets import Dataset
from envs.symbolic.render import Scene, as_picture
from rl_suite.checkpoint import write_atomically
from rl_suite.symbolic.output.figures import as_png, law_figure
from rl_suite.symbolic.report import Report

MOST_POINTS = 2000


def save_pictures(report: Report, variables: tuple[str, ...], folder: Path) -> list[Path]:
    """Write ``law.png`` and ``fit.png``, or ``law_NAME.png`` and ``fit_NAME.png`` for each of several datasets."""
    paths = []
    for name, law, data in zip(report.datasets, report.chosen.laws, report.polisher.datasets, strict=True):
        rows = np.linspace(0, len(data.y) - 1, min(len(data.y), MOST_POINTS)).astype(np.int64)
        title = f"{report.target} of {name}" if name else report.target
        points = Dataset(title, variables, data.X[rows], data.y[rows])
        error = math.sqrt(data.nmse(law))
        picture = as_picture(Scene(points, law.library, law.program, law.constants, True, error, report.target))
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        paths.append(folder / (f"law_{name}.png" if name else "law.png"))
        write_atomically(paths[-1], buffer.getvalue())
        values = law.predict(data.X)
        figure = law_figure((data.X, data.y, values), variables, title, report.front, report.chosen)
        paths.append(folder / (f"fit_{name}.png" if name else "fit.png"))
        write_atomically(paths[-1], as_png(figure))
    return paths
