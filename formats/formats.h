/* Files of other programs, read and written. One narrow header an audience; this one gathers them. Every reader takes what a
 * file says as a claim to be checked, and every writer leaves the old file whole until the new one is. */
#ifndef SIEVE_FORMATS_FORMATS_H
#define SIEVE_FORMATS_FORMATS_H

#include "formats/onnx.h"
#include "formats/pictures.h"
#include "formats/weights.h"

#endif
