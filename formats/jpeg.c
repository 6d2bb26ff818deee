/* JPEG to RGB with libjpeg-turbo: integer slow inverse DCT and smooth chroma upsampling, its defaults, as Pillow uses it.
 * Verdicts are Pillow's too: its own walk over the markers up to the first scan comes first (jpeg_header_read), then the library reads
 * from a source that never refills, so that a file that ends too early is seen as cut off instead of being filled with grey.
 * Errors of the library leave through longjmp, into decode_guarded alone; whatever that function changes lives in the job. */
#include "formats/pictures.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

struct jpeg_header {
    size_t width, height;
    unsigned components;
    bool framed, scanned;
    size_t scans;
    bool odd; /* marks that do not belong behind a scan: the library will say something about them */
};

/* Every progressive file has a few scans for each component: 10 for colour, 18 for CMYK as libjpeg writes it. */
enum { SCANS_ALLOWED = 24 };
static const size_t SCAN_WORK_MAX = (size_t)1 << 30; /* pixels times scans beyond those, about a second */

enum { MARK_FRAME_FIRST = 0xC0, MARK_FRAME_LAST = 0xCF, MARK_HUFFMAN = 0xC4, MARK_EXTENSION = 0xC8, MARK_ARITHMETIC = 0xCC,
       MARK_RESTART_FIRST = 0xD0, MARK_RESTART_LAST = 0xD7, MARK_END = 0xD9, MARK_SCAN = 0xDA, MARK_QUANTISERS = 0xDB, MARK_INTERVAL = 0xDD, MARK_HIERARCHY = 0xDE,
       MARK_APP0 = 0xE0, MARK_APP14 = 0xEE, MARK_APP_LAST = 0xEF, MARK_COMMENT = 0xFE };

static bool mark_is_frame(unsigned mark)
{
    if (mark == MARK_HIERARCHY) return true;
    return mark >= MARK_FRAME_FIRST && mark <= MARK_FRAME_LAST && mark != MARK_HUFFMAN && mark != MARK_EXTENSION && mark != MARK_ARITHMETIC;
}

/* Markers that stand alone, without a length and a body. */
static bool mark_is_bare(unsigned mark)
{
    return mark == MARK_EXTENSION || (mark >= MARK_RESTART_FIRST && mark <= MARK_END) || (mark > MARK_APP_LAST && mark < MARK_COMMENT);
}

static sv_status frame_read(struct jpeg_header *header, const unsigned char *body, size_t length, sv_error *err)
{
    if (length < 6 || (length - 6) % 3) return sv_fail(err, SV_DATA, "broken JPEG: its frame header has %zu bytes; fetch the file again", length);
    if (body[0] != 8) return sv_fail(err, SV_DATA, "this JPEG has %u bits a sample, only 8 are read; convert it", body[0]);
    header->height = (size_t)body[1] << 8 | body[2];
    header->width = (size_t)body[3] << 8 | body[4];
    header->components = body[5];
    header->framed = true;
    if (header->components == 1 || header->components == 3 || header->components == 4) return SV_OK;
    return sv_fail(err, SV_DATA, "this JPEG has %u colour components, only 1, 3 and 4 are read; convert it", header->components);
}

static sv_status quantisers_check(const unsigned char *body, size_t length, sv_error *err)
{
    while (length) {
        size_t need = body[0] / 16 ? 129 : 65;
        if (length < need) return sv_fail(err, SV_DATA, "broken JPEG: a quantiser table is cut short; fetch the file again");
        body += need;
        length -= need;
    }
    return SV_OK;
}

static bool starts(const unsigned char *body, size_t length, const char *word)
{
    size_t letters = strlen(word);
    return length >= letters && !memcmp(body, word, letters);
}

static sv_status segment_check(struct jpeg_header *header, unsigned mark, const unsigned char *body, size_t length, sv_error *err)
{
    if (mark_is_frame(mark)) return frame_read(header, body, length, err);
    if (mark == MARK_QUANTISERS) return quantisers_check(body, length, err);
    if ((mark == MARK_APP0 && starts(body, length, "JFIF") && length < 7) || (mark == MARK_APP14 && starts(body, length, "Adobe") && length < 7))
        return sv_fail(err, SV_DATA, "broken JPEG: an application marker of %zu bytes is too short; fetch the file again", length);
    return SV_OK;
}

static bool belongs_behind_scan(unsigned mark)
{
    return mark == MARK_SCAN || mark == MARK_HUFFMAN || mark == MARK_ARITHMETIC || mark == MARK_QUANTISERS || mark == MARK_INTERVAL
           || (mark >= MARK_APP0 && mark <= MARK_APP_LAST) || mark == MARK_COMMENT;
}

/* Scans from byte `at` on, inside the first one: within a scan FF stands before 0, a restart mark, or the mark that ends it. */
static size_t scans_count(const unsigned char *bytes, size_t count, size_t at, bool *odd)
{
    size_t scans = 1;
    while (at + 1 < count) {
        const unsigned char *found = memchr(bytes + at, 0xFF, count - 1 - at);
        if (!found) break;
        at = (size_t)(found - bytes) + 1;
        unsigned mark = bytes[at];
        if (mark == 0xFF) continue;
        at++;
        if (mark <= 1 || (mark >= MARK_RESTART_FIRST && mark <= MARK_RESTART_LAST)) continue;
        if (mark == MARK_END || count - at < 2) break;
        scans += mark == MARK_SCAN;
        *odd = *odd || !belongs_behind_scan(mark);
        at += (size_t)bytes[at] << 8 | bytes[at + 1];
    }
    return scans;
}

/* Scans that add nothing cost time without bytes; see docs/decisions-pictures.md. */
static sv_status scans_check(const struct jpeg_header *header, sv_error *err)
{
    size_t pixels = header->width * header->height;
    if (header->scans <= SCANS_ALLOWED || header->scans <= SCAN_WORK_MAX / pixels) return SV_OK;
    return sv_fail(err, SV_DATA, "this JPEG of %zu x %zu pixels has %zu scans, as a bomb has; save it anew", header->width, header->height, header->scans);
}

/* Walks the markers up to the first scan. The file begins with FF D8 FF. */
static sv_status jpeg_header_read(struct jpeg_header *header, const unsigned char *bytes, size_t count, sv_error *err)
{
    size_t at = 2;
    while (at + 1 < count && !header->scanned) {
        unsigned mark = bytes[at + 1];
        if (bytes[at] != 0xFF || mark == 0xFF) { /* bytes between markers, fill bytes */
            at++;
            continue;
        }
        at += 2;
        if (mark == 0 || (mark >= MARK_FRAME_FIRST && mark_is_bare(mark))) continue;
        if (mark < MARK_FRAME_FIRST) return sv_fail(err, SV_DATA, "broken JPEG: FF %02X at byte %zu is no marker; fetch the file again", mark, at - 2);
        if (count - at < 2) return sv_fail(err, SV_DATA, "the JPEG is cut off after %zu bytes, before its first scan; fetch the file again", count);
        size_t length = (size_t)bytes[at] << 8 | bytes[at + 1];
        at += 2;
        length = length > 2 ? length - 2 : 0;
        if (length > count - at) return sv_fail(err, SV_DATA, "the JPEG is cut off after %zu bytes, inside a header; fetch the file again", count);
        sv_status status = segment_check(header, mark, bytes + at, length, err);
        if (status) return status;
        at += length;
        if (mark != MARK_SCAN) continue;
        header->scanned = true;
        header->scans = scans_count(bytes, count, at, &header->odd);
    }
    if (!header->framed) return sv_fail(err, SV_DATA, "this JPEG has no frame header and so no picture; fetch the file again");
    if (!header->scanned) return sv_fail(err, SV_DATA, "this JPEG has no scan and so no picture; fetch the file again");
    return SV_OK;
}

struct jpeg_job {
    struct jpeg_decompress_struct cinfo;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    jmp_buf out;
    sv_status status;
    sv_error *err;
    sv_picture *picture;
    uint8_t *inks; /* one row of CMYK */
    sv_box part;   /* that is wanted; empty: all */
    bool ran_out;  /* while a part was decoded */
};

static void leave(j_common_ptr common)
{
    struct jpeg_job *job = common->client_data;
    char text[JMSG_LENGTH_MAX];
    common->err->format_message(common, text);
    if (common->err->msg_code == JERR_OUT_OF_MEMORY)
        job->status = sv_fail(job->err, SV_FAULT, "no memory to decode a JPEG of %u x %u pixels", job->cinfo.image_width, job->cinfo.image_height);
    else
        job->status = sv_fail(job->err, SV_DATA, "broken JPEG (%s); fetch the file again or convert it", text);
    longjmp(job->out, 1);
}

static void warning_drop(j_common_ptr common, int level)
{
    (void)common;
    (void)level;
}

static void message_drop(j_common_ptr common)
{
    (void)common;
}

static void source_start(j_decompress_ptr cinfo)
{
    (void)cinfo;
}

static boolean source_fill(j_decompress_ptr cinfo)
{
    (void)cinfo;
    return FALSE; /* there is no more: the library suspends, and the caller sees a file cut off */
}

static void source_skip(j_decompress_ptr cinfo, long bytes)
{
    struct jpeg_source_mgr *source = cinfo->src;
    if (bytes <= 0) return;
    size_t skip = (size_t)bytes < source->bytes_in_buffer ? (size_t)bytes : source->bytes_in_buffer;
    source->next_input_byte += skip;
    source->bytes_in_buffer -= skip;
}

static uint8_t div255(unsigned x)
{
    return (uint8_t)((x + 128 + ((x + 128) >> 8)) >> 8);
}

/* Samples are inverted always, with an Adobe marker or without, as Pillow does. With n = 255 - K: max(0, n - C * n / 255). */
static void inks_to_rgb(const uint8_t *inks, uint8_t *rgb, size_t width)
{
    for (size_t x = 0; x < width; x++) {
        unsigned paper = inks[4 * x + 3];
        for (size_t c = 0; c < 3; c++) {
            unsigned ink = div255((255u - inks[4 * x + c]) * paper);
            rgb[3 * x + c] = (uint8_t)(ink < paper ? paper - ink : 0);
        }
    }
}

static sv_status cut_off(struct jpeg_job *job)
{
    return sv_fail(job->err, SV_DATA, "the JPEG is cut off: it ends before row %u of %u is whole; fetch the file again", job->cinfo.output_scanline + 1,
                   job->cinfo.image_height);
}

static sv_status rows_read(struct jpeg_job *job)
{
    sv_picture *picture = job->picture;
    size_t stride = picture->width * 3;
    while (job->cinfo.output_scanline < job->cinfo.output_height) {
        uint8_t *at = picture->rgb + job->cinfo.output_scanline * stride;
        JSAMPROW rows[16];
        JDIMENSION left = job->cinfo.output_height - job->cinfo.output_scanline, asked = left < 16 ? left : 16;
        if (job->inks) {
            rows[0] = job->inks;
            asked = 1;
        } else {
            for (JDIMENSION i = 0; i < asked; i++) rows[i] = at + i * stride;
        }
        if (!jpeg_read_scanlines(&job->cinfo, rows, asked)) return cut_off(job);
        if (job->inks) inks_to_rgb(job->inks, at, picture->width);
    }
    return SV_OK;
}

/* ---- a part ------------------------------------------------------------------------------------------------------ */

/* Skipping rows must not suspend: where bytes run out an end mark is made up, and the file is then decoded whole for its verdict. */
static boolean source_end(j_decompress_ptr cinfo)
{
    static const JOCTET mark[2] = { 0xFF, MARK_END };
    ((struct jpeg_job *)cinfo->client_data)->ran_out = true;
    cinfo->src->next_input_byte = mark;
    cinfo->src->bytes_in_buffer = sizeof mark;
    return TRUE;
}

enum { MARGIN = 32 }; /* smooth upsampling looks at neighbours, of a block of up to 32 pixels that is begun anew */

/* Three colours, not most of the picture, and a file that looks whole. */
static bool part_pays(const struct jpeg_header *header, sv_box part, const unsigned char *bytes, size_t count)
{
    if (header->components != 3 || header->odd || !part.width || part.width * part.height > header->width * header->height / 10 * 9) return false;
    return count > 4 && bytes[count - 2] == 0xFF && bytes[count - 1] == MARK_END;
}

static sv_status part_read(struct jpeg_job *job)
{
    struct jpeg_decompress_struct *cinfo = &job->cinfo;
    const sv_picture *picture = job->picture;
    const size_t left = job->part.left > MARGIN ? job->part.left - MARGIN : 0, right = job->part.left + job->part.width + MARGIN;
    const size_t top = job->part.top > MARGIN ? job->part.top - MARGIN : 0, end = job->part.top + job->part.height;
    JDIMENSION first = (JDIMENSION)left, width = (JDIMENSION)((right < picture->width ? right : picture->width) - left);
    jpeg_crop_scanline(cinfo, &first, &width);
    if (top && jpeg_skip_scanlines(cinfo, (JDIMENSION)top) != top) return cut_off(job);
    while (cinfo->output_scanline < end) {
        JSAMPROW row = picture->rgb + (cinfo->output_scanline * picture->width + first) * 3;
        if (!jpeg_read_scanlines(cinfo, &row, 1)) return cut_off(job);
    }
    return SV_OK;
}

static sv_status decode_steps(struct jpeg_job *job)
{
    struct jpeg_decompress_struct *cinfo = &job->cinfo;
    int found;
    do /* tables may stand in a picture of their own before the picture */
        found = jpeg_read_header(cinfo, FALSE);
    while (found == JPEG_HEADER_TABLES_ONLY);
    if (found != JPEG_HEADER_OK) return cut_off(job);
    if (cinfo->image_width != job->picture->width || cinfo->image_height != job->picture->height)
        return sv_fail(job->err, SV_DATA, "broken JPEG: it declares two sizes; fetch the file again");
    cinfo->out_color_space = cinfo->num_components == 4 ? JCS_CMYK : JCS_RGB;
    if (cinfo->num_components == 4) {
        sv_status status = sv_alloc(&job->inks, (size_t)cinfo->image_width * 4, "pictures", job->err);
        if (status) return status;
    }
    if (!jpeg_start_decompress(cinfo)) return cut_off(job);
    if (job->part.width) return part_read(job);
    sv_status status = rows_read(job);
    if (status) return status;
    (void)jpeg_finish_decompress(cinfo); /* an error in what follows the rows counts; an end marker that is not there does not */
    return SV_OK;
}

static sv_status decode_guarded(struct jpeg_job *job)
{
    if (setjmp(job->out)) return job->status;
    jpeg_create_decompress(&job->cinfo);
    job->cinfo.src = &job->source;
    return decode_steps(job);
}

static sv_status decode(sv_picture *out, const unsigned char *bytes, size_t count, sv_box part, bool *ran_out, sv_error *err)
{
    struct jpeg_job job = { .err = err, .picture = out, .part = part };
    job.cinfo.err = jpeg_std_error(&job.errors);
    job.cinfo.client_data = &job;
    job.errors.error_exit = leave;
    job.errors.emit_message = warning_drop;
    job.errors.output_message = message_drop;
    job.source = (struct jpeg_source_mgr){ .next_input_byte = bytes, .bytes_in_buffer = count, .init_source = source_start, .fill_input_buffer = part.width ? source_end : source_fill,
                                           .skip_input_data = source_skip, .resync_to_restart = jpeg_resync_to_restart, .term_source = source_start };
    sv_status status = decode_guarded(&job);
    *ran_out = job.ran_out;
    jpeg_destroy_decompress(&job.cinfo);
    sv_free(job.inks);
    return status;
}

sv_status sv_jpeg_decode_part(sv_picture *out, const unsigned char *bytes, size_t count, sv_part_rule *part, void *context, sv_error *err)
{
    struct jpeg_header header = { 0 };
    bool ran_out = false;
    sv_status status = jpeg_header_read(&header, bytes, count, err);
    if (status) return status;
    status = sv_picture_resize(out, header.width, header.height, err);
    if (!status) status = scans_check(&header, err);
    if (status) return status;
    if (part) {
        const sv_box box = part(context, header.width, header.height);
        if (part_pays(&header, box, bytes, count) && !decode(out, bytes, count, box, &ran_out, NULL) && !ran_out) return SV_OK;
    }
    return decode(out, bytes, count, (sv_box){ 0, 0, 0, 0 }, &ran_out, err);
}

sv_status sv_jpeg_decode(sv_picture *out, const unsigned char *bytes, size_t count, sv_error *err)
{
    return sv_jpeg_decode_part(out, bytes, count, NULL, NULL, err);
}
