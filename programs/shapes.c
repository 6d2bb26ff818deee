/* shapes DIR: writes the built-in picture set, ten classes of coloured shapes with their masks, as ordinary files. */
#include "data/shapes.h"

#include <stdio.h>
#include <string.h>

static const char usage[] =
    "Usage: shapes DIR [options]\n"
    "Writes the built-in pictures: DIR/train, DIR/val (a folder a class), DIR/masks, DIR/classes.txt.\n"
    "\n"
    "  --train N     training pictures over all ten classes (4000)\n"
    "  --val N       validation pictures (1000)\n"
    "  --size N      pixels a side, 16 to 1024 (64)\n"
    "  --seed N      the same seed gives the same pictures (0)\n"
    "  --json        print the result as one JSON object\n"
    "  --quiet       no messages but errors\n"
    "  --help, --version\n"
    "\n"
    "Exit codes: 0 done, 1 a file cannot be written, 2 usage, 75 interrupted.\n";

/* Options that take a whole number. */
struct number_option { const char *name; size_t *value; int64_t least, most; };

static sv_status number_take(const struct number_option *option, const char *text, sv_error *err)
{
    int64_t value;
    if (!text || !sv_parse_int(text, &value) || value < option->least || value > option->most)
        return sv_fail(err, SV_USAGE, "%s %s: a whole number from %lld to %lld was expected", option->name, text ? text : "", (long long)option->least,
                       (long long)option->most);
    *option->value = (size_t)value;
    return SV_OK;
}

/* "--name value" and "--name=value"; *used: arguments taken. */
static sv_status option_take(const struct number_option *options, size_t count, char **argv, int *used, sv_error *err)
{
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(options[i].name);
        if (strncmp(argv[0], options[i].name, length)) continue;
        *used = argv[0][length] ? 1 : 2;
        if (argv[0][length] == '=') return number_take(&options[i], argv[0] + length + 1, err);
        if (!argv[0][length]) return number_take(&options[i], argv[1], err);
    }
    const char *near = sv_kind_nearest(options, count, sizeof *options, argv[0]);
    return sv_fail(err, SV_USAGE, "unknown option %s%s%s%s; shapes --help lists them", argv[0], near ? ", did you mean " : "", near ? near : "", near ? "?" : "");
}

static sv_status arguments_read(int argc, char **argv, sv_shapes_options *options, bool *json, sv_error *err)
{
    size_t seed = 0;
    const struct number_option numbers[] = {
        { "--train", &options->train, 0, 10000000 }, { "--val", &options->val, 0, 10000000 }, { "--size", &options->size, 16, 1024 }, { "--seed", &seed, 0, INT64_MAX },
    };
    for (int at = 1, used; at < argc; at += used) {
        used = 1;
        if (!strcmp(argv[at], "--json")) {
            *json = true;
        } else if (!strcmp(argv[at], "--quiet")) {
            sv_log_set(NULL, NULL, SV_QUIET);
        } else if (argv[at][0] == '-') {
            sv_status status = option_take(numbers, SV_COUNT(numbers), argv + at, &used, err);
            if (status) return status;
        } else if (options->folder) {
            return sv_fail(err, SV_USAGE, "two folders are given, '%s' and '%s'; one was expected", options->folder, argv[at]);
        } else {
            options->folder = argv[at];
        }
    }
    options->seed = seed;
    return options->folder ? SV_OK : sv_fail(err, SV_USAGE, "no folder is given; shapes DIR was expected, shapes --help says more");
}

static void result_print(const sv_shapes_options *options, bool json)
{
    if (json)
        printf("{\"train\": %zu, \"val\": %zu, \"classes\": %zu, \"size\": %zu, \"seed\": %llu}\n", options->train, options->val, sv_shape_kinds(), options->size,
               (unsigned long long)options->seed);
    else
        sv_log(SV_INFO, "%s: %zu training and %zu validation pictures of %zu classes, %zu x %zu pixels", options->folder, options->train, options->val,
               sv_shape_kinds(), options->size, options->size);
}

int main(int argc, char **argv)
{
    sv_shapes_options options = { .train = 4000, .val = 1000, .size = 64 };
    sv_error err = { 0 };
    bool json = false;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help")) return fputs(usage, stdout) < 0;
        if (!strcmp(argv[i], "--version")) return printf("shapes %s\n", SV_VERSION) < 0;
    }
    sv_interrupt_install();
    sv_status status = arguments_read(argc, argv, &options, &json, &err);
    if (!status) status = sv_shapes_write(&options, &err);
    if (status)
        fprintf(stderr, "shapes: %s\n", err.text);
    else
        result_print(&options, json);
    return (int)status;
}
