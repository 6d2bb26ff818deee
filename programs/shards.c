/* shards: packs a folder of pictures into tar shards, few large files in random order that training reads nearly sequentially. */
#include "base/program.h"
#include "data/pack.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static const char usage[] =
    "Usage: shards --from FOLDER --to DIR [options]\n"
    "\n"
    "Packs pictures into numbered tar files, DIR/train-000000.tar ..., as WebDataset reads and writes them: for each picture its file as "
    "it is\n"
    "and a member .cls with its class index, in an order that the seed draws. Beside each shard an index makes opening it quick; "
    "classes.txt\n"
    "keeps the class names. Worth it where files are many (ImageNet: 1.3 million) or the disk is far away or turns; small sets need no "
    "shards.\n"
    "\n"
    "Examples\n"
    "  shards --from imagenet/train --to shards/train\n"
    "  shards --from imagenet/val --to shards/val --name val --classes shards/train/classes.txt\n"
    "  train --config deit_s.ini --data.train shards/train --data.val shards/val\n"
    "  shards --from imagenet/train --to in100 --classes imagenet100.txt --unlisted skip    # a hundred classes of the thousand\n"
    "\n"
    "Options\n"
    "  --from FOLDER      FOLDER/CLASS/PICTURE, or FOLDER/PICTURE with a list of labels (--list)\n"
    "  --to DIR           where the shards go; it may not hold other shards\n"
    "  --size-mb N        most MiB of a shard (512)\n"
    "  --seed N           the same seed and pictures give the same bytes (0)\n"
    "  --name NAME        of the shards (train)\n"
    "  --classes FILE     lines 'folder<TAB>name' that fix the class indices; none: the sorted folders\n"
    "  --unlisted skip    leave class folders out that --classes does not name; without it they are an error\n"
    "  --list FILE        lines 'PICTURE LABEL' for pictures in one folder; none: val.txt in the folder, else beside it\n"
    "  --dry-run          open the pictures, say how many there are and what that took, write nothing; --to is not needed\n"
    "  --json, --quiet, --help, --version\n"
    "\n"
    "Stopped on the way it leaves DIR/NAME.incomplete, and DIR is not taken for a whole set; the same command does it again.\n"
    "\n"
    "Exit codes: 0 done, 1 a file cannot be written, 2 usage, 3 pictures or class list absent or unusable, 75 interrupted.\n";

static const char *from, *to, *size, *seed, *name, *classes, *unlisted, *list;
static bool dry_run;
static const sv_flag flags[] = {
    { "--dry-run", &dry_run, NULL }, { "--from", NULL, &from },         { "--to", NULL, &to },
    { "--size-mb", NULL, &size },    { "--seed", NULL, &seed },         { "--name", NULL, &name },
    { "--classes", NULL, &classes }, { "--unlisted", NULL, &unlisted }, { "--list", NULL, &list },
};

static sv_status number_read(const char *flag, const char *text, int64_t least, int64_t most, int64_t *out, sv_error *err)
{
    if (!text || (sv_parse_int(text, out) && *out >= least && *out <= most)) return SV_OK;
    return sv_fail(err, SV_USAGE, "%s %s: a whole number from %lld to %lld was expected", flag, text, (long long)least, (long long)most);
}

static sv_status options_read(sv_pack_options *options, sv_error *err)
{
    int64_t megabytes = 512, seed_number = 0;
    if (!from) return sv_fail(err, SV_USAGE, "--from is missing; expected --from FOLDER of pictures, see `shards --help`");
    if (!to && !dry_run) return sv_fail(err, SV_USAGE, "--to is missing; expected --to DIR for the shards, see `shards --help`");
    sv_status status = number_read("--size-mb", size, 1, 1 << 20, &megabytes, err);
    if (!status) status = number_read("--seed", seed, 0, INT64_MAX, &seed_number, err);
    if (!status && unlisted && strcmp(unlisted, "skip") && strcmp(unlisted, "error"))
        status = sv_fail(err, SV_USAGE, "--unlisted %s; expected error or skip", unlisted);
    *options = (sv_pack_options){ .from = from,
                                  .to = to,
                                  .name = name ? name : "train",
                                  .shard_bytes = (uint64_t)megabytes << 20,
                                  .seed = (uint64_t)seed_number,
                                  .source = { .class_file = classes, .list_file = list } };
    if (unlisted && !strcmp(unlisted, "skip")) options->source.unlisted = SV_UNLISTED_SKIP;
    return status;
}

/* What opening takes: seconds, and the most memory of the process. */
static sv_status look(const sv_pack_options *options, bool json, sv_error *err)
{
    struct rusage used = { 0 };
    sv_source *source = NULL;
    double began = sv_now_seconds();
    sv_status status = sv_source_open(&source, options->from, &options->source, err);
    if (status) return status;
    double seconds = sv_now_seconds() - began;
    getrusage(RUSAGE_SELF, &used);
    size_t samples = sv_source_count(source), kinds = sv_source_classes(source)->count;
    if (json)
        printf("{\"samples\": %zu, \"classes\": %zu, \"open_seconds\": %.3f, \"resident_peak_bytes\": %llu}\n", samples, kinds, seconds,
               (unsigned long long)used.ru_maxrss * 1024);
    else
        sv_log(SV_INFO, "%s: %zu pictures of %zu classes, opened in %.2f s with at most %.1f MiB", options->from, samples, kinds, seconds,
               (double)used.ru_maxrss / 1024);
    sv_source_close(source);
    return SV_OK;
}

static sv_status run(const sv_program_call *call, sv_error *err)
{
    sv_pack_options options;
    sv_pack_result result = { 0 };
    char took[32];
    double began = sv_now_seconds();
    if (call->word_count)
        return sv_fail(err, SV_USAGE, "'%s' is not understood; expected --from FOLDER --to DIR, see `shards --help`", call->words[0]);
    sv_status status = options_read(&options, err);
    if (!status && dry_run) return look(&options, call->json, err);
    if (!status) status = sv_pack(&options, &result, err);
    if (status) return status;
    if (call->json)
        printf("{\"samples\": %zu, \"classes\": %zu, \"shards\": %zu, \"bytes\": %llu}\n", result.samples, result.classes, result.shards,
               (unsigned long long)result.bytes);
    else
        sv_log(SV_INFO, "%s: %zu pictures of %zu classes in %zu shards, %.1f MiB, %s", to, result.samples, result.classes, result.shards,
               (double)result.bytes / 1048576, sv_duration(took, sv_now_seconds() - began));
    return SV_OK;
}

int main(int argc, char **argv)
{
    const sv_program program = {
        .name = "shards", .usage = usage, .flags = flags, .flag_count = SV_COUNT(flags), .needs_arguments = true, .run = run
    };
    return sv_program_main(&program, argc, argv);
}
