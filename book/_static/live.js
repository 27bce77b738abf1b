/* Live shooting (page book/live). First the mathematics, which needs no page and is compared with the
   Python package in tests: UpDown with d = 2 and α = 3, in the names of the page "The UpDown model":
   particles X, V with costates P, Q, and data x, v that ride along. A matrix is the flat array of its
   rows. Then the picture. */
"use strict";

const LIVE = (() => {
  const [DIM, WIDTH, M3] = [2, 6, 10]; // d, αd, penalty weight of θ3 (Appendix E); the others are 1
  const SIGMA = {
    tanh: { value: Math.tanh, slope: (v) => 1 - Math.tanh(v) ** 2 },
    relu: { value: (v) => Math.max(0, v), slope: (v) => (v > 0 ? 1 : 0) },
  };

  // For each row a of A, and e of E: the row c + B a + D e.
  function affine(c, A, B, E = [], D = []) {
    const n = c.length, [wide, broad] = [B.length / n, D.length / n];
    const out = new Float64Array((A.length / wide) * n);
    for (let at = 0; at < out.length; at++) {
      const k = at % n, i = (at - k) / n;
      let sum = c[k];
      for (let m = 0; m < wide; m++) sum += B[k * wide + m] * A[i * wide + m];
      for (let m = 0; m < broad; m++) sum += D[k * broad + m] * E[i * broad + m];
      out[at] = sum;
    }
    return out;
  }

  // AᵀB: the sum over rows of a bᵀ.
  function outer(A, B, rows) {
    const [n, wide] = [A.length / rows, B.length / rows];
    return new Float64Array(n * wide).map((_, at) => {
      let sum = 0;
      for (let j = 0; j < rows; j++) sum += A[j * n + Math.floor(at / wide)] * B[j * wide + (at % wide)];
      return sum;
    });
  }
  const turn = (B, n) => B.map((_, at) => B[(at % n) * (B.length / n) + Math.floor(at / n)]);
  const pull = (A, B, n) => affine(new Float64Array(B.length / n), A, turn(B, n)); // A B, B of n rows

  // The lift v(0) = Θ12 x(0) + b12: six directions, 60 degrees apart, and one bias.
  const lift = {
    weight: Float64Array.from({ length: WIDTH * DIM }, (_, at) =>
      2 * (at % 2 ? Math.sin : Math.cos)((Math.floor(at / 2) * Math.PI) / 3)),
    bias: new Float64Array(WIDTH).fill(0.5),
  };
  const lifted = (x) => affine(lift.bias, x, lift.weight);

  // The control that maximises H: sums over particles.
  function weights(sigma, X, V, P, Q) {
    const K = X.length / DIM, S = V.map((v) => sigma.value(v)), one = new Float64Array(K).fill(1);
    return {
      theta1: outer(P, S, K), b1: outer(P, one, K), theta2: outer(Q, X, K), b2: outer(Q, one, K),
      theta3: outer(Q, S, K).map((w) => w / M3),
    };
  }

  // Paper 3.9, for any rows.
  function velocity(sigma, x, v, th) {
    const s = v.map((a) => sigma.value(a));
    return [affine(th.b1, s, th.theta1), affine(th.b2, x, th.theta2, s, th.theta3)];
  }

  // Minus the transposed derivative of the field, applied to the costates.
  function costates(sigma, V, P, Q, th) {
    const down = pull(P, th.theta1, DIM), up = pull(Q, th.theta3, WIDTH);
    return [pull(Q, th.theta2, WIDTH).map((a) => -a), V.map((v, i) => -sigma.slope(v) * (down[i] + up[i]))];
  }

  // Paper 3.4: the particles make the field, the data ride along.
  function system(sigma, [X, V, P, Q, x, v]) {
    const th = weights(sigma, X, V, P, Q);
    return [...velocity(sigma, X, V, th), ...costates(sigma, V, P, Q, th), ...velocity(sigma, x, v, th)];
  }

  // Kutta's 3/8 rule, the method "rk4" of the package.
  function step(rhs, y, h) {
    const plus = ([w1, w2, w3, w4], k1, k2 = k1, k3 = k1, k4 = k1) => y.map((part, n) =>
      part.map((a, i) => a + h * (w1 * k1[n][i] + w2 * k2[n][i] + w3 * k3[n][i] + w4 * k4[n][i])));
    const k1 = rhs(y), k2 = rhs(plus([1 / 3, 0, 0, 0], k1)), k3 = rhs(plus([-1 / 3, 1, 0, 0], k1, k2));
    const k4 = rhs(plus([1, -1, 1, 0], k1, k2, k3));
    return plus([1 / 8, 3 / 8, 3 / 8, 1 / 8], k1, k2, k3, k4);
  }

  // H = R(θ): half the squares of all weights, those of θ3 tenfold.
  const energy = (th) => Object.entries(th).reduce((sum, [name, w]) =>
    sum + (name === "theta3" ? M3 : 1) * 0.5 * w.reduce((s, a) => s + a * a, 0), 0);

  // Depth 0 to 1 in equal steps, from [X, V, P, Q, x, v]: the state, θ and H at each node.
  function shoot(activation, start, steps) {
    const sigma = SIGMA[activation], path = [start.map((part) => Float64Array.from(part))];
    for (let k = 0; k < steps; k++) path.push(step((y) => system(sigma, y), path[k], 1 / steps));
    const theta = path.map(([X, V, P, Q]) => weights(sigma, X, V, P, Q));
    return { path, theta, H: theta.map(energy) };
  }

  return { lift, lifted, shoot, WIDTH };
})();

(() => {
  const host = document.getElementById("live");
  if (!host) return;
  const [STEPS, REACH, POINTS] = [20, 2.2, 25]; // steps of depth, half the window, points of a line
  const PRESETS = { // x1, x2, p1, p2 of each particle
    stretch: [[-0.5, -0.1, -0.3, -0.06], [0.5, 0.1, 0.3, 0.06]],
    turn: [[0.8, 0, 0, 0.28], [-0.4, 0.7, -0.24, -0.14], [-0.4, -0.7, 0.24, -0.14]],
    push: [[-0.6, -0.4, 0.4, 0.2]],
  };
  const control = (name) => host.querySelector(`[data-live="${name}"]`);
  const plane = host.querySelector(".live-plane");
  const add = (parent, tag, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return parent.appendChild(made);
  };
  const hundredth = (a) => Math.round(100 * a) / 100; // what is shown is what is computed with
  const within = (a) => Math.max(-REACH, Math.min(REACH, a));
  const far = (a) => (Math.abs(a) < 99 ? a : 99 * (Math.sign(a) || 1)); // keeps an overflow drawable
  const at = (x, y) => `${far(x).toFixed(3)} ${far(-y).toFixed(3)}`; // up is up
  const line = (xs) => `M${Array.from({ length: xs.length / 2 }, (_, i) => at(xs[2 * i], xs[2 * i + 1])).join("L")}`;
  const shown = (a, digits = 2) => a.toFixed(digits).replace("-", "−");
  const tip = ([x, y, px, py], slot) => (slot ? [x + px, y + py] : [x, y]);

  const ends = Array.from({ length: POINTS }, (_, k) => (2 * k) / (POINTS - 1) - 1);
  const lines = Array.from({ length: 9 }, (_, k) => k / 4 - 1).flatMap((c) =>
    [ends.flatMap((s) => [s, c]), ends.flatMap((s) => [c, s])]);
  const threads = lines.map((xs, i) => {
    add(plane, "path", { class: "live-ghost", d: line(xs) });
    return add(plane, "path", { class: i % 2 ? "live-thread upright" : "live-thread" });
  });
  let particles, marks, shot, frame, playing;

  // Initial conditions: v(0) by the lift, as for the data, and no costate of v.
  function start() {
    const x = particles.flatMap((one) => one.slice(0, 2)), p = particles.flatMap((one) => one.slice(2));
    const v = LIVE.lifted(x);
    return [x, v, p, v.map(() => 0), lines.flat(), LIVE.lifted(lines.flat())];
  }

  function handle(j, slot) {
    const what = slot ? "momentum" : "position";
    const made = add(plane, "g", {
      class: `live-mark live-handle ${what} particle-${j + 1}`, tabindex: 0, role: "slider",
      "aria-label": `Particle ${j + 1}, ${what}`, "aria-roledescription": "point in the plane",
      "aria-valuemin": slot ? -2 * REACH : -REACH, "aria-valuemax": slot ? 2 * REACH : REACH,
    });
    add(made, "circle", { class: "live-target", r: slot ? 0.2 : 0.25 });
    add(made, "path", { d: slot ? "M.13 0L-.07.1V-.1Z" : "M.09 0A.09.09 0 1 1-.09 0A.09.09 0 1 1 .09 0Z" });
    const move = (...to) => { // the ring with its arrow, or the arrow's tip; neither leaves the window
      to.forEach((a, i) => {
        const [from, ahead] = slot ? [particles[j][i], 0] : [0, particles[j][2 + i]];
        particles[j][slot + i] = hundredth(within(within(a) + ahead) - ahead - from);
      });
      refresh();
    };
    made.addEventListener("pointerdown", (event) => {
      made.setPointerCapture(event.pointerId);
      made.focus({ preventScroll: true });
      event.preventDefault();
    });
    made.addEventListener("pointermove", (event) => {
      if (!made.hasPointerCapture(event.pointerId)) return;
      const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(plane.getScreenCTM().inverse());
      move(point.x, -point.y);
    });
    made.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (!way) return;
      event.preventDefault(); // the page stays where it is
      const by = event.shiftKey ? 0.01 : 0.05;
      move(...tip(particles[j], slot).map((a, i) => a + by * way[i]));
    });
    return made;
  }

  function reset() {
    particles = PRESETS[control("preset").value].map((one) => [...one]);
    plane.querySelectorAll(".live-mark").forEach((old) => old.remove());
    const mark = (j, tag, kind) => add(plane, tag, { class: `live-mark particle-${j + 1} ${kind}`, r: 0.06 });
    marks = particles.map((_, j) =>
      ({ trail: mark(j, "path", "trail"), arrow: mark(j, "path", "arrow"), now: mark(j, "circle", "now") }));
    particles.forEach((_, j) => { marks[j].handles = [0, 2].map((slot) => handle(j, slot)); });
    refresh();
  }

  const scaled = (by) => particles.map(([x, y, px, py]) => [x, y, hundredth(by * px), hundredth(by * py)]);
  const fits = (rows) => rows.every((one) => tip(one, 2).every((a) => Math.abs(a) <= REACH));
  function scale(by) { // as long as every arrow stays in the window
    if (fits(scaled(by))) particles = scaled(by);
    refresh();
  }

  function refresh() { // at most once a frame, however fast the pointer moves
    frame ??= requestAnimationFrame(() => {
      frame = undefined;
      shot = LIVE.shoot(control("sigma").value, start(), STEPS);
      particles.forEach((one, j) => drawHandles(one, marks[j]));
      host.querySelectorAll(".live-chart").forEach(drawChart);
      const drift = Math.max(...shot.H.map((H) => Math.abs(H - shot.H[0])));
      control("energy").textContent = Number.isFinite(drift)
        ? `H = ${shown(shot.H[0], 4)} at the entrance, ${shown(shot.H[STEPS], 4)} at the exit; `
          + `largest change on the way ${drift.toExponential(0).replace("-", "−")}.`
          + (drift > 0.1 * shot.H[0] ? " Too strong a shot for steps of this length: do not trust the picture." : "")
        : "Too strong: the numbers overflow before the exit.";
      control("double").setAttribute("aria-disabled", !fits(scaled(2)));
      drawPlane();
    });
  }

  function drawHandles(one, mark) {
    const [x, y, px, py] = one;
    mark.arrow.setAttribute("d", line([x, y, ...tip(one, 2)]));
    mark.handles.forEach((made, i) => {
      const turned = i ? ` rotate(${(-Math.atan2(py, px) * 180) / Math.PI})` : "";
      made.setAttribute("transform", `translate(${at(...tip(one, i))})${turned}`);
      const [name, a, b] = i ? ["p", px, py] : ["x", x, y];
      made.setAttribute("aria-valuenow", a);
      made.setAttribute("aria-valuetext", `${name} = (${shown(a)}, ${shown(b)})`);
    });
  }

  // Each on its own scale, a round number.
  function drawChart(chart) {
    const names = chart.dataset.theta.split(" ");
    const sizes = shot.theta.flatMap((th) => names.flatMap((name) => [...th[name]].map(Math.abs)));
    const top = Math.max(0.01, ...sizes.filter(Number.isFinite)), unit = 10 ** Math.floor(Math.log10(top));
    const bound = Number(([1, 2, 5, 10].find((m) => m * unit >= top) * unit).toPrecision(1));
    names.forEach((name, i) => {
      const curve = (_, k) => `M${shot.theta.map((th, n) => at(n / STEPS, th[name][k] / bound)).join("L")}`;
      chart.querySelectorAll(".entry")[i].setAttribute("d", Array.from(shot.theta[0][name], curve).join(""));
    });
    chart.querySelector(".top").textContent = bound;
    chart.querySelector(".bottom").textContent = `−${bound}`;
  }

  function drawPlane() { // at the chosen depth; between two nodes by a straight line
    const depth = Number(control("depth").value), place = depth * STEPS, k = Math.min(STEPS - 1, Math.floor(place));
    const between = (slot) => shot.path[k][slot].map((a, i) => a + (place - k) * (shot.path[k + 1][slot][i] - a));
    const [X, x] = [between(0), between(4)];
    threads.forEach((thread, i) => thread.setAttribute("d", line(x.slice(2 * POINTS * i, 2 * POINTS * (i + 1)))));
    marks.forEach((mark, j) => {
      const past = shot.path.slice(0, k + 1).map((state) => state[0]);
      mark.trail.setAttribute("d", line([...past, X].flatMap((state) => [state[2 * j], state[2 * j + 1]])));
      mark.now.setAttribute("transform", `translate(${at(X[2 * j], X[2 * j + 1])})`);
    });
    host.querySelectorAll(".live-now").forEach((rule) => rule.setAttribute("d", `M${depth}-1V1`));
    control("depth").setAttribute("aria-valuetext", `t = ${shown(depth)}`);
    control("t").textContent = shown(depth);
  }

  function play() { // two seconds from entrance to exit; touching the slider ends it
    const begin = performance.now();
    const next = (now) => {
      control("depth").value = Math.max(0, now - begin) / 2000;
      drawPlane();
      playing = control("depth").value < 1 ? requestAnimationFrame(next) : undefined;
    };
    cancelAnimationFrame(playing);
    playing = requestAnimationFrame(next);
  }

  control("preset").addEventListener("change", reset);
  control("sigma").addEventListener("change", refresh);
  control("depth").addEventListener("input", () => { cancelAnimationFrame(playing); drawPlane(); });
  const buttons = { reset, play, double: () => scale(2), halve: () => scale(0.5) };
  for (const [name, act] of Object.entries(buttons)) control(name).addEventListener("click", act);
  host.hidden = false;
  reset();
})();
