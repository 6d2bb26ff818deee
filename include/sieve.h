/* Sieve, for programs that link libsieve.a: tensors and the tape, models, pruning, latency, pictures, evaluation. Compile with
 * `pkg-config --cflags --libs sieve`. Call sv_kernels_init() once at start. */
#ifndef SIEVE_H
#define SIEVE_H

#include "autograd/autograd.h"
#include "autograd/op.h"
#include "autograd/ops.h"
#include "base/base.h"
#include "base/config.h"
#include "base/json.h"
#include "data/data.h"
#include "eval/eval.h"
#include "eval/onnx_export.h"
#include "formats/formats.h"
#include "kernels/kernels.h"
#include "latency/latency.h"
#include "latency/measure_model.h"
#include "layers/layers.h"
#include "pruning/pruning.h"
#include "report/report.h"
#include "train/train.h"

#endif
