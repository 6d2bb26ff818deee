#!/usr/bin/env bash
# The programs as a user meets them: help, mistakes, and one small run from pictures to an exported model, killed and resumed on the way.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/verdicts.sh
room=$(mktemp -d) || exit 1
trap 'rm -rf "$room"' EXIT
export QUICKSTART="$room"

for program in train eval classify export latency search shapes shards sheet bench; do
    try "${program}_help" 0 "$program" bin/$program --help
    try "${program}_version" 0 "0." bin/$program --version
done

train() { bin/train --config configs/quickstart_dense.ini --quiet "$@"; }
bin/shapes "$room/pictures" --train 200 --val 60 --size 64 --seed 1 --quiet || echo "not ok shapes_write_pictures: exit $?"
printf '[train]\nbacth = 3\n' > "$room/typo.ini"
printf '[train]\nbatch = 0\n' > "$room/range.ini"
printf '[train\nbatch = 3\n' > "$room/broken.ini"
printf '[data]\ntrain = ${NOT_SET_ANYWHERE}/x\n' > "$room/unset.ini"
printf 'include = nowhere.ini\n' > "$room/include.ini"
printf 'n1\tone\nn1\ttwo\n' > "$room/twice.txt"
printf 'other\tname\n' > "$room/foreign.txt"
printf 'no weights' > "$room/text.pth"
mkdir -p "$room/empty" "$room/hollow/class"

try typo_names_the_nearest_key 2 "train.batch" bin/train --config "$room/typo.ini"
try typo_names_file_and_line 2 "typo.ini:2" bin/train --config "$room/typo.ini"
try range_is_said 2 "range.ini:2" bin/train --config "$room/range.ini"
try broken_section_names_the_line 2 "broken.ini:1" bin/train --config "$room/broken.ini"
try unset_variable_is_named 3 "NOT_SET_ANYWHERE" bin/train --config "$room/unset.ini"
try missing_include_is_named 2 "nowhere.ini" bin/train --config "$room/include.ini"
try missing_config_is_named 2 "nothing.ini" bin/train --config "$room/nothing.ini"
try unknown_option 2 "--cofig" bin/train --cofig x
try unknown_key_on_the_command_line 2 "train.epochs" train --train.epoch=3
try word_instead_of_number 2 "train.epochs" train --train.epochs=many
try missing_training_folder 3 "nowhere" train --data.train=nowhere
try empty_training_folder 3 "empty" train --data.train="$room/empty"
try class_folder_without_pictures 3 "class" train --data.train="$room/hollow"
try class_listed_twice 3 "twice.txt:2" train --data.classes="$room/twice.txt"
try folder_that_the_class_file_does_not_name 3 "foreign.txt" train --data.classes="$room/foreign.txt"
try fewer_classes_than_the_data_has 2 "model.classes" train --model.classes=3
try batch_larger_than_the_data 3 "train.batch" train --train.batch=512
try odd_batch_with_mixup 2 "train.batch" train --train.batch=7 --data.mixup=0.8
try unknown_backbone 2 "vit_nano" train --model.arch=vit_nanno
try pruning_of_a_backbone_it_does_not_fit 2 "does not fit convnext_nano" train --model.arch=convnext_nano --pruning.method=spvit
try sizes_of_a_backbone_of_stages 2 "sizes by stage" train --model.arch=swin_nano --model.width=64
try layer_decay_of_a_backbone_of_stages 2 "counts them by stage" train --model.arch=convnext_nano --train.layer_decay=0.7 --run.dir="$room/decay"
for arch in pit_nano convnext_nano swin_nano lvvit_nano; do # learn, go on to the byte, answer, leave
    other_backbone="--config configs/quickstart_dense.ini --quiet --model.arch=$arch --train.epochs=1 --train.warmup_epochs=0"
    try verify_resume_of_$arch 0 "" bin/train $other_backbone --run.dir="$room/verify_$arch" --verify-resume 2
    try train_$arch 0 "" bin/train $other_backbone --run.dir="$room/$arch"
    try eval_of_$arch 0 '"images": 60' bin/eval --config configs/quickstart_dense.ini --checkpoint "$room/$arch/model.safetensors" --quiet --json
    try export_of_$arch 0 "logits equal" bin/export "$room/$arch/model.safetensors" --format safetensors --out "$room/$arch.safetensors"
    try onnx_of_$arch 0 "logits_difference" bin/export "$room/$arch/model.safetensors" --format onnx --weights int8 --out "$room/$arch.onnx" --json
done
try image_not_a_multiple_of_the_patch 2 "data.image_size" train --data.image_size=60
try missing_weights 4 "nothing.pth" train --model.weights="$room/nothing.pth"
try weights_that_are_none 4 "text.pth" train --model.weights="$room/text.pth"
try rising_keep 2 "pruning.keep" train --pruning.method=spvit --pruning.at=1,3 --pruning.keep=0.4,0.6
try keep_above_one 2 "pruning.keep" train --pruning.method=spvit --pruning.at=1,3 --pruning.keep=1.4,0.6
try as_many_ratios_as_selectors 2 "pruning.keep" train --pruning.method=spvit --pruning.at=1,3 --pruning.keep=0.4
try selector_behind_the_last_block 2 "pruning.at" train --pruning.method=spvit --pruning.at=1,9 --pruning.keep=0.5,0.4
try budget_without_selectors 2 "pruning.method" train --latency.budget=70%
try budget_that_is_none 2 "latency.budget" train --pruning.method=spvit --pruning.at=1,3 --latency.budget=fast
try missing_latency_table 4 "nothing.csv" train --pruning.method=spvit --pruning.at=1,3 --pruning.keep=0.5,0.4 --latency.budget=70% --latency.table="$room/nothing.csv"
try frozen_longer_than_the_run 2 "train.frozen_epochs" train --train.frozen_epochs=99
try epochs_at_rate_0 2 "train.warmup_lr" train --train.schedule=cosine_epoch --train.warmup_epochs=2
try nesterov_without_momentum 2 "train.momentum" train --train.optimizer=sgd --train.nesterov=yes --train.momentum=0
try min_lr_above_lr 2 "train.min_lr" train --train.min_lr=1
try inspect_refuses_text 4 "text.pth" bin/eval --inspect "$room/text.pth"
try eval_without_a_model 2 "model.weights" bin/eval --config configs/quickstart_dense.ini
try classify_without_a_picture 2 "picture" bin/classify "$room/text.pth"
try export_other_form 2 "safetensors or onnx" bin/export "$room/text.pth" --format tflite
try export_other_mode 2 "static or dynamic" bin/export "$room/text.pth" --format onnx --mode fixed
try export_other_weights 2 "f32, f16, bf16 or int8" bin/export "$room/text.pth" --format onnx --weights int4
try export_mode_of_safetensors 2 "belong to --format onnx" bin/export "$room/text.pth" --format safetensors --mode static
try export_batch_of_nothing 2 "--batch" bin/export "$room/text.pth" --format onnx --batch 0
try export_dynamic_batch 2 "--batch any" bin/export "$room/text.pth" --format onnx --mode dynamic --batch any
try export_onnx_option_for_safetensors 2 "--format onnx" bin/export "$room/text.pth" --format safetensors --mode static
try latency_other_command 2 "measure" bin/latency guess

small="--train.epochs=1 --train.batch=20 --train.warmup_epochs=0 --train.save_every=2 --latency.runs=3 --latency.warm_up=1"
try dense_run 0 "top1" train $small --json
pruned="--config configs/quickstart.ini --quiet $small --latency.budget= --pruning.keep=0.6,0.4 --train.calibrate=40"
try pruned_run 0 "measured_ms" bin/train $pruned --json
try steps_end_resumable 75 "goes on from" bin/train $pruned --run.dir="$room/again" --train.max_steps=3
try resumed_run 0 "measured_ms" bin/train $pruned --run.dir="$room/again" --json
if cmp -s "$room/pruned/model.safetensors" "$room/again/model.safetensors"; then echo "ok resumed_run_ends_with_the_same_bytes"; else
    # train.max_steps is part of the recipe the checkpoint tells, so the unbroken twin is made with it too
    echo "not ok resumed_run_ends_with_the_same_bytes: $(cmp "$room/pruned/model.safetensors" "$room/again/model.safetensors" 2>&1)"; fi
bin/train $pruned --run.dir="$room/one" --run.threads=1 > /dev/null 2>&1
if cmp -s "$room/pruned/model.safetensors" "$room/one/model.safetensors"; then echo "ok one_thread_gives_the_same_bytes"; else echo "not ok one_thread_gives_the_same_bytes"; fi
half="$pruned --train.precision=bf16" # kept or made again, one thread or two: the same bytes
try bf16_run 0 "measured_ms" bin/train $half --run.dir="$room/half" --train.recompute=yes --json
bin/train $half --run.dir="$room/half_one" --run.threads=1 --train.recompute=no > /dev/null 2>&1
if cmp -s "$room/half/model.safetensors" "$room/half_one/model.safetensors"; then echo "ok bf16_made_again_gives_the_same_bytes"; else echo "not ok bf16_made_again_gives_the_same_bytes"; fi
try precision_of_another_name 2 "expected fp32, bf16 or bf16x3" bin/eval --config configs/quickstart.ini --checkpoint "$room/half/model.safetensors" --precision fp8
try verify_resume 0 "" bin/train $pruned --run.dir="$room/verify" --verify-resume 3
try verify_resume_of_sgd 0 "" bin/train $pruned --run.dir="$room/sgd" --train.optimizer=sgd --train.layer_decay=0.75 --train.ema=0.99 --train.ema_warmup=yes --verify-resume 3
try checkpoint_of_the_other_optimizer 4 "set train.optimizer = adamw" bin/train $pruned --train.optimizer=sgd
try eval_pruned 0 "tokens_kept" bin/eval --config configs/quickstart.ini --checkpoint "$room/pruned/model.safetensors" --json --quiet
try eval_in_a_table 0 "McNemar" bin/eval --config configs/quickstart.ini --checkpoint "$room/pruned/model.safetensors" --quiet --details --csv "$room/figures.csv" --per-class "$room/classes.csv"
try eval_csv_has_a_number_a_line 0 "" awk -F, 'NF != 5 { exit 1 }' "$room/figures.csv"
try eval_classes_are_ten 0 "" test "$(wc -l < "$room/classes.csv" 2> /dev/null)" = 11
# What was evaluated is told before files are written.
for file in --csv --per-class --logits --sensitivity; do
    NOTES=99 try eval_tells_before_${file#--}_fails 1 "McNemar" bin/eval --config configs/quickstart.ini --checkpoint "$room/pruned/model.safetensors" --quiet --train.calibrate=40 $file "$room/none/such.csv"
done
try eval_beside_the_teacher 0 '"paired": {"both"' bin/eval --config configs/quickstart.ini --checkpoint "$room/pruned/model.safetensors" --beside teacher --quiet --json
try eval_beside_a_file 0 '"beside": {' bin/eval --config configs/quickstart.ini --checkpoint "$room/dense/model.safetensors" --beside "$room/pruned/model.safetensors" --quiet --json
try eval_beside_nothing 4 "none.safetensors" bin/eval --config configs/quickstart.ini --checkpoint "$room/pruned/model.safetensors" --beside "$room/none.safetensors" --quiet
try eval_figure 0 "times the area" bin/eval --config configs/quickstart.ini --checkpoint "$room/pruned/model.safetensors" --quiet --object-share masks --figure "$room/figure.svg" --heat
try eval_figure_has_rows 0 "before block" cat "$room/figure.svg"
try eval_overlays 0 "" bin/eval --config configs/quickstart.ini --checkpoint "$room/pruned/model.safetensors" --quiet --json --overlays 3 --overlay-dir "$room/overlays"
try eval_overlays_are_three_and_a_sheet 0 "" test "$(ls "$room/overlays" | wc -l)" = 4
try eval_figure_of_another_kind 2 ".png, .jpg or .svg" bin/eval --config configs/quickstart.ini --checkpoint "$room/pruned/model.safetensors" --quiet --figure "$room/figure.pdf"
try eval_heat_of_nothing 2 "--figure FILE" bin/eval --config configs/quickstart.ini --checkpoint "$room/pruned/model.safetensors" --quiet --heat
try eval_with_latency 0 "times as fast" bin/eval --config configs/quickstart.ini --checkpoint "$room/pruned/model.safetensors" --latency --latency.runs=3 --quiet
try eval_sensitivity 0 "tokens_kept" bin/eval --config configs/quickstart.ini --checkpoint "$room/pruned/model.safetensors" --sensitivity "$room/sensitivity.csv" --train.calibrate=40 --json --quiet
if [ "$(grep -c . "$room/sensitivity.csv")" = 23 ] && grep -q '^2,0.1,' "$room/sensitivity.csv"; then echo "ok sensitivity_has_all_lines"; else echo "not ok sensitivity_has_all_lines"; fi
try sensitivity_of_a_dense_model 2 "--checkpoint" bin/eval --config configs/quickstart.ini --model.weights="$room/dense/model.safetensors" --sensitivity "$room/none.csv" --quiet
try inspect_a_checkpoint 0 "selectors.0.fc_in.weight" bin/eval --inspect "$room/pruned/last.safetensors"
try export_and_read_back 0 "tensors" bin/export "$room/pruned/model.safetensors" --format safetensors --out "$room/out.safetensors" --json
for mode in static dynamic; do for weights in f32 f16 bf16 int8; do
    try "export_onnx_${mode}_$weights" 0 "logits_difference" bin/export "$room/pruned/model.safetensors" --format onnx --mode $mode --weights $weights --out "$room/$mode-$weights.onnx" --json
done; done
try export_onnx_beside_its_data 0 "logits_difference" bin/export "$room/pruned/model.safetensors" --format onnx --external-above 100000 --out "$room/apart.onnx" --json
[ -s "$room/apart.onnx.data" ] && [ "$(stat -c %s "$room/apart.onnx")" -lt 200000 ] || echo "not ok onnx_data_stand_beside_the_model"
try export_onnx_dense 0 "logits_difference" bin/export "$room/dense/model.safetensors" --format onnx --batch 3 --licence Apache-2.0 --json
(ulimit -f 200; trap '' XFSZ; exec bin/export "$room/pruned/model.safetensors" --format onnx --out "$room/full.onnx") > /dev/null 2>&1
if [ -e "$room/full.onnx" ] || compgen -G "$room/.full*" > /dev/null; then echo "not ok full_disk_leaves_no_onnx_file"; else echo "ok full_disk_leaves_no_onnx_file"; fi
half=0 whole=$(stat -c %s "$room/static-f32.onnx") # killed at several moments: the whole file, give or take the digits of its card, or none
for pause in 0.01 0.03 0.06 0.1 0.2; do
    rm -f "$room/killed.onnx"
    bin/export "$room/pruned/model.safetensors" --format onnx --out "$room/killed.onnx" > /dev/null 2>&1 < /dev/null & pid=$!
    sleep $pause
    { kill -9 $pid; wait $pid; } 2> /dev/null
    if [ -e "$room/killed.onnx" ]; then size=$(stat -c %s "$room/killed.onnx"); [ $((size - whole)) -lt 64 ] && [ $((whole - size)) -lt 64 ] || half=1; fi
done
if [ "$half" = 0 ]; then echo "ok killed_export_leaves_no_half_file"; else echo "not ok killed_export_leaves_no_half_file"; fi
try export_after_kills 0 "logits_difference" bin/export "$room/pruned/model.safetensors" --format onnx --out "$room/killed.onnx" --json
picture=$(find "$room/pictures/val" -type f | sort | head -n 1)
try export_in_int8 0 "logits equal" bin/export "$room/pruned/model.safetensors" --format safetensors --weights int8 --licence MIT --out "$room/int8.safetensors"
try classify_in_int8 0 "tokens_kept" bin/classify "$room/int8.safetensors" "$picture" --json
try export_of_an_unknown_arch 2 "did you mean" bin/export "$room/dense/model.safetensors" --arch vit_nan --format onnx
try export_foreign_weights 0 "logits_difference" bin/export "$room/dense/model.safetensors" --arch vit_nano --format onnx --out "$room/foreign.onnx" --json
if grep -aq 'accuracy: top-1 ' "$room/pruned/model.safetensors" && grep -aq 'accuracy: top-1 ' "$room/int8.safetensors" && grep -aq 'licence: MIT' "$room/int8.safetensors"
then echo "ok cards_tell_accuracy_and_licence"; else echo "not ok cards_tell_accuracy_and_licence"; fi
try classify_an_export 0 "tokens_kept" bin/classify "$room/out.safetensors" "$picture" --json --overlay "$room/tokens.png" --heat
try classify_goes_on_behind_a_bad_picture 3 "top5" bin/classify "$room/out.safetensors" "$room/text.pth" "$picture" --json

# DynamicViT: trained, killed and resumed, on one thread or two, evaluated, exported, timed by a table of its own
predictor="$pruned --pruning.method=dynamicvit --run.dir=$room/dynamicvit"
try dynamicvit_run 0 "measured_ms" bin/train $predictor --json
try dynamicvit_run_stops 75 "goes on from" bin/train $predictor --run.dir="$room/dynamicvit_again" --run.threads=1 --train.max_steps=3
try dynamicvit_run_goes_on 0 "measured_ms" bin/train $predictor --run.dir="$room/dynamicvit_again" --run.threads=1 --json
if cmp -s "$room/dynamicvit/model.safetensors" "$room/dynamicvit_again/model.safetensors"; then echo "ok resumed_dynamicvit_run_ends_with_the_same_bytes"; else
    echo "not ok resumed_dynamicvit_run_ends_with_the_same_bytes: $(cmp "$room/dynamicvit/model.safetensors" "$room/dynamicvit_again/model.safetensors" 2>&1)"; fi
try dynamicvit_verify_resume 0 "" bin/train $predictor --run.dir="$room/dynamicvit_verify" --pruning.mask_eps=1e-6 --pruning.mask_max=all --verify-resume 3
try dynamicvit_by_thresholds 0 "measured_ms" bin/train $predictor --run.dir="$room/dynamicvit_thresholds" --pruning.rule=threshold --json
try dynamicvit_is_evaluated 0 "tokens_kept" bin/eval --config configs/quickstart.ini --checkpoint "$room/dynamicvit/model.safetensors" --json --quiet
try dynamicvit_names_are_the_published_ones 0 "score_predictor.0.in_conv.1.weight" bin/eval --inspect "$room/dynamicvit/last.safetensors"
try dynamicvit_export_and_read_back 0 "tensors" bin/export "$room/dynamicvit/model.safetensors" --format safetensors --out "$room/dynamicvit.safetensors" --json
try dynamicvit_classify_an_export 0 "tokens_kept" bin/classify "$room/dynamicvit.safetensors" "$picture" --json
if grep -aq "pruning: DynamicViT, static.*keep_ratios: 0.6000 before block 1.*tokens_kept: 38" "$room/dynamicvit.safetensors"; then echo "ok dynamicvit_card_names_the_method"; else
    echo "not ok dynamicvit_card_names_the_method"; fi
try dynamicvit_as_onnx 0 "read back" bin/export "$room/dynamicvit/model.safetensors" --format onnx --out "$room/dynamicvit.onnx"
try dynamicvit_plan_names_the_method 0 "method dynamicvit" bin/eval --inspect "$room/dynamicvit.safetensors"
try checkpoint_of_another_method 4 "of another model or config" bin/train $predictor --run.dir="$room/pruned"
try dynamicvit_teaches_as_a_dense_model 0 "measured_ms" bin/train $pruned --train.teacher="$room/dynamicvit/model.safetensors" --run.dir="$room/dynamicvit_taught" --json
timed="--config configs/quickstart.ini --quiet --latency.budget=70% --latency.table=$room/dynamicvit.csv"
awk 'BEGIN { print "# device: Test board\n# arch: vit_nano\n# image: 64\n# patch: 8\n# depth: 6\n# width: 96\n# heads: 3\n# selector: dynamicvit\nop,batch,tokens,ms_median,ms_p95"
    for (n = 1; n < 70; n++) print "block,1," n "," 1 + n ",99\nselector,1," n "," 0.1 + n / 100 ",99"; print "embed,1,65,0.3,99\nhead,1,65,0.1,99" }' > "$room/dynamicvit.csv"
try dynamicvit_is_solved_for 0 "keep_ratios" bin/latency solve $timed --pruning.method=dynamicvit --json
try table_of_another_method 4 "is the table of selectors of dynamicvit" bin/latency solve $timed --pruning.method=spvit
try train_by_a_table_of_another_method 4 "is the table of selectors of dynamicvit" bin/train $pruned --run.dir="$room/foreign" --latency.budget=70% --latency.table="$room/dynamicvit.csv"
try dynamicvit_has_no_packages 2 "pruning.package_form" bin/train $predictor --pruning.package_form=wavg
try selectors_of_another_method 4 "looks at heads (SPViT)" bin/train $predictor --run.dir="$room/dynamicvit_other" --model.weights="$room/pruned/model.safetensors"

# tables: of this machine, of an outside command; plans for several budgets; how near a table comes
nano="--config configs/quickstart.ini --latency.runs=3 --latency.warm_up=1"
printf '#!/bin/sh\nread model\nwhile IFS=, read op batch tokens; do echo "$op,$batch,$tokens,$(awk -v t="$tokens" "BEGIN { print 0.1 + t / 100 }")"; done\n' > "$room/runner"
chmod +x "$room/runner"
try runner_is_asked 0 "rows of a board" bin/latency measure $nano --runner "$room/runner" --device "a board" --out "$room/board.csv"
try runner_that_fails 4 "ended with code 3" bin/latency measure $nano --runner "exit 3" --out "$room/none.csv"
try runner_that_says_something_else 4 "op,batch,tokens,ms" bin/latency measure $nano --runner "echo hello" --out "$room/none.csv"
try runner_that_leaves_a_row_out 4 "left out" bin/latency measure $nano --runner true --out "$room/none.csv"
# several models in one file
cp "$room/board.csv" "$room/models.csv"
lv="$nano --model.arch=lvvit_nano --pruning.at=1,2"
try a_second_model_is_put_to_a_table 0 "rows of a board" bin/latency measure $lv --runner "$room/runner" --device "a board" --out "$room/models.csv" --add
try the_first_ones_bytes_stay 0 "" cmp -n "$(stat -c %s "$room/board.csv")" "$room/board.csv" "$room/models.csv"
try both_models_are_shown 0 "lvvit_nano" bin/latency show "$room/models.csv" --chart "$room/models.svg"
try the_second_is_solved_for 0 '"keep_ratios"' bin/latency solve $lv --latency.table="$room/models.csv" --latency.budget=96% --json
bin/latency solve $nano --latency.table="$room/models.csv" --latency.budget=80% --json > "$room/of_both.json" 2>&1
bin/latency solve $nano --latency.table="$room/board.csv" --latency.budget=80% --json > "$room/of_one.json" 2>&1
same the_first_is_solved_for_as_before "$room/of_one.json" "$room/of_both.json"
try a_model_again_takes_its_place 0 "is replaced" bin/latency measure $lv --runner "$room/runner" --device "a board" --out "$room/models.csv" --add
try a_model_that_is_not_there 4 "holds no table of deit_t" bin/latency solve $nano --model.arch=deit_t --data.image_size=224 --latency.table="$room/models.csv" --latency.budget=80%
try a_file_of_several_is_not_lost 2 "give --add" bin/latency measure $nano --runner "$room/runner" --device "a board" --out "$room/models.csv"
try plans_for_tables_and_budgets 0 "cannot be met" bin/latency solve "$room/board.csv" "$room/board.csv" $nano --budgets 80%,60%,1ms
printf 'selector,keep,cost\n1,1,0\n1,0.5,0.1\n1,0.2,0.5\n2,1,0\n2,0.5,0.01\n2,0.2,0.02\n' > "$room/costs.csv"
try free_ratios_by_costs 0 "selector 2 before block" bin/latency solve $nano --latency.table="$room/board.csv" --latency.budget=75% --costs "$room/costs.csv"
printf 'selector,keep,cost\n1,1,0\n1,0.5\n' > "$room/costs.csv"
try costs_that_are_none 4 "costs.csv:3" bin/latency solve $nano --latency.table="$room/board.csv" --latency.budget=75% --costs "$room/costs.csv"
try tables_beside_one_another 0 "selector" bin/latency show "$room/board.csv" --chart "$room/times.svg"
if grep -q '<path\|<polyline' "$room/times.svg"; then echo "ok chart_of_tables_has_a_curve"; else echo "not ok chart_of_tables_has_a_curve"; fi
try table_held_against_models 0 "median off" bin/latency try $nano --latency.table="$room/board.csv"
try sheet_is_drawn 0 "2 pictures" bin/sheet --config configs/quickstart_dense.ini --data.augment=rand-m9-mstd0.5-inc1 --data.erase=0.25 --pictures 2 --epochs 2 --out "$room/sheet.png"
try augmentation_that_is_none 2 "data.augment" bin/sheet --config configs/quickstart_dense.ini --data.augment=augmix-m3 --out "$room/sheet.png"

# a teacher of another backbone, dense or a pruned checkpoint; killed and resumed, on one thread or two
dense="$room/dense/model.safetensors"
other="$small --model.arch=deit_t_distilled --model.width=48 --model.depth=3 --train.teacher=$dense --train.distillation=hard"
try distilled_run 0 "top1" train $other --run.dir="$room/student" --run.threads=2 --json
if head -n 1 "$room/student/metrics.csv" | grep -q loss_distill; then echo "ok metrics_tell_the_distillation_loss"; else echo "not ok metrics_tell_the_distillation_loss"; fi
if head -n 1 "$room/dense/metrics.csv" | grep -q loss_distill; then echo "not ok metrics_without_distillation_are_silent"; else echo "ok metrics_without_distillation_are_silent"; fi
try distilled_run_stops 75 "goes on from" train $other --run.dir="$room/student_again" --run.threads=1 --train.max_steps=3
try distilled_run_goes_on 0 "top1" train $other --run.dir="$room/student_again" --run.threads=1 --json
if cmp -s "$room/student/model.safetensors" "$room/student_again/model.safetensors" && cmp -s "$room/student/last.safetensors" "$room/student_again/last.safetensors"; then
    echo "ok resumed_distilled_run_ends_with_the_same_bytes"; else echo "not ok resumed_distilled_run_ends_with_the_same_bytes"; fi
try distilled_student_is_evaluated 0 "top1" bin/eval --config configs/quickstart_dense.ini --checkpoint "$room/student/model.safetensors" --json --quiet
try resolved_config_runs_again 0 "top1" bin/train --config "$room/student/config.ini" --quiet --run.dir="$room/student_twin" --json
if cmp -s "$room/student/metrics.csv" "$room/student_twin/metrics.csv" || cmp -s "$room/student/best.safetensors" "$room/student_twin/best.safetensors"; then
    echo "ok resolved_config_gives_the_same_bytes"; else echo "not ok resolved_config_gives_the_same_bytes"; fi
guided="$pruned --train.teacher=$room/student/model.safetensors"
try pruned_run_with_another_teacher 0 "tokens are not compared" bin/train $guided --train.distillation=soft --train.distill_tau=3 --run.dir="$room/guided"
try pruned_run_of_logits_and_tokens 0 "" bin/train $pruned --train.teacher="$room/pruned/model.safetensors" --run.dir="$room/guided_tokens"
try verify_resume_with_a_teacher 0 "" bin/train $guided --train.distillation=soft --run.dir="$room/guided_verify" --verify-resume 3
try pruned_run_distils_from_its_dense_start 0 "measured_ms" bin/train $pruned --train.distillation=soft --run.dir="$room/own" --json
train $small --model.weights="$dense" --train.teacher="$dense" --train.distillation=soft --train.lr=0 --train.min_lr=0 --run.dir="$room/itself" > /dev/null 2>&1
if [ "$(awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "loss_distill") at = i } NR == 2 { print $at }' "$room/itself/metrics.csv")" = 0 ]; then
    echo "ok a_model_that_is_its_own_teacher_has_nothing_to_learn"; else echo "not ok a_model_that_is_its_own_teacher_has_nothing_to_learn"; fi
try resume_without_the_teacher 4 "began with train.teacher" train $small --model.arch=deit_t_distilled --model.width=48 --model.depth=3 --run.dir="$room/student_again"
try resume_with_another_teacher 4 "of other weights" train $other --train.teacher="$room/pruned/model.safetensors" --run.dir="$room/student_again"
try resume_with_a_new_teacher 4 "began without train.teacher" train $small --train.teacher="$dense" --train.distillation=soft --run.dir="$room/dense"
try teacher_missing 4 "nothing.pth" train $other --train.teacher="$room/nothing.pth"
try teacher_that_is_none 4 "text.pth" train $other --train.teacher="$room/text.pth"
head -c 90000 "$dense" > "$room/cut_teacher.safetensors"
try teacher_cut_off 4 "cut_teacher.safetensors" train $other --train.teacher="$room/cut_teacher.safetensors"
{ head -c 60000 "$dense"; printf 'XXXXXXXX'; tail -c +60009 "$dense"; } > "$room/turned.safetensors"
try teacher_with_turned_bytes 4 "turned.safetensors" train $other --train.teacher="$room/turned.safetensors"
try teacher_of_other_classes 4 "answers with 10 classes, but 12 are needed" train $other --model.classes=12
try teacher_without_distillation 2 "train.distillation" train $other --train.distillation=none
try distillation_without_teacher 2 "train.teacher" train $small --train.distillation=soft
try arch_of_no_teacher 2 "train.teacher_arch" train $small --train.teacher_arch=deit_s
try arch_of_teacher_unknown 2 "vit_nano" train $other --train.teacher_arch=vit_nanno
try two_losses_of_logits 2 "pruning.distill_weight" train $other --pruning.distill_weight=0.5
try tokens_of_another_width 2 "pruning.token_weight" train $other --pruning.token_weight=0.5
try tokens_of_another_width_in_a_pruned_run 2 "pruning.token_weight" bin/train $guided --pruning.token_weight=0.5 --run.dir="$room/guided_error"
head -c 2000 "$room/out.safetensors" > "$room/cut.safetensors"
try cut_checkpoint_is_refused 4 "cut.safetensors" bin/eval --config configs/quickstart.ini --checkpoint "$room/cut.safetensors"
for f in config.ini log.txt metrics.csv report.html last.safetensors best.safetensors model.safetensors; do
    if [ -s "$room/pruned/$f" ]; then echo "ok run_folder_has_$f"; else echo "not ok run_folder_has_$f: absent or empty"; fi
done
