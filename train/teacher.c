/* The teacher of train.teacher: its keys, what goes together, its model from a file. A checkpoint of ours tells its own sizes; of any other file
 * they are those of train.teacher_arch, else the student's. */
#include "train/teacher.h"
#include "formats/weights.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const sv_config_row rows[] = {
    { "train.teacher", SV_CONFIG_TEXT, "", 0, 0, NULL, "weights of a model to learn from, .pth or .safetensors or a checkpoint of ours, of any backbone and as many classes; it sees the run's pictures as they are, normalised alike. Of a pruned checkpoint the dense model teaches, without its selectors. Empty: a pruned run learns from the dense model it starts from, a dense one from nobody" },
    { "train.teacher_arch", SV_CONFIG_TEXT, "", 0, 0, NULL, "its backbone; empty: what its checkpoint says, else the student's" },
    { "train.distillation", SV_CONFIG_CHOICE, "none", 0, 0, "none|soft|hard", "DeiT's: the distillation head (where there is none, the class head) learns the teacher's class probabilities or its first class. none: the teacher gives pruning.distill_weight and pruning.token_weight alone" },
    { "train.distill_alpha", SV_CONFIG_REAL, "0.5", 0, 1, NULL, "loss = (1 - alpha) classes + alpha distillation" },
    { "train.distill_tau", SV_CONFIG_REAL, "1", 0.01, 1000, NULL, "temperature of soft distillation (DeiT: 3). As in DeiT's code the loss is divided by the number of classes, which its paper does not" },
};
const sv_config_group sv_teacher_config = SV_CONFIG_GROUP(rows);

/* ---- what goes together ------------------------------------------------------------------------------------------ */

static sv_status check_arch(const char *arch, const char *where, sv_error *err)
{
    const char *near = NULL;
    if (!arch[0] || sv_backbone_find(arch)) return SV_OK;
    near = sv_kind_nearest(sv_backbones, sv_backbone_count, sizeof sv_backbones[0], arch);
    return sv_fail(err, SV_USAGE, "%s: train.teacher_arch = '%s' is unknown%s%s%s", where, arch, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

sv_status sv_teacher_options_read(sv_teacher_options *o, const sv_config *config, sv_error *err)
{
    *o = (sv_teacher_options){ .file = sv_config_text(config, "train.teacher"), .arch = sv_config_text(config, "train.teacher_arch"),
                               .kind = (sv_distillation)sv_config_choice(config, "train.distillation"), .alpha = sv_config_real(config, "train.distill_alpha"),
                               .tau = sv_config_real(config, "train.distill_tau") };
    if (o->arch[0] && !o->file[0])
        return sv_fail(err, SV_USAGE, "%s: train.teacher_arch = %s names the backbone of no teacher; set train.teacher to its weights", sv_config_where(config, "train.teacher_arch"), o->arch);
    if (o->kind != SV_DISTILL_NONE && sv_config_real(config, "pruning.distill_weight") > 0)
        return sv_fail(err, SV_USAGE, "%s: pruning.distill_weight = %g and train.distillation = %s both hold the class logits to the teacher's; give one of them",
                       sv_config_where(config, "pruning.distill_weight"), sv_config_real(config, "pruning.distill_weight"), sv_config_text(config, "train.distillation"));
    return check_arch(o->arch, sv_config_where(config, "train.teacher_arch"), err);
}

static sv_status weigh_tokens(sv_pruning_options *weights, const sv_config *config, const sv_model *student, const sv_model *teacher, sv_error *err)
{
    const sv_place ours = sv_tokens_place(student), theirs = sv_tokens_place(teacher);
    bool wanted = sv_config_real(config, "pruning.token_weight") > 0;
    if (weights->token_weight <= 0 || sv_tokens_comparable(student, teacher)) return SV_OK;
    if (wanted)
        return sv_fail(err, SV_USAGE, "%s: pruning.token_weight = %g compares patch with patch, but the student has %zu of width %zu and the teacher %zu of width %zu; set it to 0",
                       sv_config_where(config, "pruning.token_weight"), weights->token_weight, ours.patches, ours.width, theirs.patches,
                       theirs.width);
    sv_log(SV_WARNING, "the teacher has %zu patches of width %zu, the student %zu of %zu: tokens are not compared, pruning.token_weight is taken as 0", theirs.patches,
           theirs.width, ours.patches, ours.width);
    weights->token_weight = 0;
    return SV_OK;
}

sv_status sv_teacher_weigh(sv_pruning_options *weights, const sv_teacher_options *options, const sv_config *config, const sv_model *student, const sv_model *teacher, sv_error *err)
{
    if (!teacher && options->kind == SV_DISTILL_NONE) return SV_OK;
    if (!teacher)
        return sv_fail(err, SV_USAGE, "%s: train.distillation = %s has nobody to learn from; set train.teacher to the weights of a model that knows these classes",
                       sv_config_where(config, "train.distillation"), sv_config_text(config, "train.distillation"));
    if (options->kind != SV_DISTILL_NONE) weights->kl_weight = 0;
    sv_status status = weigh_tokens(weights, config, student, teacher, err);
    if (status || !options->file[0]) return status;
    if (options->kind == SV_DISTILL_NONE && weights->kl_weight <= 0 && weights->token_weight <= 0)
        return sv_fail(err, SV_USAGE, "%s: train.teacher would teach nothing, as train.distillation = none; set train.distillation = soft or hard", sv_config_where(config, "train.teacher"));
    return SV_OK;
}

/* ---- the model --------------------------------------------------------------------------------------------------- */

/* Logits of another order of classes teach nonsense: say the first name that differs. */
static void compare_classes(const char *file, const char *theirs, const char *ours)
{
    for (size_t i = 0; *theirs && *ours; i++) {
        size_t a = strcspn(theirs, "\n"), b = strcspn(ours, "\n");
        char left[64], right[64], safe_left[64], safe_right[64];
        if (a != b || memcmp(theirs, ours, a) != 0) {
            snprintf(left, sizeof left, "%.*s", (int)(a < 63 ? a : 63), theirs);
            snprintf(right, sizeof right, "%.*s", (int)(b < 63 ? b : 63), ours);
            sv_text_safe(safe_left, sizeof safe_left, left), sv_text_safe(safe_right, sizeof safe_right, right);
            sv_log(SV_WARNING, "%s: class %zu of the teacher is '%s', of the run '%s': are they the same classes in the same order?", file, i, safe_left, safe_right);
            return;
        }
        theirs += a + (theirs[a] == '\n'), ours += b + (ours[b] == '\n');
    }
}

/* Sizes of the teacher, but for pictures and classes. */
static sv_status find_sizes(sv_model_options *sizes, const char **arch, const sv_teacher_options *options, const sv_model *student, const char *names, sv_error *err)
{
    sv_weights *file = NULL;
    sv_model *told = NULL;
    sv_status status = sv_weights_open(&file, options->file, err);
    const char *text = status ? NULL : sv_weights_metadata(file, "sieve.model"), *theirs = status ? NULL : sv_weights_metadata(file, "sieve.classes");
    *sizes = options->arch[0] ? (sv_model_options){ 0 } : student->options;
    *arch = options->arch[0] ? options->arch : student->backbone->name;
    if (text && !options->arch[0]) {
        status = sv_model_parse(&told, text, options->file, err);
        if (!status) *sizes = told->options, *arch = told->backbone->name;
        sv_model_destroy(told);
    }
    if (!status && theirs && names) compare_classes(options->file, theirs, names);
    sv_weights_close(file);
    return status;
}

void sv_teacher_mark(char mark[SV_TEACHER_MARK], const sv_model *teacher)
{
    const unsigned char *bytes = (const unsigned char *)teacher->parameters->values;
    size_t count = teacher->parameters->total * sizeof *teacher->parameters->values; /* blocks are filled up to 16 numbers */
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i + 8 <= count; i += 8) {
        uint64_t word = 0;
        memcpy(&word, bytes + i, 8);
        hash = (hash ^ word) * 1099511628211u;
    }
    snprintf(mark, SV_TEACHER_MARK, "%016" PRIx64, hash);
}

sv_status sv_teacher_load(sv_model **out, const sv_teacher_options *options, const sv_config *config, const sv_model *student, const char *names, sv_error *err)
{
    sv_load_options load = sv_load_options_from_config(config);
    sv_model_options sizes;
    sv_model *model = NULL;
    const char *arch = NULL;
    sv_status status = find_sizes(&sizes, &arch, options, student, names, err);
    sizes.image = student->options.image, sizes.classes = student->options.classes, sizes.precision = student->options.precision;
    sizes.drop_path = sizes.dropout = 0, sizes.recompute = false;
    load.whole_head = true, load.arch_key = "train.teacher_arch";
    if (!status) status = sv_model_create(&model, arch, &sizes, err);
    if (!status) status = sv_model_allocate(model, false, err);
    if (!status) status = sv_model_load(model, options->file, &load, 0, NULL, err);
    if (status) {
        sv_model_destroy(model);
        return sv_fail_within(err, "%s: train.teacher", sv_config_where(config, "train.teacher"));
    }
    *out = model;
    return SV_OK;
}
