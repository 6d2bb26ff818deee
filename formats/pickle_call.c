/* The allow list: what a .pth may name, and what comes of it. Nothing is called: a tensor is noted with its view, checked
 * against its storage without overflow; what is harmless but of no use becomes an opaque stand-in. All else is refused. */
#include <string.h>

#include "formats/pickle.h"

typedef struct sv_pickle_call {
    const char *module, *name;
    sv_status (*build)(sv_pickle_machine *machine, const struct sv_pickle_call *call, const sv_pickle_value *items, size_t count,
                       sv_pickle_value *out);
    const char *word; /* of a stand-in */
} sv_pickle_call;

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

static bool is_size(const sv_pickle_value *value) { return value->kind == SV_PICKLE_INT && value->integer >= 0; }

static sv_status sizes_read(sv_pickle_machine *machine, const sv_pickle_value *value, const char *word, size_t out[SV_WEIGHTS_RANK],
                            size_t *rank)
{
    if (value->kind != SV_PICKLE_TUPLE)
        return sv_pickle_wrong(machine, "the %s of a tensor is %s, expected a tuple", word, sv_pickle_kind_name(value));
    size_t count = value->list ? value->list->count : 0;
    if (count > SV_WEIGHTS_RANK) return sv_pickle_wrong(machine, "a tensor of %zu dimensions; at most %d are read", count, SV_WEIGHTS_RANK);
    for (size_t i = 0; i < count; i++) {
        const sv_pickle_value *item = &value->list->items[i];
        if (!is_size(item))
            return sv_pickle_wrong(machine, "the %s of a tensor holds %s, expected whole numbers of 64 bits from 0 on", word,
                                   item->kind == SV_PICKLE_INT ? "a negative number" : sv_pickle_kind_name(item));
        out[i] = (size_t)item->integer;
    }
    *rank = count;
    return SV_OK;
}

/* Elements the storage holds in the tensor's own dtype. */
static size_t capacity_of(const sv_pickle_tensor *tensor)
{
    const sv_pickle_storage *storage = tensor->storage;
    return storage->dtype ? storage->view_count : storage->view_count / (tensor->dtype->bits / 8);
}

/* The last element a view reaches, (size - 1) x stride summed plus offset, must lie in the storage. */
static sv_status view_check(sv_pickle_machine *machine, sv_pickle_tensor *tensor)
{
    size_t last = tensor->offset, part;
    if (sv_shape_count(&tensor->count, tensor->shape, tensor->rank))
        return sv_pickle_wrong(machine, "a tensor with more elements than 64 bits count");
    if (tensor->count == 0) return SV_OK;
    for (size_t i = 0; i < tensor->rank; i++)
        if (sv_mul_size(&part, tensor->shape[i] - 1, tensor->strides[i]) || sv_add_size(&last, last, part))
            return sv_pickle_wrong(machine, "a tensor whose strides reach beyond 64 bits");
    if (last < capacity_of(tensor)) return SV_OK;
    return sv_pickle_wrong(machine, "a tensor reaches element %zu of storage '%.40s', which has %zu", last, tensor->storage->key,
                           capacity_of(tensor));
}

/* items: storage, offset, size, stride. */
static sv_status view_build(sv_pickle_machine *machine, const sv_pickle_value *items, const sv_number *dtype, sv_pickle_value *out)
{
    sv_pickle_tensor tensor = { 0 }, *kept;
    size_t rank = 0;
    if (items[0].kind != SV_PICKLE_STORAGE)
        return sv_pickle_wrong(machine, "a tensor made of %s, expected a storage", sv_pickle_kind_name(&items[0]));
    if (!is_size(&items[1])) return sv_pickle_wrong(machine, "the offset of a tensor is no whole number from 0 on");
    tensor.storage = items[0].storage;
    tensor.dtype = dtype ? dtype : tensor.storage->dtype;
    tensor.offset = (size_t)items[1].integer;
    if (!tensor.dtype || tensor.dtype->bits % 8) return sv_pickle_wrong(machine, "a tensor without a type of whole bytes");
    if (dtype && tensor.storage->dtype && tensor.storage->dtype != dtype)
        return sv_pickle_wrong(machine, "a tensor of %s on a storage of %s", dtype->name, tensor.storage->dtype->name);
    sv_status status = sizes_read(machine, &items[2], "size", tensor.shape, &tensor.rank);
    if (!status) status = sizes_read(machine, &items[3], "stride", tensor.strides, &rank);
    if (status) return status;
    if (rank != tensor.rank) return sv_pickle_wrong(machine, "a tensor of %zu sizes and %zu strides", tensor.rank, rank);
    status = view_check(machine, &tensor);
    if (!status) status = sv_pickle_room(machine, &kept, sizeof *kept);
    if (status) return status;
    *kept = tensor;
    *out = (sv_pickle_value){ .kind = SV_PICKLE_TENSOR, .tensor = kept };
    return SV_OK;
}

static sv_status count_wrong(sv_pickle_machine *machine, const sv_pickle_call *call, size_t count)
{
    return sv_pickle_wrong(machine, "%s with %zu arguments", call->name, count);
}

static bool is_hooks(const sv_pickle_value *value) { return value->kind == SV_PICKLE_DICT || value->kind == SV_PICKLE_NONE; }

/* storage, offset, size, stride (PyTorch before 0.4) */
static sv_status build_tensor(sv_pickle_machine *machine, const sv_pickle_call *call, const sv_pickle_value *items, size_t count,
                              sv_pickle_value *out)
{
    if (count != 4) return count_wrong(machine, call, count);
    return view_build(machine, items, NULL, out);
}

/* ... requires_grad, hooks[, metadata] */
static sv_status build_tensor_v2(sv_pickle_machine *machine, const sv_pickle_call *call, const sv_pickle_value *items, size_t count,
                                 sv_pickle_value *out)
{
    if (count != 6 && count != 7) return count_wrong(machine, call, count);
    if (items[4].kind != SV_PICKLE_BOOL || !is_hooks(&items[5]))
        return sv_pickle_wrong(machine, "%s with arguments of other types than expected", call->name);
    return view_build(machine, items, NULL, out);
}

/* ... requires_grad, hooks, dtype[, metadata]: over bytes without a type */
static sv_status build_tensor_v3(sv_pickle_machine *machine, const sv_pickle_call *call, const sv_pickle_value *items, size_t count,
                                 sv_pickle_value *out)
{
    if (count != 7 && count != 8) return count_wrong(machine, call, count);
    const sv_pickle_name *name = items[6].kind == SV_PICKLE_NAME ? items[6].name : NULL;
    const sv_number *dtype = name && strcmp(name->module, "torch") == 0 ? sv_number_find(SV_BY_NAME, name->name) : NULL;
    if (!dtype || !is_hooks(&items[5])) return sv_pickle_wrong(machine, "%s with arguments of other types than expected", call->name);
    return view_build(machine, items, dtype, out);
}

/* data, requires_grad, hooks[, state] */
static sv_status build_parameter(sv_pickle_machine *machine, const sv_pickle_call *call, const sv_pickle_value *items, size_t count,
                                 sv_pickle_value *out)
{
    if (count != 3 && count != 4) return count_wrong(machine, call, count);
    if (items[0].kind != SV_PICKLE_TENSOR && items[0].kind != SV_PICKLE_OPAQUE)
        return sv_pickle_wrong(machine, "a parameter made of %s, expected a tensor", sv_pickle_kind_name(&items[0]));
    *out = items[0];
    return SV_OK;
}

/* function, class, arguments, state: a tensor with attributes, which are left out */
static sv_status build_from_type(sv_pickle_machine *machine, const sv_pickle_call *call, const sv_pickle_value *items, size_t count,
                                 sv_pickle_value *out)
{
    if (count != 4) return count_wrong(machine, call, count);
    const sv_pickle_call *inner = items[0].kind == SV_PICKLE_NAME ? items[0].name->call : NULL;
    if (!inner || inner->build == build_from_type || items[1].kind != SV_PICKLE_NAME)
        return sv_pickle_wrong(machine, "%s with arguments of other types than expected", call->name);
    return sv_pickle_reduce(machine, &items[0], &items[2], out);
}

/* ---- values beside tensors --------------------------------------------------------------------------------------- */

/* Nothing, or one list of pairs (Python 2). */
static sv_status build_dict(sv_pickle_machine *machine, const sv_pickle_call *call, const sv_pickle_value *items, size_t count,
                            sv_pickle_value *out)
{
    if (count > 0) {
        *out = (sv_pickle_value){ .kind = SV_PICKLE_OPAQUE, .word = call->word };
        if (items[0].kind == SV_PICKLE_LIST && items[0].list->count == 0) count = 0;
    }
    return count ? SV_OK : sv_pickle_list_new(machine, SV_PICKLE_DICT, out);
}

static sv_status build_size(sv_pickle_machine *machine, const sv_pickle_call *call, const sv_pickle_value *items, size_t count,
                            sv_pickle_value *out)
{
    if (count != 1 || items[0].kind != SV_PICKLE_TUPLE) return sv_pickle_wrong(machine, "%s of something else than a tuple", call->name);
    *out = items[0];
    return SV_OK;
}

static sv_status build_opaque(sv_pickle_machine *machine, const sv_pickle_call *call, const sv_pickle_value *items, size_t count,
                              sv_pickle_value *out)
{
    (void)machine;
    (void)items;
    (void)count;
    *out = (sv_pickle_value){ .kind = SV_PICKLE_OPAQUE, .word = call->word };
    return SV_OK;
}

/* clang-format off */
static const sv_pickle_call calls[] = {
    { "torch._utils", "_rebuild_tensor_v2", build_tensor_v2, NULL },
    { "torch._utils", "_rebuild_tensor", build_tensor, NULL },
    { "torch._utils", "_rebuild_tensor_v3", build_tensor_v3, NULL },
    { "torch._utils", "_rebuild_parameter", build_parameter, NULL },
    { "torch._utils", "_rebuild_parameter_with_state", build_parameter, NULL },
    { "torch._tensor", "_rebuild_from_type_v2", build_from_type, NULL },
    { "collections", "OrderedDict", build_dict, "a dict made of pairs" },
    { "collections", "defaultdict", build_opaque, "a dict with a default" },
    { "collections", "Counter", build_opaque, "a counter" },
    { "torch", "Size", build_size, NULL },
    { "torch", "device", build_opaque, "a device" },
    { "torch._utils", "_rebuild_sparse_tensor", build_opaque, "a sparse tensor" },
    { "torch._utils", "_rebuild_sparse_csr_tensor", build_opaque, "a sparse tensor" },
    { "torch._utils", "_rebuild_qtensor", build_opaque, "a quantized tensor" },
    { "torch._utils", "_rebuild_meta_tensor_no_storage", build_opaque, "a tensor without data" },
    { "torch.serialization", "_get_layout", build_opaque, "a layout" },
    { "__builtin__", "set", build_opaque, "a set" },
    { "builtins", "set", build_opaque, "a set" },
    { "__builtin__", "frozenset", build_opaque, "a set" },
    { "builtins", "frozenset", build_opaque, "a set" },
    { "__builtin__", "bytearray", build_opaque, "bytes" },
    { "builtins", "bytearray", build_opaque, "bytes" },
    { "__builtin__", "complex", build_opaque, "a complex number" },
    { "builtins", "complex", build_opaque, "a complex number" },
    { "__builtin__", "slice", build_opaque, "a slice" },
    { "builtins", "slice", build_opaque, "a slice" },
    { "__builtin__", "xrange", build_opaque, "a range" },
    { "builtins", "range", build_opaque, "a range" },
    { "_codecs", "encode", build_opaque, "bytes" },
    { "copy_reg", "_reconstructor", build_opaque, "an object" },
    { "copyreg", "_reconstructor", build_opaque, "an object" },
    { "numpy", "dtype", build_opaque, "a NumPy dtype" },
    { "numpy.core.multiarray", "scalar", build_opaque, "a NumPy number" },
    { "numpy._core.multiarray", "scalar", build_opaque, "a NumPy number" },
    { "numpy.core.multiarray", "_reconstruct", build_opaque, "a NumPy array" },
    { "numpy._core.multiarray", "_reconstruct", build_opaque, "a NumPy array" },
    { "datetime", "datetime", build_opaque, "a date" },
    { "datetime", "date", build_opaque, "a date" },
    { "datetime", "timedelta", build_opaque, "a duration" },
    { "pathlib", "PosixPath", build_opaque, "a path" },
    { "pathlib", "PurePosixPath", build_opaque, "a path" },
    { "pathlib", "WindowsPath", build_opaque, "a path" },
    { "pathlib", "PureWindowsPath", build_opaque, "a path" },
    { "pathlib._local", "PosixPath", build_opaque, "a path" },
    { "pathlib._local", "PurePosixPath", build_opaque, "a path" },
    { "pathlib._local", "WindowsPath", build_opaque, "a path" },
    { "pathlib._local", "PureWindowsPath", build_opaque, "a path" },
};
/* clang-format on */

const sv_pickle_call *sv_pickle_call_find(const char *module, const char *name)
{
    for (size_t i = 0; i < SV_COUNT(calls); i++)
        if (strcmp(calls[i].name, name) == 0 && strcmp(calls[i].module, module) == 0) return &calls[i];
    return NULL;
}

sv_status sv_pickle_reduce(sv_pickle_machine *machine, const sv_pickle_value *callee, const sv_pickle_value *arguments,
                           sv_pickle_value *out)
{
    char module[96], name[96];
    if (callee->kind != SV_PICKLE_NAME) return sv_pickle_wrong(machine, "a call of %s", sv_pickle_kind_name(callee));
    if (!callee->name->call)
        return sv_pickle_wrong(machine, "the file asks to call %s.%s; only plain checkpoints are read, and nothing is ever called",
                               sv_text_safe(module, sizeof module, callee->name->module),
                               sv_text_safe(name, sizeof name, callee->name->name));
    if (arguments->kind != SV_PICKLE_TUPLE) return sv_pickle_wrong(machine, "arguments that are %s", sv_pickle_kind_name(arguments));
    const sv_pickle_list *list = arguments->list;
    return callee->name->call->build(machine, callee->name->call, list ? list->items : NULL, list ? list->count : 0, out);
}

/* ---- storages ---------------------------------------------------------------------------------------------------- */

static sv_status storage_type(sv_pickle_machine *machine, const sv_pickle_value *value, const sv_number **out)
{
    char room[80];
    if (value->kind != SV_PICKLE_NAME) return sv_pickle_wrong(machine, "a storage of %s, expected a class", sv_pickle_kind_name(value));
    const sv_pickle_name *name = value->name;
    bool torch = strcmp(name->module, "torch") == 0;
    *out = torch ? sv_number_find(SV_BY_STORAGE, name->name) : NULL;
    if (*out || ((torch || strcmp(name->module, "torch.storage") == 0) && strcmp(name->name, "UntypedStorage") == 0)) return SV_OK;
    return sv_pickle_wrong(machine, "there is no storage class '%s'", sv_text_safe(room, sizeof room, name->name));
}

/* A storage that is a piece of another: (key, first, count). */
static sv_status storage_view(sv_pickle_machine *machine, const sv_pickle_value *value, sv_pickle_storage *storage)
{
    size_t end;
    if (value->kind == SV_PICKLE_NONE) return SV_OK;
    if (value->kind != SV_PICKLE_TUPLE || !value->list || value->list->count != 3 || !is_size(&value->list->items[1])
        || !is_size(&value->list->items[2]))
        return sv_pickle_wrong(machine, "a view of a storage must be a key and two whole numbers");
    storage->first = (size_t)value->list->items[1].integer;
    storage->view_count = (size_t)value->list->items[2].integer;
    if (sv_add_size(&end, storage->first, storage->view_count) || end > storage->count)
        return sv_pickle_wrong(machine, "a view of elements %zu to %zu of a storage of %zu", storage->first,
                               storage->first + storage->view_count, storage->count);
    return SV_OK;
}

sv_status sv_pickle_persistent(sv_pickle_machine *machine, const sv_pickle_value *id, sv_pickle_value *out)
{
    sv_pickle_storage storage = { 0 }, *kept;
    size_t bytes, count = id->kind == SV_PICKLE_TUPLE && id->list ? id->list->count : 0;
    const sv_pickle_value *items = count ? id->list->items : NULL;
    if ((count != 5 && count != 6) || items[0].kind != SV_PICKLE_TEXT || strcmp(items[0].text->bytes, "storage") != 0)
        return sv_pickle_wrong(machine, "a persistent id that is no storage: expected ('storage', class, key, device, count)");
    sv_status status = storage_type(machine, &items[1], &storage.dtype);
    if (status) return status;
    if (items[2].kind != SV_PICKLE_TEXT)
        return sv_pickle_wrong(machine, "the key of a storage is %s, expected a text", sv_pickle_kind_name(&items[2]));
    if (!is_size(&items[4])) return sv_pickle_wrong(machine, "the size of a storage is no whole number from 0 on");
    storage.key = items[2].text->bytes;
    storage.count = storage.view_count = (size_t)items[4].integer;
    if (sv_mul_size(&bytes, storage.count, storage.dtype ? storage.dtype->bits / 8 : 1))
        return sv_pickle_wrong(machine, "a storage of %zu elements", storage.count);
    if (count == 6) status = storage_view(machine, &items[5], &storage);
    if (!status) status = sv_pickle_room(machine, &kept, sizeof *kept);
    if (status) return status;
    storage.next = machine->pickle->storages;
    *kept = storage;
    machine->pickle->storages = kept;
    *out = (sv_pickle_value){ .kind = SV_PICKLE_STORAGE, .storage = kept };
    return SV_OK;
}
