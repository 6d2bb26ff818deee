/* Colours for a number between 0 and 1. */
#ifndef SIEVE_REPORT_HEAT_H
#define SIEVE_REPORT_HEAT_H

#include <stdint.h>

/* Perceptually even: lightness in OKLab (Ottosson 2020) rises in equal steps from dark violet over blue and green to light yellow, so that it reads the same in
 * grey and to colour-blind readers. Beyond 0..1: the ends; not a number: 0. */
void sv_heat_color(double share, uint8_t rgb[3]);

#endif
