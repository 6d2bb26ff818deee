/* Drawing by coverage: a shape is a test "is this point inside", asked at 4 x 4 points of a pixel, so that every edge is smooth at any
 * angle. The scene is ground (a colour gradient), clutter (strokes and spots smaller than any object), the object, noise. Size is drawn as a
 * share of the area, and the shape is scaled to cover it, so that no class gives itself away by how much it covers. */
#include "data/shapes.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { GRID = 4, AREA_GRID = 256 };
static const double SHARE_MIN = 0.12, SHARE_MAX = 0.32, CONTRAST_MIN = 130, TILT_MAX = 0.3;

typedef struct point { double x, y; } point;

/* ---- shapes: inside a disc of radius 1 around 0 ---- */

static bool in_polygon(const point *corners, size_t count, double x, double y)
{
    bool inside = false;
    for (size_t i = 0, j = count - 1; i < count; j = i++) {
        const point *a = &corners[i], *b = &corners[j];
        if ((a->y > y) != (b->y > y) && x < (b->x - a->x) * (y - a->y) / (b->y - a->y) + a->x) inside = !inside;
    }
    return inside;
}

static bool in_disc(double x, double y)
{
    return x * x + y * y <= 0.9;
}

static bool in_square(double x, double y)
{
    return fabs(x) <= 0.7 && fabs(y) <= 0.7;
}

static bool in_triangle(double x, double y)
{
    static const point corners[] = { { 0, -1 }, { 0.866, 0.5 }, { -0.866, 0.5 } };
    return in_polygon(corners, SV_COUNT(corners), x, y);
}

static bool in_star(double x, double y)
{
    static const point corners[] = { { 0, -1 }, { 0.247, -0.34 }, { 0.951, -0.309 }, { 0.4, 0.13 }, { 0.588, 0.809 },
                                     { 0, 0.42 }, { -0.588, 0.809 }, { -0.4, 0.13 }, { -0.951, -0.309 }, { -0.247, -0.34 } };
    return in_polygon(corners, SV_COUNT(corners), x, y);
}

static bool in_cross(double x, double y)
{
    return (fabs(x) <= 0.27 && fabs(y) <= 0.95) || (fabs(y) <= 0.27 && fabs(x) <= 0.95);
}

static bool in_ring(double x, double y)
{
    double distance = x * x + y * y;
    return distance <= 0.95 && distance >= 0.3;
}

static bool in_heart(double x, double y)
{
    double across = 1.25 * x, up = 0.15 - 1.25 * y, round = across * across + up * up - 1;
    return round * round * round <= across * across * up * up * up;
}

static bool in_arrow(double x, double y)
{
    static const point corners[] = { { 1, 0 }, { 0.25, 0.75 }, { 0.25, 0.28 }, { -0.9, 0.28 }, { -0.9, -0.28 }, { 0.25, -0.28 }, { 0.25, -0.75 } };
    return in_polygon(corners, SV_COUNT(corners), x, y);
}

static bool in_crescent(double x, double y)
{
    return x * x + y * y <= 0.95 && (x - 0.5) * (x - 0.5) + y * y >= 0.6;
}

static bool in_bars(double x, double y)
{
    return fabs(x) <= 0.75 && fabs(y) <= 0.62 && fabs(y) >= 0.2;
}

static const struct shape { const char *name; bool (*inside)(double x, double y); } shapes[] = {
    { "arrow", in_arrow }, { "bars", in_bars }, { "crescent", in_crescent }, { "cross", in_cross }, { "disc", in_disc },
    { "heart", in_heart }, { "ring", in_ring }, { "square", in_square }, { "star", in_star }, { "triangle", in_triangle },
};

size_t sv_shape_kinds(void)
{
    return SV_COUNT(shapes);
}

const char *sv_shape_name(size_t kind)
{
    return shapes[kind].name;
}

/* ---- colours and draws ---- */

typedef struct colour { double c[3]; } colour;

static double between(sv_random *random, double low, double high)
{
    return low + (high - low) * sv_random_uniform(random);
}

/* Hue 0..6, saturation and value 0..1. */
static colour colour_of(double hue, double saturation, double value)
{
    colour made;
    for (int i = 0; i < 3; i++) {
        double k = fmod(5 - 2 * i + hue, 6), ramp = fmin(fmin(k, 4 - k), 1);
        made.c[i] = 255 * (value - value * saturation * fmax(ramp, 0));
    }
    return made;
}

/* Ground and clutter are darker than objects: where to look can be told by brightness, what it is by shape alone. */
static colour dark_draw(sv_random *random)
{
    double hue = between(random, 0, 6), saturation = between(random, 0, 0.7), value = between(random, 0.1, 0.55);
    return colour_of(hue, saturation, value);
}

static colour bright_draw(sv_random *random)
{
    double hue = between(random, 0, 6), saturation = between(random, 0.3, 1), value = between(random, 0.75, 1);
    return colour_of(hue, saturation, value);
}

static double colour_distance(const colour *a, const colour *b)
{
    double sum = 0;
    for (int i = 0; i < 3; i++) sum += (a->c[i] - b->c[i]) * (a->c[i] - b->c[i]);
    return sqrt(sum);
}

/* ---- the scene ---- */

/* What is drawn: a test in its own coordinates, where it stands, and how it is turned and stretched. */
struct figure {
    bool (*inside)(double x, double y);
    point centre;
    double cosine, sine, width, height; /* half extents, pixels */
    colour near, far;                   /* shading from one side to the other */
    double opacity;
};

struct scene {
    size_t size;
    double *rgb;    /* [size, size, 3] */
};

static double coverage(const struct figure *figure, size_t x, size_t y)
{
    int hits = 0;
    for (int i = 0; i < GRID * GRID; i++) {
        double dx = (double)x + (i % GRID + 0.5) / GRID - figure->centre.x, dy = (double)y + (i / GRID + 0.5) / GRID - figure->centre.y;
        double across = (dx * figure->cosine + dy * figure->sine) / figure->width, down = (dy * figure->cosine - dx * figure->sine) / figure->height;
        hits += figure->inside(across, down);
    }
    return (double)hits / (GRID * GRID);
}

static size_t clip(double value, size_t size)
{
    return value < 0 ? 0 : value > (double)size ? size : (size_t)value;
}

/* Only pixels near the figure are asked. The mask (NULL: none) gets the coverage. */
static void figure_paint(struct scene *scene, const struct figure *figure, sv_picture *mask)
{
    double reach = sqrt(2) * fmax(figure->width, figure->height) + 1;
    size_t right = clip(figure->centre.x + reach, scene->size), bottom = clip(figure->centre.y + reach, scene->size);
    for (size_t y = clip(figure->centre.y - reach, scene->size); y < bottom; y++)
        for (size_t x = clip(figure->centre.x - reach, scene->size); x < right; x++) {
            double share = coverage(figure, x, y), opaque = share * figure->opacity;
            double side = ((double)x - figure->centre.x + reach) / (2 * reach);
            double *pixel = scene->rgb + (y * scene->size + x) * 3;
            for (int c = 0; c < 3; c++) pixel[c] += opaque * (figure->near.c[c] + side * (figure->far.c[c] - figure->near.c[c]) - pixel[c]);
            if (mask) memset(mask->rgb + (y * scene->size + x) * 3, (int)(share * 255 + 0.5), 3);
        }
}

static bool in_box(double x, double y)
{
    return fabs(x) <= 1 && fabs(y) <= 1;
}

static bool in_spot(double x, double y)
{
    return x * x + y * y <= 1;
}

static void turn(struct figure *figure, double angle)
{
    figure->cosine = cos(angle);
    figure->sine = sin(angle);
}

static void ground_paint(struct scene *scene, sv_random *random)
{
    colour from = dark_draw(random), to = dark_draw(random);
    double angle = between(random, 0, 2 * 3.14159265358979), dx = cos(angle), dy = sin(angle), size = (double)scene->size;
    for (size_t y = 0; y < scene->size; y++)
        for (size_t x = 0; x < scene->size; x++) {
            double along = 0.5 + 0.7 * (((double)x / size - 0.5) * dx + ((double)y / size - 0.5) * dy);
            for (int c = 0; c < 3; c++) scene->rgb[(y * scene->size + x) * 3 + (size_t)c] = from.c[c] + along * (to.c[c] - from.c[c]);
        }
}

/* Strokes across the ground and spots; both thinner than the parts of any object. */
static void clutter_paint(struct scene *scene, sv_random *random)
{
    double size = (double)scene->size;
    size_t count = 6 + (size_t)sv_random_below(random, 8);
    for (size_t i = 0; i < count; i++) {
        bool stroke = sv_random_below(random, 2);
        struct figure figure = { .inside = stroke ? in_box : in_spot, .opacity = between(random, 0.3, 0.9) };
        figure.centre = (point){ between(random, 0, size), between(random, 0, size) };
        turn(&figure, between(random, 0, 3.14159265358979));
        figure.width = size * (stroke ? between(random, 0.08, 0.5) : between(random, 0.01, 0.06));
        figure.height = stroke ? size * between(random, 0.005, 0.02) : figure.width * between(random, 0.5, 1);
        figure.near = dark_draw(random);
        figure.far = dark_draw(random);
        figure_paint(scene, &figure, NULL);
    }
}

/* Area of a shape in units of its own square of side 2. */
static double shape_area(const struct shape *shape)
{
    size_t hits = 0;
    for (size_t i = 0; i < AREA_GRID * AREA_GRID; i++)
        hits += shape->inside((double)(i % AREA_GRID) / (AREA_GRID / 2) - 1, (double)(i / AREA_GRID) / (AREA_GRID / 2) - 1);
    return 4.0 * (double)hits / (AREA_GRID * AREA_GRID);
}

static colour ground_mean(const struct scene *scene, const struct figure *figure)
{
    colour mean = { { 0, 0, 0 } };
    size_t x = clip(figure->centre.x, scene->size - 1), y = clip(figure->centre.y, scene->size - 1), reach = (size_t)(figure->width / 2), count = 0;
    for (size_t j = y > reach ? y - reach : 0; j <= y + reach && j < scene->size; j += 2)
        for (size_t i = x > reach ? x - reach : 0; i <= x + reach && i < scene->size; i += 2, count++)
            for (int c = 0; c < 3; c++) mean.c[c] += scene->rgb[(j * scene->size + i) * 3 + (size_t)c];
    for (int c = 0; c < 3; c++) mean.c[c] /= count ? (double)count : 1;
    return mean;
}

static void object_paint(struct scene *scene, const struct shape *shape, sv_random *random, sv_picture *mask)
{
    double size = (double)scene->size, share = between(random, SHARE_MIN, SHARE_MAX), stretch = sqrt(between(random, 0.8, 1.25));
    double scale = fmin(sqrt(share * size * size / shape_area(shape)), size / 2 / fmax(stretch, 1 / stretch));
    struct figure figure = { .inside = shape->inside, .width = scale * stretch, .height = scale / stretch, .opacity = 1 };
    double reach = fmax(figure.width, figure.height);
    turn(&figure, between(random, -TILT_MAX, TILT_MAX));
    figure.centre = (point){ between(random, reach, size - reach), between(random, reach, size - reach) };
    colour under = ground_mean(scene, &figure);
    for (int i = 0; i < 50; i++) {
        figure.near = bright_draw(random);
        if (colour_distance(&figure.near, &under) >= CONTRAST_MIN) break;
    }
    figure.far = figure.near;
    double shade = between(random, 0.75, 1.2);
    for (int c = 0; c < 3; c++) figure.far.c[c] = fmin(255, figure.far.c[c] * shade);
    figure_paint(scene, &figure, mask);
}

static void scene_print(const struct scene *scene, sv_random *random, sv_picture *picture)
{
    double noise = between(random, 2, 9);
    for (size_t i = 0; i < scene->size * scene->size * 3; i++) {
        double value = scene->rgb[i] + noise * sv_random_normal(random);
        picture->rgb[i] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value + 0.5);
    }
}

sv_status sv_shape_draw(size_t kind, size_t size, sv_random *random, sv_picture *picture, sv_picture *mask, sv_error *err)
{
    struct scene scene = { .size = size };
    sv_status status = sv_picture_resize(picture, size, size, err);
    if (!status) status = sv_picture_resize(mask, size, size, err);
    if (!status) status = sv_alloc(&scene.rgb, size * size * 3 * sizeof *scene.rgb, "shapes", err);
    if (status) return status;
    memset(mask->rgb, 0, size * size * 3);
    ground_paint(&scene, random);
    clutter_paint(&scene, random);
    object_paint(&scene, &shapes[kind], random, mask);
    scene_print(&scene, random, picture);
    sv_free(scene.rgb);
    return SV_OK;
}

sv_status sv_shapes_at(uint64_t seed, size_t size, uint32_t split, size_t index, sv_picture *picture, sv_picture *mask, sv_error *err)
{
    sv_random random = sv_random_at(seed, SV_FOR_SHAPES, split, index, 0);
    return sv_shape_draw(index % SV_COUNT(shapes), size, &random, picture, mask, err);
}

/* ---- the tree of files ---- */

static sv_status folders_make(const char *folder, const char *split, sv_error *err)
{
    sv_status status = SV_OK;
    for (size_t kind = 0; kind < SV_COUNT(shapes) && !status; kind++) {
        sv_text path = { 0 };
        sv_text_add(&path, "%s/%s/%s", folder, split, shapes[kind].name);
        status = sv_text_check(&path, err);
        if (!status) status = sv_folder_create(path.data, err);
        sv_text_clear(&path);
    }
    return status;
}

/* Not synced one by one, as other files are: five thousand syncs take longer than the drawing, and what a crash tears is drawn again. */
static sv_status file_put(const char *path, const unsigned char *bytes, size_t count, sv_error *err)
{
    FILE *file = fopen(path, "wb");
    if (!file) return sv_fail(err, SV_FAULT, "%s: cannot be written (%s); give a folder that can be", path, strerror(errno));
    bool whole = fwrite(bytes, 1, count, file) == count;
    int failed = whole ? 0 : errno;
    if (fclose(file) && !failed) failed = errno;
    return failed ? sv_fail(err, SV_FAULT, "%s: cannot be written (%s); make room and start again", path, strerror(failed)) : SV_OK;
}

static sv_status picture_put(const char *path, const sv_picture *picture, bool jpeg, sv_error *err)
{
    unsigned char *bytes = NULL;
    size_t count = 0;
    sv_status status = jpeg ? sv_jpeg_encode(picture, 90, &bytes, &count, err) : sv_png_encode(picture, &bytes, &count, err);
    if (!status) status = file_put(path, bytes, count, err);
    sv_free(bytes);
    return status;
}

/* A block of pictures drawn by all threads. */
enum { BLOCK = 64 };
struct block {
    const sv_shapes_options *options;
    const char *split;
    uint32_t split_number;
    size_t first;
    sv_status status[BLOCK];
    sv_error error[BLOCK];
};

/* Picture `first + item` of a split: PNG and JPEG in turn within each class. */
static void pair_write(void *context, size_t item, size_t thread)
{
    struct block *block = context;
    const sv_shapes_options *options = block->options;
    sv_error *err = &block->error[item];
    size_t index = block->first + item, kind = index % SV_COUNT(shapes), number = index / SV_COUNT(shapes);
    bool jpeg = number % 2;
    sv_picture picture = { 0 }, mask = { 0 };
    sv_text path = { 0 }, mask_path = { 0 };
    (void)thread;
    sv_text_add(&path, "%s/%s/%s/%s_%05zu.%s", options->folder, block->split, shapes[kind].name, shapes[kind].name, number, jpeg ? "jpg" : "png");
    sv_text_add(&mask_path, "%s/masks/%s/%s/%s_%05zu.png", options->folder, block->split, shapes[kind].name, shapes[kind].name, number);
    sv_status status = sv_text_check(&path, err);
    if (!status) status = sv_text_check(&mask_path, err);
    if (!status) status = sv_shapes_at(options->seed, options->size, block->split_number, index, &picture, &mask, err);
    if (!status) status = picture_put(path.data, &picture, jpeg, err);
    if (!status) status = picture_put(mask_path.data, &mask, false, err);
    sv_picture_clear(&picture);
    sv_picture_clear(&mask);
    sv_text_clear(&path);
    sv_text_clear(&mask_path);
    block->status[item] = status;
}

static sv_status block_write(struct block *block, size_t count, sv_error *err)
{
    size_t items = count - block->first < BLOCK ? count - block->first : BLOCK;
    if (sv_interrupted()) return sv_fail(err, SV_INTERRUPTED, "interrupted after %zu of %zu pictures of %s/%s", block->first, count, block->options->folder, block->split);
    sv_for_items(items, pair_write, block);
    for (size_t i = 0; i < items; i++)
        if (block->status[i]) return sv_fail(err, block->status[i], "%s", block->error[i].text);
    sv_progress("%s: %zu of %zu pictures", block->split, block->first + items, count);
    return SV_OK;
}

static sv_status split_write(const sv_shapes_options *options, const char *split, uint32_t split_number, size_t count, sv_error *err)
{
    struct block *block;
    sv_text masks = { 0 };
    sv_status status = sv_alloc_zero(&block, sizeof *block, "shapes", err);
    if (status) return status;
    *block = (struct block){ .options = options, .split = split, .split_number = split_number };
    sv_text_add(&masks, "masks/%s", split);
    status = sv_text_check(&masks, err);
    if (!status) status = folders_make(options->folder, split, err);
    if (!status) status = folders_make(options->folder, masks.data, err);
    for (; block->first < count && !status; block->first += BLOCK) status = block_write(block, count, err);
    sv_progress_end();
    sv_text_clear(&masks);
    sv_free(block);
    return status;
}

static sv_status classes_write(const char *folder, sv_error *err)
{
    sv_text path = { 0 }, lines = { 0 };
    sv_text_add(&path, "%s/classes.txt", folder);
    for (size_t kind = 0; kind < SV_COUNT(shapes); kind++) sv_text_add(&lines, "%s\t%s\n", shapes[kind].name, shapes[kind].name);
    sv_status status = sv_text_check(&path, err);
    if (!status) status = sv_text_check(&lines, err);
    if (!status) status = sv_file_write_atomic(path.data, lines.data, lines.length, err);
    sv_text_clear(&path);
    sv_text_clear(&lines);
    return status;
}

sv_status sv_shapes_write(const sv_shapes_options *options, sv_error *err)
{
    sv_status status = split_write(options, "train", 0, options->train, err);
    if (!status) status = split_write(options, "val", 1, options->val, err);
    return status ? status : classes_write(options->folder, err);
}
