"""What a viewer would show of a run: its event files, read by TensorBoard's own reader."""

from __future__ import annotations

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

_EVERYTHING = {"scalars": 0, "tensors": 0, "images": 0, "audio": 0, "histograms": 0, "compressedHistograms": 0}
_TEXT = "/text_summary"


def accumulate(directory: Path) -> EventAccumulator:
    """All events of a folder. Marks of a restart are not heeded: the viewer does not heed them either."""
    accumulator = EventAccumulator(str(directory), size_guidance=_EVERYTHING, purge_orphaned_data=False)
    return accumulator.Reload()


def points(directory: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag → [(step, value)] of every curve, in the order of the file."""
    accumulator = accumulate(directory)
    return {
        tag: [(point.step, point.value) for point in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]
    }


def texts(directory: Path) -> dict[str, list[tuple[int, str]]]:
    """Tag → [(step, text)] of every text, in the order of the file."""
    accumulator = accumulate(directory)
    return {
        tag.removesuffix(_TEXT): [
            (event.step, tensor_util.make_ndarray(event.tensor_proto).item().decode())
            for event in accumulator.Tensors(tag)
        ]
        for tag in accumulator.Tags()["tensors"]
        if tag.endswith(_TEXT)
    }


def tags_of(run_directory: Path) -> set[str]:
    """Tags of a run's curves."""
    return set(points(run_directory / "tensorboard"))
