/* Decoded pictures of a small set kept in memory. Filled until its bytes are used up; nothing is ever thrown out, so that what it hands out
 * stays valid. Safe from any thread. For data/loader.c. */
#ifndef SIEVE_DATA_CACHE_H
#define SIEVE_DATA_CACHE_H

#include "formats/pictures.h"

typedef struct sv_cache sv_cache;
sv_status sv_cache_create(sv_cache **out, size_t samples, size_t bytes_max, sv_error *err) SV_MUST_CHECK;
void sv_cache_destroy(sv_cache *cache);                                     /* accepts NULL */
/* The picture of a sample, to be read only; NULL where it is not kept. Accepts NULL. */
const sv_picture *sv_cache_find(sv_cache *cache, size_t sample);
/* Keeps a copy where there is room; having no memory for it is no failure. Accepts NULL. */
void sv_cache_keep(sv_cache *cache, size_t sample, const sv_picture *picture);
size_t sv_cache_bytes(sv_cache *cache);

#endif
