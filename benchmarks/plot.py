"""Pictures of the figures: one for each group of measures that are alike, a bar for each database."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

# A picture for the measures whose names have this in them.
_PICTURES = {
    "raw": "raw, ",
    "one_at_a_time": "one at a time",
    "at_once": "at once",
    "steps": "steps per workflow",
    "contexts": "context of",
    "finished": "finished",
}


def plot(found: Sequence[dict[str, Any]], directory: Path) -> None:
    """Write the pictures into a directory, which is made."""
    directory.mkdir(parents=True, exist_ok=True)
    databases = list(dict.fromkeys(row["database"] for row in found))
    for file, part in _PICTURES.items():
        rates = {(row["measure"], row["database"]): row["per_second"] for row in found if part in row["measure"]}
        names = list(dict.fromkeys(name for name, _ in rates))
        if not names:
            continue
        figure, axes = plt.subplots(figsize=(9, 1.2 + 0.5 * len(names)))
        height = 0.8 / len(databases)
        for n, database in enumerate(databases):
            values = [rates.get((name, database), 0.0) for name in names]
            bars = axes.barh([place + n * height for place in range(len(names))], values, height, label=database)
            axes.bar_label(bars, fmt="{:,.0f}", padding=3)
        axes.set_yticks([place + 0.4 - height / 2 for place in range(len(names))], names)
        axes.invert_yaxis()
        axes.set_xlabel("steps per second")
        axes.legend()
        figure.tight_layout()
        figure.savefig(directory / f"{file}.png", dpi=100)
        plt.close(figure)
