"""Readers of annotations that are no tables: Praat's TextGrid, and the JSON of some programs."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from g5.common.errors import UserError, brief
from preprocessing.annotations.table import Table, UnknownFormat

_COLUMNS = ("file", "start_s", "end_s", "label", "low_hz", "high_hz", "score", "tier")
# A string, what stands in brackets, a number or a flag, or a word that says nothing.
_TOKENS = re.compile(r'"((?:[^"]|"")*)"|\[[^\]]*\]|(<exists>|[-+]?\d[^\s"]*)|[^\s"\[]+')
# Which tag of several is the class.
_CLASS_KEYS = ("species", "scientific_name", "common_name", "label", "class", "event")
Event = Mapping[str, Any]


def is_document(head: str) -> bool:
    """Whether the first line of a file is one of a document that `document_table` may know."""
    return head.lstrip().startswith(("{", "[")) or "ooTextFile" in head


def document_table(path: Path, text: str) -> Table:
    """The events of a document as a table with columns of our names; rows count the events.

    Known are TextGrids (long and short), batdetect2's JSON, the AOEF of whombat and soundevent,
    and what Label Studio exports and takes.

    Raises:
        UnknownFormat: JSON of another program.
        UserError: no whole document.
    """
    try:
        if not text.lstrip().startswith(("{", "[")):
            events = list(_textgrid(text))
        else:
            events = list(_of_json(path, json.loads(text)))
    except UnknownFormat:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, StopIteration,
            RecursionError, RuntimeError) as error:  # fmt: skip
        why = f"{type(error).__name__}: {brief(error)}"
        raise UserError(f"{path}: is no whole document of annotations ({why})") from error
    names = [name for name in _COLUMNS if any(name in event for event in events)] or _COLUMNS[:4]
    columns = {name: [_text(event.get(name)) for event in events] for name in names}
    good = np.ones(len(events), dtype=bool)
    return Table(path, list(names), ".", columns, np.arange(1, len(events) + 1), good)


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _textgrid(text: str) -> Iterator[Event]:
    """The intervals with a text and the points of all tiers."""
    found = (match for match in _TOKENS.finditer(text) if match[1] is not None or match[2])
    tokens = iter([match[1] if match[1] is not None else match[2] for match in found])
    for _ in range(5):  # to <exists>
        next(tokens)
    for _ in range(int(next(tokens))):
        kind, tier, _, _, count = (next(tokens) for _ in range(5))
        for _ in range(int(count)):
            start_s = next(tokens)
            end_s = next(tokens) if kind == "IntervalTier" else start_s
            label = next(tokens).replace('""', '"').strip()
            if label:
                yield {"start_s": start_s, "end_s": end_s, "label": label, "tier": tier}


def _of_json(path: Path, whole: Any) -> Iterable[Event]:
    if isinstance(whole, dict) and isinstance(whole.get("annotation"), list):
        return _batdetect(whole)
    if isinstance(whole, dict) and "sound_events" in (whole.get("data") or {}):
        return _aoef(whole["data"])
    if isinstance(whole, list) and all(isinstance(task, dict) for task in whole):
        return [event for task in whole for event in _label_studio(task)]
    raise UnknownFormat(
        f"{path}: is JSON, but none of batdetect2, whombat (AOEF) or Label Studio; export a table"
    )


def _batdetect(whole: Event) -> Iterator[Event]:
    for one in whole["annotation"]:
        yield {
            "file": whole.get("id", ""), "start_s": one["start_time"], "end_s": one["end_time"],
            "label": one["class"], "low_hz": one.get("low_freq"), "high_hz": one.get("high_freq"),
            "score": one.get("class_prob"),
        }  # fmt: skip


def _aoef(data: Mapping[str, Any]) -> Iterator[Event]:
    """A project's, a set's or a model's sound events: one for each that somebody has judged."""
    paths = {one["uuid"]: one["path"] for one in data.get("recordings") or ()}
    tags = {one["id"]: (one["key"], one["value"]) for one in data.get("tags") or ()}
    sounds = {one["uuid"]: one for one in data["sound_events"] or ()}
    judged = data.get("sound_event_annotations") or data.get("sound_event_predictions") or ()
    for one in judged:
        sound = sounds[one["sound_event"]]
        start_s, low_hz, end_s, high_hz = _bounds(sound["geometry"])
        # A prediction's tags come with their probabilities.
        pairs = [tag if isinstance(tag, list) else (tag, None) for tag in one.get("tags") or ()]
        known = dict(reversed([tags[number] for number, _ in pairs]))
        key = next((key for key in _CLASS_KEYS if key in known), next(reversed(known), None))
        chances = [chance for number, chance in pairs if tags[number][0] == key]
        yield {
            "file": paths[sound["recording"]], "start_s": start_s, "end_s": end_s,
            "label": known.get(key, ""), "low_hz": low_hz, "high_hz": high_hz,
            "score": one.get("score", chances[0] if chances else None),
        }  # fmt: skip


def _bounds(geometry: Mapping[str, Any]) -> tuple[float, float | None, float, float | None]:
    """Start, lowest frequency, end and highest frequency of a shape; None: it has no band."""
    kind, at = geometry["type"], geometry["coordinates"]
    if kind == "TimeStamp":
        return at, None, at, None
    if kind == "TimeInterval":
        return at[0], None, at[1], None
    if kind == "BoundingBox":
        return at[0], at[1], at[2], at[3]
    points = np.array(list(_points(at)))
    (start_s, low_hz), (end_s, high_hz) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return start_s, low_hz, end_s, high_hz


def _points(at: Any) -> Iterator[Sequence[float]]:
    """The points of a shape, however deep they lie."""
    if at and not isinstance(at[0], list):
        yield at
        return
    for part in at:
        yield from _points(part)


def _label_studio(task: Mapping[str, Any]) -> Iterator[Event]:
    """The regions of a task: people's, or else a model's; a region with two labels is two."""
    data = task.get("data", task)
    file = next((value for value in data.values() if isinstance(value, str)), "")
    people = [one for one in task.get("annotations") or () if not one.get("was_cancelled")]
    judged = people or task.get("predictions") or ()
    regions = [region for one in judged for region in one["result"]]
    for region in regions:
        value = region["value"]
        if "start" in value:
            for label in value.get("labels") or [""]:
                yield {
                    "file": file, "start_s": value["start"], "end_s": value["end"],
                    "label": label, "score": region.get("score"),
                }  # fmt: skip
