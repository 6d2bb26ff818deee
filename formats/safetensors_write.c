/* safetensors, written: header length, JSON header filled up with spaces to a multiple of 8, data. Tensors with wider
 * elements come first, so that each is aligned to its own width without gaps, which the format forbids. */
#include <string.h>
#include <zlib.h>

#include "base/json.h"
#include "formats/weights_inside.h"

/* Calls use() for the tensors in the order of the file. */
typedef sv_status each_use(void *context, const sv_written *item, sv_error *err);

static sv_status each_written(const sv_weights_writer *writer, each_use *use, void *context, sv_error *err)
{
    static const size_t widths[] = { 64, 32, 16, 8 };
    for (size_t w = 0; w < SV_COUNT(widths); w++)
        for (size_t i = 0; i < writer->count; i++) {
            if (writer->items[i].dtype->bits != widths[w]) continue;
            sv_status status = use(context, &writer->items[i], err);
            if (status) return status;
        }
    return SV_OK;
}

static uint32_t crc_of(const void *data, size_t bytes)
{
    const unsigned char *from = data;
    uint32_t crc = 0;
    while (bytes > 0) {
        size_t part = bytes < 1U << 30 ? bytes : 1U << 30;
        crc = (uint32_t)crc32(crc, from, (uInt)part);
        from += part;
        bytes -= part;
    }
    return crc;
}

static sv_status crc_line(void *context, const sv_written *item, sv_error *err)
{
    char digits[9];
    uint32_t crc = crc_of(item->data, item->bytes);
    (void)err;
    for (int i = 0; i < 8; i++) digits[i] = "0123456789abcdef"[crc >> (28 - 4 * i) & 15];
    digits[8] = 0;
    sv_json_text(context, item->name, digits);
    return SV_OK;
}

static sv_status metadata_add(sv_json *json, const sv_weights_writer *writer, sv_crc_choice crc, sv_error *err)
{
    sv_text text = { 0 };
    sv_json lines = { .text = &text };
    sv_status status = SV_OK;
    if (writer->pair_count == 0 && crc == SV_WITHOUT_CRC) return SV_OK;
    sv_json_open(json, "__metadata__");
    for (size_t i = 0; i < writer->pair_count; i++) sv_json_text(json, writer->pairs[i].key, writer->pairs[i].value);
    if (crc == SV_WITH_CRC) {
        sv_json_open(&lines, NULL);
        status = each_written(writer, crc_line, &lines, err);
        sv_json_close(&lines);
        if (!status) status = sv_text_check(&text, err);
        if (!status) {
            while (text.length && text.data[text.length - 1] == '\n') text.data[--text.length] = 0;
            sv_json_text(json, "crc32", text.data);
        }
    }
    sv_json_close(json);
    sv_text_clear(&text);
    return status;
}

typedef struct header {
    sv_json json;
    size_t at;
} header;

static sv_status tensor_add(void *context, const sv_written *item, sv_error *err)
{
    header *to = context;
    size_t end;
    if (sv_add_size(&end, to->at, item->bytes))
        return sv_fail(err, SV_FAULT, "tensor '%s' to be written: the file would be too long", item->name);
    sv_json_open(&to->json, item->name);
    sv_json_text(&to->json, "dtype", item->dtype->letters);
    sv_json_open_array(&to->json, "shape");
    for (size_t i = 0; i < item->entry.rank; i++) sv_json_int(&to->json, NULL, (int64_t)item->entry.shape[i]);
    sv_json_close_array(&to->json);
    sv_json_open_array(&to->json, "data_offsets");
    sv_json_int(&to->json, NULL, (int64_t)to->at);
    sv_json_int(&to->json, NULL, (int64_t)end);
    sv_json_close_array(&to->json);
    sv_json_close(&to->json);
    to->at = end;
    return SV_OK;
}

static sv_status header_make(const sv_weights_writer *writer, sv_crc_choice crc, sv_text *text, sv_error *err)
{
    header to = { .json = { .text = text } };
    sv_json_open(&to.json, NULL);
    sv_status status = metadata_add(&to.json, writer, crc, err);
    if (!status) status = each_written(writer, tensor_add, &to, err);
    sv_json_close(&to.json);
    if (!status) status = sv_text_check(text, err);
    if (status) return status;
    while (text->length && text->data[text->length - 1] == '\n') text->length--;
    while (text->length % 8) sv_text_add(text, " ");
    return sv_text_check(text, err);
}

static sv_status data_count(void *context, const sv_written *item, sv_error *err)
{
    (void)err;
    *(uint64_t *)context += item->bytes;
    return SV_OK;
}

static sv_status data_write(void *context, const sv_written *item, sv_error *err)
{
    return sv_atomic_write(context, item->data, item->bytes, err);
}

sv_status sv_weights_write_safetensors(const sv_weights_writer *writer, const char *path, sv_crc_choice crc, sv_error *err)
{
    sv_atomic_file file = { 0 };
    sv_text text = { 0 };
    unsigned char length[8];
    uint64_t bytes = 0;
    sv_status status = header_make(writer, crc, &text, err);
    if (status) goto done;
    status = each_written(writer, data_count, &bytes, err);
    if (!status) status = sv_disk_check(path, bytes + sizeof length + text.length, err);
    if (status) goto done;
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)text.length >> 8 * i);
    status = sv_atomic_open(&file, path, err);
    if (!status) status = sv_atomic_write(&file, length, sizeof length, err);
    if (!status) status = sv_atomic_write(&file, text.data, text.length, err);
    if (!status) status = each_written(writer, data_write, &file, err);
    if (!status) status = sv_atomic_commit(&file, err);
done:
    sv_atomic_abandon(&file);
    sv_text_clear(&text);
    return status;
}
