"""The page about several machines says what its model says, and that is near truth."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "bench"))
import scaling  # noqa: E402

sys.path.pop(0)
PAGE = (ROOT / "docs" / "scaling.md").read_text()
WIDTHS = [784, 512, 512, 10]


def test_the_table_is_that_of_the_model():
    assert scaling.table() in PAGE


def test_the_page_has_the_steps_of_the_model():
    rows = [line for line in PAGE.splitlines() if line.count(" ms |") == 2]
    assert len(rows) >= 3
    for row in rows:
        name, batch, ranks, measured, model = row.strip("| ").split(" | ")
        widths = [int(width) for width in name.split("-")]
        seconds = scaling.step_seconds(
            widths,
            int(batch.replace(",", "")),
            int(ranks),
            scaling.ZEN_3,
            scaling.SHARED_MEMORY,
        )
        assert f"{seconds * 1e3:.1f} ms" == model
        if int(ranks) <= scaling.ZEN_3.cores:
            assert float(measured.split()[0]) == pytest.approx(seconds * 1e3, rel=0.4)


def test_a_step_by_hand():
    machine = scaling.Machine(1e-9, 1e-6, 1e-5, 1e-3)
    link = scaling.Link(1e-4, 1e6)
    # 12 parameters; 3 * (2 * 2 + 2 * 2) - 2 * 2 = 20 multiply-adds a row
    one = 20 * 64e-9 + 8 * 12e-6 + 12e-5 + 1e-3
    assert scaling.step_seconds([2, 2, 2], 64, 1, machine, link) == pytest.approx(one)
    two = 20 * 32e-9 + 4 * 12e-6 + 12e-5 + 1e-3 + 3e-4 + 48e-6
    assert scaling.step_seconds([2, 2, 2], 64, 2, machine, link) == pytest.approx(two)


def test_more_ranks_never_pay_without_rows():
    few, many = (
        scaling.speed_up(WIDTHS, batch, 8, scaling.SERVER, scaling.GIGABIT)
        for batch in (8, 2**20)
    )
    assert few < 1 < 7 < many < 8
