/* opdocs: prints docs/ops.md, the table of all ops, from their descriptors. `make docs` writes it. */
#include <stdio.h>
#include <string.h>

#include "autograd/op.h"

/* Inputs stand in a formula before "->", parted by commas outside brackets: "x [R,K], weight [N,K] -> ...". Copies the name of
 * input `index`, the words before its bracket, into room; empty where the formula names fewer. */
static const char *input_name(char room[64], const char *formula, uint32_t index)
{
    const char *end = strstr(formula, "->"), *at = formula;
    size_t length = 0;
    int depth = 0;
    for (; end && at < end && index > 0; at++) {
        depth += (*at == '[') - (*at == ']');
        if (*at == ',' && depth == 0) index--;
    }
    while (end && at < end && *at == ' ') at++;
    while (end && at + length < end && !strchr("[,-", at[length]) && length < 63) length++;
    while (length > 0 && at[length - 1] == ' ') length--;
    snprintf(room, 64, "%.*s", index ? 0 : (int)length, at);
    return room;
}

static const char *sees(sv_locality locality)
{
    switch (locality) {
    case SV_ROW_LOCAL:
        return "its row";
    case SV_IMAGE_ROWS:
        return "any rows of the image";
    case SV_IMAGE_WHOLE:
        return "the whole image";
    case SV_BATCH_OP:
        return "the batch";
    }
    return "";
}

static void print_part(const char **between, const char *part)
{
    printf("%s%s", *between, part);
    *between = ", ";
}

/* What must stay from forward to backward. */
static void print_kept(const sv_op *op)
{
    const char *between = "";
    char room[64];
    if (!op->backward) {
        printf("no gradient");
        return;
    }
    for (uint32_t i = 0; i < op->inputs_most; i++)
        if ((op->backward_inputs >> i & 1) && *input_name(room, op->formula, i)) print_part(&between, room);
    if (op->backward_outputs) print_part(&between, "its output");
    if (op->saved) print_part(&between, "numbers of its own");
    if (!*between) printf("nothing");
    if (op->rebuild) printf("; its output is made again");
}

/* A cell: bars would end it. */
static void print_code(const char *text)
{
    putchar('`');
    for (; *text; text++) printf(*text == '|' ? "\\|" : "%c", *text);
    putchar('`');
}

int main(void)
{
    printf(
        "# Ops\n\n"
        "What a model is recorded with (`autograd/ops.h`). This page is printed from the descriptors in `autograd/op_*.c` by `make docs`; "
        "change those.\n\n"
        "Letters: R rows of an image, D width, H heads, d = D/H, K classes, N0 patches, B images. *Sees*: what of its inputs a row of the "
        "output\n"
        "is made from; ops that see the batch stand between segments, all others run image by image. *Keeps*: what stays in memory until\n"
        "backward. A fused op *equals* plain ones, and the checks hold one against the other.\n\n"
        "| op | computes | sees | keeps for backward | source |\n| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < sv_op_count; i++) {
        const sv_op *op = sv_ops[i];
        printf("| %s | ", op->name);
        print_code(op->formula);
        if (op->equals) printf("; equals %s", op->equals);
        printf(" | %s | ", sees(op->locality));
        print_kept(op);
        printf(" | %s |\n", op->source);
    }
    printf("\nEvery op is checked on samples chosen to hurt (one row, odd widths, everything dropped, ties, large numbers), its gradient "
           "against\n"
           "five-point differences to 1e-7 in double precision: `make f64`.\n");
    return ferror(stdout) || fflush(stdout) ? SV_FAULT : SV_OK;
}
