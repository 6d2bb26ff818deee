/* The pickle machine: a stack, marks in it, a memo, and one row an opcode (Python's pickletools names them). Each opcode
 * costs at least a byte of the file and constant time, nothing recurses, and all memory is taken from what the file may
 * hold, so a pickle of any shape ends soon and small. Lengths are compared with the bytes left before they are used. */
#include "formats/pickle.h"

#include <string.h>

enum { PROTOCOL_MOST = 5 };

/* ---- the stack --------------------------------------------------------------------------------------------------- */

static sv_status push(sv_pickle_machine *machine, sv_pickle_value value)
{
    sv_status status = sv_pickle_grow(machine, &machine->stack, &machine->stack_capacity, machine->depth + 1, sizeof value);
    if (!status) machine->stack[machine->depth++] = value;
    return status;
}

static size_t floor_of(const sv_pickle_machine *machine) { return machine->mark_count ? machine->marks[machine->mark_count - 1] : 0; }

static sv_status pop(sv_pickle_machine *machine, sv_pickle_value *out)
{
    if (machine->depth <= floor_of(machine)) return sv_pickle_wrong(machine, "a value is expected on an empty stack");
    *out = machine->stack[--machine->depth];
    return SV_OK;
}

/* Ends the youngest mark; what stands from *from on belonged to it. */
static sv_status pop_mark(sv_pickle_machine *machine, size_t *from)
{
    if (machine->mark_count == 0) return sv_pickle_wrong(machine, "a mark is expected on the stack");
    *from = machine->marks[--machine->mark_count];
    return SV_OK;
}

static sv_status tuple_make(sv_pickle_machine *machine, size_t from, sv_pickle_value *out)
{
    size_t count = machine->depth - from;
    *out = (sv_pickle_value){ .kind = SV_PICKLE_TUPLE };
    if (count == 0) return SV_OK;
    sv_pickle_list *list;
    sv_status status = sv_pickle_room(machine, &list, sizeof *list + count * sizeof *list->items);
    if (status) return status;
    list->items = (sv_pickle_value *)(void *)(list + 1); /* not among pickle->lists: the items live in the block too */
    list->count = list->capacity = count;
    memcpy(list->items, machine->stack + from, count * sizeof *list->items);
    machine->depth = from;
    out->list = list;
    return SV_OK;
}

static sv_status append(sv_pickle_machine *machine, sv_pickle_list *list, const sv_pickle_value *items, size_t count)
{
    sv_status status = sv_pickle_grow(machine, &list->items, &list->capacity, list->count + count, sizeof *items);
    if (status) return status;
    if (count) memcpy(list->items + list->count, items, count * sizeof *items);
    list->count += count;
    return SV_OK;
}

/* ---- opcodes: plain values --------------------------------------------------------------------------------------- */

typedef struct opcode opcode;
typedef sv_status run_opcode(sv_pickle_machine *machine, const opcode *op);
struct opcode {
    const char *name;
    run_opcode *run;
    int64_t number;
}; /* number: what tells opcodes of one function apart */

static sv_status push_int(sv_pickle_machine *machine, int64_t value)
{
    return push(machine, (sv_pickle_value){ .kind = SV_PICKLE_INT, .integer = value });
}
static sv_status push_opaque(sv_pickle_machine *machine, const char *word)
{
    return push(machine, (sv_pickle_value){ .kind = SV_PICKLE_OPAQUE, .word = word });
}

static sv_status op_none(sv_pickle_machine *machine, const opcode *op)
{
    (void)op;
    return push(machine, (sv_pickle_value){ .kind = SV_PICKLE_NONE });
}

static sv_status op_bool(sv_pickle_machine *machine, const opcode *op)
{
    return push(machine, (sv_pickle_value){ .kind = SV_PICKLE_BOOL, .integer = op->number });
}

static sv_status op_binint(sv_pickle_machine *machine, const opcode *op)
{
    uint64_t value = 0;
    sv_status status = sv_pickle_number_read(machine, (size_t)op->number, &value);
    return status ? status : push_int(machine, op->number == 4 ? (int32_t)(uint32_t)value : (int64_t)value);
}

static sv_status op_int_line(sv_pickle_machine *machine, const opcode *op)
{
    char line[SV_PICKLE_LINE];
    int64_t value;
    sv_status status = sv_pickle_line_read(machine, line);
    if (status) return status;
    size_t length = strlen(line);
    if (op->number == 'I' && (strcmp(line, "00") == 0 || strcmp(line, "01") == 0))
        return push(machine, (sv_pickle_value){ .kind = SV_PICKLE_BOOL, .integer = line[1] == '1' });
    if (length && line[length - 1] == 'L') line[length - 1] = 0;
    if (!sv_parse_int(line, &value)) return sv_pickle_wrong(machine, "expected a whole number of 64 bits");
    return push_int(machine, value);
}

/* An integer of count bytes, little-endian, two's complement: a number where it fits into 64 bits, else just its bytes. */
static sv_status op_long(sv_pickle_machine *machine, const opcode *op)
{
    uint64_t count = 0, value = 0;
    sv_pickle_value out = { .kind = SV_PICKLE_BIG };
    sv_status status = sv_pickle_number_read(machine, (size_t)op->number, &count);
    if (status) return status;
    if (op->number == 4 && count > INT32_MAX) return sv_pickle_wrong(machine, "an integer of a negative number of bytes");
    status = sv_pickle_bytes_check(machine, count);
    if (status) return status;
    if (count <= 8) {
        status = sv_pickle_number_read(machine, count, &value);
        if (!status && count && count < 8 && value >> (8 * count - 1)) value |= UINT64_MAX << 8 * count;
        return status ? status : push_int(machine, (int64_t)value);
    }
    status = sv_pickle_room(machine, &out.text, sizeof *out.text + count + 1);
    if (!status) status = sv_pickle_bytes_read(machine, out.text->bytes, count);
    if (status) return status;
    out.text->length = count;
    return push(machine, out);
}

static sv_status op_real(sv_pickle_machine *machine, const opcode *op)
{
    char line[SV_PICKLE_LINE];
    sv_status status = op->number ? sv_pickle_bytes_read(machine, NULL, (uint64_t)op->number) : sv_pickle_line_read(machine, line);
    return status ? status : push(machine, (sv_pickle_value){ .kind = SV_PICKLE_REAL });
}

/* Text of UTF-8. Old strings (Python 2) that are not are bytes, and a text with a zero byte is no name. */
static sv_status text_push(sv_pickle_machine *machine, uint64_t count, bool strict)
{
    sv_pickle_value out = { .kind = SV_PICKLE_TEXT };
    sv_status status = sv_pickle_bytes_check(machine, count);
    if (!status) status = sv_pickle_room(machine, &out.text, sizeof *out.text + count + 1);
    if (!status) status = sv_pickle_bytes_read(machine, out.text->bytes, count);
    if (status) return status;
    out.text->length = count;
    out.text->bytes[count] = 0;
    if (sv_name_valid(out.text->bytes, count)) return push(machine, out);
    if (!strict || memchr(out.text->bytes, 0, count)) return push_opaque(machine, "bytes");
    return sv_pickle_wrong(machine, "a text that is not UTF-8");
}

static sv_status op_text(sv_pickle_machine *machine, const opcode *op)
{
    uint64_t count = 0;
    sv_status status = sv_pickle_number_read(machine, (size_t)op->number, &count);
    return status ? status : text_push(machine, count, true);
}

static sv_status op_string(sv_pickle_machine *machine, const opcode *op)
{
    uint64_t count = 0;
    sv_status status = sv_pickle_number_read(machine, (size_t)op->number, &count);
    return status ? status : text_push(machine, count, false);
}

static sv_status op_bytes(sv_pickle_machine *machine, const opcode *op)
{
    uint64_t count = 0;
    sv_status status = sv_pickle_number_read(machine, (size_t)op->number, &count);
    if (!status) status = sv_pickle_bytes_read(machine, NULL, count);
    return status ? status : push_opaque(machine, "bytes");
}

/* Protocol 0: 'text' in quotes, or bare. With escapes it stays opaque: no name of ours needs one. */
static sv_status op_text_line(sv_pickle_machine *machine, const opcode *op)
{
    char line[SV_PICKLE_LINE], *begin = line;
    sv_pickle_value out = { .kind = SV_PICKLE_TEXT };
    sv_status status = sv_pickle_line_read(machine, line);
    if (status) return status;
    size_t length = strlen(line);
    if (op->number == 'S') {
        if (length < 2 || (line[0] != '\'' && line[0] != '"') || line[length - 1] != line[0])
            return sv_pickle_wrong(machine, "expected a text in quotes");
        begin++;
        length -= 2;
    }
    if (memchr(begin, '\\', length)) return push_opaque(machine, "a text");
    status = sv_pickle_room(machine, &out.text, sizeof *out.text + length + 1);
    if (status) return status;
    memcpy(out.text->bytes, begin, length);
    out.text->length = length;
    return push(machine, out);
}

/* ---- opcodes: containers ----------------------------------------------------------------------------------------- */

static sv_status op_mark(sv_pickle_machine *machine, const opcode *op)
{
    (void)op;
    sv_status status = sv_pickle_grow(machine, &machine->marks, &machine->mark_capacity, machine->mark_count + 1, sizeof *machine->marks);
    if (!status) machine->marks[machine->mark_count++] = machine->depth;
    return status;
}

static sv_status op_pop(sv_pickle_machine *machine, const opcode *op)
{
    sv_pickle_value value = { 0 };
    size_t from = 0;
    (void)op;
    if (machine->mark_count && machine->depth == floor_of(machine)) return pop_mark(machine, &from);
    return pop(machine, &value);
}

static sv_status op_pop_mark(sv_pickle_machine *machine, const opcode *op)
{
    size_t from = 0;
    (void)op;
    sv_status status = pop_mark(machine, &from);
    if (!status) machine->depth = from;
    return status;
}

static sv_status op_dup(sv_pickle_machine *machine, const opcode *op)
{
    sv_pickle_value value = { 0 };
    (void)op;
    sv_status status = pop(machine, &value);
    if (!status) status = push(machine, value);
    return status ? status : push(machine, value);
}

static sv_status op_empty(sv_pickle_machine *machine, const opcode *op)
{
    sv_pickle_value out = { 0 };
    if (op->number == SV_PICKLE_TUPLE) return push(machine, (sv_pickle_value){ .kind = SV_PICKLE_TUPLE });
    sv_status status = sv_pickle_list_new(machine, (sv_pickle_kind)op->number, &out);
    return status ? status : push(machine, out);
}

static sv_status op_empty_set(sv_pickle_machine *machine, const opcode *op)
{
    (void)op;
    return push_opaque(machine, "a set");
}

/* number: how many items; -1: all from the mark on. */
static sv_status op_tuple(sv_pickle_machine *machine, const opcode *op)
{
    sv_pickle_value out = { 0 };
    size_t from = 0;
    sv_status status = SV_OK;
    if (op->number < 0)
        status = pop_mark(machine, &from);
    else if (machine->depth - floor_of(machine) < (size_t)op->number)
        return sv_pickle_wrong(machine, "a value is expected on an empty stack");
    else
        from = machine->depth - (size_t)op->number;
    if (!status) status = tuple_make(machine, from, &out);
    return status ? status : push(machine, out);
}

static bool can_be_key(const sv_pickle_value *value)
{
    return value->kind != SV_PICKLE_LIST && value->kind != SV_PICKLE_DICT && value->kind != SV_PICKLE_TENSOR
           && value->kind != SV_PICKLE_STORAGE;
}

/* Puts what stands from `from` on into the container below it. Stand-ins swallow it. */
static sv_status put_into(sv_pickle_machine *machine, size_t from, sv_pickle_kind kind)
{
    size_t count = machine->depth - from, floor = floor_of(machine);
    if (from <= floor) return sv_pickle_wrong(machine, "items without a container");
    sv_pickle_value *target = &machine->stack[from - 1];
    if (kind == SV_PICKLE_DICT) {
        if (count % 2) return sv_pickle_wrong(machine, "a dict is given a key without a value");
        for (size_t i = from; i < machine->depth; i += 2)
            if (!can_be_key(&machine->stack[i]))
                return sv_pickle_wrong(machine, "%s as the key of a dict", sv_pickle_kind_name(&machine->stack[i]));
    }
    if (target->kind != kind && target->kind != SV_PICKLE_OPAQUE)
        return sv_pickle_wrong(machine, "items are put into %s", sv_pickle_kind_name(target));
    sv_status status = target->kind != SV_PICKLE_OPAQUE ? append(machine, target->list, machine->stack + from, count) : SV_OK;
    machine->depth = from;
    return status;
}

/* LIST and DICT: a container from the mark on. */
static sv_status op_from_mark(sv_pickle_machine *machine, const opcode *op)
{
    sv_pickle_value out = { 0 };
    size_t from = 0;
    sv_status status = pop_mark(machine, &from);
    if (!status) status = sv_pickle_list_new(machine, (sv_pickle_kind)op->number, &out);
    if (!status) status = push(machine, out);
    if (status) return status;
    memmove(machine->stack + from + 1, machine->stack + from, (machine->depth - 1 - from) * sizeof out);
    machine->stack[from] = out;
    return put_into(machine, from + 1, (sv_pickle_kind)op->number);
}

static sv_status op_put_one(sv_pickle_machine *machine, const opcode *op)
{
    size_t count = op->number == SV_PICKLE_DICT ? 2 : 1;
    if (machine->depth - floor_of(machine) < count + 1) return sv_pickle_wrong(machine, "items without a container");
    return put_into(machine, machine->depth - count, (sv_pickle_kind)op->number);
}

static sv_status op_put_many(sv_pickle_machine *machine, const opcode *op)
{
    size_t from = 0;
    sv_status status = pop_mark(machine, &from);
    return status ? status : put_into(machine, from, (sv_pickle_kind)op->number);
}

static sv_status op_frozenset(sv_pickle_machine *machine, const opcode *op)
{
    sv_status status = op_pop_mark(machine, op);
    return status ? status : push_opaque(machine, "a set");
}

/* ---- opcodes: the memo ------------------------------------------------------------------------------------------- */

static sv_status index_read(sv_pickle_machine *machine, const opcode *op, uint64_t *out)
{
    char line[SV_PICKLE_LINE];
    int64_t value;
    if (op->number) return sv_pickle_number_read(machine, (size_t)op->number, out);
    sv_status status = sv_pickle_line_read(machine, line);
    if (status) return status;
    if (!sv_parse_int(line, &value) || value < 0) return sv_pickle_wrong(machine, "expected the number of a memo entry");
    *out = (uint64_t)value;
    return SV_OK;
}

static sv_status memo_put(sv_pickle_machine *machine, uint64_t index)
{
    if (machine->depth <= floor_of(machine)) return sv_pickle_wrong(machine, "a memo entry is made from an empty stack");
    /* Each entry costs a byte at least, so a number beyond the bytes read skips some: no pickler does. */
    if (index > sv_pickle_at(machine->input))
        return sv_pickle_wrong(machine, "memo entry %llu, more than there are bytes before it", (unsigned long long)index);
    sv_status status = sv_pickle_grow(machine, &machine->memo, &machine->memo_capacity, index + 1, sizeof *machine->memo);
    if (status) return status;
    if (index >= machine->memo_count)
        memset(machine->memo + machine->memo_count, 0, (index + 1 - machine->memo_count) * sizeof *machine->memo);
    if (index >= machine->memo_count) machine->memo_count = index + 1;
    machine->memo[index] = machine->stack[machine->depth - 1];
    return SV_OK;
}

static sv_status op_memo_put(sv_pickle_machine *machine, const opcode *op)
{
    uint64_t index = 0;
    sv_status status = index_read(machine, op, &index);
    return status ? status : memo_put(machine, index);
}

static sv_status op_memoize(sv_pickle_machine *machine, const opcode *op)
{
    (void)op;
    return memo_put(machine, machine->memo_count);
}

static sv_status op_memo_get(sv_pickle_machine *machine, const opcode *op)
{
    uint64_t index = 0;
    sv_status status = index_read(machine, op, &index);
    if (status) return status;
    if (index >= machine->memo_count || machine->memo[index].kind == SV_PICKLE_ABSENT)
        return sv_pickle_wrong(machine, "memo entry %llu was never written", (unsigned long long)index);
    return push(machine, machine->memo[index]);
}

/* ---- opcodes: names and what would be calls ---------------------------------------------------------------------- */

static sv_status name_make(sv_pickle_machine *machine, const char *module, const char *name, sv_pickle_value *out)
{
    size_t module_bytes = strlen(module) + 1, name_bytes = strlen(name) + 1;
    char *copy;
    *out = (sv_pickle_value){ .kind = SV_PICKLE_NAME };
    for (const char *c = module; *c; c++)
        if ((unsigned char)*c <= ' ') return sv_pickle_wrong(machine, "a module name with a blank in it");
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < ' ') return sv_pickle_wrong(machine, "a name with a control character in it");
    sv_status status = sv_pickle_room(machine, &out->name, sizeof *out->name + module_bytes + name_bytes);
    if (status) return status;
    copy = (char *)(out->name + 1);
    memcpy(copy, module, module_bytes);
    memcpy(copy + module_bytes, name, name_bytes);
    *out->name = (sv_pickle_name){ sv_pickle_call_find(module, name), copy, copy + module_bytes };
    return SV_OK;
}

static sv_status name_lines(sv_pickle_machine *machine, sv_pickle_value *out)
{
    char module[SV_PICKLE_LINE], name[SV_PICKLE_LINE];
    sv_status status = sv_pickle_line_read(machine, module);
    if (!status) status = sv_pickle_line_read(machine, name);
    return status ? status : name_make(machine, module, name, out);
}

static sv_status op_global(sv_pickle_machine *machine, const opcode *op)
{
    sv_pickle_value out = { 0 };
    (void)op;
    sv_status status = name_lines(machine, &out);
    return status ? status : push(machine, out);
}

static sv_status op_stack_global(sv_pickle_machine *machine, const opcode *op)
{
    sv_pickle_value module = { 0 }, name = { 0 }, out = { 0 };
    (void)op;
    sv_status status = pop(machine, &name);
    if (!status) status = pop(machine, &module);
    if (status) return status;
    if (module.kind != SV_PICKLE_TEXT || name.kind != SV_PICKLE_TEXT) return sv_pickle_wrong(machine, "expected module and name as text");
    if (module.text->length >= SV_PICKLE_LINE || name.text->length >= SV_PICKLE_LINE)
        return sv_pickle_wrong(machine, "a name of more than %d bytes", SV_PICKLE_LINE);
    status = name_make(machine, module.text->bytes, name.text->bytes, &out);
    return status ? status : push(machine, out);
}

static sv_status op_reduce(sv_pickle_machine *machine, const opcode *op)
{
    sv_pickle_value callee = { 0 }, arguments = { 0 }, out = { 0 };
    (void)op;
    sv_status status = pop(machine, &arguments);
    if (!status) status = pop(machine, &callee);
    if (!status) status = sv_pickle_reduce(machine, &callee, &arguments, &out);
    return status ? status : push(machine, out);
}

/* INST and OBJ: a class and its arguments from the mark on. Python would call the class, so the allow list decides. */
static sv_status op_instance(sv_pickle_machine *machine, const opcode *op)
{
    sv_pickle_value callee = { 0 }, arguments = { 0 }, out = { 0 };
    size_t from = 0;
    sv_status status = op->number == 'i' ? name_lines(machine, &callee) : SV_OK;
    if (!status) status = pop_mark(machine, &from);
    if (status) return status;
    if (op->number == 'o') {
        if (machine->depth == from) return sv_pickle_wrong(machine, "an object without a class");
        callee = machine->stack[from];
        status = tuple_make(machine, from + 1, &arguments);
        machine->depth = from;
    } else
        status = tuple_make(machine, from, &arguments);
    if (!status) status = sv_pickle_reduce(machine, &callee, &arguments, &out);
    return status ? status : push(machine, out);
}

/* NEWOBJ and NEWOBJ_EX: an object of a class. Without arguments it is a stand-in; with any, only listed names may stand. */
static sv_status op_newobj(sv_pickle_machine *machine, const opcode *op)
{
    sv_pickle_value class = { 0 }, arguments = { 0 }, keywords = { 0 }, out = { 0 };
    sv_status status = op->number ? pop(machine, &keywords) : SV_OK;
    if (!status) status = pop(machine, &arguments);
    if (!status) status = pop(machine, &class);
    if (status) return status;
    if (class.kind != SV_PICKLE_NAME) return sv_pickle_wrong(machine, "an object of %s instead of a class", sv_pickle_kind_name(&class));
    if (op->number && (keywords.kind != SV_PICKLE_DICT || keywords.list->count))
        return sv_pickle_wrong(machine, "an object made with named arguments");
    if (arguments.kind != SV_PICKLE_TUPLE) return sv_pickle_wrong(machine, "arguments that are %s", sv_pickle_kind_name(&arguments));
    if (!arguments.list && !class.name->call) return push_opaque(machine, "an object");
    if (arguments.list || op->number)
        return sv_pickle_wrong(machine, "an object of %s.%s made with arguments; only plain checkpoints are read", class.name->module,
                               class.name->name);
    status = sv_pickle_reduce(machine, &class, &arguments, &out);
    return status ? status : push(machine, out);
}

/* BUILD: state for an object. A dict's attributes (_metadata) and a stand-in's state are of no interest; nothing is applied. */
static sv_status op_build(sv_pickle_machine *machine, const opcode *op)
{
    sv_pickle_value state = { 0 };
    (void)op;
    sv_status status = pop(machine, &state);
    if (status) return status;
    if (machine->depth <= floor_of(machine)) return sv_pickle_wrong(machine, "state without an object");
    const sv_pickle_value *target = &machine->stack[machine->depth - 1];
    if (target->kind == SV_PICKLE_DICT || target->kind == SV_PICKLE_OPAQUE) return SV_OK;
    return sv_pickle_wrong(machine, "state is given to %s", sv_pickle_kind_name(target));
}

static sv_status op_persistent(sv_pickle_machine *machine, const opcode *op)
{
    sv_pickle_value id = { 0 }, out = { 0 };
    (void)op;
    sv_status status = pop(machine, &id);
    if (!status) status = sv_pickle_persistent(machine, &id, &out);
    return status ? status : push(machine, out);
}

static sv_status op_refused(sv_pickle_machine *machine, const opcode *op)
{
    return sv_pickle_wrong(machine, "opcode %s, which no PyTorch checkpoint has", op->name);
}

/* ---- opcodes: the frame ------------------------------------------------------------------------------------------ */

static sv_status op_proto(sv_pickle_machine *machine, const opcode *op)
{
    uint64_t protocol = 0;
    (void)op;
    sv_status status = sv_pickle_number_read(machine, 1, &protocol);
    if (status || protocol <= PROTOCOL_MOST) return status;
    return sv_pickle_wrong(machine, "pickle protocol %llu; 0 to %d are known", (unsigned long long)protocol, PROTOCOL_MOST);
}

static sv_status op_frame(sv_pickle_machine *machine, const opcode *op)
{
    uint64_t bytes = 0;
    (void)op;
    sv_status status = sv_pickle_number_read(machine, 8, &bytes);
    return status ? status : sv_pickle_bytes_check(machine, bytes);
}

static sv_status op_stop(sv_pickle_machine *machine, const opcode *op)
{
    (void)op;
    machine->stopped = true;
    return pop(machine, &machine->pickle->top);
}

/* clang-format off */
static const opcode opcodes[256] = {
    ['('] = { "MARK", op_mark, 0 },             [')'] = { "EMPTY_TUPLE", op_empty, SV_PICKLE_TUPLE },
    ['.'] = { "STOP", op_stop, 0 },             ['0'] = { "POP", op_pop, 0 },
    ['1'] = { "POP_MARK", op_pop_mark, 0 },     ['2'] = { "DUP", op_dup, 0 },
    ['B'] = { "BINBYTES", op_bytes, 4 },        ['C'] = { "SHORT_BINBYTES", op_bytes, 1 },
    ['F'] = { "FLOAT", op_real, 0 },            ['G'] = { "BINFLOAT", op_real, 8 },
    ['I'] = { "INT", op_int_line, 'I' },        ['J'] = { "BININT", op_binint, 4 },
    ['K'] = { "BININT1", op_binint, 1 },        ['L'] = { "LONG", op_int_line, 'L' },
    ['M'] = { "BININT2", op_binint, 2 },        ['N'] = { "NONE", op_none, 0 },
    ['P'] = { "PERSID", op_refused, 0 },        ['Q'] = { "BINPERSID", op_persistent, 0 },
    ['R'] = { "REDUCE", op_reduce, 0 },         ['S'] = { "STRING", op_text_line, 'S' },
    ['T'] = { "BINSTRING", op_string, 4 },      ['U'] = { "SHORT_BINSTRING", op_string, 1 },
    ['V'] = { "UNICODE", op_text_line, 'V' },   ['X'] = { "BINUNICODE", op_text, 4 },
    [']'] = { "EMPTY_LIST", op_empty, SV_PICKLE_LIST }, ['a'] = { "APPEND", op_put_one, SV_PICKLE_LIST },
    ['b'] = { "BUILD", op_build, 0 },           ['c'] = { "GLOBAL", op_global, 0 },
    ['d'] = { "DICT", op_from_mark, SV_PICKLE_DICT }, ['e'] = { "APPENDS", op_put_many, SV_PICKLE_LIST },
    ['g'] = { "GET", op_memo_get, 0 },          ['h'] = { "BINGET", op_memo_get, 1 },
    ['i'] = { "INST", op_instance, 'i' },       ['j'] = { "LONG_BINGET", op_memo_get, 4 },
    ['l'] = { "LIST", op_from_mark, SV_PICKLE_LIST }, ['o'] = { "OBJ", op_instance, 'o' },
    ['p'] = { "PUT", op_memo_put, 0 },          ['q'] = { "BINPUT", op_memo_put, 1 },
    ['r'] = { "LONG_BINPUT", op_memo_put, 4 },  ['s'] = { "SETITEM", op_put_one, SV_PICKLE_DICT },
    ['t'] = { "TUPLE", op_tuple, -1 },          ['u'] = { "SETITEMS", op_put_many, SV_PICKLE_DICT },
    ['}'] = { "EMPTY_DICT", op_empty, SV_PICKLE_DICT },
    [0x80] = { "PROTO", op_proto, 0 },          [0x81] = { "NEWOBJ", op_newobj, 0 },
    [0x82] = { "EXT1", op_refused, 0 },         [0x83] = { "EXT2", op_refused, 0 },
    [0x84] = { "EXT4", op_refused, 0 },         [0x85] = { "TUPLE1", op_tuple, 1 },
    [0x86] = { "TUPLE2", op_tuple, 2 },         [0x87] = { "TUPLE3", op_tuple, 3 },
    [0x88] = { "NEWTRUE", op_bool, 1 },         [0x89] = { "NEWFALSE", op_bool, 0 },
    [0x8A] = { "LONG1", op_long, 1 },           [0x8B] = { "LONG4", op_long, 4 },
    [0x8C] = { "SHORT_BINUNICODE", op_text, 1 }, [0x8D] = { "BINUNICODE8", op_text, 8 },
    [0x8E] = { "BINBYTES8", op_bytes, 8 },      [0x8F] = { "EMPTY_SET", op_empty_set, 0 },
    [0x90] = { "ADDITEMS", op_put_many, SV_PICKLE_OPAQUE }, [0x91] = { "FROZENSET", op_frozenset, 0 },
    [0x92] = { "NEWOBJ_EX", op_newobj, 1 },     [0x93] = { "STACK_GLOBAL", op_stack_global, 0 },
    [0x94] = { "MEMOIZE", op_memoize, 0 },      [0x95] = { "FRAME", op_frame, 0 },
    [0x96] = { "BYTEARRAY8", op_bytes, 8 },     [0x97] = { "NEXT_BUFFER", op_refused, 0 },
    [0x98] = { "READONLY_BUFFER", op_refused, 0 },
};
/* clang-format on */

static sv_status step(sv_pickle_machine *machine)
{
    unsigned char code;
    machine->opcode_at = sv_pickle_at(machine->input);
    if (machine->opcode_at == machine->input->end) return sv_pickle_wrong(machine, "the pickle does not end; is the file cut off?");
    sv_status status = sv_pickle_bytes_read(machine, &code, 1);
    if (status) return status;
    if (!opcodes[code].run) return sv_pickle_wrong(machine, "0x%02x is no opcode of a pickle", code);
    return opcodes[code].run(machine, &opcodes[code]);
}

sv_status sv_pickle_run(sv_pickle *pickle, sv_pickle_input *input, sv_weights *weights, const char *what, sv_error *err)
{
    sv_pickle_machine machine = { .pickle = pickle, .input = input, .weights = weights, .what = what, .err = err };
    sv_status status = SV_OK;
    *pickle = (sv_pickle){ 0 };
    while (!status && !machine.stopped) status = step(&machine);
    sv_free(machine.memo);
    sv_free(machine.marks);
    sv_free(machine.stack);
    return status;
}

/* ---- looking at the result --------------------------------------------------------------------------------------- */

const char *sv_pickle_kind_name(const sv_pickle_value *value)
{
    static const char *const names[] = {
        "nothing", "None",   "a truth value",       "a number",  "a number", "a text", "a number", "a tuple",
        "a list",  "a dict", "a class or function", "a storage", "a tensor"
    };
    return value->kind == SV_PICKLE_OPAQUE ? value->word : names[value->kind];
}

const sv_pickle_value *sv_pickle_get(const sv_pickle_value *dict, const char *key)
{
    for (size_t i = dict->list->count; i >= 2; i -= 2) {
        const sv_pickle_value *own = &dict->list->items[i - 2];
        if (own->kind == SV_PICKLE_TEXT && strcmp(own->text->bytes, key) == 0) return own + 1;
    }
    return NULL;
}
