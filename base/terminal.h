/* The terminal, for base/ alone: the live line and the messages above it share standard error under one lock. */
#ifndef SIEVE_BASE_TERMINAL_H
#define SIEVE_BASE_TERMINAL_H

#include "base/base.h"

/* Writes one finished line to standard error, above the live line where one stands. */
void sv_terminal_line(const char *before, const char *line);
/* Whether messages of this level are wanted now. */
bool sv_log_wants(sv_level level);

#endif
