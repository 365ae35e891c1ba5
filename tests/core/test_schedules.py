"""Schedules against their formulas, and PyTorch's where it has them."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

import fastnn.schedules
from fastnn.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    CosLog,
    Exponential,
    FlatCosine,
    InverseTime,
    OneCycle,
    Polynomial,
    Scaled,
    Step,
    Warmup,
    rates,
)

EXAMPLES = [
    (Constant(0.3), lambda t: 0.3),
    (Step(0.8, 7, 0.5), lambda t: 0.8 * 0.5 ** (t // 7)),
    (Exponential(0.8, 7, 0.5), lambda t: 0.8 * 0.5 ** (t / 7)),
    (InverseTime(0.5, 0.1), lambda t: 0.5 / (1 + 0.1 * t)),
    (
        Polynomial(0.9, 20, 3.0, 0.1),
        lambda t: 0.1 + 0.8 * (1 - min(t, 20) / 20) ** 3,
    ),
    (
        Cosine(0.9, 10, 0.1),
        lambda t: 0.1 + 0.4 * (1 + math.cos(math.pi * (t % 10) / 10)),
    ),
    (
        CosLog(0.9, 40, 3),
        lambda t: 0.9 * math.sin(math.pi * math.log2(1 + 7 * min(t, 40) / 40)) ** 2,
    ),
    (
        FlatCosine(0.9, 40, 0.25, 0.1),
        lambda t: (
            0.9
            if t <= 10
            else 0.1 + 0.4 * (1 + math.cos(math.pi * (min(t, 40) - 10) / 30))
        ),
    ),
    (
        Warmup(InverseTime(0.5, 0.1), 4, 0.2),
        lambda t: 0.5 * (0.2 + 0.8 * t / 4) if t < 4 else 0.5 / (1 + 0.1 * (t - 4)),
    ),
    (Scaled(InverseTime(0.5, 0.1), 0.25), lambda t: 0.125 / (1 + 0.1 * t)),
]


@pytest.mark.parametrize(("schedule", "formula"), EXAMPLES, ids=lambda x: str(x)[:9])
def test_formula(schedule, formula):
    expected = [formula(t) for t in range(50)]
    np.testing.assert_allclose(
        schedule(np.arange(50)), expected, rtol=1e-13, atol=1e-13
    )
    assert [schedule(t) for t in range(50)] == schedule(np.arange(50)).tolist()
    assert type(schedule(3)) is float


@pytest.mark.parametrize(
    "schedule",
    [Step(1.0, 7, 0.8), Exponential(1.0, 7, 0.8), Polynomial(0.9, 230, 2.7, 0.1)],
    ids=lambda schedule: schedule.name,
)
def test_one_update_has_the_rate_it_has_among_others(schedule):
    rates = schedule(np.arange(200))
    assert [schedule(t) for t in range(200)] == rates.tolist()
    assert schedule(np.arange(3, 200)).tolist() == rates[3:].tolist()


def test_growing_restarts():
    schedule = Cosine(1.0, steps=3, growth=2.0)  # periods of 3, 6, 12, ... updates
    values = schedule(np.arange(60))
    assert np.flatnonzero(values == 1.0).tolist() == [0, 3, 9, 21, 45]
    assert values[6] == pytest.approx(0.5)
    assert values[15] == pytest.approx(0.5)


@pytest.mark.parametrize("growth", [2.0, 3.0, 1.5])
@pytest.mark.parametrize("steps", [1, 2, 3, 16])
def test_every_period_begins_with_the_whole_rate(growth, steps):
    # Where its number, a logarithm, comes out a rounding too small.
    starts = [steps * (growth**k - 1) / (growth - 1) for k in range(7)]
    starts = [int(t) for t in starts if t == int(t)]
    assert len(starts) >= 2
    values = Cosine(0.5, steps=steps, growth=growth)(np.arange(starts[-1] + 1))
    assert values[starts].tolist() == [0.5] * len(starts)
    assert (values == 0.5).sum() == len(starts) or steps == 1


def test_one_cycle():
    schedule = OneCycle(0.5, 100, 0.25, 10.0, 100.0)
    values = schedule(np.arange(150))
    assert values[0] == pytest.approx(0.05)
    assert values.argmax() == 25
    assert values[25] == pytest.approx(0.5)
    assert (np.diff(values[:26]) > 0).all()
    assert (np.diff(values[25:101]) < 0).all()
    assert values[100:] == pytest.approx(0.0005)


def torch_rates(make, count):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    found = []
    for _ in range(count):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(
    ("schedule", "make", "count"),
    [
        (Step(0.5, 4, 0.3), lambda s, o: s.StepLR(o, 4, 0.3), 40),
        (Exponential(0.5, 1, 0.9), lambda s, o: s.ExponentialLR(o, 0.9), 40),
        (Polynomial(0.5, 20, 2.0), lambda s, o: s.PolynomialLR(o, 20, 2.0), 30),
        (
            Cosine(0.5, 7, 0.1, 2.0),
            lambda s, o: s.CosineAnnealingWarmRestarts(o, 7, 2, 0.1),
            60,
        ),
    ],
    ids=lambda x: str(x)[:9],
)
def test_pytorch(schedule, make, count):
    np.testing.assert_allclose(
        schedule(np.arange(count)), torch_rates(make, count), rtol=1e-9
    )


def test_every_schedule_is_tested():
    tested = {type(schedule) for schedule, _ in EXAMPLES} | {OneCycle}
    assert tested == set(SCHEDULES.values())


def test_rates_of_numbers_and_schedules():
    assert rates(0.1, 5, 3).tolist() == [0.1, 0.1, 0.1]
    assert rates(Step(1.0, 2, 0.5), 1, 3).tolist() == [1.0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Constant(0), ValueError, "rate must be a finite number > 0"),
        (lambda: Step(1.0, 0), ValueError, "interval must be an integer >= 1"),
        (lambda: Step(1.0, 1.5), TypeError, "interval must be an integer >= 1"),
        (lambda: Step(1.0, 1, 0), ValueError, "factor must be a finite number > 0"),
        (lambda: InverseTime(1.0, -1), ValueError, "decay must be a finite number >="),
        (lambda: Polynomial(1.0, 5, end=-1), ValueError, "end must be a finite number"),
        (lambda: Cosine(1.0, 5, growth=0.5), ValueError, "growth must be a finite"),
        (lambda: OneCycle(1.0, 5, warmup=1), ValueError, "warmup must be a number > 0"),
        (lambda: Warmup(0.1, 5), TypeError, "schedule must be a Schedule, got 0.1"),
        (lambda: Constant(1.0)(-1), ValueError, "t must be integers >= 0"),
        (lambda: Constant(1.0)(0.5), ValueError, "t must be integers >= 0"),
    ],
)
def test_wrong_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


TIMED = {
    "step": ("interval", (0.8,)),
    "exponential": ("interval", (0.8,)),
    "polynomial": ("steps", (0.8,)),
    "cosine": ("steps", (0.8,)),
    "one_cycle": ("steps", (0.8,)),
    "cos_log": ("steps", (0.8,)),
    "flat_cosine": ("steps", (0.8,)),
    "warmup": ("steps", (InverseTime(0.5, 0.1),)),
}


def test_every_schedule_with_a_length_takes_epochs():
    assert {*TIMED, "constant", "inverse_time", "scaled"} == {*SCHEDULES}


@pytest.mark.parametrize("name", TIMED)
def test_epochs_become_updates(name):
    length, first = TIMED[name]
    make = SCHEDULES[name]
    given = make(*first, epochs=2.5)
    assert given.counts_epochs
    assert eval(repr(given), {**vars(fastnn.schedules)}) == given
    assert given.in_steps(10) == make(*first, **{length: 25})
    assert not given.in_steps(10).counts_epochs
    assert make(*first, 7).in_steps(10) == make(*first, 7)
    assert getattr(make(*first, epochs=0.01).in_steps(3), length) == 1
    with pytest.raises(ValueError, match="counts epochs, whose updates Network.fit"):
        given(0)
    for arguments in ({}, {length: 3, "epochs": 2}):
        with pytest.raises(TypeError, match=f"takes {length} or epochs, got {length}="):
            make(*first, **arguments)
    for wrong in (0, -1, np.inf, "2"):
        with pytest.raises((TypeError, ValueError), match="epochs must be a finite"):
            make(*first, epochs=wrong)


def test_epochs_of_schedules_within_others():
    given = Scaled(Warmup(Cosine(0.5, epochs=9), epochs=1), 0.1)
    assert given.counts_epochs
    assert given.in_steps(20) == Scaled(Warmup(Cosine(0.5, steps=180), steps=20), 0.1)
    assert Warmup(Cosine(0.5, steps=3), epochs=1).counts_epochs
    assert not Scaled(Cosine(0.5, steps=3), 0.1).counts_epochs
    with pytest.raises(ValueError, match="updates must be an integer >= 1"):
        given.in_steps(0)


def test_a_schedule_of_one_number_is_refused():
    @dataclass(frozen=True)
    class Own(fastnn.schedules.Schedule):
        def __call__(self, step):
            return 0.01

    with pytest.raises(ValueError, match=r"gives values of shape \(\) for 3 updates"):
        fastnn.schedules.rates(Own(), 0, 3)
