/* Rows of [run] and [train], and their translation. Defaults are the recipe of spec training 1 where the papers state one. */
#include "train/options.h"

#include <string.h>

static const sv_config_row run_rows[] = {
    { "run.dir", SV_CONFIG_TEXT, "runs/default", 0, 0, NULL, "folder of the run: config.ini, log.txt, metrics.csv, report.html, checkpoints" },
    { "run.tensorboard", SV_CONFIG_BOOL, "yes", 0, 0, NULL, "the numbers of metrics.csv for TensorBoard too, in run.dir/tensorboard" },
    { "run.pictures", SV_CONFIG_INT, "8", 0, 64, NULL, "validation pictures on the report page with what the selectors keep of them" },
    { "run.seed", SV_CONFIG_INT, "0", 0, 9007199254740992.0, NULL, "every random draw is a function of it and of what is drawn for" },
    { "run.threads", SV_CONFIG_INT, "0", 0, 4096, NULL, "compute threads; 0: all cores this process may use. Results do not depend on it; --ranks share them" },
    { "run.rank_timeout", SV_CONFIG_REAL, "30", 0.5, 86400, NULL, "with several ranks: seconds of silence after which a rank is lost and all stop" },
    { "run.keep_last", SV_CONFIG_INT, "0", 0, 10000, NULL, "the latest checkpoints that also stay under the names of their steps (step-000000001234.safetensors), to go back to with --resume FILE" },
    { "run.keep_best", SV_CONFIG_INT, "0", 0, 10000, NULL, "the best models by validation top-1 that also stay under names of their own (best-0.812500-epoch-00007.safetensors)" },
    { "run.log_mb", SV_CONFIG_REAL, "64", 0, 1e6, NULL, "MiB of log.txt before it becomes log.1.txt and a new one begins; three old ones stay. 0: no limit" },
    { "run.check_every", SV_CONFIG_INT, "100", 1, 1000000000, NULL, "with several ranks: steps between checks that all hold the same weights; also checked at every save" },
};
const sv_config_group sv_run_config = SV_CONFIG_GROUP(run_rows);

static const sv_config_row train_rows[] = {
    { "train.epochs", SV_CONFIG_INT, "30", 0, 100000, NULL, "passes over the training pictures" },
    { "train.batch", SV_CONFIG_INT, "32", 1, 65536, NULL, "pictures of one step; even where mixup or cutmix is on" },
    { "train.accumulate", SV_CONFIG_INT, "1", 1, 65536, NULL, "steps whose gradients are added before the optimizer moves: effective batch = batch * accumulate" },
    { "train.optimizer", SV_CONFIG_CHOICE, "adamw", 0, 0, "adamw|sgd", "adamw (the papers), or sgd with momentum as torch.optim.SGD makes it" },
    { "train.momentum", SV_CONFIG_REAL, "0.9", 0, 1, NULL, "sgd" },
    { "train.nesterov", SV_CONFIG_BOOL, "no", 0, 0, NULL, "sgd: looks ahead along the momentum" },
    { "train.lr", SV_CONFIG_REAL, "5e-4", 0, 100, NULL, "learning rate of selectors and of newly made heads" },
    { "train.lr_reference_batch", SV_CONFIG_INT, "0", 0, 1048576, NULL, "the rate is multiplied by effective batch / this (DeiT: 512); 0: taken as it is" },
    { "train.min_lr", SV_CONFIG_REAL, "1e-5", 0, 100, NULL, "where the cosine ends" },
    { "train.schedule", SV_CONFIG_CHOICE, "cosine_epoch", 0, 0, "cosine_epoch|cosine_step|constant", "cosine_epoch: one value an epoch (SPViT); cosine_step: warm-up and cosine each step" },
    { "train.lr_jump_epoch", SV_CONFIG_INT, "0", 0, 100000, NULL, "from this epoch on train.lr is 5e-4, whatever the batch: a slip of the SPViT code, there 30; 0: off" },
    { "train.warmup_epochs", SV_CONFIG_REAL, "0", 0, 100000, NULL, "epochs of linear rise from train.warmup_lr: each step, with cosine_epoch each epoch" },
    { "train.warmup_lr", SV_CONFIG_REAL, "0", 0, 100, NULL, "where the warm-up begins (DeiT from scratch: 1e-6); cosine_epoch spends its first epoch there" },
    { "train.backbone_scale", SV_CONFIG_REAL, "-1", -1, 1000, NULL, "rate of the pretrained backbone as a share of train.lr; -1: 0.01 with selectors, 1 without" },
    { "train.frozen_epochs", SV_CONFIG_INT, "0", 0, 100000, NULL, "first epochs in which the backbone's rate is 0 (the papers: 5 of 30)" },
    { "train.frozen_moments", SV_CONFIG_CHOICE, "keep", 0, 0, "keep|skip", "while the backbone's rate is 0 its moments gather gradients all the same (keep, the reference), or wait, and its gradients do not count for train.clip (skip)" },
    { "train.layer_decay", SV_CONFIG_REAL, "1", 1e-3, 1, NULL, "rate of block i times this^(depth - i), of the embeddings this^(depth + 1), of norm, head and selectors 1 (BEiT, MAE: 0.65 to 0.75); 1: the same for all" },
    { "train.weight_decay", SV_CONFIG_REAL, "0.05", 0, 100, NULL, "on weights of two dimensions and more; adamw: decoupled; sgd: added to the gradient, where 1e-4 is usual" },
    { "train.selector_decay_all", SV_CONFIG_BOOL, "no", 0, 0, NULL, "decay biases and norms of selectors too, as the reference code does" },
    { "train.embeddings", SV_CONFIG_BOOL, "no", 0, 0, NULL, "also train cls_token and pos_embed of a pretrained model (the papers leave them)" },
    { "train.beta1", SV_CONFIG_REAL, "0.9", 0, 1, NULL, "AdamW" },
    { "train.beta2", SV_CONFIG_REAL, "0.999", 0, 1, NULL, "AdamW" },
    { "train.eps", SV_CONFIG_REAL, "1e-8", 0, 1, NULL, "AdamW" },
    { "train.clip", SV_CONFIG_REAL, "0", 0, 1e9, NULL, "largest 2-norm of the gradient; 0: no clipping" },
    { "train.ema", SV_CONFIG_REAL, "0", 0, 1, NULL, "decay of the averaged weights, evaluated beside the raw ones; 0: none (the papers store 0.99996)" },
    { "train.ema_warmup", SV_CONFIG_BOOL, "no", 0, 0, NULL, "the decay after step t is at most (1 + t) / (10 + t): for runs of fewer than 5 / (1 - train.ema) steps" },
    { "train.lanes", SV_CONFIG_INT, "4", 1, 1024, NULL, "sums that gradients are gathered in; part of a run's identity, at least the number of threads to use them all" },
    { "train.wire", SV_CONFIG_CHOICE, "f32", 0, 0, "f32|bf16", "numbers in which sums of gradients go between ranks; bf16: half the traffic, each lane's sum rounded to 1/256, with one process too, so the bytes still do not depend on the ranks; part of a run's identity" },
    { "train.evaluate_every", SV_CONFIG_INT, "1", 1, 100000, NULL, "epochs between evaluations; the last one is always evaluated" },
    { "train.calibrate", SV_CONFIG_INT, "512", 1, 1000000, NULL, "training pictures on which the thresholds of the selectors are set" },
    { "train.save_every", SV_CONFIG_INT, "0", 0, 1000000000, NULL, "steps between checkpoints inside an epoch; 0: at its end alone" },
    { "train.save_every_min", SV_CONFIG_REAL, "0", 0, 1e6, NULL, "minutes between checkpoints inside an epoch: what a power cut costs at most; 0: not by the clock" },
    { "train.max_bad_steps", SV_CONFIG_INT, "10", 1, 1000000, NULL, "bad steps in a row (not finite, or train.spike_z) before the last good checkpoint is taken up, once in a run; the pictures that led there are passed over" },
    { "train.spike_z", SV_CONFIG_REAL, "0", 0, 1e6, NULL, "a step whose loss or gradient norm is so many deviations above its running mean is skipped (6 to 10 for runs of weeks); 0: off" },
    { "train.patience", SV_CONFIG_INT, "0", 0, 100000, NULL, "epochs without a better validation top-1 after which training ends and the measured end follows; 0: all of train.epochs" },
    { "train.max_time", SV_CONFIG_TEXT, "0", 0, 0, NULL, "time this process may take (8h, 90min, 45s; a bare number: minutes): then it saves at the next step and ends with code 75, ready to resume; 0: no limit" },
    { "train.max_steps", SV_CONFIG_INT, "0", 0, 1e15, NULL, "stop after so many optimizer steps, saved and ready to resume; 0: no limit" },
};
const sv_config_group sv_train_config = SV_CONFIG_GROUP(train_rows);

sv_status sv_train_options_read(sv_train_options *o, const sv_config *config, bool method_prunes, sv_error *err)
{
    int64_t reference = sv_config_int(config, "train.lr_reference_batch");
    double backbone = sv_config_real(config, "train.backbone_scale"), lr = sv_config_real(config, "train.lr");
    memset(o, 0, sizeof *o);
    o->folder = sv_config_text(config, "run.dir");
    o->pictures = (size_t)sv_config_int(config, "run.pictures");
    o->tensorboard = sv_config_bool(config, "run.tensorboard");
    o->seed = (uint64_t)sv_config_int(config, "run.seed");
    o->epochs = (size_t)sv_config_int(config, "train.epochs");
    o->batch = (size_t)sv_config_int(config, "train.batch");
    o->accumulate = (size_t)sv_config_int(config, "train.accumulate");
    o->check_every = (size_t)sv_config_int(config, "run.check_every");
    o->lanes = (size_t)sv_config_int(config, "train.lanes");
    o->wire_bf16 = strcmp(sv_config_text(config, "train.wire"), "bf16") == 0;
    o->save_every = (size_t)sv_config_int(config, "train.save_every");
    o->max_bad_steps = (size_t)sv_config_int(config, "train.max_bad_steps");
    o->calibrate = (size_t)sv_config_int(config, "train.calibrate");
    o->evaluate_every = (size_t)sv_config_int(config, "train.evaluate_every");
    o->max_steps = (uint64_t)sv_config_int(config, "train.max_steps");
    o->patience = (size_t)sv_config_int(config, "train.patience");
    o->keep_last = (size_t)sv_config_int(config, "run.keep_last");
    o->keep_best = (size_t)sv_config_int(config, "run.keep_best");
    o->log_bytes = (uint64_t)(sv_config_real(config, "run.log_mb") * 1048576);
    o->spike_z = sv_config_real(config, "train.spike_z");
    o->save_seconds = 60 * sv_config_real(config, "train.save_every_min");
    o->clip = sv_config_real(config, "train.clip");
    o->ema = (sv_average_options){ .decay = sv_config_real(config, "train.ema"), .warmup = sv_config_bool(config, "train.ema_warmup") };
    if (reference > 0) lr = lr * (double)(o->batch * o->accumulate) / (double)reference;
    o->schedule = (sv_schedule_options){
        .schedule = (sv_schedule)sv_config_choice(config, "train.schedule"), .lr = lr, .min_lr = sv_config_real(config, "train.min_lr"),
        .backbone_scale = backbone >= 0 ? backbone : method_prunes ? 0.01 : 1, .epochs = (double)o->epochs,
        .warmup_epochs = sv_config_real(config, "train.warmup_epochs"), .warmup_lr = sv_config_real(config, "train.warmup_lr"),
        .jump_epoch = (double)sv_config_int(config, "train.lr_jump_epoch"), .frozen_epochs = (double)sv_config_int(config, "train.frozen_epochs") };
    o->optimizer = (sv_optimizer_options){
        .kind = (sv_optimizer_kind)sv_config_choice(config, "train.optimizer"), .momentum = sv_config_real(config, "train.momentum"), .nesterov = sv_config_bool(config, "train.nesterov"),
        .decay = sv_config_real(config, "train.weight_decay"), .beta1 = sv_config_real(config, "train.beta1"), .beta2 = sv_config_real(config, "train.beta2"),
        .eps = sv_config_real(config, "train.eps"), .decay_all_selectors = sv_config_bool(config, "train.selector_decay_all"),
        .train_embeddings = sv_config_bool(config, "train.embeddings"), .skip_frozen = sv_config_choice(config, "train.frozen_moments") == 1,
        .layer_decay = sv_config_real(config, "train.layer_decay") };
    if (!sv_parse_duration(sv_config_text(config, "train.max_time"), &o->max_seconds))
        return sv_fail(err, SV_USAGE, "%s: train.max_time = %.40s; expected a time such as 8h, 90min or 45s, or 0 for no limit", sv_config_where(config, "train.max_time"),
                       sv_config_text(config, "train.max_time"));
    if (!o->folder[0]) return sv_fail(err, SV_USAGE, "%s: run.dir is empty; expected the folder of the run", sv_config_where(config, "run.dir"));
    if (o->schedule.min_lr > o->schedule.lr)
        return sv_fail(err, SV_USAGE, "%s: train.min_lr = %g is above the learning rate %g it would fall from", sv_config_where(config, "train.min_lr"), o->schedule.min_lr, lr);
    if (o->schedule.schedule == SV_COSINE_EPOCH && o->schedule.warmup_epochs > 0 && o->schedule.warmup_lr <= 0)
        return sv_fail(err, SV_USAGE, "%s: train.warmup_epochs with train.schedule = cosine_epoch spends its first epoch at train.warmup_lr = 0 and learns nothing; set train.warmup_lr (DeiT: 1e-6)",
                       sv_config_where(config, "train.warmup_epochs"));
    if (o->schedule.frozen_epochs > 0 && o->schedule.frozen_epochs >= o->schedule.epochs && o->epochs > 0)
        return sv_fail(err, SV_USAGE, "%s: train.frozen_epochs = %g leaves none of the %zu epochs to the backbone; lower it", sv_config_where(config, "train.frozen_epochs"),
                       o->schedule.frozen_epochs, o->epochs);
    if (o->optimizer.kind == SV_SGD && (o->optimizer.momentum >= 1 || (o->optimizer.nesterov && o->optimizer.momentum <= 0)))
        return sv_fail(err, SV_USAGE, "%s: train.momentum must be below 1, and above 0 with train.nesterov", sv_config_where(config, "train.momentum"));
    if (o->optimizer.beta1 >= 1 || o->optimizer.beta2 >= 1)
        return sv_fail(err, SV_USAGE, "%s: train.beta1 and train.beta2 must be below 1", sv_config_where(config, o->optimizer.beta1 >= 1 ? "train.beta1" : "train.beta2"));
    return SV_OK;
}
