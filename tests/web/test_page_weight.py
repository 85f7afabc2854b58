"""No page is heavier than `PAGE_MB`, whatever there is to show."""

import numpy as np
import pandas as pd
import pytest

from g5.detection.job.page import DetectionPage
from g5.field.page import SummaryPage
from g5.field.season import Season
from g5.transfer.explore.map_page import MapData, map_page
from g5.web.page import PAGE_MB, ROWS, Budget, long_table

RNG = np.random.default_rng(0)
MOST = 1e6 * PAGE_MB


@pytest.fixture
def pictures(tmp_path):
    """Forty of 200 kB."""
    paths = [tmp_path / f"hours_{number}.wav.png" for number in range(40)]
    for path in paths:
        path.write_bytes(RNG.bytes(200_000))
    return paths


def test_a_detection_of_many_recordings(tmp_path, pictures):
    files = [f"/a/rather/long/folder/of/recordings/site_{i:05d}_20240531.wav" for i in range(9000)]
    ledger = {"file": files, "status": "done", "reason": "", "events": 3, "duration_s": 60.0}
    empty = pd.DataFrame({"support": [], "label": []})
    page = DetectionPage("owls", empty, pd.DataFrame(ledger), (), {}, (), pictures, 3)
    path = page.write(tmp_path / "report.html")
    assert path.stat().st_size < MOST
    told = path.read_text()
    assert f"{9000 - ROWS:,} more in ledger.csv." in told
    shown = told.count("<img")
    assert 3 < shown < 9
    assert f"The pictures of {40 - shown} recordings more lie beside this page." in told


def test_a_season_of_many_recorders(tmp_path, pictures):
    days = pd.DataFrame({"start_local": pd.date_range("2024-03-01", periods=400)})
    names = [f"recorder {i:04d}" for i in range(1200)]
    once = pd.Timestamp("2024-05-01")
    recorders = pd.DataFrame({
        "site": names, "recorder": names, "label": "owl", "recordings": 9, "undated": 0,
        "recorded_min": 60.0, "analysed_min": 60.0, "calls": 7, "calls_per_hour": 7.0,
        "first_call": once, "last_call": once,
    })  # fmt: skip
    season = Season(days, pd.DataFrame({"label": ["owl"]}), ["owl"])
    path = SummaryPage(tmp_path, season, recorders, {}, {"owl": pictures}, ()).write(
        tmp_path / "report.html"
    )
    assert path.stat().st_size < MOST
    told = path.read_text()
    assert f"{1200 - ROWS:,} more in recorders.csv." in told
    assert "hours_39.wav.png lies beside this page." in told


def test_a_map_of_twenty_thousand_clips():
    n = 20_000
    index = pd.DataFrame({
        "file": [f"site/night_{i // 60:04d}.wav" for i in range(n)],
        "start_s": np.arange(n) % 60 * 1.0, "end_s": np.arange(n) % 60 + 1.0,
        "date": "2024-05-31T22:39:11",
    })  # fmt: skip
    labels = [f"species {i % 40}" for i in range(n)]
    data = MapData([RNG.standard_normal((n, 2))], ["birds.store (default)"], index, labels, "tsne")
    assert len(map_page(data, {})) < 0.7 * MOST


def test_a_part_of_a_budget_is_given_back():
    budget = Budget()
    whole = budget.left
    part = budget.part(2)
    assert part.left == whole // 2
    assert part.take(b"x" * 300)
    budget.left += part.left
    assert budget.left == whole - 400


def test_a_short_table_says_nothing_of_a_file():
    assert "more in" not in long_table(pd.DataFrame({"a": range(ROWS)}), "a.csv")
