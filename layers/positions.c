/* Positions on another grid: each column of [side*side, width] is a picture that is resized (spec backbones 1.9, 3.10), separably, with clamped borders.
 * bicubic: torch's kernel, A = -0.75, 4 taps, no antialias. bicubic_aa: A = -0.5, widened when shrinking, weights normalised. bilinear: no antialias. */
#include "layers/layers.h"

#include <math.h>

static double cubic(double x, double a)
{
    x = fabs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
    return 0;
}

static double weight(sv_position_resize how, double distance, double stretch)
{
    if (how == SV_RESIZE_BILINEAR) return fmax(0, 1 - fabs(distance));
    return how == SV_RESIZE_BICUBIC_AA ? cubic(distance / stretch, -0.5) : cubic(distance, -0.75);
}

/* matrix[to][from]: what each source place gives to each target place along one axis. */
static void axis(double *matrix, size_t to, size_t from, sv_position_resize how)
{
    double scale = (double)from / (double)to, stretch = how == SV_RESIZE_BICUBIC_AA ? fmax(scale, 1) : 1;
    long reach = (long)ceil(2 * stretch) + 1;
    for (size_t i = 0; i < to; i++) {
        double centre = ((double)i + 0.5) * scale - 0.5, sum = 0;
        double *row = matrix + i * from;
        for (size_t k = 0; k < from; k++) row[k] = 0;
        for (long k = (long)floor(centre) - reach; k <= (long)floor(centre) + reach + 1; k++) {
            double w = weight(how, (double)k - centre, stretch);
            bool inside = k >= 0 && k < (long)from;
            if (how == SV_RESIZE_BICUBIC_AA && !inside) continue; /* antialias leaves the border out and normalises */
            row[k < 0 ? 0 : k >= (long)from ? (long)from - 1 : k] += w;
            sum += w;
        }
        for (size_t k = 0; k < from; k++) row[k] /= sum;
    }
}

sv_status sv_positions_resize(sv_real *to, size_t to_side, const sv_real *from, size_t from_side, size_t width, sv_position_resize how, sv_error *err)
{
    double *matrix = NULL, *between = NULL;
    size_t bytes = 0;
    sv_status status = SV_OK;
    if (!to_side || !from_side || sv_mul_size3(&bytes, to_side, from_side, sizeof *matrix)) return sv_fail(err, SV_MODEL_FILE, "positions of %zu x %zu cannot be resized to %zu x %zu", from_side, from_side, to_side, to_side);
    status = sv_alloc(&matrix, bytes, "positions", err);
    if (!status && (sv_mul_size3(&bytes, to_side, from_side, width) || sv_mul_size(&bytes, bytes, sizeof *between))) status = sv_fail(err, SV_MODEL_FILE, "positions do not fit the address space");
    if (!status) status = sv_alloc_zero(&between, bytes, "positions", err);
    if (status) goto done;
    axis(matrix, to_side, from_side, how);
    for (size_t y = 0; y < from_side; y++) /* along x: between[y][to x] */
        for (size_t x = 0; x < to_side; x++)
            for (size_t k = 0; k < from_side; k++)
                for (size_t c = 0; c < width; c++) between[(y * to_side + x) * width + c] += matrix[x * from_side + k] * (double)from[(y * from_side + k) * width + c];
    for (size_t y = 0; y < to_side; y++)
        for (size_t x = 0; x < to_side; x++)
            for (size_t c = 0; c < width; c++) {
                double sum = 0;
                for (size_t k = 0; k < from_side; k++) sum += matrix[y * from_side + k] * between[(k * to_side + x) * width + c];
                to[(y * to_side + x) * width + c] = (sv_real)sum;
            }
done:
    sv_free(between);
    sv_free(matrix);
    return status;
}
