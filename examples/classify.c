/* What is in a picture: cc classify.c $(pkg-config --cflags --libs sieve-infer) -o classify && ./classify model.safetensors cat.jpg */
#include <sieve_infer.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    sieve_model *model = NULL;
    sieve_session *session = NULL;
    sieve_rgb picture = { NULL, 0, 0 };
    sieve_answer top[5];
    sieve_error error;
    if (argc != 3) return fprintf(stderr, "usage: classify MODEL PICTURE\n"), SIEVE_USAGE;
    sieve_code code = sieve_model_load(&model, argv[1], NULL, &error);
    if (!code) code = sieve_session_create(&session, model, NULL, &error);
    if (!code) code = sieve_picture_read(&picture, argv[2], &error);
    if (!code) code = sieve_run_rgb(session, &picture, 1, &error);
    size_t count = code ? 0 : sieve_top(session, 0, top, 5), stages = code ? 0 : sieve_model_about(model).stages;
    for (size_t i = 0; i < count; i++) {
        const char *name = sieve_class_name(model, top[i].class_index);
        printf("%5.1f %%  %s (%zu)\n", 100 * top[i].probability, name ? name : "class", top[i].class_index);
    }
    for (size_t t = 0; t < stages; t++) printf("stage %zu keeps %zu patches\n", t, sieve_kept(session, 0, t, NULL));
    if (code) fprintf(stderr, "%s\n", error.text);
    sieve_picture_free(&picture);
    sieve_session_free(session);
    sieve_model_free(model);
    return (int)code;
}
