/* RGB to PNG, 8 bits a channel, with libpng. Written into memory first, then to a file that appears whole or not at all. */
#include "formats/pictures.h"

#include <setjmp.h>
#include <string.h>

#include <png.h>

struct png_job {
    sv_text text;
    sv_status status;
    sv_error *err;
};

static void leave(png_structp png, png_const_charp why)
{
    struct png_job *job = png_get_error_ptr(png);
    job->status = sv_fail(job->err, SV_FAULT, "a PNG cannot be made: %s", why);
    png_longjmp(png, 1);
}

static void warning_drop(png_structp png, png_const_charp why)
{
    (void)png;
    (void)why;
}

static png_voidp memory_take(png_structp png, png_alloc_size_t bytes)
{
    void *pointer;
    (void)png;
    return sv_alloc(&pointer, bytes, "libpng", NULL) ? NULL : pointer;
}

static void memory_give(png_structp png, png_voidp pointer)
{
    (void)png;
    sv_free(pointer);
}

static void bytes_keep(png_structp png, png_bytep bytes, size_t count)
{
    struct png_job *job = png_get_io_ptr(png);
    sv_text_add_bytes(&job->text, bytes, count);
    if (job->text.failed) png_error(png, "no memory");
}

static void nothing_to_flush(png_structp png)
{
    (void)png;
}

/* Everything that changes after setjmp lives in the job. */
static sv_status encode_guarded(struct png_job *job, png_structp png, png_infop info, const sv_picture *picture)
{
    if (setjmp(png_jmpbuf(png))) return job->status;
    png_set_write_fn(png, job, bytes_keep, nothing_to_flush);
    png_set_user_limits(png, 0x7fffffff, 0x7fffffff);
    png_set_IHDR(png, info, (png_uint_32)picture->width, (png_uint_32)picture->height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (size_t y = 0; y < picture->height; y++) png_write_row(png, picture->rgb + y * picture->width * 3);
    png_write_end(png, NULL);
    return SV_OK;
}

sv_status sv_png_encode(const sv_picture *picture, unsigned char **bytes, size_t *count, sv_error *err)
{
    struct png_job job = { .err = err };
    png_infop info = NULL;
    sv_status status = SV_OK;
    png_structp png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &job, leave, warning_drop, NULL, memory_take, memory_give);
    if (png) info = png_create_info_struct(png);
    if (!info)
        status = sv_fail(err, SV_FAULT, "no memory to write a PNG");
    else
        status = encode_guarded(&job, png, info, picture);
    png_destroy_write_struct(&png, &info);
    if (!status) status = sv_text_check(&job.text, err);
    if (status) {
        sv_text_clear(&job.text);
        return status;
    }
    *bytes = (unsigned char *)job.text.data;
    *count = job.text.length;
    return SV_OK;
}

sv_status sv_png_write(const char *path, const sv_picture *picture, sv_error *err)
{
    unsigned char *bytes;
    size_t count;
    sv_status status = sv_png_encode(picture, &bytes, &count, err);
    if (status) return status;
    status = sv_file_write_atomic(path, bytes, count, err);
    sv_free(bytes);
    return status;
}
