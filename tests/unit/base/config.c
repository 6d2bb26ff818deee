/* base/config*.c: what a file may say, each mistake with its exact sentence, printing that reads back, no leak on any failure. */
#include "tests/unit/base/test_base.h"

#include "base/config.h"

#include <math.h>

static const sv_config_row train_rows[] = {
    { "train.batch", SV_CONFIG_INT, "128", 1, 65536, NULL, "pictures a step" },
    { "train.lr", SV_CONFIG_REAL, "5e-4", 0, 10, NULL, "learning rate" },
    { "train.epochs", SV_CONFIG_INT, "30", 1, INFINITY, NULL, "passes over the data" },
    { "train.ema", SV_CONFIG_BOOL, "no", 0, 0, NULL, "keep a running mean of the weights" },
    { "train.precision", SV_CONFIG_CHOICE, "fp32", 0, 0, "fp32|bf16", "of products" },
    { "train.offset", SV_CONFIG_INT, "0", 0, 0, NULL, "any whole number" },
    { "train.limit", SV_CONFIG_INT, "", 0, 9, NULL, "none by default" },
};
static const sv_config_row other_rows[] = {
    { "data.train", SV_CONFIG_TEXT, "", 0, 0, NULL, "folder of pictures" },
    { "pruning.at", SV_CONFIG_INTS, "3,6,9", 0, 64, NULL, "blocks with a selector" },
    { "pruning.keep", SV_CONFIG_REALS, "0.7,0.49,0.343", 0, 1, NULL, "keep ratios | one a selector" },
    { "pruning.bias", SV_CONFIG_REALS, "", 0, 0, NULL, "any numbers" },
    { "model.arch", SV_CONFIG_CHOICE, "deit_t", 0, 0, "deit_t|deit_s|deit_b", "the backbone" },
};
static const sv_config_group groups[] = { SV_CONFIG_GROUP(train_rows), SV_CONFIG_GROUP(other_rows) };

static sv_config *config;

static int set_up(void **state)
{
    sv_error err;
    if (make_folder(state) || chdir(test_folder)) return -1;
    return sv_config_create(&config, groups, SV_COUNT(groups), &err) ? -1 : 0;
}

static int tear_down(void **state)
{
    sv_config_destroy(config);
    return chdir("/") || remove_folder(state);
}

static void read_good(const char *text)
{
    sv_error err;
    write_text("deit.ini", text);
    assert_ok(sv_config_read(config, "deit.ini", &err), err);
}

static void defaults_are_there_before_any_file(void **state)
{
    (void)state;
    size_t count;
    assert_int_equal(sv_config_int(config, "train.batch"), 128);
    assert_true(sv_config_real(config, "train.lr") == 5e-4);
    assert_false(sv_config_bool(config, "train.ema"));
    assert_string_equal(sv_config_text(config, "data.train"), "");
    assert_string_equal(sv_config_text(config, "model.arch"), "deit_t");
    assert_int_equal(sv_config_choice(config, "model.arch"), 0);
    assert_int_equal(sv_config_ints(config, "pruning.at", &count)[2], 9);
    assert_int_equal(count, 3);
    assert_true(sv_config_reals(config, "pruning.keep", &count)[1] == 0.49);
    (void)sv_config_reals(config, "pruning.bias", &count);
    assert_int_equal(count, 0);
    assert_string_equal(sv_config_where(config, "train.batch"), "default");
    assert_false(sv_config_given(config, "train.batch"));
}

static void a_file_is_read_over_the_defaults(void **state)
{
    (void)state;
    size_t count;
    read_good("\xef\xbb\xbf# a comment\r\n; another\r\n\r\n[ train ] # here\r\n  batch=64\r\nlr = 1e-3   ; half\r\nema = on\r\nprecision = bf16\r\n"
              "[data]\ntrain = /pictures/my set#1 # not part\n[pruning]\nat = 1, 2 ,\t3\nkeep =\n[model]\narch = deit_b");
    assert_int_equal(sv_config_int(config, "train.batch"), 64);
    assert_true(sv_config_real(config, "train.lr") == 1e-3);
    assert_true(sv_config_bool(config, "train.ema"));
    assert_int_equal(sv_config_choice(config, "train.precision"), 1);
    assert_string_equal(sv_config_text(config, "data.train"), "/pictures/my set#1");
    const int64_t *at = sv_config_ints(config, "pruning.at", &count);
    assert_true(count == 3 && at[0] == 1 && at[1] == 2 && at[2] == 3);
    (void)sv_config_reals(config, "pruning.keep", &count);
    assert_int_equal(count, 0);
    assert_int_equal(sv_config_choice(config, "model.arch"), 2);
    assert_string_equal(sv_config_where(config, "train.batch"), "deit.ini:5");
    assert_true(sv_config_given(config, "train.batch") && !sv_config_given(config, "train.epochs"));
}

static void quotes_keep_what_plain_values_lose(void **state)
{
    (void)state;
    read_good("[data]\ntrain = \"  a # b; \\\"c\\\" \\\\ \\${HOME} \" ; comment\n");
    assert_string_equal(sv_config_text(config, "data.train"), "  a # b; \"c\" \\ ${HOME} ");
}

static void keys_may_carry_their_section_before_the_first_one(void **state)
{
    (void)state;
    read_good("train.batch = 3\n[train]\nlr = 1\n");
    assert_int_equal(sv_config_int(config, "train.batch"), 3);
}

static void booleans_have_eight_spellings(void **state)
{
    (void)state;
    static const char *const words[] = { "yes", "true", "on", "1", "no", "false", "off", "0" };
    for (size_t i = 0; i < SV_COUNT(words); i++) {
        sv_error err;
        assert_ok(sv_config_set(config, "train.ema", words[i], "test", &err), err);
        assert_int_equal(sv_config_bool(config, "train.ema"), i < 4);
    }
}

static void the_environment_is_put_into_values(void **state)
{
    (void)state;
    setenv("SIEVE_TEST_ROOT", "/pictures/image net", 1);
    setenv("SIEVE_TEST_NESTED", "${HOME}", 1);
    read_good("[data]\ntrain = ${SIEVE_TEST_ROOT}/train\n");
    assert_string_equal(sv_config_text(config, "data.train"), "/pictures/image net/train");
    read_good("[data]\ntrain = \"${SIEVE_TEST_ROOT}${SIEVE_TEST_NESTED}\"\n");
    assert_string_equal(sv_config_text(config, "data.train"), "/pictures/image net${HOME}");
    unsetenv("SIEVE_TEST_ROOT");
    sv_error err;
    assert_ok(sv_config_read(config, "deit.ini", &err), err);
    assert_int_equal(sv_config_complete(config, NULL, &err), SV_DATA);
    assert_string_equal(err.text, "deit.ini:2: ${SIEVE_TEST_ROOT} is not set; say `export SIEVE_TEST_ROOT=...` before the run, or write the value here");
    assert_ok(sv_config_complete(config, (const char *const[]){ "model.", "data.tr", NULL }, &err), err);
    assert_int_equal(sv_config_complete(config, (const char *const[]){ "model.", NULL }, &err), SV_DATA);
    assert_ok(sv_config_set(config, "data.train", "elsewhere", "command line", &err), err);
    assert_ok(sv_config_complete(config, NULL, &err), err);
    assert_string_equal(sv_config_text(config, "data.train"), "elsewhere");
}

static void an_included_file_stands_where_it_is_named(void **state)
{
    (void)state;
    sv_error err;
    assert_int_equal(mkdir("family", 0777), 0);
    write_text("family/base.ini", "include = more.ini\n[train]\nbatch = 7\nlr = 2\n");
    write_text("family/more.ini", "[train]\nepochs = 9\nbatch = 1\n");
    read_good("[train]\nlr = 1\ninclude = family/base.ini\nbatch = 5\n");
    assert_int_equal(sv_config_int(config, "train.batch"), 5);
    assert_true(sv_config_real(config, "train.lr") == 2);
    assert_int_equal(sv_config_int(config, "train.epochs"), 9);
    assert_string_equal(sv_config_where(config, "train.lr"), "family/base.ini:4");
    assert_string_equal(sv_config_where(config, "train.epochs"), "family/more.ini:2");
    write_text("self.ini", "include = self.ini\n");
    assert_int_equal(sv_config_read(config, "self.ini", &err), SV_USAGE);
    assert_string_equal(err.text, "self.ini:1: more than 8 files include each other; does a file include itself?");
}

typedef struct mistake { const char *text; sv_status code; const char *sentence; } mistake;
static const mistake mistakes[] = {
    { "[train]\nbacth = 5\n", SV_USAGE, "deit.ini:2: unknown key 'train.bacth'; did you mean 'train.batch'? (`config --help` lists all keys)" },
    { "[model]\nbatch = 5\n", SV_USAGE, "deit.ini:2: unknown key 'model.batch'; did you mean 'train.batch'? (`config --help` lists all keys)" },
    { "[train]\nwhatever = 5\n", SV_USAGE, "deit.ini:2: unknown key 'train.whatever' (`config --help` lists all keys)" },
    { "[train]\n\033]0;x = 5\n", SV_USAGE, "deit.ini:2: unknown key 'train.?]0;x' (`config --help` lists all keys)" },
    { "[train]\nbatch = 0\n", SV_USAGE, "deit.ini:2: train.batch = 0 is out of range; expected a whole number from 1 to 65536" },
    { "[train]\nbatch = -3\n", SV_USAGE, "deit.ini:2: train.batch = -3 is out of range; expected a whole number from 1 to 65536" },
    { "[train]\nbatch = 65537\n", SV_USAGE, "deit.ini:2: train.batch = 65537 is out of range; expected a whole number from 1 to 65536" },
    { "[train]\nbatch = 12.5\n", SV_USAGE, "deit.ini:2: train.batch = 12.5 is not a whole number; expected a whole number from 1 to 65536" },
    { "[train]\nbatch = many\n", SV_USAGE, "deit.ini:2: train.batch = many is not a whole number; expected a whole number from 1 to 65536" },
    { "[train]\nbatch = 99999999999999999999\n", SV_USAGE,
      "deit.ini:2: train.batch = 99999999999999999999 is not a whole number; expected a whole number from 1 to 65536" },
    { "[train]\nbatch =\n", SV_USAGE, "deit.ini:2: train.batch = (nothing) is not a whole number; expected a whole number from 1 to 65536" },
    { "[train]\nepochs = 0\n", SV_USAGE, "deit.ini:2: train.epochs = 0 is out of range; expected a whole number of at least 1" },
    { "[train]\noffset = x\n", SV_USAGE, "deit.ini:2: train.offset = x is not a whole number; expected a whole number" },
    { "[train]\nlr = fast\n", SV_USAGE, "deit.ini:2: train.lr = fast is not a number; expected a number from 0 to 10" },
    { "[train]\nlr = nan\n", SV_USAGE, "deit.ini:2: train.lr = nan is not a number; expected a number from 0 to 10" },
    { "[train]\nlr = 1e999\n", SV_USAGE, "deit.ini:2: train.lr = 1e999 is not a number; expected a number from 0 to 10" },
    { "[train]\nlr = 11\n", SV_USAGE, "deit.ini:2: train.lr = 11 is out of range; expected a number from 0 to 10" },
    { "[train]\nlr = 0,1\n", SV_USAGE, "deit.ini:2: train.lr = 0,1 is not a number; expected a number from 0 to 10" },
    { "[train]\nema = maybe\n", SV_USAGE, "deit.ini:2: train.ema = maybe is neither yes nor no; expected yes or no" },
    { "[train]\nema =\n", SV_USAGE, "deit.ini:2: train.ema = (nothing) is neither yes nor no; expected yes or no" },
    { "[model]\narch = diet_s\n", SV_USAGE,
      "deit.ini:2: model.arch = diet_s is not one of its choices; expected deit_t, deit_s or deit_b; did you mean 'deit_s'?" },
    { "[model]\narch = resnet50\n", SV_USAGE, "deit.ini:2: model.arch = resnet50 is not one of its choices; expected deit_t, deit_s or deit_b" },
    { "[train]\nprecision =\n", SV_USAGE, "deit.ini:2: train.precision = (nothing) is not one of its choices; expected fp32 or bf16" },
    { "[pruning]\nat = 3,,9\n", SV_USAGE, "deit.ini:2: pruning.at = 3,,9 is not a whole number; expected whole numbers parted by commas, each from 0 to 64" },
    { "[pruning]\nat = 3,6,\n", SV_USAGE, "deit.ini:2: pruning.at = 3,6, is not a whole number; expected whole numbers parted by commas, each from 0 to 64" },
    { "[pruning]\nat = 3,99\n", SV_USAGE, "deit.ini:2: pruning.at = 3,99 is out of range; expected whole numbers parted by commas, each from 0 to 64" },
    { "[pruning]\nkeep = 0.7 0.5\n", SV_USAGE, "deit.ini:2: pruning.keep = 0.7 0.5 is not a number; expected numbers parted by commas, each from 0 to 1" },
    { "[pruning]\nkeep = 70%\n", SV_USAGE, "deit.ini:2: pruning.keep = 70% is not a number; expected numbers parted by commas, each from 0 to 1" },
    { "[pruning]\nbias = a\n", SV_USAGE, "deit.ini:2: pruning.bias = a is not a number; expected numbers parted by commas" },
    { "[trian]\nbatch = 5\n", SV_USAGE, "deit.ini:1: unknown section [trian]; did you mean [train]?" },
    { "[gpu]\n", SV_USAGE, "deit.ini:1: unknown section [gpu]" },
    { "[]\n", SV_USAGE, "deit.ini:1: unknown section []" },
    { "\n\n[train\nbatch = 5\n", SV_USAGE, "deit.ini:3: '[train' is no section; expected [name]" },
    { "[train] batch = 5\n", SV_USAGE, "deit.ini:1: '[train] batch = 5' is no section; expected [name]" },
    { "[train]\nbatch 5\n", SV_USAGE, "deit.ini:2: 'batch 5' is no setting; expected key = value" },
    { "[train]\n= 5\n", SV_USAGE, "deit.ini:2: there is no key before '='; expected key = value" },
    { "batch = 5\n", SV_USAGE, "deit.ini:1: 'batch' stands before the first [section]" },
    { "[train]\nbatch = 5\nlr = 1\nbatch = 6\n", SV_USAGE, "deit.ini:4: 'train.batch' stands twice in this file, first on line 2; keep one of them" },
    { "train.batch = 5\n[train]\nbatch = 5\n", SV_USAGE, "deit.ini:3: 'train.batch' stands twice in this file, first on line 1; keep one of them" },
    { "[data]\ntrain = \"abc\n", SV_USAGE, "deit.ini:2: the value has no closing quote" },
    { "[data]\ntrain = \"abc\" def\n", SV_USAGE, "deit.ini:2: there is text behind the closing quote" },
    { "[data]\ntrain = a\001b\n", SV_USAGE, "deit.ini:2: data.train = a?b holds a control character; expected text" },
    { "[data]\ntrain = ${SIEVE_NOT_SET}/x\n", SV_DATA,
      "deit.ini:2: ${SIEVE_NOT_SET} is not set; say `export SIEVE_NOT_SET=...` before the run, or write the value here" },
    { "[data]\ntrain = ${SIEVE\n", SV_USAGE, "deit.ini:2: '${' has no name and '}' behind it; expected ${NAME}, or \"\\$\" in quotes for a dollar" },
    { "[data]\ntrain = ${}\n", SV_USAGE, "deit.ini:2: '${' has no name and '}' behind it; expected ${NAME}, or \"\\$\" in quotes for a dollar" },
    { "include =\n", SV_USAGE, "deit.ini:1: include names no file" },
    { "\ninclude = absent.ini\n", SV_USAGE, "deit.ini:2: include: absent.ini: cannot be opened: No such file or directory" },
    { "include = .\n", SV_USAGE, "deit.ini:1: include: .: is a folder; expected a file" },
};

static void each_mistake_has_its_sentence(void **state)
{
    (void)state;
    for (size_t i = 0; i < SV_COUNT(mistakes); i++) {
        sv_error err = { 0 };
        write_text("deit.ini", mistakes[i].text);
        sv_status status = sv_config_read(config, "deit.ini", &err);
        if (!status) status = sv_config_complete(config, NULL, &err);
        assert_int_equal(status, mistakes[i].code);
        assert_string_equal(err.text, mistakes[i].sentence);
        assert_int_equal(err.code, mistakes[i].code);
    }
}

static void a_mistake_leaves_the_value_as_it_was(void **state)
{
    (void)state;
    sv_error err;
    assert_ok(sv_config_set(config, "train.batch", "5", "here", &err), err);
    assert_int_equal(sv_config_set(config, "train.batch", "0", "there", &err), SV_USAGE);
    assert_int_equal(sv_config_int(config, "train.batch"), 5);
    assert_string_equal(sv_config_where(config, "train.batch"), "here");
}

static void files_that_cannot_be_are_named(void **state)
{
    (void)state;
    sv_error err;
    FILE *file = fopen("zero.ini", "w");
    assert_non_null(file);
    fwrite("[train]\n\0batch = 5", 1, 18, file);
    fclose(file);
    assert_int_equal(sv_config_read(config, "zero.ini", &err), SV_USAGE);
    assert_string_equal(err.text, "zero.ini: holds a zero byte; expected a text file");
    assert_int_equal(sv_config_read(config, "./absent.ini", &err), SV_USAGE);
    assert_string_equal(err.text, "./absent.ini: cannot be opened: No such file or directory");
    assert_int_equal(sv_config_read(config, "absent.ini", &err), SV_USAGE);
    assert_non_null(strstr(err.text, "absent.ini: there is no such config here, in /"));
    assert_non_null(strstr(err.text, "/../share/sieve/configs; expected the path of an INI file"));
    file = fopen("large.ini", "w");
    assert_non_null(file);
    for (int i = 0; i < (1 << 20) + 1; i++) fputc('\n', file);
    fclose(file);
    assert_int_equal(sv_config_read(config, "large.ini", &err), SV_USAGE);
    assert_string_equal(err.text, "large.ini: has 1048577 bytes; at most 1048576 were expected");
}

static void what_is_printed_reads_back_the_same(void **state)
{
    (void)state;
    static const char *const texts[] = { "plain", "", " a", "b ", "a#b", "a ; b", "\"quoted\"", "${HOME}", "$", "a\\b", "\\\"", "\\$", "gr\xc3\xbc\xc3\x9f", "a=b", "[x]" };
    for (size_t i = 0; i < SV_COUNT(texts); i++) {
        sv_error err;
        sv_text first = { 0 }, second = { 0 };
        assert_ok(sv_config_set(config, "data.train", texts[i], "test", &err), err);
        assert_ok(sv_config_set(config, "pruning.at", "1,2", "test", &err), err);
        assert_ok(sv_config_print(config, &first, &err), err);
        assert_ok(sv_config_set(config, "data.train", "other", "test", &err), err);
        read_good(first.data);
        assert_string_equal(sv_config_text(config, "data.train"), texts[i]);
        assert_ok(sv_config_print(config, &second, &err), err);
        assert_string_equal(first.data, second.data);
        sv_text_clear(&first);
        sv_text_clear(&second);
    }
}

static void the_printed_form_is_plain_ini(void **state)
{
    (void)state;
    sv_error err;
    sv_text text = { 0 };
    assert_ok(sv_config_print(config, &text, &err), err);
    assert_string_equal(text.data, "[train]\nbatch = 128\nlr = 5e-4\nepochs = 30\nema = no\nprecision = fp32\noffset = 0\nlimit = \n\n[data]\ntrain = \n\n"
                                   "[pruning]\nat = 3,6,9\nkeep = 0.7,0.49,0.343\nbias = \n\n[model]\narch = deit_t\n");
    sv_text_clear(&text);
}

static void help_and_reference_walk_the_same_rows(void **state)
{
    (void)state;
    sv_error err;
    sv_text help = { 0 }, reference = { 0 };
    sv_config_print_help(groups, SV_COUNT(groups), &help);
    sv_config_print_markdown(groups, SV_COUNT(groups), &reference);
    assert_ok(sv_text_check(&help, &err), err);
    assert_ok(sv_text_check(&reference, &err), err);
    assert_non_null(strstr(help.data, "[train]\n  --train.batch=128\n      pictures a step; a whole number from 1 to 65536\n"));
    assert_non_null(strstr(reference.data, "## [pruning]\n\n| key | value | default | meaning |\n| --- | --- | --- | --- |\n| `pruning.at` | "));
    assert_non_null(strstr(reference.data, "| `pruning.keep` | numbers parted by commas, each from 0 to 1 | `0.7,0.49,0.343` | keep ratios \\| one a selector |\n"));
    for (size_t g = 0; g < SV_COUNT(groups); g++)
        for (size_t i = 0; i < groups[g].count; i++) {
            assert_non_null(strstr(help.data, groups[g].rows[i].name));
            assert_non_null(strstr(reference.data, groups[g].rows[i].name));
        }
    sv_text_clear(&help);
    sv_text_clear(&reference);
}

static void the_command_line_overrides_in_two_forms(void **state)
{
    (void)state;
    char *arguments[] = { "train", "--train.batch=9", "--train.lr", "0.5", "--config", "--train.offset", "-3", "name.with.dots", "--data.train=" };
    int count = (int)SV_COUNT(arguments), used;
    static const int expected[] = { 0, 1, 2, 0, 0, 2, 0, 0, 1 };
    sv_error err;
    for (int at = 0; at < count; at++) {
        if (at == 3 || at == 6) continue;
        assert_ok(sv_config_argument(config, count, arguments, at, &used, &err), err);
        assert_int_equal(used, expected[at]);
    }
    assert_int_equal(sv_config_int(config, "train.batch"), 9);
    assert_true(sv_config_real(config, "train.lr") == 0.5);
    assert_int_equal(sv_config_int(config, "train.offset"), -3);
    assert_string_equal(sv_config_where(config, "train.batch"), "command line");
}

static void mistakes_on_the_command_line_have_their_sentences(void **state)
{
    (void)state;
    static const struct { char *argument, *next, *sentence; } cases[] = {
        { "--train.bacth=5", NULL, "command line: unknown key 'train.bacth'; did you mean 'train.batch'? (`config --help` lists all keys)" },
        { "--train.bacth", "5", "command line: unknown key 'train.bacth'; did you mean 'train.batch'? (`config --help` lists all keys)" },
        { "--train.batch", NULL, "command line: --train.batch has no value; expected --train.batch=VALUE" },
        { "--train.batch", "--train.lr=1", "command line: --train.batch has no value; expected --train.batch=VALUE" },
        { "--train.batch=", NULL, "command line: train.batch = (nothing) is not a whole number; expected a whole number from 1 to 65536" },
        { "--train.batch=x", NULL, "command line: train.batch = x is not a whole number; expected a whole number from 1 to 65536" },
    };
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        char *arguments[] = { cases[i].argument, cases[i].next };
        int used = 7;
        sv_error err = { 0 };
        assert_int_equal(sv_config_argument(config, cases[i].next ? 2 : 1, arguments, 0, &used, &err), SV_USAGE);
        assert_string_equal(err.text, cases[i].sentence);
        assert_int_equal(used, 0);
    }
}

static void a_schema_with_a_mistake_is_an_internal_fault(void **state)
{
    (void)state;
    static const sv_config_row twice[] = { { "a.b", SV_CONFIG_INT, "1", 0, 0, NULL, "" }, { "a.b", SV_CONFIG_INT, "1", 0, 0, NULL, "" } };
    static const sv_config_row wrong[] = { { "a.b", SV_CONFIG_INT, "1", 5, 9, NULL, "" } };
    static const sv_config_group bad[] = { SV_CONFIG_GROUP(twice), SV_CONFIG_GROUP(wrong) };
    sv_memory memory = sv_memory_now();
    for (size_t i = 0; i < 2; i++) {
        sv_error err;
        sv_config *none = NULL;
        assert_true(sv_config_create(&none, &bad[i], 1, &err) != SV_OK);
        assert_null(none);
        assert_non_null(strstr(err.text, "a.b"));
    }
    assert_int_equal(sv_memory_now().live, memory.live);
}

static void every_failing_allocation_leaks_nothing(void **state)
{
    (void)state;
    write_text("more.ini", "[pruning]\nkeep = 0.5,0.25\n");
    write_text("deit.ini", "include = more.ini\n[train]\nbatch = 64\n[data]\ntrain = \"a b\"\n[model]\narch = deit_s\n");
    sv_memory memory = sv_memory_now();
    size_t descriptors = open_descriptors();
    bool survived = false;
    for (uint64_t at = 1; at < 400 && !survived; at++) {
        sv_error err = { 0 };
        sv_config *fresh = NULL;
        sv_fault_set(SV_FAULT_ALLOC, at, false);
        sv_status status = sv_config_create(&fresh, groups, SV_COUNT(groups), &err);
        if (!status) status = sv_config_read(fresh, "deit.ini", &err);
        survived = status == SV_OK;
        if (!survived) {
            assert_int_equal(status, SV_FAULT);
            assert_non_null(strstr(err.text, "out of memory"));
        }
        sv_config_destroy(fresh);
        assert_int_equal(sv_memory_now().live, memory.live);
        assert_int_equal(open_descriptors(), descriptors);
    }
    assert_true(survived);
}

#define WITH_CONFIG(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CONFIG(defaults_are_there_before_any_file),
        WITH_CONFIG(a_file_is_read_over_the_defaults),
        WITH_CONFIG(quotes_keep_what_plain_values_lose),
        WITH_CONFIG(keys_may_carry_their_section_before_the_first_one),
        WITH_CONFIG(booleans_have_eight_spellings),
        WITH_CONFIG(the_environment_is_put_into_values),
        WITH_CONFIG(an_included_file_stands_where_it_is_named),
        WITH_CONFIG(each_mistake_has_its_sentence),
        WITH_CONFIG(a_mistake_leaves_the_value_as_it_was),
        WITH_CONFIG(files_that_cannot_be_are_named),
        WITH_CONFIG(what_is_printed_reads_back_the_same),
        WITH_CONFIG(the_printed_form_is_plain_ini),
        WITH_CONFIG(help_and_reference_walk_the_same_rows),
        WITH_CONFIG(the_command_line_overrides_in_two_forms),
        WITH_CONFIG(mistakes_on_the_command_line_have_their_sentences),
        WITH_CONFIG(a_schema_with_a_mistake_is_an_internal_fault),
        WITH_CONFIG(every_failing_allocation_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
