"""The same training step in JAX: `jit` over a `scan` of Runge-Kutta steps, and diffrax."""

from __future__ import annotations

from collections.abc import Callable

import diffrax
import jax
import jax.numpy as jnp
from rungs import FACTOR, RATE, Size, Step, target

from shooting import Solver

A = ((), (1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0))  # the 3/8 rule, as everywhere in the bench
B = (1 / 8, 3 / 8, 3 / 8, 1 / 8)


def by_theta(x, v, px, pv):
    s = jax.nn.relu(v)
    return px.T @ s, px.sum(0), pv.T @ x, pv.sum(0), pv.T @ s / 10


def move(x, v, theta):
    theta1, b1, theta2, b2, theta3 = theta
    s = jax.nn.relu(v)
    return s @ theta1.T + b1, x @ theta2.T + b2 + s @ theta3.T


def theta_form(state):
    x, v, px, pv, data_x, data_v = state
    theta = by_theta(x, v, px, pv)
    theta1, _, theta2, _, theta3 = theta
    dpv = -jnp.where(v > 0, 1.0, 0.0) * (px @ theta1 + pv @ theta3)
    return *move(x, v, theta), -(pv @ theta2), dpv, *move(data_x, data_v, theta)


def kernel_form(state):
    x, v, px, pv, data_x, data_v = state
    k = x.shape[0]
    s = jax.nn.relu(v)
    all_x, all_s = jnp.concatenate([x, data_x]), jnp.concatenate([s, jax.nn.relu(data_v)])
    gram_s, gram_x = all_s @ s.T, all_x @ x.T
    dx, dv = (gram_s + 1) @ px, (gram_x + gram_s / 10 + 1) @ pv
    pairs_x, pairs_v = px @ px.T, pv @ pv.T
    dpv = -jnp.where(v > 0, 1.0, 0.0) * ((pairs_x + pairs_v / 10) @ s)
    return dx[:k], dv[:k], -(pairs_v @ x), dpv, dx[k:], dv[k:]


def add(state, slopes, weights, h):
    for w, slope in zip(weights, slopes, strict=True):
        if w:
            state = jax.tree.map(lambda y, k, w=w: y + h * w * k, state, slope)
    return state


def by_scan(rhs: Callable, steps: int) -> Callable:
    def one(state, _):
        slopes = []
        for row in A:
            slopes.append(rhs(add(state, slopes, row, 1 / steps)))
        return add(state, slopes, B, 1 / steps), None

    return lambda state: jax.lax.scan(one, state, None, length=steps)[0]


def by_diffrax(rhs: Callable, steps: int) -> Callable:
    term = diffrax.ODETerm(lambda t, y, args: rhs(y))

    def solve(state):
        found = diffrax.diffeqsolve(
            term, diffrax.Tsit5(), 0.0, 1.0, 1 / steps, state, max_steps=steps + 2
        )
        return jax.tree.map(lambda y: y[-1], found.ys)

    return solve


def jax_step(size: Size, solve: Callable) -> Step:
    """Loss, gradient and Adam in one compiled function, mapped over the runs."""
    drawn = dict(size.build(Solver()).named_parameters())
    learned = {k: jnp.asarray(w.detach().numpy()) for k, w in drawn.items()}
    x = jnp.asarray(size.data().numpy())
    y, d = jnp.asarray(target(size.data()).numpy()), size.dim

    def loss(w, x, y):
        p = w["p"] / size.particles
        v = x @ w["lift.weight"].T + w["lift.bias"]
        start = (w["x"], w["v"], p[:, :d], p[:, d:], x, v)
        *plain, theta3 = by_theta(*start[:4])
        penalty = 0.5 * (sum((t**2).sum() for t in plain) + 10 * (theta3**2).sum())
        return FACTOR * ((solve(start)[4] - y) ** 2).mean() + penalty

    losses = jax.vmap(jax.value_and_grad(loss))

    @jax.jit
    def update(w, mean, square, t):
        value, grad = losses(w, x, y)
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, grad)
        square = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g * g, square, grad)

        def adam(w, m, s):
            return w - RATE * (m / (1 - 0.9**t)) / (jnp.sqrt(s / (1 - 0.999**t)) + 1e-8)

        return value, grad, jax.tree.map(adam, w, mean, square), mean, square

    zero = jax.tree.map(jnp.zeros_like, learned)
    state = {"w": learned, "mean": zero, "square": zero, "t": 0}

    def step():
        state["t"] += 1
        found = update(state["w"], state["mean"], state["square"], float(state["t"]))
        value, state["grad"], state["w"], state["mean"], state["square"] = found
        return jax.block_until_ready(value)

    return Step(step, lambda: state["grad"])


def jax_rungs(size: Size) -> dict[str, Step]:
    """The JAX rungs at one size; the package's own numbers are compared with the faster form."""
    return {
        "JAX jit + scan, θ-form": jax_step(size, by_scan(theta_form, size.steps)),
        "JAX jit + scan, kernel form": jax_step(size, by_scan(kernel_form, size.steps)),
        "diffrax Tsit5": jax_step(size, by_diffrax(theta_form, size.steps)),
    }
