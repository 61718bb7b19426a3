"""Which steps are sampled, and what that costs."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from diagnose.schedule import ALLOWANCE_S, DENSE_STEPS, UNSEEN, BudgetSteps, EveryStep, Schedule, SeededSteps


def simulate(schedule: Schedule, steps: int, *, step_s: float, cost_s: float) -> tuple[list[int], float, float]:
    """The sampled steps, our seconds and all seconds of a run whose steps and samples take constant times."""
    sampled, own_s, wall_s, wake_at = [], 0.0, 0.0, schedule.next_after(0)
    for step in range(1, steps + 1):
        wall_s += step_s
        if step < wake_at:
            continue
        sampled.append(step)
        own_s += cost_s
        wall_s += cost_s
        schedule.spent(own_s=own_s, wall_s=wall_s, step=step)
        wake_at = schedule.next_after(step)
        assert wake_at > step
    return sampled, own_s, wall_s


@given(step_s=st.floats(1e-4, 1.0), cost_s=st.floats(1e-4, 1.0), budget=st.floats(0.001, 1.0))
def test_the_budget_is_kept(step_s: float, cost_s: float, budget: float) -> None:
    sampled, own_s, wall_s = simulate(BudgetSteps(budget), 2000, step_s=step_s, cost_s=cost_s)
    start_s = DENSE_STEPS * cost_s
    # The rest of the budget pays for what doubling may cost beyond it: log2(2000 / 8) samples.
    assert own_s - start_s <= budget * (wall_s - own_s) + ALLOWANCE_S + 9 * cost_s
    assert sampled[:DENSE_STEPS] == list(range(1, DENSE_STEPS + 1))


@given(step_s=st.floats(1e-4, 0.1))
def test_a_short_run_is_seen_from_start_to_end(step_s: float) -> None:
    sampled, _, _ = simulate(BudgetSteps(0.02), 500, step_s=step_s, cost_s=2e-3)
    assert len(sampled) >= 20
    for before, after in itertools.pairwise([*sampled, 500]):
        assert after - before <= UNSEEN * before + 2


def test_long_steps_leave_room_for_many_samples() -> None:
    sampled, _, _ = simulate(BudgetSteps(0.02), 1000, step_s=1.0, cost_s=1e-3)
    assert len(sampled) >= 450


def test_an_alarm_is_answered_at_once_but_not_for_ever() -> None:
    schedule = BudgetSteps(0.001)
    simulate(schedule, 1000, step_s=1e-4, cost_s=1.0)
    assert schedule.alarm(1000)
    assert [schedule.next_after(step) for step in (1000, 1001, 1002)] == [1001, 1002, 1003]
    assert schedule.next_after(1003) > 1010
    assert not schedule.alarm(1006)


def test_turn_taking_optimizers_are_all_met() -> None:
    schedule = BudgetSteps(0.02)
    schedule.companions = 2
    sampled, _, _ = simulate(schedule, 4000, step_s=0.01, cost_s=1e-3)
    late = [step for step in sampled if step > 100]
    assert {step % 2 for step in late} == {0, 1}
    assert 0.4 < sum(step % 2 for step in late) / len(late) < 0.6


@given(seed=st.integers(0, 1000))
def test_seeded_steps_are_the_same_everywhere(seed: int) -> None:
    one, _, _ = simulate(SeededSteps(seed), 3000, step_s=1.0, cost_s=1.0)
    two, _, _ = simulate(SeededSteps(seed), 3000, step_s=1e-5, cost_s=9.0)
    assert one == two
    assert one[:DENSE_STEPS] == list(range(1, DENSE_STEPS + 1))
    assert 40 <= len(one) <= 90


def test_a_new_phase_is_looked_at_closely_but_not_for_ever() -> None:
    schedule = BudgetSteps(0.001)
    simulate(schedule, 1000, step_s=1e-4, cost_s=1e-3)
    assert schedule.restart(1000)
    assert [schedule.next_after(step) for step in range(1000, 1007)] == list(range(1001, 1008))
    assert not schedule.restart(1010)


def test_every_step() -> None:
    assert all(EveryStep().next_after(step) == step + 1 for step in range(100))
