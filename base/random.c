/* Counter-based random numbers. A stream is
 *     key     = mix(seed) + epoch * STEP                    (64 bits; one seed never has one key twice)
 *     counter = block, sample low, sample high, position * 256 + purpose
 * so that no two (purpose, epoch, sample, position) of a seed share a number, and splitting work changes nothing. Everything
 * here is integers, + - * / and sqrt: the same bits on every machine, with no libm. */
#include "base/base.h"

#include <assert.h>
#include <math.h>
#include <string.h>

void sv_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xd2511f53u * c0, b = (uint64_t)0xcd9e8d57u * c2;
        uint32_t n0 = (uint32_t)(b >> 32) ^ c1 ^ k0, n2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)b;
        c3 = (uint32_t)a;
        c0 = n0;
        c2 = n2;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* A bijection of 64 bits whose outputs for near inputs look unrelated (Stafford's variant 13 of the murmur finalizer). */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

sv_random sv_random_at(uint64_t seed, sv_purpose purpose, uint32_t epoch, uint64_t sample, uint32_t position)
{
    assert(epoch < 1u << 24 && position < 1u << 24 && "fields of the counter");
    uint64_t key = mix(seed) + epoch * 0xd1342543de82ef95u; /* odd, hence different for different epochs */
    return (sv_random){ .key = { (uint32_t)key, (uint32_t)(key >> 32) },
                        .counter = { 0, (uint32_t)sample, (uint32_t)(sample >> 32), position << 8 | (uint32_t)purpose } };
}

uint32_t sv_random_word(sv_random *random)
{
    if (random->left == 0) {
        sv_philox(random->words, random->counter, random->key);
        random->counter[0]++;
        random->left = 4;
    }
    return random->words[4 - random->left--];
}

static uint64_t two_words(sv_random *random)
{
    uint64_t high = sv_random_word(random);
    return high << 32 | sv_random_word(random);
}

/* Odd multiples of 2^-53: never 0 or 1, symmetric about 1/2, exact. */
double sv_random_uniform(sv_random *random)
{
    return ((double)(two_words(random) >> 12) + 0.5) * 0x1p-52;
}

/* The high half of a 64 x 64 bit product is uniform once the few low halves that come once too often are refused
 * (Lemire, Fast random integer generation in an interval, 2019). */
uint64_t sv_random_below(sv_random *random, uint64_t bound)
{
    assert(bound > 0 && "a number below nothing");
    uint64_t refused = (0 - bound) % bound; /* 2^64 mod bound */
    unsigned __int128 product;
    do product = (unsigned __int128)two_words(random) * bound;
    while ((uint64_t)product < refused);
    return (uint64_t)(product >> 64);
}

/* Natural logarithm of a positive, normal x: x = m 2^e with m in [sqrt(1/2), sqrt(2)), log m = 2 atanh((m-1)/(m+1)) by its
 * series to z^21, where the next term is below 2^-56 of the sum. */
static double log_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 52) - 1023;
    bits = (bits & 0x000fffffffffffffu) | 0x3ff0000000000000u;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        exponent++;
    }
    double z = (m - 1) / (m + 1), z2 = z * z, sum = 0;
    for (int k = 21; k >= 3; k -= 2) sum = (sum + 1.0 / k) * z2;
    return exponent * 6.93147180369123816490e-01 + (exponent * 1.90821492927058770002e-10 + (2 * z + 2 * z * sum));
}

typedef struct ratio { double above[8], below[8]; } ratio;
/* Wichura, Algorithm AS 241 (1988), PPND16: the normal quantile as three ratios of polynomials, about 1e-16 relative. */
static const ratio quantile_middle = {
    { 3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4, 4.5921953931549871457e4,
      6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3 },
    { 1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3, 2.1213794301586595867e4, 3.9307895800092710610e4,
      2.8729085735721942674e4, 5.2264952788528545610e3 } };
static const ratio quantile_near = {
    { 1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0, 1.27045825245236838258e0,
      2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4 },
    { 1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1, 1.48103976427480074590e-1,
      1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9 } };
static const ratio quantile_far = {
    { 6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1, 2.65321895265761230930e-2,
      1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7 },
    { 1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2, 7.86869131145613259100e-4,
      1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15 } };

static double ratio_at(const ratio *r, double x)
{
    double above = r->above[7], below = r->below[7];
    for (int i = 6; i >= 0; i--) {
        above = above * x + r->above[i];
        below = below * x + r->below[i];
    }
    return above / below;
}

double sv_random_normal(sv_random *random)
{
    double u = sv_random_uniform(random), q = u - 0.5;
    if (q >= -0.425 && q <= 0.425) return q * ratio_at(&quantile_middle, 0.180625 - q * q);
    double tail = sqrt(-log_of(q < 0 ? u : 1 - u));
    double x = tail <= 5 ? ratio_at(&quantile_near, tail - 1.6) : ratio_at(&quantile_far, tail - 5);
    return q < 0 ? -x : x;
}

double sv_random_logistic(sv_random *random)
{
    double u = sv_random_uniform(random);
    return log_of(u / (1 - u));
}

void sv_random_permutation(sv_random *random, uint64_t *order, size_t count)
{
    for (size_t i = 0; i < count; i++) order[i] = i;
    for (size_t i = count; i > 1; i--) {
        size_t j = (size_t)sv_random_below(random, i);
        uint64_t kept = order[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
    }
}
