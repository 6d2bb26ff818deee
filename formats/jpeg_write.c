/* RGB to JPEG, 4:2:0, with libjpeg-turbo's defaults. Written into memory first, then to a file that appears whole or not at all. */
#include "formats/pictures.h"

#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>

enum { PIECE = 65536 };

struct jpeg_job {
    struct jpeg_compress_struct cinfo;
    struct jpeg_error_mgr errors;
    struct jpeg_destination_mgr destination;
    jmp_buf out;
    sv_text text;
    sv_status status;
    sv_error *err;
    uint8_t piece[PIECE];
};

static void leave(j_common_ptr common)
{
    struct jpeg_job *job = common->client_data;
    char text[JMSG_LENGTH_MAX];
    common->err->format_message(common, text);
    job->status = sv_fail(job->err, SV_FAULT, "a JPEG cannot be made: %s", text);
    longjmp(job->out, 1);
}

static void message_drop(j_common_ptr common)
{
    (void)common;
}

static void piece_start(j_compress_ptr cinfo)
{
    struct jpeg_job *job = cinfo->client_data;
    job->destination.next_output_byte = job->piece;
    job->destination.free_in_buffer = PIECE;
}

static boolean piece_full(j_compress_ptr cinfo)
{
    struct jpeg_job *job = cinfo->client_data;
    sv_text_add_bytes(&job->text, job->piece, PIECE);
    piece_start(cinfo);
    return TRUE;
}

static void piece_last(j_compress_ptr cinfo)
{
    struct jpeg_job *job = cinfo->client_data;
    sv_text_add_bytes(&job->text, job->piece, PIECE - job->destination.free_in_buffer);
}

static sv_status encode_guarded(struct jpeg_job *job, const sv_picture *picture, int quality)
{
    struct jpeg_compress_struct *cinfo = &job->cinfo;
    if (setjmp(job->out)) return job->status;
    jpeg_create_compress(cinfo);
    cinfo->dest = &job->destination;
    cinfo->image_width = (JDIMENSION)picture->width;
    cinfo->image_height = (JDIMENSION)picture->height;
    cinfo->input_components = 3;
    cinfo->in_color_space = JCS_RGB;
    jpeg_set_defaults(cinfo);
    jpeg_set_quality(cinfo, quality, TRUE);
    jpeg_start_compress(cinfo, TRUE);
    while (cinfo->next_scanline < cinfo->image_height) {
        JSAMPROW row = picture->rgb + (size_t)cinfo->next_scanline * picture->width * 3;
        jpeg_write_scanlines(cinfo, &row, 1);
    }
    jpeg_finish_compress(cinfo);
    return SV_OK;
}

sv_status sv_jpeg_encode(const sv_picture *picture, int quality, unsigned char **bytes, size_t *count, sv_error *err)
{
    struct jpeg_job *job;
    sv_status status = sv_alloc_zero(&job, sizeof *job, "pictures", err);
    if (status) return status;
    job->err = err;
    job->cinfo.err = jpeg_std_error(&job->errors);
    job->cinfo.client_data = job;
    job->errors.error_exit = leave;
    job->errors.output_message = message_drop;
    job->destination = (struct jpeg_destination_mgr){ .init_destination = piece_start, .empty_output_buffer = piece_full, .term_destination = piece_last };
    status = encode_guarded(job, picture, quality);
    jpeg_destroy_compress(&job->cinfo);
    if (!status) status = sv_text_check(&job->text, err);
    if (!status) {
        *bytes = (unsigned char *)job->text.data;
        *count = job->text.length;
    } else {
        sv_text_clear(&job->text);
    }
    sv_free(job);
    return status;
}

sv_status sv_jpeg_write(const char *path, const sv_picture *picture, int quality, sv_error *err)
{
    unsigned char *bytes;
    size_t count;
    sv_status status = sv_jpeg_encode(picture, quality, &bytes, &count, err);
    if (status) return status;
    status = sv_file_write_atomic(path, bytes, count, err);
    sv_free(bytes);
    return status;
}
