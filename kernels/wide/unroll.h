/* Asks the compiler to write a loop of constant length out whole, so that arrays of vectors become registers. */
#ifndef SIEVE_KERNELS_WIDE_UNROLL_H
#define SIEVE_KERNELS_WIDE_UNROLL_H

#ifdef __clang__
#define UNROLL_LONG _Pragma("clang loop unroll(full)")
#define UNROLL _Pragma("clang loop unroll(full)") /* clang 14 ignores the other one and keeps tiles on the stack: 35 % of peak */
#else
#define UNROLL_LONG _Pragma("GCC unroll 32")
#define UNROLL _Pragma("GCC unroll 16")
#endif

#endif
