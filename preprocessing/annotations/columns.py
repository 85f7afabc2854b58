"""What the field's programs call the columns of their tables: one list for all that reads them.

Names are compared in their plain form (`plain`): ``Start (s)``, ``start_s``, ``START.S`` are one.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

# Our names, and others that are understood; the first that a table has is taken.
COLUMNS: Mapping[str, Sequence[str]] = {
    "file": (
        "file", "filename", "file_name", "recording", "audio", "path", "filepath", "file_path",
        "audio_file", "audio_path", "sound_files", "sound_file", "input", "source_id", "begin_path",
        "begin_file", "audiofilename", "in_file", "notated_path", "wav_filename", "wavname",
        "wav_file", "wavfile", "soundfile", "audiofile", "audio_filename", "fname",
    ),
    "start_s": (
        "start_s", "start", "onset_s", "onset", "begin", "begin_s", "start_time", "start_time_s",
        "start_seconds", "start_sec", "begin_time_s", "begin_time", "starttime", "time_start",
        "start_time_sec", "start_time_seconds", "begin_time_sec", "t_start", "t_min",
        "tmin", "min_t",
    ),
    "end_s": (
        "end_s", "end", "offset_s", "offset", "end_time", "end_time_s", "end_seconds", "end_sec",
        "endtime", "time_end", "stop", "stop_s", "stop_time", "end_time_sec", "end_time_seconds",
        "t_end", "t_stop", "t_max", "tmax", "max_t",
    ),
    "duration_s": (
        "duration_s", "duration", "duration_sec", "duration_seconds", "dur", "length_s", "length",
        "call_length_s",
    ),
    "label": (
        "label", "species", "class", "annotation", "common_name", "scientific_name",
        "species_name", "sound_type", "signal_type", "class_name", "manual_id", "primary_label",
        "species_code", "ebird_code", "species_ebird_code", "category", "taxon", "class_label",
    ),
    "status": ("status",),
    "low_hz": (
        "low_hz", "low_freq", "freq_low", "low_freq_hz", "low_f", "low_frequency", "min_freq",
        "freq_min", "min_frequency", "lowest_frequency", "frequency_low", "low_frequency_hz",
    ),
    "high_hz": (
        "high_hz", "high_freq", "freq_high", "high_freq_hz", "high_f", "high_frequency", "max_freq",
        "freq_max", "max_frequency", "highest_frequency", "frequency_high",
        "high_frequency_hz",
    ),
    "low_khz": ("bottom_freq", "low_khz", "low_freq_khz"),
    "high_khz": ("top_freq", "high_khz", "high_freq_khz"),
    "score": ("score", "confidence", "class_prob", "det_prob", "probability"),
    "distance": ("distance",),
    "nearest": ("nearest",),
    "source": ("source", "site", "deployment", "location"),
    "date": ("date", "datetime", "timestamp"),
}  # fmt: skip
COLUMN_NAMES = {option for options in COLUMNS.values() for option in options}
# Columns of numbers, by which the decimal sign of a table is settled.
NUMBERS = {
    *("start_s", "end_s", "duration_s", "low_hz", "high_hz", "low_khz", "high_khz"),
    *("score", "distance"),
}
NUMERIC = {name for ours in NUMBERS for name in COLUMNS[ours]} | {"file_offset_s"}
# Names of one and the same species: whichever comes first is taken without a word.
SYNONYMS = {
    *("common_name", "scientific_name", "species_name"),
    *("species_code", "ebird_code", "species_ebird_code"),
}
# Of yes and no: whether it is a call at all (DeepSqueak's Accepted, people's own).
JUDGED = {
    "present", "presence", "accepted", "accept", "correct", "is_correct", "valid", "is_valid",
    "true_positive", "tp", "is_call",
}  # fmt: skip
# What programs write beside an event, which is no class; a column of any other name might be one.
ASIDE = {
    *JUDGED,
    "", "id", "index", "selection", "selec", "view", "channel", "rank", "species_code", "lat",
    "lon", "latitude", "longitude", "week", "overlap", "sensitivity", "min_conf", "species_list",
    "model",
    "comment", "comments", "note", "notes", "sel_comment", "annotator", "observer", "split", "fold",
    "row", "duration", "delta_time_s", "snr", "annotation_file", "rating", "individual",
    "file_offset_s", "begin_date", "begin_clock_time", "time", "center_freq", "peak_freq",
    "minimum_confidence",
    # Kaleidoscope's
    "indir", "outdir", "folder", "auto_id", "top1match", "top1dist", "fmin", "fmean", "fmax",
    "vocalizations", "hour", "date_12", "time_12", "hour_12", "pulses", "matching", "match_ratio",
    "margin", "alternate_1", "alternate_2", "files", "in_file", "out_file_fs", "out_file_zc",
    # of crowsetta, Arbimon, Praat
    "onset_sample", "offset_sample", "annot_path", "sequence", "songtype", "tier",
}  # fmt: skip
# Of these, what nobody reads: such a column may even be there twice.
UNREAD = ASIDE - {"rating", "individual", "split", "fold"}


def plain(name: str) -> str:
    """A column's name in small letters and digits, with ``_`` for all between them."""
    return re.sub(r"[\W_]+", "_", name.casefold()).strip("_")


def ours(columns: Iterable[str], wanted: Iterable[str] | None = None) -> dict[str, str]:
    """Which of a table's columns is which of ours: ``{"start_s": "Onset", ...}``.

    An ``offset`` is where an event ends; where nothing else says where it starts (Kaleidoscope,
    Perch) it is that.
    """
    known: dict[str, str] = {}
    for name in columns:
        known.setdefault(plain(name), name)
    found = {
        name: next(known[option] for option in COLUMNS[name] if option in known)
        for name in (COLUMNS if wanted is None else wanted)
        if any(option in known for option in COLUMNS[name])
    }
    if "start_s" not in found and plain(found.get("end_s", "")) in ("offset", "offset_s"):
        found["start_s"] = found.pop("end_s")
    return found
