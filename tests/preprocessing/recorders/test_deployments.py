"""Tables of deployments: names of columns, places, and what is refused with its row."""

from datetime import datetime
from pathlib import Path

import pytest

from g5.common.errors import UserError
from preprocessing.recorders.deployments import Deployments
from preprocessing.recorders.starts import Clues
from preprocessing.recorders.zones import zone_of


def read(tmp_path, text: str) -> Deployments:
    path = tmp_path / "sites.csv"
    path.write_text(text, encoding="utf-8")
    return Deployments(path)


def test_our_own_columns(tmp_path):
    one, two = read(
        tmp_path,
        "recorder,site,lat,lon,from,to,timezone\nA1,Marsh,48.1,11.5,2024-05-01,2024-05-10,Europe/Berlin\n"
        "A1,Hill,48.2,11.6,2024-05-11,,Europe/Berlin\n",
    ).of(["a1"])
    assert (one.site, one.place, one.row) == ("Marsh", (48.1, 11.5), 2)
    assert one.covers(datetime(2024, 5, 10, 23, 59), None)  # of the last day all hours
    assert not one.covers(datetime(2024, 5, 11), None)
    assert two.end is None


def test_camtrap_dp_semicolons_and_decimal_commas(tmp_path):
    stays = read(
        tmp_path,
        "deploymentID;locationName;latitude;longitude;deploymentStart;deploymentEnd;cameraID\n"
        "dep1;Marsh;48,1;11,5;2024-05-01T10:00:00+02:00;2024-06-01T10:00:00+02:00;A1\n",
    )
    (stay,) = stays.of(["A1"])
    assert stays.of(["nothing", "dep1"]) == [stay]
    assert (stay.site, stay.place) == ("Marsh", (48.1, 11.5))


def test_what_is_not_known_and_minus_signs(tmp_path):
    """As R, pandas and databases write them; nor is a network across continents swapped."""
    one, two, three, four = read(
        tmp_path,
        "recorder,site,lat,lon,from,to\nA1,Marsh,NA,NA,0001-01-01,9999-12-31\n"
        "A2,Hill,−33.5,151.2,-,NaT\nA3,Lake,52,13,,9999-12-31T23:59:59Z\nA4,Bay,-33,151,,\n",
    ).all
    assert (one.place, one.begin, one.end) == (None, None, None)
    assert (two.place, two.begin, two.end) == ((-33.5, 151.2), None, None)
    assert (three.end, four.place) == (None, (-33, 151))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("A1,Marsh,111.5,48.1,,", "row 2: lat is 111.5 and lon 48.1: they look swapped"),
        ("A1,Marsh,48°08'30\"N,11.5,,", "row 2: lat is .*decimal degrees, 48.14167"),
        ("A1,Marsh,48.1,11 30 W,,", "row 2: lon is .*decimal degrees, -11.50000"),
        ("A1,Marsh,north,11.5,,", "row 2: lat is 'north', where a number of degrees"),
        ("A1,Marsh,0,0,,", "row 2: lat 0, lon 0"),
        ("A1,Marsh,95,190,,", "row 2: .* is no place"),
        ("A1,Marsh,48.1,11.5,05/06/2024,", "row 2: '05/06/2024' is no date"),
        ("A1,Marsh,48.1,11.5,2024-06-01,2024-05-01", "row 2: ends before it begins"),
        (",Marsh,48.1,11.5,,", "row 2: names no recorder"),
        ("A1,Marsh,1,1,2024-05-01,2024-05-09\nA1,Hill,2,2,2024-05-09,", "rows 2 and 3: A1 is at"),
        ("A1,Marsh,1,1,,\nA1,Marsh,1,1,,", "rows 2 and 3: A1 is at Marsh twice"),
        ("A,a,52,13,,\nB,b,13.1,52.2,,\nC,c,52.1,13.1,,", "row 3: lat is 13.1 .* look swapped"),
        ("A1,Marsh,1,1,,\na1,Hill,2,2,,", "rows 2 and 3: A1 is at Marsh and at Hill at once"),
    ],
)
def test_what_is_refused_with_its_row(tmp_path, row, said):
    with pytest.raises(UserError, match=said):
        read(tmp_path, f"recorder,site,lat,lon,from,to\n{row}\n")


def test_few_places_are_held_against_their_time_zone(tmp_path):
    path = tmp_path / "sites.csv"
    path.write_text("recorder,site,lat,lon\nA,a,11.5,48.1\n")
    with pytest.raises(UserError, match=r"row 2: lat is 11.5 .* swapped; .* beside Europe/Berlin"):
        Deployments(path, zone_of("Europe/Berlin"))
    Deployments(path)  # nobody knows
    Deployments(path, zone_of("Asia/Aden"))
    path.write_text("recorder,site,lat,lon,timezone\nA,a,43.8,87.6,Asia/Shanghai\n")
    assert Deployments(path).all[0].place == (43.8, 87.6)  # far from Shanghai, and right
    path.write_text("recorder,site,lat,lon\nA,a,48°08'N,11.5\n")
    with pytest.raises(UserError, match=r"row 2: lat is .* as decimal degrees, 48\.13333"):
        Deployments(path)


def test_columns_that_are_missing(tmp_path):
    with pytest.raises(UserError, match="has no column lat or lon"):
        read(tmp_path, "recorder,lat\nA,1\n")
    with pytest.raises(UserError, match="has no column recorder; it has when, what"):
        read(tmp_path, "when,what\n1,2\n")


def test_recordings_find_their_site(tmp_path):
    read(tmp_path, "recorder,site,lat,lon,from,to\nA1,Marsh,48.1,11.5,2024-05-01,2024-05-10\n"
                   "A1,Hill,48.2,11.6,2024-05-11,2024-05-20\n")  # fmt: skip
    names = ["A1/20240501_000000.wav", "A1/20240515_000000.wav", "A1/20240601_000000.wav",
             "B2/20240515_000000.wav"]  # fmt: skip
    table = Clues(deployments=tmp_path / "sites.csv").reader().read([Path(name) for name in names])
    assert table["site"].tolist() == ["Marsh", "Hill", "", ""]
    assert table["lat"].tolist()[:2] == [48.1, 48.2]
    assert table["note"].tolist()[2:] == [
        "sites.csv: A1 does not stand anywhere then", "sites.csv: has no B2"
    ]  # fmt: skip
