/* What the pickle machine stands on: bytes that come from memory or, in pieces, from a file, and room that lives as long as
 * the pickle. Both are bounded: no more bytes than there are, no more room than the file may take. */
#include "formats/pickle.h"

#include <stdio.h>
#include <string.h>

enum { BLOCK_BYTES = 1 << 16 };

typedef struct sv_pickle_block {
    struct sv_pickle_block *next;
    size_t used, bytes;
    _Alignas(16) unsigned char room[];
} sv_pickle_block;

/* ---- memory ------------------------------------------------------------------------------------------------------ */

sv_status sv_pickle_wrong(const sv_pickle_machine *machine, const char *format, ...)
{
    char text[512];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return sv_fail(machine->err, SV_MODEL_FILE, "%s: %s, byte %llu: %s", machine->weights->file.path, machine->what,
                   (unsigned long long)machine->opcode_at, text);
}

static sv_status take(sv_pickle_machine *machine, uint64_t bytes)
{
    sv_status status = sv_weights_take(machine->weights, bytes, machine->what, machine->err);
    if (!status) machine->pickle->taken += bytes;
    return status;
}

sv_status sv_pickle_grow(sv_pickle_machine *machine, void *pointer, size_t *capacity, size_t need, size_t item_bytes)
{
    size_t before = *capacity;
    if (need <= before) return SV_OK;
    sv_status status = take(machine, (need > 2 * before ? need - before : before) * item_bytes + 192);
    return status ? status : sv_grow(pointer, capacity, need, item_bytes, "pickle", machine->err);
}

sv_status sv_pickle_room(sv_pickle_machine *machine, void *pointer, size_t bytes)
{
    sv_pickle *pickle = machine->pickle;
    sv_pickle_block *block = pickle->blocks;
    bytes = (bytes + 15) & ~(size_t)15; /* callers' sizes are at most a length of text in the file and a little */
    if (!block || block->bytes - block->used < bytes) {
        size_t room = bytes > BLOCK_BYTES / 4 ? bytes : BLOCK_BYTES;
        sv_status status = take(machine, room + 192);
        if (!status) status = sv_alloc_zero(&block, sizeof *block + room, "pickle", machine->err);
        if (status) return status;
        block->bytes = room;
        block->next = pickle->blocks;
        pickle->blocks = block;
    }
    void *out = block->room + block->used;
    block->used += bytes;
    memcpy(pointer, &out, sizeof out);
    return SV_OK;
}

sv_status sv_pickle_list_new(sv_pickle_machine *machine, sv_pickle_kind kind, sv_pickle_value *out)
{
    sv_pickle_list *list;
    sv_status status = sv_pickle_room(machine, &list, sizeof *list);
    if (status) return status;
    list->next = machine->pickle->lists;
    machine->pickle->lists = list;
    *out = (sv_pickle_value){ .kind = kind, .list = list };
    return SV_OK;
}

void sv_pickle_clear(sv_pickle *pickle, sv_weights *weights)
{
    for (sv_pickle_list *list = pickle->lists; list; list = list->next) sv_free(list->items);
    while (pickle->blocks) {
        sv_pickle_block *block = pickle->blocks;
        pickle->blocks = block->next;
        sv_free(block);
    }
    weights->memory_left += pickle->taken;
    *pickle = (sv_pickle){ 0 };
}

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

uint64_t sv_pickle_at(const sv_pickle_input *input) { return input->place + input->at; }

sv_status sv_pickle_bytes_check(const sv_pickle_machine *machine, uint64_t count)
{
    uint64_t left = machine->input->end - sv_pickle_at(machine->input);
    if (count <= left) return SV_OK;
    return sv_pickle_wrong(machine, "%llu bytes are announced, but only %llu are left; is the file cut off?", (unsigned long long)count,
                           (unsigned long long)left);
}

/* Copies count bytes to out (NULL: steps over them). */
sv_status sv_pickle_bytes_read(sv_pickle_machine *machine, void *out, uint64_t count)
{
    sv_pickle_input *input = machine->input;
    unsigned char *to = out;
    sv_status status = sv_pickle_bytes_check(machine, count);
    while (!status && count > 0) {
        if (input->at == input->count) {
            uint64_t left = input->end - sv_pickle_at(input);
            size_t part = left < sizeof input->window ? (size_t)left : sizeof input->window;
            input->place += input->count;
            input->at = input->count = 0;
            status = sv_file_read_at(input->file, input->place, input->window, part, machine->err);
            if (status) break;
            input->bytes = input->window;
            input->count = part;
        }
        size_t part = input->count - input->at < count ? input->count - input->at : (size_t)count;
        if (to) {
            memcpy(to, input->bytes + input->at, part);
            to += part;
        }
        input->at += part;
        count -= part;
    }
    return status;
}

sv_status sv_pickle_number_read(sv_pickle_machine *machine, size_t bytes, uint64_t *out)
{
    unsigned char raw[8];
    uint64_t value = 0;
    sv_status status = sv_pickle_bytes_read(machine, raw, bytes);
    for (size_t i = bytes; i-- > 0 && !status;) value = value << 8 | raw[i];
    if (!status) *out = value;
    return status;
}

sv_status sv_pickle_line_read(sv_pickle_machine *machine, char line[SV_PICKLE_LINE])
{
    for (size_t length = 0; length < SV_PICKLE_LINE; length++) {
        sv_status status = sv_pickle_bytes_read(machine, line + length, 1);
        if (status) return status;
        if (line[length] != '\n') continue;
        line[length] = 0;
        return sv_name_valid(line, length) ? SV_OK : sv_pickle_wrong(machine, "a line that is not UTF-8");
    }
    return sv_pickle_wrong(machine, "a line of more than %d bytes", SV_PICKLE_LINE);
}
