"""A small part of `make torture`: some kills, hundreds of mutated inputs and of requests."""

import pytest

from tests.torture.fuzz import fuzz
from tests.torture.kills import SMALL, Job, torture
from tests.torture.load import strain, targets
from tests.torture.readers import make_readers


@pytest.mark.parametrize("job", SMALL, ids=[job.name for job in SMALL])
def test_killed_work_ends_in_the_same_bytes(job: Job, tmp_path):
    (tmp_path / "base").mkdir()
    assert torture(job, tmp_path / "base", tmp_path, kills=4, seed=0) == []


def test_every_mutated_input_is_accepted_repaired_or_refused(tmp_path):
    (tmp_path / "inputs").mkdir()
    readers = make_readers(tmp_path / "inputs")
    tally = fuzz(readers, tmp_path / "fuzzed", inputs=400, seed=1)
    assert not tally.failures, str(tally)
    assert {end for _, end in tally.ends} == {"accepted", "repaired", "refused"}


def test_servers_under_load_lose_nothing_and_let_nobody_in(tmp_path):
    with targets(tmp_path) as both:
        for target in both:
            load = strain(target, requests=150, clients=6, seed=0)
            assert not load.faults, str(load)
            assert load.answered
