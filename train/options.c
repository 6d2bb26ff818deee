/* Rows of [run] and [train], and their translation. Defaults are the recipe of spec training 1 where the papers state one. */
#include "train/options.h"

#include <string.h>

static const sv_config_row run_rows[] = {
    { "run.dir", SV_CONFIG_TEXT, "runs/default", 0, 0, NULL, "folder of the run: config.ini, log.txt, metrics.csv, report.html, checkpoints" },
    { "run.tensorboard", SV_CONFIG_BOOL, "yes", 0, 0, NULL, "the numbers of metrics.csv for TensorBoard too, in run.dir/tensorboard" },
    { "run.seed", SV_CONFIG_INT, "0", 0, 9007199254740992.0, NULL, "every random draw is a function of it and of what is drawn for" },
    { "run.threads", SV_CONFIG_INT, "0", 0, 4096, NULL, "compute threads; 0: all cores this process may use. Results do not depend on it" },
};
const sv_config_group sv_run_config = SV_CONFIG_GROUP(run_rows);

static const sv_config_row train_rows[] = {
    { "train.epochs", SV_CONFIG_INT, "30", 0, 100000, NULL, "passes over the training pictures" },
    { "train.batch", SV_CONFIG_INT, "32", 1, 65536, NULL, "pictures of one step; even where mixup or cutmix is on" },
    { "train.accumulate", SV_CONFIG_INT, "1", 1, 65536, NULL, "steps whose gradients are added before the optimizer moves: effective batch = batch * accumulate" },
    { "train.lr", SV_CONFIG_REAL, "5e-4", 0, 100, NULL, "learning rate of selectors and of newly made heads" },
    { "train.lr_reference_batch", SV_CONFIG_INT, "0", 0, 1048576, NULL, "the rate is multiplied by effective batch / this (DeiT: 512); 0: taken as it is" },
    { "train.min_lr", SV_CONFIG_REAL, "1e-5", 0, 100, NULL, "where the cosine ends" },
    { "train.schedule", SV_CONFIG_CHOICE, "cosine_epoch", 0, 0, "cosine_epoch|cosine_step|constant", "cosine_epoch: one value an epoch (SPViT); cosine_step: warm-up and cosine each step" },
    { "train.warmup_epochs", SV_CONFIG_REAL, "0", 0, 100000, NULL, "epochs of linear rise from 0" },
    { "train.backbone_scale", SV_CONFIG_REAL, "-1", -1, 1000, NULL, "rate of the pretrained backbone as a share of train.lr; -1: 0.01 with selectors, 1 without" },
    { "train.frozen_epochs", SV_CONFIG_INT, "0", 0, 100000, NULL, "first epochs in which the backbone's rate is 0 (the papers: 5 of 30)" },
    { "train.weight_decay", SV_CONFIG_REAL, "0.05", 0, 100, NULL, "decoupled, on weights of two dimensions and more" },
    { "train.selector_decay_all", SV_CONFIG_BOOL, "no", 0, 0, NULL, "decay biases and norms of selectors too, as the reference code does" },
    { "train.embeddings", SV_CONFIG_BOOL, "no", 0, 0, NULL, "also train cls_token and pos_embed of a pretrained model (the papers leave them)" },
    { "train.beta1", SV_CONFIG_REAL, "0.9", 0, 1, NULL, "AdamW" },
    { "train.beta2", SV_CONFIG_REAL, "0.999", 0, 1, NULL, "AdamW" },
    { "train.eps", SV_CONFIG_REAL, "1e-8", 0, 1, NULL, "AdamW" },
    { "train.clip", SV_CONFIG_REAL, "0", 0, 1e9, NULL, "largest 2-norm of the gradient; 0: no clipping" },
    { "train.ema", SV_CONFIG_REAL, "0", 0, 1, NULL, "decay of the averaged weights, evaluated beside the raw ones; 0: none (the papers store 0.99996)" },
    { "train.lanes", SV_CONFIG_INT, "4", 1, 1024, NULL, "sums that gradients are gathered in; part of a run's identity, at least the number of threads to use them all" },
    { "train.evaluate_every", SV_CONFIG_INT, "1", 1, 100000, NULL, "epochs between evaluations; the last one is always evaluated" },
    { "train.calibrate", SV_CONFIG_INT, "512", 1, 1000000, NULL, "training pictures on which the thresholds of the selectors are set" },
    { "train.save_every", SV_CONFIG_INT, "0", 0, 1000000000, NULL, "steps between checkpoints inside an epoch; 0: at its end alone" },
    { "train.max_bad_steps", SV_CONFIG_INT, "10", 1, 1000000, NULL, "steps in a row with a loss or gradient that is not finite, before the last good checkpoint is taken up" },
    { "train.max_steps", SV_CONFIG_INT, "0", 0, 1e15, NULL, "stop after so many optimizer steps, saved and ready to resume; 0: no limit" },
};
const sv_config_group sv_train_config = SV_CONFIG_GROUP(train_rows);

sv_status sv_train_options_read(sv_train_options *o, const sv_config *config, bool method_prunes, sv_error *err)
{
    int64_t reference = sv_config_int(config, "train.lr_reference_batch");
    double backbone = sv_config_real(config, "train.backbone_scale"), lr = sv_config_real(config, "train.lr");
    memset(o, 0, sizeof *o);
    o->folder = sv_config_text(config, "run.dir");
    o->tensorboard = sv_config_bool(config, "run.tensorboard");
    o->seed = (uint64_t)sv_config_int(config, "run.seed");
    o->epochs = (size_t)sv_config_int(config, "train.epochs");
    o->batch = (size_t)sv_config_int(config, "train.batch");
    o->accumulate = (size_t)sv_config_int(config, "train.accumulate");
    o->lanes = (size_t)sv_config_int(config, "train.lanes");
    o->save_every = (size_t)sv_config_int(config, "train.save_every");
    o->max_bad_steps = (size_t)sv_config_int(config, "train.max_bad_steps");
    o->calibrate = (size_t)sv_config_int(config, "train.calibrate");
    o->evaluate_every = (size_t)sv_config_int(config, "train.evaluate_every");
    o->max_steps = (uint64_t)sv_config_int(config, "train.max_steps");
    o->clip = sv_config_real(config, "train.clip");
    o->ema = sv_config_real(config, "train.ema");
    if (reference > 0) lr = lr * (double)(o->batch * o->accumulate) / (double)reference;
    o->schedule = (sv_schedule_options){
        .schedule = (sv_schedule)sv_config_choice(config, "train.schedule"), .lr = lr, .min_lr = sv_config_real(config, "train.min_lr"),
        .backbone_scale = backbone >= 0 ? backbone : method_prunes ? 0.01 : 1, .epochs = (double)o->epochs,
        .warmup_epochs = sv_config_real(config, "train.warmup_epochs"), .frozen_epochs = (double)sv_config_int(config, "train.frozen_epochs") };
    o->optimizer = (sv_optimizer_options){
        .decay = sv_config_real(config, "train.weight_decay"), .beta1 = sv_config_real(config, "train.beta1"), .beta2 = sv_config_real(config, "train.beta2"),
        .eps = sv_config_real(config, "train.eps"), .decay_all_selectors = sv_config_bool(config, "train.selector_decay_all"),
        .train_embeddings = sv_config_bool(config, "train.embeddings") };
    if (!o->folder[0]) return sv_fail(err, SV_USAGE, "%s: run.dir is empty; expected the folder of the run", sv_config_where(config, "run.dir"));
    if (o->schedule.min_lr > o->schedule.lr)
        return sv_fail(err, SV_USAGE, "%s: train.min_lr = %g is above the learning rate %g it would fall from", sv_config_where(config, "train.min_lr"), o->schedule.min_lr, lr);
    if (o->schedule.frozen_epochs > 0 && o->schedule.frozen_epochs >= o->schedule.epochs && o->epochs > 0)
        return sv_fail(err, SV_USAGE, "%s: train.frozen_epochs = %g leaves none of the %zu epochs to the backbone; lower it", sv_config_where(config, "train.frozen_epochs"),
                       o->schedule.frozen_epochs, o->epochs);
    if (o->optimizer.beta1 >= 1 || o->optimizer.beta2 >= 1)
        return sv_fail(err, SV_USAGE, "%s: train.beta1 and train.beta2 must be below 1", sv_config_where(config, o->optimizer.beta1 >= 1 ? "train.beta1" : "train.beta2"));
    return SV_OK;
}
