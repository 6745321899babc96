/* The chains as loops that a person would write for each of them, over leaves whose pointers are at hand. */

#include <math.h>
#include <stddef.h>
#include <string.h>

typedef const float *restrict in;
typedef float *restrict out;

/* What a step takes: hyperparameters, and powers of the decays that it keeps. */
struct adam {
    double b1, b2, eps, decay, rate, bound, power1, power2;
};

static void adam_leaf(size_t n, in g, out p, out m, out v, const struct adam *a, double factor) {
    const float b1 = a->b1, rest1 = 1 - a->b1, b2 = a->b2, rest2 = 1 - a->b2;
    const float mu = 1 / (1 - a->power1), nu = 1 / (1 - a->power2);
    const float eps = a->eps, decay = a->decay, rate = a->rate, scale = factor;
    for (size_t i = 0; i < n; i++) {
        const float u = g[i] * scale;
        m[i] = b1 * m[i] + rest1 * u;
        v[i] = b2 * v[i] + rest2 * (u * u);
        const float d = m[i] * mu / (sqrtf(v[i] * nu) + eps);
        p[i] -= rate * (d + decay * p[i]);
    }
}

static void plain_adam_leaf(size_t n, in g, out p, out m, out v, const struct adam *a) {
    const float b1 = a->b1, rest1 = 1 - a->b1, b2 = a->b2, rest2 = 1 - a->b2;
    const float mu = 1 / (1 - a->power1), nu = 1 / (1 - a->power2);
    const float eps = a->eps, decay = a->decay, rate = a->rate;
    for (size_t i = 0; i < n; i++) {
        m[i] = b1 * m[i] + rest1 * g[i];
        v[i] = b2 * v[i] + rest2 * (g[i] * g[i]);
        const float d = m[i] * mu / (sqrtf(v[i] * nu) + eps);
        p[i] -= rate * (d + decay * p[i]);
    }
}

static void momentum_leaf(size_t n, in g, out p, out m, float momentum, float rate) {
    for (size_t i = 0; i < n; i++) {
        m[i] = g[i] + momentum * m[i];
        p[i] -= rate * m[i];
    }
}

static void rmsprop_leaf(size_t n, in g, out p, out v, float decay, float rest, float eps, float rate) {
    for (size_t i = 0; i < n; i++) {
        v[i] = decay * v[i] + rest * (g[i] * g[i]);
        p[i] -= rate * (g[i] / sqrtf(v[i] + eps));
    }
}

static void lion_leaf(size_t n, in g, out p, out m, float b1, float b2, float decay, float rate) {
    const float rest1 = 1 - b1, rest2 = 1 - b2;
    for (size_t i = 0; i < n; i++) {
        const float c = b1 * m[i] + rest1 * g[i];
        m[i] = b2 * m[i] + rest2 * g[i];
        p[i] -= rate * ((c > 0 ? 1.0f : c < 0 ? -1.0f : 0.0f) + decay * p[i]);
    }
}

static void amsgrad_leaf(size_t n, in g, out p, out m, out v, out w, const struct adam *a) {
    const float b1 = a->b1, rest1 = 1 - a->b1, b2 = a->b2, rest2 = 1 - a->b2;
    const float mu = 1 / (1 - a->power1), nu = 1 / (1 - a->power2);
    const float eps = a->eps, rate = a->rate;
    for (size_t i = 0; i < n; i++) {
        m[i] = b1 * m[i] + rest1 * g[i];
        v[i] = b2 * v[i] + rest2 * (g[i] * g[i]);
        const float corrected = v[i] * nu;
        w[i] = w[i] > corrected ? w[i] : corrected;
        p[i] -= rate * (m[i] * mu / (sqrtf(w[i]) + eps));
    }
}

static void adabelief_leaf(size_t n, in g, out p, out m, out v, const struct adam *a) {
    const float b1 = a->b1, rest1 = 1 - a->b1, b2 = a->b2, rest2 = 1 - a->b2;
    const float mu = 1 / (1 - a->power1), nu = 1 / (1 - a->power2);
    const float eps = a->eps, rate = a->rate;
    for (size_t i = 0; i < n; i++) {
        m[i] = b1 * m[i] + rest1 * g[i];
        const float missed = g[i] - m[i];
        v[i] = b2 * v[i] + rest2 * (missed * missed) + eps;
        p[i] -= rate * (m[i] * mu / (sqrtf(v[i] * nu) + eps));
    }
}

/* What a step of Adan takes, and the powers that it keeps. */
struct adan {
    double b1, b2, b3, eps, decay, rate, power1, power2, power3;
};

static void adan_leaf(size_t n, in g, out p, out m, out v, out w, out before, const struct adan *a) {
    const float b1 = a->b1, rest1 = 1 - a->b1, b2 = a->b2, rest2 = 1 - a->b2;
    const float b3 = a->b3, rest3 = 1 - a->b3, eps = a->eps, decay = a->decay, rate = a->rate;
    const float of_m = 1 / (1 - a->power1), of_w = 1 / (1 - a->power3);
    const float of_v = (1 - a->b2) / (1 - a->power2);
    for (size_t i = 0; i < n; i++) {
        const float d = g[i] - before[i], ahead = g[i] + rest2 * d;
        m[i] = b1 * m[i] + rest1 * g[i];
        v[i] = b2 * v[i] + rest2 * d;
        w[i] = b3 * w[i] + rest3 * (ahead * ahead);
        before[i] = g[i];
        const float u = (m[i] * of_m + v[i] * of_v) / (sqrtf(w[i] * of_w + eps) + eps);
        p[i] -= rate * (u + decay * p[i]);
    }
}

static void sgd_leaf(size_t n, in g, out p, float rate) {
    for (size_t i = 0; i < n; i++) p[i] -= rate * g[i];
}

/* In lanes, as a compiler adds floats up in order otherwise. */
static double squares(size_t n, in g) {
    double lanes[16] = {0}, sum = 0;
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t k = 0; k < 16; k++) lanes[k] += (double)g[i + k] * g[i + k];
    for (; i < n; i++) lanes[0] += (double)g[i] * g[i];
    for (size_t k = 0; k < 16; k++) sum += lanes[k];
    return sum;
}

#define LEAVES size_t count, const size_t *n, const float *const *g, float *const *p, float *const *const *a
#define EACH for (size_t l = 0; l < count; l++)

void adamw(LEAVES, struct adam *s) {
    s->power1 *= s->b1, s->power2 *= s->b2;
    EACH plain_adam_leaf(n[l], g[l], p[l], a[0][l], a[1][l], s);
}

void clip_adamw(LEAVES, struct adam *s) {
    double sum = 0;
    s->power1 *= s->b1, s->power2 *= s->b2;
    EACH sum += squares(n[l], g[l]);
    const double norm = sqrt(sum), factor = norm < s->bound ? 1 : s->bound / norm;
    EACH adam_leaf(n[l], g[l], p[l], a[0][l], a[1][l], s, factor);
}

void amsgrad(LEAVES, struct adam *s) {
    s->power1 *= s->b1, s->power2 *= s->b2;
    EACH amsgrad_leaf(n[l], g[l], p[l], a[0][l], a[1][l], a[2][l], s);
}

void adabelief(LEAVES, struct adam *s) {
    s->power1 *= s->b1, s->power2 *= s->b2;
    EACH adabelief_leaf(n[l], g[l], p[l], a[0][l], a[1][l], s);
}

void adan(LEAVES, struct adan *s) {
    if (s->power1 == 1) EACH memcpy(a[3][l], g[l], n[l] * sizeof(float));
    s->power1 *= s->b1, s->power2 *= s->b2, s->power3 *= s->b3;
    EACH adan_leaf(n[l], g[l], p[l], a[0][l], a[1][l], a[2][l], a[3][l], s);
}

void lion(LEAVES, const double *s) {
    EACH lion_leaf(n[l], g[l], p[l], a[0][l], s[0], s[1], s[2], s[3]);
}

void sgd_momentum(LEAVES, const double *s) {
    EACH momentum_leaf(n[l], g[l], p[l], a[0][l], s[0], s[1]);
}

void rmsprop(LEAVES, const double *s) {
    EACH rmsprop_leaf(n[l], g[l], p[l], a[0][l], s[0], 1 - s[0], s[1], s[2]);
}

void sgd(LEAVES, const double *s) {
    (void)a;
    EACH sgd_leaf(n[l], g[l], p[l], s[0]);
}
