"""C2: the optimality system by computer algebra, with the printed signs as controls."""

from __future__ import annotations

import pytest
import sympy as sp
import torch

from shooting import Affine, UpDown
from shooting.hamiltonian import kernel_system
from shooting.study.theory.symbolic import SIGMA, SymbolicShooting, differences

FIELDS = [UpDown(1, 2, sigma="tanh"), Affine(2, sigma="tanh")]


@pytest.fixture(params=FIELDS, ids=["updown", "affine"], scope="module")
def shooting(request):
    return SymbolicShooting(request.param, 2)


def test_closed_form_is_the_stationary_point(shooting):
    hamiltonian = shooting.pairing - shooting.penalty
    assert differences(shooting.stationary(hamiltonian), shooting.compatibility()) == []


def test_control_printed_sign_of_3_6_is_not(shooting):
    hamiltonian = shooting.pairing - shooting.penalty
    printed = {s: -e for s, e in shooting.compatibility().items()}
    found = shooting.stationary(hamiltonian)
    assert len(differences(found, printed)) == len(found)


def test_reduced_hamiltonian_is_the_penalty(shooting):
    best = shooting.compatibility()
    reduced = (shooting.pairing - shooting.penalty).subs(best)
    assert sp.expand(reduced - shooting.penalty.subs(best)) == 0


def test_hamiltonian_before_3_8_is_minus_the_penalty(shooting):
    best = shooting.compatibility()
    printed = (shooting.penalty - shooting.pairing).subs(best)
    assert sp.expand(printed + shooting.penalty.subs(best)) == 0
    assert sp.expand(printed - shooting.penalty.subs(best)) != 0


def test_canonical_equations_of_the_reduced_hamiltonian_are_3_3(shooting):
    best = shooting.compatibility()
    reduced = (shooting.pairing - shooting.penalty).subs(best)
    right = {s: e.subs(best) for s, e in shooting.optimality().items()}
    assert differences(shooting.canonical(reduced), right) == []


@pytest.mark.parametrize("which", ["(3.8)", "Appendix C"])
def test_control_printed_hamiltonians_give_other_equations(shooting, which):
    printed = shooting.penalty - shooting.pairing  # Appendix C adds p . x', absent from d/dq
    wrong = shooting.canonical(printed)
    right = shooting.optimality()
    if which == "Appendix C":
        wrong = {s: e for s, e in wrong.items() if str(s).startswith("p_")}
    assert len(differences(wrong, right)) == len(wrong)


def test_symbols_and_code_agree(shooting):
    field = shooting.field
    g = torch.Generator().manual_seed(1)
    q = torch.randn(2, field.size, generator=g, dtype=torch.float64)
    p = torch.randn(2, field.size, generator=g, dtype=torch.float64)
    best = shooting.compatibility()
    rates = shooting.canonical((shooting.pairing - shooting.penalty).subs(best))
    dq, dp = kernel_system(field)(q, p)
    for held, moved in ((shooting.q, dq), (shooting.p, dp)):
        for slot, part in field.split(moved).items():
            got = shooting.evaluate([rates[s] for s in held[slot]], q, p)
            # the same sums in another order
            assert torch.allclose(got, part.flatten(), atol=1e-13)


@pytest.fixture(scope="module")
def updown():
    return SymbolicShooting(UpDown(1, 2, sigma="tanh"), 2)


def test_hamiltonian_in_kernel_form(updown):
    """H = 1/2 sum_jk p_j . p_k k(q_j, q_k), with the kernel read off the terms."""
    s, total = updown, 0
    for t in s.field.terms:
        for j in range(2):
            for k in range(2):
                features = (s.feature(t, j).T * s.feature(t, k))[0]
                total += (s.p[t.out].row(j) * s.p[t.out].row(k).T)[0] * features / s.m[t.name] / 2
    reduced = (s.pairing - s.penalty).subs(s.compatibility())
    assert sp.expand(reduced - total) == 0
    assert sp.expand(reduced - 2 * total) != 0  # control: without the half


def along(quantity, rates):
    """d/dt of a function of (q, p) whose symbols move at these rates."""
    return sum(sp.diff(quantity, s) * rate for s, rate in rates.items())


def test_virial_and_the_one_closed_equation(updown):
    """d/dt sum p_x . x, and m_b1 b1' = -m_b2 theta2^T b2, for an undetermined sigma."""
    s = updown
    best = s.compatibility()
    rates = {k: e.subs(best) for k, e in s.optimality().items()}
    size = {b: s.m[b] * sum(e**2 for e in w.subs(best)) for b, w in s.theta.items()}
    pairing = sum(p * x for p, x in zip(s.p["x"], s.q["x"], strict=True))
    rate = along(pairing, rates)
    assert sp.expand(rate - (size["theta1"] + size["b1"] - size["theta2"])) == 0
    assert sp.expand(rate - (size["theta1"] + size["b1"] + size["theta2"])) != 0  # control
    b1 = s.theta["b1"].subs(best)[0]
    right = -(s.theta["theta2"].T * s.theta["b2"]).subs(best)[0] * s.m["b2"]
    assert sp.expand(s.m["b1"] * along(b1, rates) - right) == 0


@pytest.mark.parametrize(("sigma", "closes"), [(lambda x: x, True), (sp.tanh, False)])
def test_epdiff_closes_for_the_linear_network_only(sigma, closes):
    """A' = [A, A^T] + b b^T and b' = -A^T b, all weights one."""
    s = SymbolicShooting(Affine(2, sigma="tanh"), 2)
    ones = dict.fromkeys(s.m.values(), 1)
    best = {k: e.subs(ones).replace(SIGMA, sigma) for k, e in s.compatibility().items()}
    rates = {
        k: e.subs(ones).replace(SIGMA, sigma).doit().subs(best) for k, e in s.optimality().items()
    }
    a, b = s.theta["A"].subs(best), s.theta["b"].subs(best)
    moved = a.applyfunc(lambda e: along(e, rates))
    gap = moved - (a * a.T - a.T * a + b * b.T)
    values = {v: sp.Rational(k + 1, 7) for k, v in enumerate([*s.q["x"], *s.p["x"]])}
    assert all(abs(sp.N(e.subs(values))) < 1e-12 for e in gap) == closes
