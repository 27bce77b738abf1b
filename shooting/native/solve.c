/* A Runge-Kutta solve and its transpose, one call for a whole ensemble; REAL is float or double.
 *
 * Arrays are stored with one row per coordinate of the state, so that particles and data lie side
 * by side and every product below is "scalar times vector": y[S][Np] holds the K particles in its
 * first columns and the n data after them, p[S][Kp] the costates. Np and Kp are rounded up to
 * whole vectors. Extra columns of y are copies of the last real one, so that they are finite where
 * it is; their gradient is 0, so that sums along rows may run over them.
 * Members of the ensemble are independent: the result does not depend on the number of threads.
 */
#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

typedef REAL real;
typedef int64_t len;

#ifndef VECTOR_BYTES
#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#endif
#define LANES ((len)(VECTOR_BYTES / sizeof(real)))
typedef real vec __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));

enum { IDENTITY, RELU, TANH, SOFTPLUS };

/* Mirrors the ctypes.Structure of the loader, field by field. */
typedef struct {
  len runs, particles, data, size;           /* R, K, n, S */
  len slots, features, sigma;                /* numbers of slots and features, activation */
  len steps, stages, outputs, blocks, width; /* width: columns F of a packed control */
  len keep, threads;
  const len *slot_size, *feature_slot, *feature_active; /* slot -1: the constant feature */
  const len *output_at, *block;                         /* by node (-1: not asked), by step */
  const double *gain, *bias, *a, *b, *h;                /* gain[slot][feature], a[stage][stage] */
} Problem;

static len up(len n) { return (n + LANES - 1) / LANES * LANES; }

/* --- products: C[m][cols] (+)= sum_k A[r ar + k ak] B[k ldb + c] --------------------------- */

#define TILE(M, V)                                                                            \
  static void tile_##M##_##V(len depth, const real *A, len ar, len ak, const real *B, len ldb, \
                             real *C, len ldc, int add) {                                     \
    vec acc[M][V];                                                                            \
    _Pragma("GCC unroll 16") for (int r = 0; r < M; r++)                                      \
        _Pragma("GCC unroll 16") for (int v = 0; v < V; v++)                                  \
            acc[r][v] = add ? *(const vec *)(C + r * ldc + v * LANES) : (vec){0};             \
    for (len k = 0; k < depth; k++) {                                                         \
      vec row[V];                                                                             \
      _Pragma("GCC unroll 16") for (int v = 0; v < V; v++)                                    \
          row[v] = *(const vec *)(B + k * ldb + v * LANES);                                   \
      _Pragma("GCC unroll 16") for (int r = 0; r < M; r++) {                                  \
        const real x = A[r * ar + k * ak];                                                    \
        _Pragma("GCC unroll 16") for (int v = 0; v < V; v++) acc[r][v] += x * row[v];         \
      }                                                                                       \
    }                                                                                         \
    _Pragma("GCC unroll 16") for (int r = 0; r < M; r++)                                      \
        _Pragma("GCC unroll 16") for (int v = 0; v < V; v++)                                  \
            *(vec *)(C + r * ldc + v * LANES) = acc[r][v];                                    \
  }

#define UP_TO_4(V) TILE(1, V) TILE(2, V) TILE(3, V) TILE(4, V)
#define UP_TO_8(V) UP_TO_4(V) TILE(5, V) TILE(6, V) TILE(7, V) TILE(8, V)
UP_TO_8(1) UP_TO_8(2) UP_TO_8(3)
UP_TO_4(4) TILE(5, 4) TILE(6, 4) UP_TO_4(5) TILE(5, 5) UP_TO_4(6)

typedef void (*tile)(len, const real *, len, len, const real *, len, real *, len, int);
#define ROW4(V) tile_1_##V, tile_2_##V, tile_3_##V, tile_4_##V
#define ROW8(V) ROW4(V), tile_5_##V, tile_6_##V, tile_7_##V, tile_8_##V
static const tile TILES[6][8] = {{ROW8(1)}, {ROW8(2)}, {ROW8(3)},
                                 {ROW4(4), tile_5_4, tile_6_4}, {ROW4(5), tile_5_5}, {ROW4(6)}};

/* Tallest tile whose accumulators stay in registers (32 of them with AVX-512, else 16). */
#if VECTOR_BYTES == 64 || defined(__AVX512VL__) || defined(__aarch64__)
static const int TALLEST[6] = {8, 8, 8, 6, 5, 4};
#define WIDEST 6
#else
static const int TALLEST[6] = {8, 5, 4, 0, 0, 0};
#define WIDEST 3
#endif

static void product(len m, len cols, len depth, const real *A, len ar, len ak, const real *B,
                    len ldb, real *C, len ldc, int add) {
  /* even chunks of columns, then even blocks of rows: the first ones are longer by one */
  const unsigned vectors = cols / LANES, chunks = (vectors + WIDEST - 1) / WIDEST;
  const unsigned share = chunks ? vectors / chunks : 0, longer = vectors - share * chunks;
  for (unsigned c = 0, v0 = 0; c < chunks; c++) {
    const unsigned v = share + (c < longer), most = TALLEST[v - 1];
    const unsigned blocks = (m + most - 1) / most;
    const unsigned part = blocks ? m / blocks : 0, taller = m - part * blocks;
    for (unsigned b = 0, r0 = 0; b < blocks; b++) {
      const unsigned r = part + (b < taller);
      TILES[v - 1][r - 1](depth, A + r0 * ar, ar, ak, B + v0 * LANES, ldb,
                          C + r0 * ldc + v0 * LANES, ldc, add);
      r0 += r;
    }
    v0 += v;
  }
}

/* Where lane l of the two halves of an exchange at distance s comes from, in the pair (a, b).
 * Constants: left to the compiler, they are put together anew, lane by lane, at every exchange. */
#define LOW(l, s) ((l) & (s) ? LANES + (l) - (s) : (l))
#define HIGH(l, s) ((l) & (s) ? LANES + (l) : (l) + (s))
#define FOUR(WHICH, l, s) WHICH(l, s), WHICH(l + 1, s), WHICH(l + 2, s), WHICH(l + 3, s)
#define ROW(WHICH, s) \
  {FOUR(WHICH, 0, s), FOUR(WHICH, 4, s), FOUR(WHICH, 8, s), FOUR(WHICH, 12, s)}
#define ROWS(WHICH) {ROW(WHICH, 1), ROW(WHICH, 2), ROW(WHICH, 4), ROW(WHICH, 8)}
typedef __typeof__(((vec){0} < (vec){0})[0]) lane; /* an integer as wide as a real */
static const lane __attribute__((aligned(64))) LOWER[4][16] = ROWS(LOW), UPPER[4][16] = ROWS(HIGH);

#ifdef __clang__
static inline vec pick(vec a, vec b, const lane *from) {
  vec out;
  for (int l = 0; l < LANES; l++) out[l] = from[l] < LANES ? a[from[l]] : b[from[l] - LANES];
  return out;
}
#else
typedef lane lanes __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(lane)), may_alias));
static inline vec pick(vec a, vec b, const lane *from) {
  return __builtin_shuffle(a, b, *(const lanes *)from);
}
#endif

/* Transpose a square of LANES vectors in registers: exchange half blocks, then quarters, ... */
static inline __attribute__((always_inline)) void turn_square(vec *row) {
  _Pragma("GCC unroll 4") for (int e = 3; e >= 0; e--) {
    const int s = 1 << e;
    _Pragma("GCC unroll 16") for (int r = 0; r < LANES; r++)
      if (s < LANES && !(r & s)) {
        const vec a = row[r], b = row[r + s];
        row[r] = pick(a, b, LOWER[e]), row[r + s] = pick(a, b, UPPER[e]);
      }
  }
}

/* T[i][j] = A[j][i] for i < n, j < k; columns k..ldt of T become zero (lda, ldt: whole vectors). */
static void turn(len k, len n, const real *A, len lda, real *T, len ldt) {
  for (len j0 = 0; j0 < ldt; j0 += LANES)
    for (len i0 = 0; i0 < n; i0 += LANES) {
      vec row[LANES];
      _Pragma("GCC unroll 16") for (int j = 0; j < LANES; j++)
          row[j] = j0 + j < k ? *(const vec *)(A + (j0 + j) * lda + i0) : (vec){0};
      turn_square(row);
      _Pragma("GCC unroll 16") for (int i = 0; i < LANES; i++)
        if (i0 + i < n) *(vec *)(T + (i0 + i) * ldt + j0) = row[i];
    }
}

/* C[kp] (+)= A[n] G[k][n]^T for a single row, by dot products (ldg: whole vectors; A is 0
 * and G finite in the extra columns, or the other way round). */
static void dots(len k, len kp, const real *A, const real *G, len ldg, real *C, int add) {
  for (len j0 = 0; j0 < kp; j0 += LANES) {
    vec row[LANES], sum = add ? *(const vec *)(C + j0) : (vec){0};
    _Pragma("GCC unroll 16") for (int j = 0; j < LANES; j++) {
      row[j] = (vec){0};
      for (len i = 0; i < ldg && j0 + j < k; i += LANES)
        row[j] += *(const vec *)(A + i) * *(const vec *)(G + (j0 + j) * ldg + i);
    }
    turn_square(row); /* lane j of the sum of the turned rows is the sum over row j */
    _Pragma("GCC unroll 16") for (int l = 0; l < LANES; l++) sum += row[l];
    *(vec *)(C + j0) = sum;
  }
}

/* C[m][kp] (+)= A[m][n] G[k][n]^T, the sum running along rows of both (T: scratch n x kp). */
static void product_turned(len m, len k, len kp, len n, const real *A, len lda, const real *G,
                           len ldg, real *C, len ldc, int add, real *T) {
  if (m > 2) {
    turn(k, n, G, ldg, T, kp);
    product(m, kp, n, A, lda, 1, T, kp, C, ldc, add);
  } else {
    for (len r = 0; r < m; r++) dots(k, kp, A + r * lda, G, ldg, C + r * ldc, add);
  }
}

/* --- sigma and its derivatives ------------------------------------------------------------- */

/* exp(x) for x <= 0: 2^n exp(r), |r| <= log(2)/2, exp(r) by its series. NaN stays NaN, whatever the
 * machine makes of it as n (to put another number in its place would slow softplus). */
static inline real exp_negative(real x) {
  const int single = sizeof(real) == 4;
  const real low = single ? -87 : -708;
  x = x < low ? low : x;
  int32_t n = (int32_t)(x * (real)1.4426950408889634 - (real)0.5);
  real r = x - n * (single ? (real)0.693359375 : (real)6.93147180369123816490e-01);
  r -= n * (single ? (real)-2.12194440e-4 : (real)1.90821492927058770002e-10);
  real e = 1;
  for (int k = single ? 7 : 13; k > 0; k--) e = 1 + e * r * ((real)1 / k);
  union { int32_t i[2]; int64_t l; float f; double d; } two;
  if (single) two.i[0] = (uint32_t)(n + 127) << 23; else two.l = (uint64_t)(n + 1023) << 52;
  return e * (single ? (real)two.f : (real)two.d);
}

/* log(1 + e) for 0 <= e <= 1, by 2 artanh(e / (2 + e)). */
static inline real log_one_plus(real e) {
  const real s = e / (2 + e), q = s * s;
  real sum = 0;
  for (int k = sizeof(real) == 4 ? 7 : 16; k >= 0; k--) sum = sum * q + (real)1 / (2 * k + 1);
  return 2 * s * sum;
}

/* Near 0, where 1 - e cancels, Lambert's continued fraction: 1e-17 off at 0.3, relative. */
static inline real tanh_of(real v) {
  const real e = exp_negative(v < 0 ? 2 * v : -2 * v), t = (1 - e) / (1 + e), q = v * v;
  const real above = 135135 + q * (17325 + q * (378 + q));
  const real below = 135135 + q * (62370 + q * (3150 + q * 28));
  const real size = v < 0 ? -v : v;
  return size < (real)0.3 ? v * above / below : v < 0 ? -t : t;
}

static inline real softplus_of(real v) {
  return (v < 0 ? 0 : v) + log_one_plus(exp_negative(v < 0 ? v : -v));
}

static inline real logistic_of(real v) {
  const real e = exp_negative(v < 0 ? v : -v);
  return (v < 0 ? e : 1) / (1 + e);
}

static void value(len sigma, len n, const real *v, real *out) {
  switch (sigma) {
  case RELU: for (len i = 0; i < n; i++) out[i] = v[i] <= 0 ? 0 : v[i]; break; /* NaN stays */
  case TANH: for (len i = 0; i < n; i++) out[i] = tanh_of(v[i]); break;
  case SOFTPLUS: for (len i = 0; i < n; i++) out[i] = softplus_of(v[i]); break;
  default: memcpy(out, v, n * sizeof(real));
  }
}

#define EACH(FACTOR)                                                                \
  for (len r = 0; r < m; r++)                                                       \
    for (len c0 = 0; c0 < cols; c0 += LANES) /* whole vectors: no loop for a rest */ \
      for (len c = c0; c < c0 + LANES; c++) {                                       \
        const real v = y[r * ldy + c], w = scale * x[r * ldx + c];                  \
        (void)v;                                                                    \
        out[r * ldo + c] = (add ? out[r * ldo + c] : 0) + (FACTOR);                 \
      }                                                                             \
  break;

/* out (+)= scale sigma'(y) x */
static void times_slope(len sigma, len m, len cols, const real *y, len ldy, const real *x, len ldx,
                        real scale, real *out, len ldo, int add) {
  switch (sigma) {
  case RELU: EACH(v > 0 ? w : 0)
  case TANH: EACH(w * (1 - tanh_of(v) * tanh_of(v)))
  case SOFTPLUS: EACH(w * logistic_of(v))
  default: EACH(w)
  }
}

/* out += scale sigma''(y) x, for the activations that are not piecewise linear */
static void times_curvature(len sigma, len m, len cols, const real *y, len ldy, const real *x,
                            len ldx, real scale, real *out, len ldo) {
  const int add = 1;
  switch (sigma) {
  case TANH: EACH(-2 * w * tanh_of(v) * (1 - tanh_of(v) * tanh_of(v)))
  case SOFTPLUS: EACH(w * logistic_of(v) * (1 - logistic_of(v)))
  }
}

/* --- sums over arrays ---------------------------------------------------------------------- */

/* A zero that the compiler cannot see: it would start the sum at its first product otherwise, and
 * contract what follows the other way round, which changes last bits. */
static const volatile real ZERO = 0;

/* out = base + sum_i w_i x_i + last, for a number of terms that the compiler knows */
#define SUM(COUNT)                                                                    \
  case COUNT:                                                                         \
    for (len i = 0; i < n; i += LANES) {                                              \
      vec s = {0};                                                                    \
      s += zero;                                                                      \
      if (base) s = *(const vec *)(base + i);                                         \
      _Pragma("GCC unroll 4") for (int t = 0; t < COUNT; t++)                         \
          s += w[t] * *(const vec *)(x[t] + i);                                       \
      *(vec *)(out + i) = s + last;                                                   \
    }                                                                                 \
    break;

static inline __attribute__((always_inline)) void sum(len n, const real *base, len count,
                                                      const real *w, real *const *x, real last,
                                                      real *out) {
  const real zero = ZERO;
  switch (count) { SUM(0) SUM(1) SUM(2) SUM(3) SUM(4) }
}

/* out = base + sum_i c_i x_i + last (base may be NULL; terms with c_i = 0 are skipped) */
static void combine(len n, const real *base, len terms, const real *c, real *const *x, real last,
                    real *out) {
  real *used[16];
  real weight[16];
  len count = 0, done = 0;
  for (len i = 0; i < terms; i++)
    if (c[i] != 0) { used[count] = x[i]; weight[count++] = c[i]; }
  do { /* four at a time */
    const len now = count - done < 4 ? count - done : 4;
    const real end = done + now < count ? 0 : last;
    if (base) sum(n, base, now, weight + done, used + done, end, out);
    else sum(n, NULL, now, weight + done, used + done, end, out);
    base = out, done += now;
  } while (done < count);
}

/* --- the shooting system in kernel form ------------------------------------------------------ */

typedef struct {
  len K, N, Kp, Np, Fp, S, E; /* N = K + n rows; E: reals of one state */
  len stage_tape, scratch;    /* numbers of reals */
} Shape;

/* Whether the Gram matrix of a feature is kept for the way back. A narrow one is sooner made anew,
 * at w products per entry, than fetched from where the tapes of an ensemble lie: timed by hand,
 * the two take the same time somewhere between w = 16 and 32. */
enum { NARROW = 16 };
static int is_kept(const Problem *P, len f) { return P->slot_size[P->feature_slot[f]] > NARROW; }

static len kept_grams(const Problem *P) {
  len count = 0;
  if (!P->width)
    for (len f = 0; f < P->features; f++) count += is_kept(P, f);
  return count;
}

static Shape shape_of(const Problem *P) {
  Shape s = {.K = P->particles, .N = P->particles + P->data, .S = P->size};
  s.Kp = up(s.K), s.Fp = up(P->width);
  s.Np = up(s.N) < s.Kp ? s.Kp : up(s.N);
  s.E = s.S * (s.Np + s.Kp);
  s.stage_tape = s.E + kept_grams(P) * s.K * s.Np;
  s.scratch = (P->stages + 3) * s.E + s.stage_tape;
  if (P->width) /* features and their gradients, turned features, gradient of the control */
    s.scratch += 2 * P->width * s.Np + s.N * s.Fp + P->blocks * s.S * s.Fp;
  else /* features and their gradients, K x N matrices, K x K matrices, a turned matrix */
    s.scratch += (P->features + 3) * s.S * s.Np + (P->features + 2 * P->slots + 1) * s.K * s.Np
               + (2 * P->features + P->slots + 2) * s.K * s.Kp + s.N * s.Kp;
  return s;
}

static real *take(real **pool, len n) {
  real *block = *pool;
  *pool += n;
  return block;
}

static len slot_start(const Problem *P, len slot) {
  len at = 0;
  for (len o = 0; o < slot; o++) at += P->slot_size[o];
  return at;
}

static len feature_sigma(const Problem *P, len f) {
  return P->feature_active[f] ? P->sigma : IDENTITY;
}

/* Each feature of all columns: the slot itself, or sigma of it written to the pool. */
static void each_feature(const Problem *P, len Np, const real *y, const real **phi, real **pool) {
  for (len f = 0; f < P->features; f++) {
    const len slot = P->feature_slot[f], n = P->slot_size[slot] * Np;
    phi[f] = y + slot_start(P, slot) * Np;
    if (!P->feature_active[f]) continue;
    real *active = take(pool, n);
    value(P->sigma, n, phi[f], active);
    phi[f] = active;
  }
}

static void mix(const Problem *P, len o, len f, len n, real **x, real last, real *out) {
  real c[16]; /* gain[o][.] if f < 0, else gain[.][f] */
  const len terms = f < 0 ? P->features : P->slots;
  for (len i = 0; i < terms; i++)
    c[i] = (real)(f < 0 ? P->gain[o * P->features + i] : P->gain[i * P->features + f]);
  combine(n, NULL, terms, c, x, last, out);
}

/* Kernels of the slots, K_o(q, .) = bias_o + sum_f gain_of phi_f(q)^T phi_f(.). Gram matrices that
 * are kept are written to `grams`, on the way back read from there. */
static void kernels_of(const Problem *P, Shape s, const real *const *phi, real *grams, int back,
                       real *kernels, real *room) {
  real *gram[16];
  for (len f = 0; f < P->features; f++) {
    const int kept = is_kept(P, f);
    gram[f] = take(kept ? &grams : &room, s.K * s.Np);
    if (!kept || !back)
      product(s.K, s.Np, P->slot_size[P->feature_slot[f]], phi[f], 1, s.Np, phi[f], s.Np, gram[f],
              s.Np, 0);
  }
  for (len o = 0; o < P->slots; o++)
    mix(P, o, -1, s.K * s.Np, gram, (real)P->bias[o], kernels + o * s.K * s.Np);
}

/* What pairs of particles pull each other with, by feature: sum_o gain_of p_o^T p_o. */
static void pulls_of(const Problem *P, Shape s, const real *p, real *pulls, real *room) {
  real *pair[16];
  for (len o = 0; o < P->slots; p += P->slot_size[o++] * s.Kp) {
    pair[o] = take(&room, s.K * s.Kp);
    product(s.K, s.Kp, P->slot_size[o], p, 1, s.Kp, p, s.Kp, pair[o], s.Kp, 0);
  }
  for (len f = 0; f < P->features; f++) mix(P, 0, f, s.K * s.Kp, pair, 0, pulls + f * s.K * s.Kp);
}

/* (q', z', p') = (K(q, q) p, K(z, q) p, -sum_k (p_j . p_k) phi'(q_j) phi(q_k)) */
static void rates(const Problem *P, Shape s, const real *y, const real *p, real *grams, real *dy,
                  real *dp, real *room) {
  const real *phi[16];
  real *kernels = take(&room, P->slots * s.K * s.Np);
  real *pulls = take(&room, P->features * s.K * s.Kp), *back = take(&room, s.S * s.Kp);
  each_feature(P, s.Np, y, phi, &room);
  kernels_of(P, s, phi, grams, 0, kernels, room);
  pulls_of(P, s, p, pulls, room);
  for (len o = 0, at = 0; o < P->slots; at += P->slot_size[o++])
    product(P->slot_size[o], s.Np, s.K, p + at * s.Kp, s.Kp, 1, kernels + o * s.K * s.Np, s.Np,
            dy + at * s.Np, s.Np, 0);
  memset(dp, 0, s.S * s.Kp * sizeof(real));
  for (len f = 0; f < P->features; f++) {
    const len slot = P->feature_slot[f], w = P->slot_size[slot], at = slot_start(P, slot);
    product(w, s.Kp, s.K, phi[f], s.Np, 1, pulls + f * s.K * s.Kp, s.Kp, back, s.Kp, 0);
    times_slope(feature_sigma(P, f), w, s.Kp, y + at * s.Np, s.Np, back, s.Kp, -1,
                dp + at * s.Kp, s.Kp, 1);
  }
}

/* The part of the transpose that belongs to feature f; returns the gradient of its pull matrix. */
static void transpose_feature(const Problem *P, Shape s, len f, const real *phi, const real *y,
                              const real *c, const real *pull, const real *gram_bar, real *y_bar,
                              real *pull_bar, real *room) {
  const len slot = P->feature_slot[f], w = P->slot_size[slot], at = slot_start(P, slot);
  const len sigma = feature_sigma(P, f);
  real *phi_bar = take(&room, w * s.Np), *b = take(&room, w * s.Kp);
  y += at * s.Np, y_bar += at * s.Np, c += at * s.Kp;
  product(w, s.Np, s.K, phi, s.Np, 1, gram_bar, s.Np, phi_bar, s.Np, 0);
  times_slope(sigma, w, s.Kp, y, s.Np, c, s.Kp, -1, b, s.Kp, 0);
  product(w, s.Kp, s.K, b, s.Kp, 1, pull, s.Kp, phi_bar, s.Np, 1); /* pull is symmetric */
  product(s.K, s.Kp, w, b, 1, s.Kp, phi, s.Np, pull_bar, s.Kp, 0);
  if (sigma == TANH || sigma == SOFTPLUS) {
    product(w, s.Kp, s.K, phi, s.Np, 1, pull, s.Kp, b, s.Kp, 0);
    for (len i = 0; i < w * s.Kp; i++) b[i] *= c[i];
    times_curvature(sigma, w, s.Kp, y, s.Np, b, s.Kp, -1, y_bar, s.Np);
  }
  product_turned(w, s.K, s.Kp, s.N, phi, s.Np, gram_bar, s.Np, phi_bar, s.Np, 1, b);
  times_slope(sigma, w, s.Np, y, s.Np, phi_bar, s.Np, 1, y_bar, s.Np, 1);
}

/* Transposed derivative of rates: (a, c) = gradients of (y', p') to gradients of (y, p). */
static void transpose_rates(const Problem *P, Shape s, const real *y, const real *p,
                            real *grams, const real *a, const real *c, real *y_bar, real *p_bar,
                            real *room) {
  const real *phi[16];
  real *kernels = take(&room, P->slots * s.K * s.Np);
  real *pulls = take(&room, P->features * s.K * s.Kp);
  each_feature(P, s.Np, y, phi, &room);
  kernels_of(P, s, phi, grams, 1, kernels, room);
  pulls_of(P, s, p, pulls, room);
  real *kernel_bar[16], *pull_bar[16];
  memset(y_bar, 0, s.S * s.Np * sizeof(real));
  for (len o = 0, at = 0; o < P->slots; at += P->slot_size[o++]) {
    const len w = P->slot_size[o];
    kernel_bar[o] = take(&room, s.K * s.Np);
    product(s.K, s.Np, w, p + at * s.Kp, 1, s.Kp, a + at * s.Np, s.Np, kernel_bar[o], s.Np, 0);
    product_turned(w, s.K, s.Kp, s.N, a + at * s.Np, s.Np, kernels + o * s.K * s.Np, s.Np,
                   p_bar + at * s.Kp, s.Kp, 0, room);
  }
  real *gram_bar = take(&room, s.K * s.Np);
  for (len f = 0; f < P->features; f++) {
    pull_bar[f] = take(&room, s.K * s.Kp);
    mix(P, 0, f, s.K * s.Np, kernel_bar, 0, gram_bar);
    transpose_feature(P, s, f, phi[f], y, c, pulls + f * s.K * s.Kp, gram_bar, y_bar, pull_bar[f],
                      room);
  }
  real *pair_bar = take(&room, s.K * s.Kp), *both = take(&room, s.K * s.Kp);
  for (len o = 0, at = 0; o < P->slots; at += P->slot_size[o++]) {
    mix(P, o, -1, s.K * s.Kp, pull_bar, 0, pair_bar);
    turn(s.K, s.K, pair_bar, s.Kp, both, s.Kp);
    for (len i = 0; i < s.K; i++) { /* extra columns stay 0: data lie beside them */
      for (len j = 0; j < s.Kp; j += LANES)
        *(vec *)(both + i * s.Kp + j) += *(vec *)(pair_bar + i * s.Kp + j);
      for (len j = s.K; j < s.Kp; j++) both[i * s.Kp + j] = 0;
    }
    product(P->slot_size[o], s.Kp, s.K, p + at * s.Kp, s.Kp, 1, both, s.Kp, p_bar + at * s.Kp,
            s.Kp, 1);
  }
}

/* --- data carried by a control Theta[S][F] per block ----------------------------------------- */

/* All features, one under the other: phi[F][Np]. */
static void features_of(const Problem *P, Shape s, const real *z, real *phi) {
  for (len f = 0; f < P->features; f++) {
    const len slot = P->feature_slot[f];
    if (slot < 0) {
      for (len i = 0; i < s.Np; i++) *phi++ = 1;
      continue;
    }
    const len n = P->slot_size[slot] * s.Np;
    value(feature_sigma(P, f), n, z + slot_start(P, slot) * s.Np, phi);
    phi += n;
  }
}

static void carry_rates(const Problem *P, Shape s, const real *theta, const real *z, real *dz,
                        real *room) {
  features_of(P, s, z, room);
  product(s.S, s.Np, P->width, theta, P->width, 1, room, s.Np, dz, s.Np, 0);
}

static void carry_transpose(const Problem *P, Shape s, const real *theta, real *theta_bar,
                            const real *z, const real *a, real *z_bar, real *room) {
  real *phi = take(&room, P->width * s.Np), *phi_bar = take(&room, P->width * s.Np);
  features_of(P, s, z, phi);
  product_turned(s.S, P->width, s.Fp, s.N, a, s.Np, phi, s.Np, theta_bar, s.Fp, 1, room);
  product(P->width, s.Np, s.S, theta, 1, P->width, a, s.Np, phi_bar, s.Np, 0);
  memset(z_bar, 0, s.E * sizeof(real));
  for (len f = 0; f < P->features; f++) {
    const len slot = P->feature_slot[f];
    if (slot < 0) { phi_bar += s.Np; continue; }
    const len w = P->slot_size[slot], at = slot_start(P, slot) * s.Np;
    times_slope(feature_sigma(P, f), w, s.Np, z + at, s.Np, phi_bar, s.Np, 1, z_bar + at, s.Np, 1);
    phi_bar += w * s.Np;
  }
}

/* --- Runge-Kutta and its transpose, for one member ------------------------------------------- */

typedef struct {
  const Problem *P;
  Shape s;
  const real *theta; /* [B][S][F], if data are carried */
  real *theta_bar;   /* [B][S][Fp] */
  real *room;
} Member;

static void slope(const Member *m, len step, real *tape, real *out) {
  const Problem *P = m->P;
  const Shape s = m->s;
  const len y = s.S * s.Np;
  if (P->width)
    carry_rates(P, s, m->theta + P->block[step] * s.S * P->width, tape, out, m->room);
  else
    rates(P, s, tape, tape + y, tape + s.E, out, out + y, m->room);
}

static void slope_back(const Member *m, len step, const real *tape, const real *k_bar,
                       real *w_bar) {
  const Problem *P = m->P;
  const Shape s = m->s;
  const len y = s.S * s.Np;
  if (P->width) {
    const len b = P->block[step];
    carry_transpose(P, s, m->theta + b * s.S * P->width, m->theta_bar + b * s.S * s.Fp, tape,
                    k_bar, w_bar, m->room);
  } else {
    transpose_rates(P, s, tape, tape + y, (real *)tape + s.E, k_bar, k_bar + y, w_bar, w_bar + y,
                    m->room);
  }
}

/* Between a state and PyTorch's rows [q; z; p] of length S. */
static void load(Shape s, const real *rows, real *w) {
  for (len c = 0; c < s.S; c++) {
    for (len i = 0; i < s.N; i++) w[c * s.Np + i] += rows[i * s.S + c];
    for (len j = 0; j < s.K; j++) w[s.S * s.Np + c * s.Kp + j] += rows[(s.N + j) * s.S + c];
  }
}

static void store(Shape s, const real *w, real *rows) {
  for (len i = 0; i < s.N; i++)
    for (len c = 0; c < s.S; c++) rows[i * s.S + c] = w[c * s.Np + i];
  for (len j = 0; j < s.K; j++)
    for (len c = 0; c < s.S; c++) rows[(s.N + j) * s.S + c] = w[s.S * s.Np + c * s.Kp + j];
}

/* Let the extra columns move like the last real one: from 0 they might overflow alone. */
static void follow(Shape s, real *w) {
  for (len c = 0; c < s.S; c++)
    for (len i = s.N; i < s.Np; i++) w[c * s.Np + i] = w[c * s.Np + s.N - 1];
}

/* Ask for the tape of a stage whose turn comes next: all tapes together outgrow the near caches. */
static inline void ask(const real *tape, len n, int write) {
  for (len i = 0; i < n; i += 64 / (len)sizeof(real))
    if (write) __builtin_prefetch(tape + i, 1);
    else __builtin_prefetch(tape + i, 0);
}

/* W_i = w + h sum_l a_il k_l, w+ = w + h sum_i b_i k_i */
static void march(Member m, const real *start, real *path, real *tape) {
  const Problem *P = m.P;
  const len E = m.s.E, row = (m.s.N + m.s.K) * m.s.S, stages = P->stages;
  real *w = take(&m.room, E), *k[16], c[16], *one = take(&m.room, m.s.stage_tape);
  for (len i = 0; i < stages; i++) k[i] = take(&m.room, E);
  memset(w, 0, E * sizeof(real));
  load(m.s, start, w);
  follow(m.s, w);
  store(m.s, w, path);
  for (len step = 0; step < P->steps; step++) {
    const double h = P->h[step];
    for (len i = 0; i < stages; i++) {
      real *stage = P->keep ? tape + (step * stages + i) * m.s.stage_tape : one;
      for (len l = 0; l < i; l++) c[l] = (real)(h * P->a[i * stages + l]);
      combine(E, w, i, c, k, 0, stage);
      if (P->keep && (step + 1 < P->steps || i + 1 < stages))
        ask(stage + m.s.stage_tape, m.s.stage_tape, 1);
      slope(&m, step, stage, k[i]);
    }
    for (len i = 0; i < stages; i++) c[i] = (real)(h * P->b[i]);
    combine(E, w, stages, c, k, 0, w);
    if (P->output_at[step + 1] >= 0) store(m.s, w, path + P->output_at[step + 1] * row);
  }
}

/* k_i' = h b_i w' + h sum_l a_li W_l', w' += sum_i W_i' */
static void march_back(Member m, const real *tape, const real *path_bar, real *start_bar) {
  const Problem *P = m.P;
  const len E = m.s.E, row = (m.s.N + m.s.K) * m.s.S, stages = P->stages;
  real *w = take(&m.room, E), *k = take(&m.room, E), *x[17], c[17];
  for (len i = 0; i < stages; i++) x[i] = take(&m.room, E);
  x[stages] = w;
  memset(w, 0, E * sizeof(real));
  for (len step = P->steps - 1; step >= 0; step--) {
    const double h = P->h[step];
    if (P->output_at[step + 1] >= 0) load(m.s, path_bar + P->output_at[step + 1] * row, w);
    for (len i = stages - 1; i >= 0; i--) {
      for (len l = i + 1; l < stages; l++) c[l] = (real)(h * P->a[l * stages + i]);
      c[stages] = (real)(h * P->b[i]);
      combine(E, NULL, stages - i, c + i + 1, x + i + 1, 0, k);
      const real *stage = tape + (step * stages + i) * m.s.stage_tape;
      if (step || i) ask(stage - m.s.stage_tape, m.s.stage_tape, 0);
      slope_back(&m, step, stage, k, x[i]);
    }
    for (len i = 0; i < stages; i++) c[i] = 1;
    combine(E, w, stages, c, x, 0, w);
  }
  load(m.s, path_bar, w);
  store(m.s, w, start_bar);
}

/* --- all members, over threads --------------------------------------------------------------- */

typedef struct {
  const Problem *P;
  Shape s;
  const real *in, *theta; /* start, or gradient of the path */
  real *out, *theta_bar;  /* path, or gradient of the start */
  real *tape, *scratch;
  int back;
  len next_run, next_thread;
  fenv_t rounding; /* of the caller */
} Team;

static len team_size(const Problem *P) {
  len threads = P->threads < P->runs ? P->threads : P->runs;
  return threads > 64 ? 64 : threads < 1 ? 1 : threads;
}

static void one_run(const Team *t, len r, real *room) {
  const Problem *P = t->P;
  const Shape s = t->s;
  const len rows = (s.N + s.K) * s.S, path = rows * P->outputs;
  const len control = P->blocks * s.S * P->width;
  real *tape = t->tape + r * P->steps * P->stages * s.stage_tape;
  Member m = {P, s, t->theta + r * control, NULL, room};
  if (!t->back) {
    march(m, t->in + r * rows, t->out + r * path, tape);
    return;
  }
  m.theta_bar = take(&m.room, P->blocks * s.S * s.Fp);
  memset(m.theta_bar, 0, P->blocks * s.S * s.Fp * sizeof(real));
  march_back(m, tape, t->in + r * path, t->out + r * rows);
  for (len i = 0; i < P->blocks * s.S; i++)
    for (len f = 0; f < P->width; f++)
      t->theta_bar[r * control + i * P->width + f] = m.theta_bar[i * s.Fp + f];
}

static void *work(void *team) {
  Team *t = team;
  real *room = t->scratch + t->s.scratch * __atomic_fetch_add(&t->next_thread, 1, __ATOMIC_RELAXED);
  for (len r; (r = __atomic_fetch_add(&t->next_run, 1, __ATOMIC_RELAXED)) < t->P->runs;)
    one_run(t, t->back ? t->P->runs - 1 - r : r, room); /* the last tapes are still in cache */
  return NULL;
}

/* Helpers stay from one call to the next: to start a thread takes some tenths of a millisecond, as
 * long as a small solve. Each watches `call` for the next one, at first by looking again and again
 * (a training comes back within milliseconds), then asleep. They serve one call at a time; what
 * another thread asks for meanwhile is done without them, which changes no result. The word `call`
 * holds the number of the call and, in its last six bits, of the helpers that it wants: whoever is
 * not wanted need not be waited for, and touches nothing of the call. */
static struct {
  pthread_mutex_t busy, lock;
  pthread_cond_t wake;
  Team *team;
  len helpers, call, working; /* started; see above; helpers not yet done with the present call */
} crew = {.busy = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER};
enum { MOST = 63, PATIENCE = 5000000 }; /* helpers; nanoseconds that one stays awake without work */

static len nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * (len)1000000000 + now.tv_nsec;
}

static int is_new(len last, len *call) {
  *call = __atomic_load_n(&crew.call, __ATOMIC_ACQUIRE);
  return (*call & ~(len)MOST) != (last & ~(len)MOST);
}

static len next_call(len last) {
  const len since = nanoseconds();
  len call;
  while (!is_new(last, &call)) {
    sched_yield(); /* whoever has work to do goes first */
    if (nanoseconds() - since < PATIENCE) continue;
    pthread_mutex_lock(&crew.lock);
    while (!is_new(last, &call)) pthread_cond_wait(&crew.wake, &crew.lock);
    pthread_mutex_unlock(&crew.lock);
  }
  return call;
}

static void *help(void *number) {
  const len me = (intptr_t)number & MOST;
  for (len call = (intptr_t)number;;) {
    call = next_call(call);
    if (me > (call & MOST)) continue;
    fesetenv(&crew.team->rounding); /* the caller may have changed it since this thread began */
    work(crew.team);
    __atomic_fetch_sub(&crew.working, 1, __ATOMIC_RELEASE);
  }
  return NULL;
}

static len hire(len wanted) {
  pthread_attr_t how;
  pthread_t one;
  pthread_attr_init(&how);
  pthread_attr_setdetachstate(&how, PTHREAD_CREATE_DETACHED);
  while (crew.helpers < wanted) {
    const intptr_t number = (crew.call & ~(len)MOST) | (crew.helpers + 1);
    if (pthread_create(&one, &how, help, (void *)number)) break; /* fewer will do */
    crew.helpers++;
  }
  pthread_attr_destroy(&how);
  return wanted < crew.helpers ? wanted : crew.helpers;
}

/* A forked process has the memory of its parent, but none of the helpers. */
static void forget_helpers(void) {
  memset(&crew, 0, sizeof crew);
  pthread_mutex_init(&crew.busy, NULL);
  pthread_mutex_init(&crew.lock, NULL);
  pthread_cond_init(&crew.wake, NULL);
}

static void __attribute__((constructor)) begin(void) {
  pthread_atfork(NULL, NULL, forget_helpers);
}

static void all_runs(Team *t) {
  const len threads = team_size(t->P);
  if (threads == 1 || pthread_mutex_trylock(&crew.busy)) {
    work(t);
    return;
  }
  const len wanted = hire(threads - 1);
  fegetenv(&t->rounding);
  crew.team = t;
  __atomic_store_n(&crew.working, wanted, __ATOMIC_RELAXED);
  pthread_mutex_lock(&crew.lock);
  __atomic_store_n(&crew.call, ((crew.call | MOST) + 1) | wanted, __ATOMIC_RELEASE);
  pthread_cond_broadcast(&crew.wake);
  pthread_mutex_unlock(&crew.lock);
  work(t);
  while (__atomic_load_n(&crew.working, __ATOMIC_ACQUIRE)) sched_yield();
  pthread_mutex_unlock(&crew.busy);
}

/* --- entry points; the caller lends tape and scratch, of as many reals as these say ------------ */

len tape_size(const Problem *P) { return P->runs * P->steps * P->stages * shape_of(P).stage_tape; }

len scratch_size(const Problem *P) { return team_size(P) * shape_of(P).scratch; }

void forward(const Problem *P, real *scratch, const real *w, const real *theta, real *path,
             real *tape) {
  Team t = {.P = P, .s = shape_of(P), .in = w, .theta = theta, .out = path, .tape = tape,
            .scratch = scratch};
  all_runs(&t);
}

void backward(const Problem *P, real *scratch, const real *tape, const real *theta,
              const real *path_bar, real *w_bar, real *theta_bar) {
  Team t = {.P = P, .s = shape_of(P), .in = path_bar, .theta = theta, .out = w_bar,
            .theta_bar = theta_bar, .tape = (real *)tape, .scratch = scratch, .back = 1};
  all_runs(&t);
}
