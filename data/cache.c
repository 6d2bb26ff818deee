#include "data/cache.h"

#include <pthread.h>
#include <string.h>

struct sv_cache {
    pthread_mutex_t lock;
    sv_picture *pictures;   /* by sample; once its rgb is set an entry never changes */
    size_t samples, bytes, bytes_max;
};

sv_status sv_cache_create(sv_cache **out, size_t samples, size_t bytes_max, sv_error *err)
{
    sv_cache *cache;
    size_t bytes;
    if (sv_mul_size(&bytes, samples, sizeof *cache->pictures)) return sv_fail(err, SV_FAULT, "a cache for %zu pictures is too large", samples);
    sv_status status = sv_alloc_zero(&cache, sizeof *cache, "data", err);
    if (status) return status;
    status = sv_alloc_zero(&cache->pictures, bytes, "data", err);
    if (status) {
        sv_free(cache);
        return status;
    }
    pthread_mutex_init(&cache->lock, NULL);
    cache->samples = samples;
    cache->bytes_max = bytes_max;
    *out = cache;
    return SV_OK;
}

void sv_cache_destroy(sv_cache *cache)
{
    if (!cache) return;
    for (size_t i = 0; i < cache->samples; i++) sv_picture_clear(&cache->pictures[i]);
    sv_free(cache->pictures);
    pthread_mutex_destroy(&cache->lock);
    sv_free(cache);
}

const sv_picture *sv_cache_find(sv_cache *cache, size_t sample)
{
    if (!cache) return NULL;
    pthread_mutex_lock(&cache->lock);
    const sv_picture *picture = cache->pictures[sample].rgb ? &cache->pictures[sample] : NULL;
    pthread_mutex_unlock(&cache->lock);
    return picture;
}

void sv_cache_keep(sv_cache *cache, size_t sample, const sv_picture *picture)
{
    size_t bytes = picture->width * picture->height * 3;
    if (!cache) return;
    pthread_mutex_lock(&cache->lock);
    bool room = !cache->pictures[sample].rgb && bytes <= cache->bytes_max - cache->bytes;
    if (room) cache->bytes += bytes;
    pthread_mutex_unlock(&cache->lock);
    if (!room) return;
    sv_picture copy = { 0 };
    bool made = !sv_picture_resize(&copy, picture->width, picture->height, NULL);
    if (made) memcpy(copy.rgb, picture->rgb, bytes);
    pthread_mutex_lock(&cache->lock);
    if (made && !cache->pictures[sample].rgb) {
        cache->pictures[sample] = copy;
        copy = (sv_picture){ 0 };
    } else {
        cache->bytes -= bytes;
    }
    pthread_mutex_unlock(&cache->lock);
    sv_picture_clear(&copy);
}

size_t sv_cache_bytes(sv_cache *cache)
{
    if (!cache) return 0;
    pthread_mutex_lock(&cache->lock);
    size_t bytes = cache->bytes;
    pthread_mutex_unlock(&cache->lock);
    return bytes;
}
