/* Devices that are measured by an outside command: a phone behind adb, a board behind ssh, a simulator. */
#ifndef SIEVE_LATENCY_RUNNER_H
#define SIEVE_LATENCY_RUNNER_H

#include "latency/latency.h"

/* Runs `command` by the shell. It finds on its standard input the model (`model ARCH image 224 patch 16 depth 12 width 192 heads 3 precision fp32`)
 * (of backbones of several grids also `depths 1,2,1 widths 32,64,128`, and ops with the number of their grid, `block.2`) and then a line `op,batch,tokens` for each row wanted, and the end; it writes lines `op,batch,tokens,ms` or `op,batch,tokens,ms,p95` for the same
 * rows in any order, one each (blank lines and those that begin with # do not count), and ends with 0. rows[count]: op, batch and tokens are what is
 * asked for, times are filled. seconds: the most it may take.
 * SV_MODEL_FILE: it ended with another code, took too long, gave a line that is none, a row that was not asked for or twice, or left one out; the
 * sentence says which. SV_FAULT: it could not be started. */
sv_status sv_latency_run_command(const char *command, const sv_latency_about *about, sv_latency_row *rows, size_t count, double seconds, sv_error *err) SV_MUST_CHECK;

#endif
