"""Kinds that are made of species, in mel power."""

from dataclasses import replace

import torch

from preprocessing.synthetic.remix import RemixSettings, remixed

NOTHING = RemixSettings(
    reversed=0.0, joined=0.0, bands=0.0, tempo_oct=0.0, individual_bands=0.0, individual_oct=0.0
)
SPECIES, INDIVIDUALS, TAKES = 3, 2, 2


def made(settings: RemixSettings, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    clips = SPECIES * INDIVIDUALS * TAKES
    track_BMT, other_BMT = torch.rand(clips, 8, 20), torch.rand(clips, 8, 20)
    torch.manual_seed(seed)
    kinds_BMT = remixed(settings, track_BMT, other_BMT, species=SPECIES, takes=TAKES)
    return track_BMT, other_BMT, kinds_BMT


def test_nothing_changes_where_nothing_was_asked():
    track_BMT, _, kinds_BMT = made(NOTHING)
    assert torch.equal(track_BMT, kinds_BMT)


def test_a_kind_is_a_species_backwards():
    track_BMT, _, kinds_BMT = made(replace(NOTHING, reversed=1.0))
    assert torch.equal(track_BMT.flip(2), kinds_BMT)


def test_two_that_sound_together_do_so_at_one_level_in_all_clips():
    track_BMT, other_BMT, kinds_BMT = made(replace(NOTHING, joined=1.0))
    added = (kinds_BMT - track_BMT) / other_BMT
    loudest = track_BMT.amax((1, 2)) / other_BMT.amax((1, 2))
    level_BMT = added / loudest[:, None, None]
    level_SX = level_BMT.view(SPECIES, -1)
    torch.testing.assert_close(level_SX, level_SX[:, :1].expand_as(level_SX), rtol=1e-3, atol=1e-3)
    assert (level_SX >= 0.09).all()
    assert (level_SX <= 10.1).all()


def test_takes_of_an_individual_move_together_and_individuals_apart():
    track_BMT = torch.zeros(12, 33, 20)
    track_BMT[:, 16, 5] = 1.0
    torch.manual_seed(3)
    wide = replace(NOTHING, bands=4.0, individual_bands=3.0, individual_oct=0.5)
    moved_BMT = remixed(wide, track_BMT, torch.zeros_like(track_BMT), species=SPECIES, takes=TAKES)
    pairs = moved_BMT.view(-1, TAKES, 33, 20)
    assert torch.equal(pairs[:, 0], pairs[:, 1])
    band_SI = pairs[:, 0].sum(2).argmax(1).view(SPECIES, INDIVIDUALS)
    assert (band_SI[:, 0] != band_SI[:, 1]).any()


def test_a_seed_repeats_it():
    every = RemixSettings(0.5, 0.5, 3.0, 0.5, 1.0, 0.3)
    assert torch.equal(made(every, 7)[2], made(every, 7)[2])
    assert not torch.equal(made(every, 7)[2], made(every, 8)[2])
