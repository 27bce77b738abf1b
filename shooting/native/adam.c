/* One step of Adam for an ensemble, in two passes over memory; REAL is float or double.
 *
 * Every operation is rounded on its own and in PyTorch's order (build.py switches contraction
 * off), and the square root between the passes is PyTorch's, so that the result equals that of
 * `shooting.optim` bit for bit. Arrays hold `runs` rows of `count` entries, or one such row.
 */
#include <stdint.h>

typedef REAL real;

/* mean += gain1 (grad - mean), square += gain2 (grad^2 - square); grad = 0 where not alive. */
void moments(int64_t runs, int64_t count, const uint8_t *alive, const real *restrict gain1,
             const real *restrict gain2, const real *restrict grad, real *restrict mean,
             real *restrict square) {
  for (int64_t r = 0; r < runs; r++, grad += count, mean += count, square += count)
    for (int64_t i = 0; i < count; i++) {
      const real g = alive[r] ? grad[i] : 0;
      mean[i] += gain1[i] * (g - mean[i]);
      square[i] += gain2[i] * (g * g - square[i]);
    }
}

/* w -= rate first mean / (root / second + eps), the rate being 0 where not alive. */
void move(int64_t runs, int64_t count, const uint8_t *alive, const real *rate,
          const real *restrict first, const real *restrict second, double eps,
          const real *restrict mean, const real *restrict root, real *restrict w) {
  for (int64_t r = 0; r < runs; r++, mean += count, root += count, w += count) {
    const real step = alive[r] ? rate[r] : 0;
    for (int64_t i = 0; i < count; i++)
      w[i] -= step * first[i] * mean[i] / (root[i] / second[i] + (real)eps);
  }
}
